"""Pure kernels: an array and parameters in, numbers out. No files, no network, no clock.

`measures.py` says what is measured, `reference.py` how, formula by formula, in float64; every
other module computes the same numbers faster and is held to the reference by the tests.
"""
