"""Remarks on a tile's pixels that need no other tile: lines written twice, bright streaks, JPEG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import Acquisition, Remark
from mhfd.images.margins import CONSTANT_SHARE, LEAST_CONSTANT_ROWS
from mhfd.images.picture import Box, broken_scan
from mhfd.kernel.measures import Measures
from mhfd.kernel.pixels import Pixels, row_blocks
from mhfd.scoring import identity
from mhfd.scoring.rows import Rows, look, row_numbers, shared
from mhfd.scoring.streaks import charging

Array = NDArray[Any]

SATURATED_SHARE = 0.02  # of the pixels
_MOST_COMPARED = 64  # rows; those that one fault repeats stand together
_LEAST_COLS = 32  # shorter rows are equal by chance


@dataclass(frozen=True)
class Examined:
    """What one look at all pixels gives: the identity of the page, and remarks on the part that is scored.

    Attributes
    ----------
    sha256 : see `mhfd.scoring.identity`; None: it was not asked for
    grey : mean grey level of that part, from a sample of its pixels
    """

    sha256: str | None
    remarks: tuple[Remark, ...]
    grey: float


def examine(pixels: Pixels, box: Box | None = None, *, identify: bool = True) -> Examined:
    """Hash a page, and look for rows that a microscope does not write."""
    box = top, left, rows, cols = box or (0, 0, *pixels.shape)
    digest, seen = identity.begun(pixels) if identify else None, []
    for first, block in row_blocks(pixels):
        if digest is not None:
            digest.update(identity.as_hashed(block))
        part = block[max(0, top - first) : max(0, top + rows - first), left : left + cols]
        if len(part):
            seen.append(look(part))
    found = Rows.joined(seen)
    remarks = (_constant_rows(found.constant), _repeated_rows(found, pixels, box), charging(found.stretches))
    return Examined(
        sha256=None if digest is None else digest.hexdigest(),
        remarks=tuple(remark for remark in remarks if remark is not None),
        grey=float(found.stretches.mean(dtype=np.float64)),
    )


def all_remarks(
    examined: Examined, left_out: tuple[Remark, ...], acquisition: Acquisition, measures: Measures
) -> tuple[Remark, ...]:
    """The remarks of a row.

    Parameters
    ----------
    left_out : on what was left out of the picture
    """
    found = [*left_out, *examined.remarks]
    if measures.saturated is not None and SATURATED_SHARE < measures.saturated < 1:
        message = f"{measures.saturated:.0%} of the pixels are at the darkest or lightest value: correct the contrast"
        found.append(Remark(code="saturated", message=message))
    if acquisition.lossy:
        message = "the pixels were compressed with loss, and block edges count as structure: save tiles without loss"
        found.append(Remark(code="lossy", message=message))
    return tuple(found)


def _constant_rows(constant: Array) -> Remark | None:
    rows = len(constant)
    if constant.all():
        where, count = f"all {rows} rows are", rows
    else:
        begin, end = int(np.argmin(constant)), int(np.argmin(constant[::-1]))
        last = end >= begin
        count = end if last else begin
        where = f"the {'last' if last else 'first'} {count} of {rows} rows are"
    return broken_scan(where) if count >= max(LEAST_CONSTANT_ROWS, rows * CONSTANT_SHARE) else None


def _repeated_rows(seen: Rows, pixels: Pixels, box: Box) -> Remark | None:
    top, left, _, cols = box
    if cols < _LEAST_COLS:
        return None
    rows = np.flatnonzero(~seen.constant)
    rows = rows[shared(seen.numbers[rows])]
    if not len(rows):
        return None
    numbers = np.empty(len(rows), np.uint64)
    for first_row, block in row_blocks(pixels):
        here = (rows + top >= first_row) & (rows + top < first_row + len(block))
        numbers[here] = row_numbers(block[rows[here] + top - first_row, left : left + cols])
    _, first, which = np.unique(numbers, return_index=True, return_inverse=True)
    earlier = rows[first[which.ravel()]]
    again = np.flatnonzero(earlier != rows)

    def row(number: int) -> Array:
        return pixels[top + number : top + number + 1][0, left : left + cols]

    def repeats(number: int, source: int) -> bool:
        one = row(number)
        # Nearly blank rows, black with a few specks, are equal by chance.
        busy = np.count_nonzero(one[1:] != one[:-1]) >= cols // 8
        return bool(busy) and np.array_equal(one, row(source))

    for begin in again[:_MOST_COMPARED]:
        if repeats(int(rows[begin]), int(earlier[begin])):
            source, number = int(earlier[begin]), int(rows[begin])
            count = len(again)
            message = f"row {top + number} repeats row {top + source}" + (f", {count} rows in all" if count > 1 else "")
            return Remark(code="repeated_rows", message=f"{message}, as after a fault of the grabber: take it again")
    return None
