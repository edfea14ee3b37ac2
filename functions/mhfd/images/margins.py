"""Flat margins of a picture: borders that a program drew, and rows that a broken-off scan never wrote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.kernel.pixels import Pixels, row_blocks

Array = NDArray[Any]

LEAST_CONSTANT_ROWS = 8
CONSTANT_SHARE = 1 / 32
"""Constant first or last rows are a broken scan from so many on, and from this share of all rows."""

LEAST_PX = 4  # of a border
_MOST_OF_ROWS = 1 / 8  # in a border above or below; more is a broken scan, whatever there is at the sides
_LEAST_LEFT = 1 / 4  # of either axis; what leaves less is no margin
_PICTURE = 0.6  # of the pixels beside a margin have one grey level, at most
_BLOCK_PX = 8  # JPEG smears an edge to the end of its block
_ROWS_AT_A_TIME = 64


@dataclass(frozen=True)
class Margins:
    """Pixels that are flat at each side of a picture, and which rows of them are a broken scan's."""

    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0
    broken_top: bool = False
    broken_bottom: bool = False

    @property
    def border(self) -> tuple[int, int, int, int]:
        """Pixels of the border at the top, left, bottom and right."""
        return 0 if self.broken_top else self.top, self.left, 0 if self.broken_bottom else self.bottom, self.right


def find_margins(pixels: Pixels, *, lossy: bool) -> Margins:
    """What is flat at the sides of a picture.

    A border has exactly one grey level along all of its side and is at least 4 px wide, and the pixels beside it vary.
    Rows above or below are a border only if columns left or right have their level, too: nothing else tells them from
    the rows that a broken scan lacks. Tissue is never so flat, and where a detector's limit makes it so, its edge is
    not straight.
    """
    rows, cols = pixels.shape
    if not _may_have_some(pixels[0:1][0], pixels[rows - 1 : rows][0]):  # which is so for nearly all tiles
        return Margins()
    above, below = _constant_rows(pixels, 0, cols)
    if len(above) == rows:
        return Margins()
    left, right = _flat_columns(pixels, len(above), rows - len(below), lossy=lossy)
    if left[0] + right[0] > cols * (1 - _LEAST_LEFT):
        return Margins()
    if left[0] or right[0]:  # between the borders more rows may be constant
        above, below = _constant_rows(pixels, left[0], cols - right[0])
    levels = {level for n, level in (left, right) if n}
    (top, broken_top), (bottom, broken_bottom) = (_flat_rows(each, levels, rows) for each in (above, below))
    top, bottom = (_with_smear(n, lossy=lossy) for n in (top, bottom))
    inner = slice(left[0], cols - right[0])
    # The row in which a scan broke off is flat in part.
    top += broken_top and _is_flat(pixels[top : top + 1][:, inner])
    bottom += broken_bottom and _is_flat(pixels[rows - bottom - 1 : rows - bottom][:, inner])
    if top and _is_flat(pixels[top : top + 1][:, inner]):
        top, broken_top = 0, False
    if bottom and _is_flat(pixels[rows - bottom - 1 : rows - bottom][:, inner]):
        bottom, broken_bottom = 0, False
    if rows - top - bottom < rows * _LEAST_LEFT:
        return Margins()
    return Margins(top, left[0], bottom, right[0], broken_top, broken_bottom)


def _may_have_some(first: Array, last: Array) -> bool:
    """Whether the first or the last row may be constant, or the first row begin or end with a border's."""
    ends = (first[:LEAST_PX], first[-LEAST_PX:], last[:LEAST_PX])
    return any(len(set(end.tolist())) < 2 for end in ends)


def _constant_rows(pixels: Pixels, left: int, right: int) -> tuple[Array, Array]:
    """The grey levels of the first rows, and of the last, outermost first, as many as are constant."""
    rows = pixels.shape[0]
    above = (pixels[first : first + _ROWS_AT_A_TIME] for first in range(0, rows, _ROWS_AT_A_TIME))
    below = (pixels[max(0, end - _ROWS_AT_A_TIME) : end][::-1] for end in range(rows, 0, -_ROWS_AT_A_TIME))
    return _constant(block[:, left:right] for block in above), _constant(block[:, left:right] for block in below)


def _constant(blocks: Iterable[Array]) -> Array:
    """The grey levels of the first rows, as many as are constant."""
    levels = []
    for block in blocks:
        varied = np.any(block != block[:, :1], axis=1)
        levels.append(block[: int(np.argmax(varied)) if varied.any() else len(block), 0])
        if varied.any():
            break
    return np.concatenate(levels)


def _flat_rows(levels: Array, of_border: set[float], rows: int) -> tuple[int, bool]:
    """How many constant rows to leave out, and whether they are a broken scan's."""
    n = len(levels)
    if LEAST_PX <= n <= rows * _MOST_OF_ROWS and np.all(levels == levels[0]) and float(levels[0]) in of_border:
        return n, False
    broken = n >= max(LEAST_CONSTANT_ROWS, rows * CONSTANT_SHARE)
    return (n if broken else 0), broken


def _flat_columns(pixels: Pixels, top: int, end: int, *, lossy: bool) -> list[tuple[int, float]]:
    """Number and grey level of the flat columns left and right, between the constant rows above and below."""
    first_row = pixels[top : top + 1][0]
    found = [(_run(first_row), first_row[0]), (_run(first_row[::-1]), first_row[-1])]
    for block in _rows_between(pixels, top, end, found):
        found = [(_least_run(view[:, :n], level), level) for view, (n, level) in _both_ways(block, found)]
    found = [(_with_smear(n, lossy=lossy) if n >= LEAST_PX else 0, level) for n, level in found]
    alike = np.zeros(2)
    for block in _rows_between(pixels, top, end, found):
        alike += [np.count_nonzero(view[:, n : n + 1] == level) for view, (n, level) in _both_ways(block, found)]
    varied = end - top - alike >= (1 - _PICTURE) * pixels.shape[0]
    return [(n if beside else 0, float(level)) for (n, level), beside in zip(found, varied, strict=True)]


def _rows_between(pixels: Pixels, top: int, end: int, columns: list[tuple[int, float]]) -> Iterator[Array]:
    """Blocks of rows, as long as there may be a border in them."""
    for first, block in row_blocks(pixels) if max(n for n, _ in columns) >= LEAST_PX else ():
        part = block[max(0, top - first) : max(0, end - first)]
        if len(part):
            yield part


def _both_ways(block: Array, columns: list[tuple[int, float]]) -> Iterator[tuple[Array, tuple[int, float]]]:
    """The block from its left and from its right side, each with what was found there."""
    return zip((block, block[:, ::-1]), columns, strict=True)


def _run(row: Array) -> int:
    """How many of the first pixels are alike; not all of them are."""
    return int(np.argmax(row != row[0]))


def _least_run(block: Array, level: float) -> int:
    """How many of the first columns have only pixels of a level."""
    other = np.any(block != level, axis=0)
    return int(np.argmax(other)) if other.any() else block.shape[1]


def _with_smear(n: int, *, lossy: bool) -> int:
    """A margin with the rest of the block of JPEG in which it ends."""
    return n + _BLOCK_PX - 1 if lossy and n else n


def _is_flat(row: Array) -> bool:
    """Whether most of a row, (1, cols), has one grey level; that of no row is not."""
    return bool(row.size and np.mean(row == np.median(row)) > _PICTURE)
