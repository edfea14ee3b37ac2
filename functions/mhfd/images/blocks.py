"""Traces of JPEG in pixels whose file no longer tells: steps at the edges of its blocks of 8 x 8 px."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.kernel.pixels import Pixels

Array = NDArray[Any]

SIDE = 8
_LOOK_PX = 2**17  # in as many bands as that takes, from the fewest to the most
_FEWEST, _MOST = 4, 12
_MORE_BANDS = 64
BAND_ROWS = 2 * SIDE + 2  # two edges of blocks, and the differences on either side of each
_LEAST_PX = 64
LEAST_STEP = 0.03  # of the mean difference of neighbours
SIGMAS = 5.0
USUAL = 6.0


def shows_jpeg(pixels: Pixels) -> bool:
    """True if neighbours differ more across the edges of JPEG's blocks than within, in both axes.

    A look at some rows. Both axes are asked: a detector's columns or lines may have a period of eight, too. Noise hides
    fine compression: that of quality 50 shows from about 50 electrons a pixel on, 75 from about 150.
    """
    rows, cols = pixels.shape
    if rows < _LEAST_PX or cols < _LEAST_PX or pixels.dtype.kind not in "iuf":
        return False
    if not _steps_along(pixels, few_bands(cols)):  # which is so for nearly all tiles
        return False
    bands = _bands(pixels, _MORE_BANDS)
    return _steps(np.stack([_differences(band, 0).sum(axis=1, dtype=np.float64) for band in bands]))


def _steps_along(pixels: Pixels, bands: int) -> bool:
    rows = np.concatenate(list(_bands(pixels, bands)))
    # 16 bits hold what so few rows add up to, 8 bits each, and are added in a quarter of the time.
    along = _differences(rows, 1).sum(axis=0, dtype=np.uint16 if rows.dtype == np.uint8 else np.float64)
    return _steps(along[None].astype(np.float64))


def few_bands(cols: int) -> int:
    """The bands of the first look at rows of so many pixels."""
    return min(_MOST, max(_FEWEST, _LOOK_PX // (BAND_ROWS * cols)))


@lru_cache(16)
def band_starts(rows: int, most: int) -> Array:
    """The first row of each band; it begins a block of JPEG."""
    last = (rows - BAND_ROWS) // SIDE
    return np.unique(np.linspace(0, last, min(most, last + 1)).astype(int)) * SIDE


def _bands(pixels: Pixels, most: int) -> Iterator[Array]:
    """Some rows here and there, (BAND_ROWS, cols) each; 8 bits, or floating-point."""
    for start in band_starts(pixels.shape[0], most):
        band = pixels[start : start + BAND_ROWS]
        yield band if band.dtype == np.uint8 else band.astype(np.float32)


def _differences(band: Array, axis: int) -> Array:
    """Of neighbours, without sign."""
    ahead, behind = (band[1:], band[:-1]) if axis == 0 else (band[:, 1:], band[:, :-1])
    return np.maximum(ahead, behind) - np.minimum(ahead, behind)


def _steps(differences: Array) -> bool:
    """Whether every eighth difference of neighbours, (n, length) from the first two pixels on, is larger."""
    mean = float(np.median(differences))
    excess = differences[:, 1:-1] - (differences[:, :-2] + differences[:, 2:]) / 2
    limit = USUAL * float(np.median(np.abs(excess)))  # the edge of a border or a letter is no block's
    excess = np.clip(excess, -limit, limit)
    phase = np.arange(1, excess.shape[1] + 1) % SIDE
    edges, inner = excess[:, phase == SIDE - 1], excess[:, (phase > 0) & (phase < SIDE - 2)]
    error = inner.std() / np.sqrt(edges.size)
    step = edges.mean() - max(0.0, inner.mean())
    return bool(mean > 0 and step > LEAST_STEP * mean and step > SIGMAS * error)
