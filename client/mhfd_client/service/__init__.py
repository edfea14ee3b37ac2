"""What both Globus services share: signing in, and how fast they may be asked."""
