"""The measure as array code, by the paper's method: NumPy and SciPy everywhere, or CuPy and cuFFT by the same code.

`arrays.py` holds the planes, `transforms.py` has the frequencies in which a Gaussian is a product, `responses.py` the
maximum over scale, `noise.py` the noise; `tile.py` puts them together. Planes stay where `Arrays` puts them; only
functions that CuPy has are called on them, with CuPy's arguments. NumPy does the short work on the host: tables, and
the peaks once they are found.
"""

from mhfd.kernel.fourier.arrays import NUMPY, WHOLE_PLANES, Arrays
from mhfd.kernel.fourier.noise import estimate_noise, local_mean
from mhfd.kernel.fourier.responses import maximum_over_scale
from mhfd.kernel.fourier.tile import find_features, measure, measure_batch, normalise

__all__ = [
    "NUMPY",
    "WHOLE_PLANES",
    "Arrays",
    "estimate_noise",
    "find_features",
    "local_mean",
    "maximum_over_scale",
    "measure",
    "measure_batch",
    "normalise",
]
