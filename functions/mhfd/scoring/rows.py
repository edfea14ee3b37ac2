"""One look at each row of a picture: is it constant, how bright are its stretches, could it be another one's copy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.ahead import Later

Array = NDArray[Any]

_LEAST_PX = 64  # of a stretch
_MOST_STRETCHES = 16  # in a row
_SAMPLES = 8  # pixels of a stretch that are looked at
_NUMBERED = 64  # neighbouring pixels of a row: rows that differ in these are not compared in full
_WEIGHTS = np.random.default_rng(11).integers(0, 2**63, 2**17, np.uint64) * 2 + 1


@dataclass(frozen=True)
class Rows:
    """What a look at some rows finds.

    Attributes
    ----------
    constant : (rows,) whether all pixels of a row are equal
    stretches : (rows, n) mean grey level of stretches along the rows, of 64 px and more, each from eight of its pixels
    numbers : (rows,) the same for equal rows; some pixels in the middle tell nearly all rows of a tile apart
    """

    constant: Array
    stretches: Array
    numbers: Array

    @staticmethod
    def joined(parts: list[Rows]) -> Rows:
        if len(parts) == 1:
            return parts[0]
        names = ("constant", "stretches", "numbers")
        return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def look(block: Array) -> Rows:
    """Look at rows of a picture, (rows, cols)."""
    cols = block.shape[1]
    shape, first, weights = sampled(cols)
    if cols >= _LEAST_PX and block.dtype in (np.uint8, np.uint16) and (compiled := _COMPILED.made):
        return Rows(*compiled(block, shape, first, weights))
    stretches, samples, step = shape
    sample = block[:, first : first + _NUMBERED]
    constant = np.all(sample == sample[:, :1], axis=1)
    seem = np.flatnonzero(constant)
    constant[seem] = np.all(block[seem] == block[seem, :1], axis=1)
    some = block[:, ::step][:, : stretches * samples]
    some = np.ascontiguousarray(some, np.result_type(block.dtype, np.float32)).reshape(len(block), stretches, -1)
    return Rows(constant, some @ np.full(some.shape[2], 1 / some.shape[2], some.dtype), row_numbers(sample))


def sampled(cols: int) -> tuple[tuple[int, int, int], int, Array]:
    """Of a row: stretches, pixels of each that are looked at, and the step between these; the first of the pixels that
    its number is made of, and their weights.
    """
    stretches = min(_MOST_STRETCHES, cols // _LEAST_PX) or 1
    shape = stretches, min(_SAMPLES, cols), max(1, cols // stretches // _SAMPLES)
    return shape, max(0, (cols - _NUMBERED) // 2), _WEIGHTS[:_NUMBERED]


def _compiled() -> Callable[[Array, tuple[int, int, int], int, Array], tuple[Array, Array, Array]]:
    from mhfd.scoring.compiled_looks import look

    for dtype in (np.uint8, np.uint16):
        look(np.zeros((1, _LEAST_PX), dtype), *sampled(_LEAST_PX))
    return look


_COMPILED = Later(_compiled)


def row_numbers(block: Array) -> Array:
    """A number for each row, the same for equal rows."""
    row_bytes = block.shape[1] * block.itemsize // 8 * 8
    words = np.ascontiguousarray(block[:, : row_bytes // block.itemsize]).view(np.uint64)
    words = words[:, : len(_WEIGHTS)]  # rows that differ only beyond are compared in full, as all that seem equal
    return np.asarray(words @ _WEIGHTS[: words.shape[1]])


def shared(numbers: Array) -> Array:
    """Which numbers occur more than once."""
    order = np.sort(numbers)
    if not np.any(order[1:] == order[:-1]):  # which is so for nearly all tiles
        return np.zeros(len(numbers), np.bool_)
    _, which, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    return np.asarray(counts[which.ravel()] > 1)
