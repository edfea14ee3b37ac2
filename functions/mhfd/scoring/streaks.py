"""Bright streaks along the rows, as a charging specimen makes them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import Remark
from mhfd.robust import NORMAL_MEDIAN

Array = NDArray[Any]

_LEAST_PX = 64  # of a stretch
_MOST_STRETCHES = 16  # in a row
_SAMPLES = 8  # pixels of a stretch that are looked at
_LESS_ROWS = 4  # than a streak's rows
_ENOUGH_ROWS = 256  # for a median
_SIGMAS = 4.0  # of the same difference in the rest of the tile
_CONTRAST = 1.5  # standard deviations of the stretches
_APART_ROWS = 32
_LEAST_STREAKS = 3  # so far apart: a cross hair, or text over a picture, are one or two


def stretches(block: Array) -> Array:
    """(rows, n) mean grey level of stretches along the rows, of 64 px and more, each from eight of its pixels."""
    rows, cols = block.shape
    n = min(_MOST_STRETCHES, cols // _LEAST_PX) or 1
    step = max(1, cols // n // _SAMPLES)
    some = block[:, ::step][:, : n * min(_SAMPLES, cols)]
    sample = np.ascontiguousarray(some, np.result_type(block.dtype, np.float32)).reshape(rows, n, -1)
    return np.asarray(sample @ np.full(sample.shape[2], 1 / sample.shape[2], sample.dtype))


def charging(means: Array) -> Remark | None:
    """A remark if some rows are far brighter, along two stretches and more, than those four rows above and below.

    Parameters
    ----------
    means : (rows, n) `stretches` of a tile
    """
    if means.shape[0] <= 2 * _LESS_ROWS or means.shape[1] < 2:
        return None
    with np.errstate(over="ignore", invalid="ignore"):  # numbers near the end of their type
        return _charging(means)


def _charging(means: Array) -> Remark | None:
    here, above, below = means[_LESS_ROWS:-_LESS_ROWS], means[: -2 * _LESS_ROWS], means[2 * _LESS_ROWS :]
    excess = here - np.maximum(above, below)
    contrast = _CONTRAST * float(means.std())
    if len(_rows_of_streaks(excess > contrast)) < _LEAST_STREAKS:  # which is so for nearly all tiles
        return None
    some = excess[:: max(1, len(excess) // _ENOUGH_ROWS)]
    usual = np.median(some)
    sigma = np.median(np.abs(some - usual)) / NORMAL_MEDIAN
    rows = _rows_of_streaks(excess > max(float(usual + _SIGMAS * sigma), contrast))
    count = 1 + np.count_nonzero(np.diff(rows) > _APART_ROWS) if len(rows) else 0
    if count < _LEAST_STREAKS:
        return None
    return Remark(code="charging", message=f"{count} bright streaks along the rows, as of a specimen that charges")


def _rows_of_streaks(bright: Array) -> Array:
    """The rows of which two stretches side by side are bright."""
    return np.flatnonzero((bright[:, 1:] & bright[:, :-1]).any(axis=1))
