"""Traces of JPEG in pixels whose file no longer tells: steps at the edges of its blocks of 8 x 8 px."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.kernel.pixels import Pixels

Array = NDArray[Any]

_SIDE = 8
_LOOK_PX = 2**17  # in as many bands as that takes, from the fewest to the most
_FEWEST, _MOST = 4, 12
_MORE_BANDS = 64
_BAND_ROWS = 2 * _SIDE + 2  # two edges of blocks, and the differences on either side of each
_LEAST_PX = 64
_LEAST_STEP = 0.03  # of the mean difference of neighbours
_SIGMAS = 5.0
_USUAL = 6.0


def shows_jpeg(pixels: Pixels) -> bool:
    """True if neighbours differ more across the edges of JPEG's blocks than within, in both axes.

    A look at some rows. Both axes are asked: a detector's columns or lines may have a period of eight, too. Noise hides
    fine compression: that of quality 50 shows from about 50 electrons a pixel on, 75 from about 150.
    """
    rows, cols = pixels.shape
    if rows < _LEAST_PX or cols < _LEAST_PX or pixels.dtype.kind not in "iuf":
        return False
    few = _bands(pixels, min(_MOST, max(_FEWEST, _LOOK_PX // (_BAND_ROWS * cols))))
    along = np.abs(np.diff(np.concatenate(list(few)), axis=1)).sum(axis=0, dtype=np.float64)
    if not _steps(along[None]):  # which is so for nearly all tiles
        return False
    bands = _bands(pixels, _MORE_BANDS)
    return _steps(np.stack([np.abs(np.diff(band, axis=0)).sum(axis=1, dtype=np.float64) for band in bands]))


def _bands(pixels: Pixels, most: int) -> Iterator[Array]:
    """Some rows here and there, (_BAND_ROWS, cols) each, whose first begins a block; of a type that has a sign."""
    signed = np.int16 if pixels.dtype == np.uint8 else np.float32
    last = (pixels.shape[0] - _BAND_ROWS) // _SIDE
    for start in np.unique(np.linspace(0, last, min(most, last + 1)).astype(int)) * _SIDE:
        yield pixels[start : start + _BAND_ROWS].astype(signed)


def _steps(differences: Array) -> bool:
    """Whether every eighth difference of neighbours, (n, length) from the first two pixels on, is larger."""
    mean = _median(differences)
    excess = differences[:, 1:-1] - (differences[:, :-2] + differences[:, 2:]) / 2
    limit = _USUAL * _median(np.abs(excess))  # the edge of a border or a letter is no block's
    excess = np.clip(excess, -limit, limit)
    phase = np.arange(1, excess.shape[1] + 1) % _SIDE
    edges, inner = excess[:, phase == _SIDE - 1], excess[:, (phase > 0) & (phase < _SIDE - 2)]
    error = inner.std() / np.sqrt(edges.size)
    step = edges.mean() - max(0.0, inner.mean())
    return bool(mean > 0 and step > _LEAST_STEP * mean and step > _SIGMAS * error)


def _median(values: Array) -> float:
    """That of NumPy, in a quarter of the time."""
    middle = values.size // 2
    low, high = np.partition(values, (max(0, middle - 1), middle), axis=None)[max(0, middle - 1) : middle + 1][[0, -1]]
    return float(high if values.size % 2 else (low + high) / 2)
