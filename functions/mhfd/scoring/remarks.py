"""Remarks on a tile's pixels that need no other tile: lines written twice, bright streaks, JPEG."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import Acquisition, Remark
from mhfd.images.margins import CONSTANT_SHARE, LEAST_CONSTANT_ROWS
from mhfd.images.picture import Box, broken_scan
from mhfd.kernel.measures import Measures
from mhfd.kernel.pixels import Pixels, row_blocks
from mhfd.scoring.streaks import charging, stretches

if TYPE_CHECKING:
    from hashlib import _Hash

Array = NDArray[Any]

SATURATED_SHARE = 0.02  # of the pixels
_MOST_COMPARED = 64  # rows; those that one fault repeats stand together
_LEAST_COLS = 32  # shorter rows are equal by chance
_WEIGHTS = np.random.default_rng(11).integers(0, 2**63, 2**17, np.uint64) * 2 + 1
_SAMPLED = 64  # neighbouring pixels of a row: rows that differ in these are not compared in full


@dataclass(frozen=True)
class Examined:
    """What one look at all pixels gives: the identity of the page, and remarks on the part that is scored.

    Attributes
    ----------
    grey : mean grey level of that part, from a sample of its pixels
    """

    sha256: str
    remarks: tuple[Remark, ...]
    grey: float


def examine(pixels: Pixels, box: Box | None = None) -> Examined:
    """Hash a page, and look for rows that a microscope does not write."""
    top, left, rows, cols = box or (0, 0, *pixels.shape)
    digest, seen = _begun(pixels), _Rows()
    for first, block in row_blocks(pixels):
        _update(digest, block)
        part = block[max(0, top - first) : max(0, top + rows - first), left : left + cols]
        if len(part):
            seen.add(part)
    box = (top, left, rows, cols)
    found = (_constant_rows(seen.constant), _repeated_rows(seen, pixels, box), charging(seen.stretches))
    remarks = tuple(remark for remark in found if remark is not None)
    return Examined(digest.hexdigest(), remarks, float(seen.stretches.mean()))


def tile_sha256(pixels: Pixels) -> str:
    """Identity of a tile: hex SHA-256 of type, shape and pixels, whatever the file format."""
    digest = _begun(pixels)
    for _, block in row_blocks(pixels):
        _update(digest, block)
    return digest.hexdigest()


def _begun(pixels: Pixels) -> _Hash:
    rows, cols = pixels.shape
    return hashlib.sha256(f"{pixels.dtype.newbyteorder('<').str} {(rows, cols)}".encode())


def _update(digest: _Hash, rows: Array) -> None:
    digest.update(np.ascontiguousarray(rows, rows.dtype.newbyteorder("<")).data)


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


@dataclass
class _Rows:
    """Of each row seen so far: whether it is constant, a number that equal rows share, and means of its stretches.

    The number is that of some pixels: it tells nearly all rows of a tile apart.
    """

    _constant: list[Array] = field(default_factory=list)
    _stretches: list[Array] = field(default_factory=list)
    _numbers: list[Array] = field(default_factory=list)

    def add(self, block: Array) -> None:
        first = max(0, (block.shape[1] - _SAMPLED) // 2)
        sample = np.ascontiguousarray(block[:, first : first + _SAMPLED])
        constant = np.all(sample == sample[:, :1], axis=1)
        seem = np.flatnonzero(constant)
        constant[seem] = np.all(block[seem] == block[seem, :1], axis=1)
        self._constant.append(constant)
        self._stretches.append(stretches(block))
        self._numbers.append(_row_numbers(sample))

    @property
    def constant(self) -> Array:
        return np.concatenate(self._constant)

    @property
    def stretches(self) -> Array:
        return np.concatenate(self._stretches)

    @property
    def numbers(self) -> Array:
        return np.concatenate(self._numbers)


def _row_numbers(block: Array) -> Array:
    """A number for each row, the same for equal rows."""
    row_bytes = block.shape[1] * block.itemsize // 8 * 8
    words = np.ascontiguousarray(block[:, : row_bytes // block.itemsize]).view(np.uint64)
    words = words[:, : len(_WEIGHTS)]  # rows that differ only beyond are compared in full, as all that seem equal
    return np.asarray(words @ _WEIGHTS[: words.shape[1]])


def _shared(numbers: Array) -> Array:
    """Which numbers occur more than once."""
    _, which, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    return np.asarray(counts[which.ravel()] > 1)


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


def _repeated_rows(seen: _Rows, pixels: Pixels, box: Box) -> Remark | None:
    top, left, _, cols = box
    if cols < _LEAST_COLS:
        return None
    rows = np.flatnonzero(~seen.constant)
    rows = rows[_shared(seen.numbers[rows])]
    if not len(rows):
        return None
    numbers = np.empty(len(rows), np.uint64)
    for first_row, block in row_blocks(pixels):
        here = (rows + top >= first_row) & (rows + top < first_row + len(block))
        numbers[here] = _row_numbers(block[rows[here] + top - first_row, left : left + cols])
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
