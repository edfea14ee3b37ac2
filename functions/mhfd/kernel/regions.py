"""Connected regions of a mask: by SciPy where it is installed, else by NumPy, more slowly."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BESIDE = np.ones((3, 3), dtype=bool)


def large(mask: NDArray[np.bool_], high: int, wide: int) -> int:
    """Cells in regions that reach over at least `high` rows and `wide` columns; cells touch at sides and corners."""
    ndimage = _ndimage()
    if ndimage is None:
        return large_by_numpy(mask, high, wide)
    regions, _ = ndimage.label(mask, _BESIDE)
    return sum(
        int(np.count_nonzero(regions[rows, cols] == number))
        for number, (rows, cols) in enumerate(ndimage.find_objects(regions), 1)
        if rows.stop - rows.start >= high and cols.stop - cols.start >= wide
    )


@cache
def _ndimage() -> Any:
    try:
        return import_module("scipy.ndimage")
    except ModuleNotFoundError:
        return None


def large_by_numpy(mask: NDArray[np.bool_], high: int, wide: int) -> int:
    """As `large`. A cell's label is one of its region, and grows until it is the last."""
    rows, cols = mask.shape
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        framed = np.pad(labels, 1)
        along = np.maximum(np.maximum(framed[:, :-2], framed[:, 1:-1]), framed[:, 2:])
        spread = np.maximum(np.maximum(along[:-2], along[1:-1]), along[2:]) * mask
        spread = np.append(0, spread)[spread]  # the label of the cell that it names, which may be further on
        if np.array_equal(spread, labels):
            break
        labels = spread
    y, x = mask.nonzero()
    _, region, cells = np.unique(labels[y, x], return_inverse=True, return_counts=True)
    first, last = np.array([[rows], [cols]]).repeat(len(cells), 1), np.full((2, len(cells)), -1)
    for axis, place in enumerate((y, x)):
        np.minimum.at(first[axis], region, place)
        np.maximum.at(last[axis], region, place)
    height, width = last - first + 1
    return int(cells[(height >= high) & (width >= wide)].sum())
