"""Pure kernels: an array and parameters in, numbers out. No files, no network, no clock.

`measures.py` defines the numbers, `reference.py` computes them formula by formula in float64;
the other kernels compute the same numbers faster, and the tests compare them.
"""
