"""The compiled kernel's loops that are written in vectors: cascade and interpolation."""
