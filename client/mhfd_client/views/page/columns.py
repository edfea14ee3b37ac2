"""All tiles of a run in a few numbers each, as columns: what the page's map and chart are drawn from."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd_client.naming.position import Position

VERDICTS = (
    "later", "todo", "in_focus", "out_of_focus", "astigmatic", "no_content", "cannot_tell", "failed", "missing",
)  # fmt: skip
"""Verdicts are sent as an index into this list."""

LATER = VERDICTS.index("later")
"""Of a place without a tile: not taken yet, or the tile there was taken again, so that another stands for it."""

MISSING_FROM = 2**31
"""Numbers of missing tiles, which the ledger has no row of, begin here."""

FLAGGED = ("out_of_focus", "astigmatic", "failed")
COMPARED = ("in_focus", "out_of_focus", "astigmatic")
"""Verdicts that a threshold can change into each other."""

_INDEX = {verdict: i for i, verdict in enumerate(VERDICTS)}

NOWHERE = 65_535
"""Section or place of a tile that has none that fits."""

IN_A_LINE = 100
"""Tiles without a section are laid in lines of so many."""

VERSION = 1
_HEADER = struct.Struct("<4sIIIQII")
_LEAST = 1024

Cell = tuple[int | None, int | None, int | None, int | None]


@dataclass(frozen=True)
class Row:
    """One tile.

    Attributes
    ----------
    n : its number in the ledger
    verdict : one of `VERDICTS`
    flag_px : the largest threshold at which it is flagged; None where none changes its verdict
    time_s : when its result came, Unix seconds
    mtime_ns : of its file
    """

    n: int
    section: int
    position: int
    verdict: str
    blur_px: float | None = None
    flag_px: float | None = None
    focus_score: float | None = None
    time_s: float | None = None
    remarks: int = 0
    mtime_ns: int = 0
    defocus_um: float | None = None

    def listed(self) -> list[Any]:
        """As the event `tiles` has it."""
        return [
            self.n, self.section, self.position, VERDICTS.index(self.verdict), _short(self.blur_px),
            _short(self.flag_px), _short(self.focus_score), None if self.time_s is None else round(self.time_s, 2),
            self.remarks, _short(self.defocus_um),
        ]  # fmt: skip


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


class Places:
    """Positions -> section, and number within a section.

    Cells are numbered in order: by grid, row, column, number. A cell that is met later and does not come last changes
    the numbers of others: `version` tells.
    """

    def __init__(self) -> None:
        self._numbers: dict[Cell, int] = {}
        self._cells: list[Cell] = []
        self._unplaced: dict[int | None, dict[int, int]] = {}
        self.version = 0

    @property
    def cells(self) -> list[Cell]:
        """In the order of their numbers."""
        return list(self._cells)

    @property
    def columns(self) -> int:
        """Cells beside each other, where the cells are a whole grid; else 0."""
        cols = {(grid, col) for grid, _, col, _ in self._cells if col is not None}
        rows = {(grid, row) for grid, row, _, _ in self._cells if row is not None}
        return len(cols) if cols and len(cols) * len(rows) == len(self._cells) else 0

    def learn(self, positions: Iterable[Position | None]) -> None:
        """Number the cells of these positions."""
        new = {position.cell for position in positions if position is not None} - self._numbers.keys()
        new = {cell for cell in new if any(each is not None for each in cell)}
        if not new:
            return
        ordered = sorted(new, key=_in_order)
        if self._cells and _in_order(ordered[0]) < _in_order(self._cells[-1]):
            self._cells = sorted([*self._cells, *ordered], key=_in_order)
            self.version += 1
        else:
            self._cells += ordered
        self._numbers = {cell: i for i, cell in enumerate(self._cells)}

    def place(self, n: int, position: Position | None) -> tuple[int, int]:
        """Section and number of a tile; `NOWHERE` for what does not fit."""
        section = position.section if position else None
        if position is not None and (number := self._numbers.get(position.cell)) is not None:
            return _fitting(section or 0), _fitting(number)
        known = self._unplaced.setdefault(section, {})
        number = known.setdefault(n, len(known))
        if section is None:
            return _fitting(number // IN_A_LINE), number % IN_A_LINE
        return _fitting(section), _fitting(number)


def _in_order(cell: Cell) -> tuple[int, ...]:
    return tuple(-1 if each is None else each for each in cell)


def _fitting(number: int) -> int:
    return number if 0 <= number < NOWHERE else NOWHERE


class Columns:
    """The tiles of a run, by number; one thread writes, any may read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._index: dict[int, int] = {}
        self._size = 0
        self._made(_LEAST)

    def _made(self, room: int) -> None:
        self._n = np.zeros(room, np.uint32)
        self._section = np.zeros(room, np.uint16)
        self._position = np.zeros(room, np.uint16)
        self._verdict = np.zeros(room, np.uint8)
        self._blur = np.full(room, np.nan, np.float32)
        self._flag = np.full(room, np.nan, np.float32)
        self._score = np.full(room, np.nan, np.float32)
        self._time = np.full(room, np.nan, np.float64)
        self._remarks = np.zeros(room, np.uint16)
        self._mtime = np.zeros(room, np.int64)
        self._defocus = np.full(room, np.nan, np.float32)

    @property
    def _all(self) -> tuple[NDArray[Any], ...]:
        return (
            self._n, self._section, self._position, self._verdict, self._blur, self._flag, self._score, self._time,
            self._remarks, self._mtime, self._defocus,
        )  # fmt: skip

    def __len__(self) -> int:
        return self._size

    def __contains__(self, n: int) -> bool:
        return n in self._index

    def put(self, row: Row) -> bool:
        """Add a tile, or change what is known of it; True if that is anything new."""
        with self._lock:
            return self._put(row)

    def fill(self, rows: Sequence[Row]) -> None:
        """Put these, each of another number, in place of all."""
        with self._lock:
            self._index, self._size = {row.n: i for i, row in enumerate(rows)}, len(rows)
            self._made(max(_LEAST, 2 * len(rows)))
            for column, values in zip(self._all, zip(*map(_values, rows), strict=True), strict=False):
                column[: len(rows)] = values

    def _put(self, row: Row) -> bool:
        i = self._index.get(row.n)
        if i is None:
            i = self._index[row.n] = self._size
            self._size += 1
            if self._size > len(self._n):
                self._grow()
        elif self._row(i).listed() == row.listed():
            return False
        for column, value in zip(self._all, _values(row), strict=True):
            column[i] = value
        return True

    def _grow(self) -> None:
        before = self._all
        self._made(2 * len(self._n))
        for column, former in zip(self._all, before, strict=True):
            column[: len(former)] = former

    def row(self, n: int) -> Row | None:
        """What is known of a tile."""
        with self._lock:
            i = self._index.get(n)
            return None if i is None else self._row(i)

    def _row(self, i: int) -> Row:
        return Row(
            int(self._n[i]), int(self._section[i]), int(self._position[i]), VERDICTS[self._verdict[i]],
            _known(self._blur[i]), _known(self._flag[i]), _known(self._score[i]), _known(self._time[i]),
            int(self._remarks[i]), int(self._mtime[i]), _known(self._defocus[i]),
        )  # fmt: skip

    def rows(self, ns: Iterable[int]) -> Iterator[Row]:
        """Those of these tiles that are known."""
        return (row for n in ns if (row := self.row(n)) is not None)

    def packed(self, seq: int, *, after: int = 0) -> bytes:
        """A header of 32 bytes, then the columns, in the order in which the tiles were taken.

        The header: "MHFD", uint32 version, uint32 number of tiles, uint32 0, uint64 `seq`, uint32 0, uint32 0; all
        little-endian. The columns: uint32 n, uint16 section, uint16 position, uint8 verdict, float32 blur_px, flag_px,
        focus_score, defocus_um; NaN where unknown.

        Parameters
        ----------
        seq : of the last event that is in it
        after : only tiles with a higher number
        """
        with self._lock:
            now = slice(0, self._size)
            kept = np.flatnonzero((self._verdict[now] != LATER) & (self._n[now] > after))
            order = kept[np.lexsort((self._n[kept], self._mtime[kept], self._section[kept]))]
            columns = [
                column[order]
                for column in (
                    self._n,
                    self._section,
                    self._position,
                    self._verdict,
                    self._blur,
                    self._flag,
                    self._score,
                    self._defocus,
                )
            ]
        header = _HEADER.pack(b"MHFD", VERSION, len(order), 0, seq, 0, 0)
        return b"".join([header, *(np.ascontiguousarray(each).tobytes() for each in columns)])

    def counts(self) -> dict[str, int]:
        """Tiles by verdict."""
        with self._lock:
            found = np.bincount(self._verdict[: self._size], minlength=len(VERDICTS))
        return {verdict: int(n) for verdict, n in zip(VERDICTS, found, strict=True)}

    def flagged_above(self, max_blur_px: float) -> int:
        """Tiles that the judge calls out of focus or astigmatic at a threshold."""
        with self._lock:
            now = slice(0, self._size)
            compared = np.isin(self._verdict[now], [VERDICTS.index(each) for each in COMPARED])
            return int(np.count_nonzero(compared & (self._flag[now].astype(np.float64) > max_blur_px)))

    def of_verdicts(self, verdicts: Sequence[str]) -> list[int]:
        """The numbers of the tiles with one of these verdicts."""
        with self._lock:
            wanted = np.isin(self._verdict[: self._size], [VERDICTS.index(each) for each in verdicts])
            return [int(n) for n in self._n[: self._size][wanted]]

    def at(self, position: int) -> list[Row]:
        """The tiles at one place, by section; the last taken of each section."""
        with self._lock:
            here = np.flatnonzero((self._position[: self._size] == position) & (self._verdict[: self._size] != LATER))
            rows = [self._row(int(i)) for i in here]
        return sorted(
            {row.section: row for row in sorted(rows, key=lambda row: (row.mtime_ns, row.n))}.values(),
            key=lambda row: row.section,
        )

    def of_section(self, section: int) -> list[Row]:
        """The tiles of a section."""
        with self._lock:
            here = np.flatnonzero((self._section[: self._size] == section) & (self._verdict[: self._size] != LATER))
            return [self._row(int(i)) for i in here]

    def last_section(self) -> int | None:
        """The highest section that has a tile."""
        with self._lock:
            known = self._section[: self._size][self._section[: self._size] != NOWHERE]
            return int(known.max()) if len(known) else None

    def first_section(self) -> int | None:
        """The lowest section that has a tile."""
        with self._lock:
            known = self._section[: self._size][self._section[: self._size] != NOWHERE]
            return int(known.min()) if len(known) else None

    def usual_blur(self) -> float | None:
        """The median blur of the tiles in focus, px."""
        with self._lock:
            sharp = self._blur[: self._size][self._verdict[: self._size] == VERDICTS.index("in_focus")]
        sharp = sharp[np.isfinite(sharp)]
        return float(np.median(sharp)) if len(sharp) else None


def _values(row: Row) -> tuple[Any, ...]:
    """A row in the order of the columns."""
    return (
        row.n, row.section, row.position, _INDEX[row.verdict], _nan(row.blur_px), _nan(row.flag_px),
        _nan(row.focus_score), _nan(row.time_s), row.remarks, row.mtime_ns, _nan(row.defocus_um),
    )  # fmt: skip


def _nan(value: float | None) -> float:
    return np.nan if value is None else value


def _known(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
