"""Code that both Globus services share: signing in, and pacing requests."""
