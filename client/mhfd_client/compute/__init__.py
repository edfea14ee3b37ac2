"""Running the registered functions: on a Globus Compute endpoint, or here."""
