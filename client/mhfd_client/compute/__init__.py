"""What runs the registered functions: a Globus Compute endpoint, or this machine."""
