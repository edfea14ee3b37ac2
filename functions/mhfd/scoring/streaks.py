"""Bright streaks along the rows, as a charging specimen makes them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import Remark
from mhfd.robust import NORMAL_MEDIAN

Array = NDArray[Any]

LESS_ROWS = 4  # than a streak's rows
ENOUGH_ROWS = 256  # for a median
SIGMAS = 4.0  # of the same difference in the rest of the tile
CONTRAST = 1.5  # standard deviations of the stretches
_APART_ROWS = 32
LEAST_STREAKS = 3  # so far apart: a cross hair, or text over a picture, are one or two


def charging(means: Array) -> Remark | None:
    """A remark if some rows are far brighter, along two stretches and more, than those four rows above and below.

    Parameters
    ----------
    means : (rows, n) `stretches` of a tile (`mhfd.scoring.rows`)
    """
    if means.shape[0] <= 2 * LESS_ROWS or means.shape[1] < 2:
        return None
    with np.errstate(over="ignore", invalid="ignore"):  # numbers near the end of their type
        rows = _rows(means)
    count = 1 + np.count_nonzero(np.diff(rows) > _APART_ROWS) if len(rows) else 0
    if count < LEAST_STREAKS:
        return None
    return Remark(code="charging", message=f"{count} bright streaks along the rows, as of a specimen that charges")


def _rows(means: Array) -> Array:
    """The rows of streaks, counted from the fifth."""
    here, above, below = means[LESS_ROWS:-LESS_ROWS], means[: -2 * LESS_ROWS], means[2 * LESS_ROWS :]
    excess = here - np.maximum(above, below)
    contrast = CONTRAST * float(means.std())
    if len(found := _bright(excess > contrast)) < LEAST_STREAKS:  # which is so for nearly all tiles
        return found[:0]
    some = excess[:: max(1, len(excess) // ENOUGH_ROWS)]
    usual = _middle(some)
    sigma = _middle(np.abs(some - usual)) / NORMAL_MEDIAN
    return _bright(excess > max(usual + SIGMAS * sigma, contrast))


def _bright(bright: Array) -> Array:
    """The rows of which two stretches side by side are bright."""
    both = bright[:, 1:] & bright[:, :-1]
    return np.unique(np.flatnonzero(both) // both.shape[1])  # a tenth of `any` along so short an axis


def _middle(values: Array) -> float:
    """The median, or the value next above: `numpy.median` takes five times as long."""
    return float(np.partition(values.ravel(), values.size // 2)[values.size // 2])
