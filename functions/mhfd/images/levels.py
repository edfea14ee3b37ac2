"""Smaller copies of a page (pyramids, previews) that their file does not mark as such: told by size and content."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
ReadRows = Callable[[int, int], Array]
"""Rows [first, end) of a page, as (n, cols)."""

_BAND = 16  # rows of the smaller page that are compared
_ALIKE = 0.5  # correlation of the differences between neighbours; those of different pictures have none
_LEAST = 6  # rows and columns of a page that is compared: fewer are alike by chance
_MOST = 64  # times smaller; copies of such a size are marked, or too small to be taken for a tile


def times_smaller(small: tuple[int, int], large: tuple[int, int]) -> int:
    """How many times smaller one size is than another, in rows as in columns; 0 if it is no such size."""
    if not (min(small) >= _LEAST and min(large) > 0):
        return 0
    times = round(large[0] / small[0])
    if not 2 <= times <= _MOST:
        return 0
    return times if all(abs(long / times - short) < 1 for short, long in zip(small, large, strict=True)) else 0


def is_copy(
    small: ReadRows, small_size: tuple[int, int], large: ReadRows, large_size: tuple[int, int], times: int
) -> bool:
    """True if a band in the middle of the smaller page shows what the larger page shows there."""
    rows, cols = small_size
    first = max(0, rows // 2 - _BAND // 2)
    end = min(rows, first + _BAND, large_size[0] // times)
    cols = min(cols, large_size[1] // times)
    copy = small(first, end)[:, :cols].astype(np.float64)
    source = large(first * times, end * times)[:, : cols * times].astype(np.float64)
    blocks = source.reshape(end - first, times, cols, times)
    # Programs average the pixels or take one of them: the first, or the middle one.
    taken = (blocks.mean(axis=(1, 3)), blocks[:, 0, :, 0], blocks[:, times // 2, :, times // 2])
    return max(_correlation(copy, each) for each in taken) > _ALIKE


def _correlation(one: Array, other: Array) -> float:
    """Of the differences between neighbours along the rows, so that equal shading does not count."""
    if np.ptp(one) == np.ptp(other) == 0:  # two blank pages
        return float(one[0, 0] == other[0, 0])
    a, b = (np.diff(each, axis=1).ravel() for each in (one, other))
    size = float(np.sqrt(np.sum(a * a) * np.sum(b * b)))
    return float(np.sum(a * b)) / size if size else 0.0
