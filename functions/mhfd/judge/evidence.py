"""What the spectra tell of tiles against one reference, and at which threshold each is out of focus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import DEFAULT_BLUR_PX
from mhfd.judge.blur import Array, Spectra, excess_blur, tile_blur
from mhfd.judge.reference import Sharpest

LEAST_LIMIT, MOST_LIMIT = 0.4, DEFAULT_BLUR_PX**2
"""px^2. The limit follows from how much the sharp tiles differ, between these."""

SPREADS = 5.0
"""The limit lies so many spreads above the sharp tiles' middle."""

AT_ONCE = 500
"""Tiles: so many stay in the processor's cache."""

ERRORS = 5.0
"""D must exceed so many of its errors, unless it is thrice the largest limit."""

PART_FACTOR, PART_LEAST = 1.6, 0.75
"""A quarter of a tile is blurred beyond PART_FACTOR times the limit, or times PART_LEAST px^2."""

DIRECTION_FACTOR = 1.3
"""The same for the most blurred direction of an astigmatic tile."""

DIRECTION_GAP, DIRECTION_ERRORS, DIRECTION_SHARE = 0.6, 4.0, 0.75
"""An astigmatic tile is blurred more in one direction than across it by so much of the larger, and of their errors; and
its D over all directions, which the sharpest dominates, is at most so much of the larger."""


@dataclass(frozen=True)
class Evidence:
    """D of m tiles and its standard error, in px^2, NaN where nothing can be said.

    Attributes
    ----------
    d, error : (m,)
    by_blocks : (m,) the same, without what wide blur does to the means of 16 px
    directions, direction_error : (m, 4)
    parts, part_error : (m, 4) of the quarters of a tile
    cells : (m, CELLS, CELLS)
    limit : beyond which a tile is out of focus at the default threshold
    """

    d: Array
    error: Array
    by_blocks: Array
    directions: Array
    direction_error: Array
    parts: Array
    part_error: Array
    cells: Array
    limit: float

    @classmethod
    def of(cls, spectra: Spectra, tiles: Sequence[int], reference: Sharpest) -> Evidence:
        limit = float(np.clip(reference.centre + SPREADS * reference.spread, LEAST_LIMIT, MOST_LIMIT))
        which = np.array(tiles, dtype=np.int64)
        starts = range(0, max(len(which), 1), AT_ONCE)
        pieces = [_differences(spectra, which[start : start + AT_ONCE], reference) for start in starts]
        d, error, by_blocks, directions, direction_error, parts, part_error, cells = (
            np.concatenate(each) for each in zip(*pieces, strict=True)
        )
        return cls(d, error, by_blocks, directions, direction_error, parts, part_error, cells, limit)

    def flags(self) -> Array:
        """(m,) The largest threshold, squared, in units of the default's, at which a tile is still out of focus."""
        d, error = np.nan_to_num(self.d), np.nan_to_num(self.error, nan=np.inf)
        whole = np.maximum(np.where(d > ERRORS * error, d / self.limit, 0), d / (3 * MOST_LIMIT))
        part, part_error = np.nan_to_num(self.parts), np.nan_to_num(self.part_error, nan=np.inf)
        sure = (part > np.minimum(4.5 * part_error, 4.5)) & (part > 2 * part_error)
        parts = np.where(sure, part / (PART_FACTOR * max(self.limit, PART_LEAST)), 0).max(1)
        worst, gap = self.astigmatism()
        one_way = np.where(gap > 0, worst / (DIRECTION_FACTOR * max(self.limit, PART_LEAST)), 0)
        return np.asarray(np.maximum(np.maximum(whole, parts), one_way))

    def astigmatism(self) -> tuple[Array, Array]:
        """D in the most blurred direction, and by how much it exceeds that across it; 0 where that is not sure."""
        d, error = self.directions, np.nan_to_num(self.direction_error, nan=np.inf)
        gaps = d - d[:, [2, 3, 0, 1]]
        errors = np.hypot(error, error[:, [2, 3, 0, 1]])
        sure = (gaps > DIRECTION_ERRORS * errors) & (gaps > DIRECTION_GAP * d) & (gaps > 0.5 * self.limit)
        sure &= self.by_blocks[:, None] < DIRECTION_SHARE * d
        gap = np.where(sure, np.nan_to_num(gaps), 0)
        at = gap.argmax(1)
        rows = np.arange(len(d))
        return np.nan_to_num(d[rows, at]), gap[rows, at]


def _differences(spectra: Spectra, which: NDArray[np.int64], reference: Sharpest) -> tuple[Array, ...]:
    """The arrays of `Evidence`, in its order."""
    d, error = tile_blur(spectra, which, reference.whole, reference.slow)
    by_blocks, _ = excess_blur(spectra.whole[which], reference.whole)
    directions, direction_error = excess_blur(spectra.directions[which], reference.directions)
    parts, part_error = excess_blur(spectra.quarters[which], reference.part)
    cells, _ = excess_blur(spectra.cells(which), reference.cell)
    m = len(which)
    return d, error, by_blocks, directions, direction_error, parts.reshape(m, 4), part_error.reshape(m, 4), cells
