"""Find missing tiles: those that the neighbouring sections have and a section lacks.

A grid may change during a run: tiles are added or dropped, some grids are taken in every tenth section only. So a
cell is expected if more than half of the nearest sections of its grid (two on either side) have it, one before among
them; and a section is expected if the numbers before or after the gap are consecutive. Before the first section there
is none: there a few cells that the next ones have are missing, but not those of a plan that grew.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

from mhfd_client.naming.position import Position

_Place = tuple[int | None, int | None, int | None]  # row, column, tile

_EACH_SIDE = 2  # sections looked at on either side
_MAX_GAP = 100  # a longer gap in the numbers is a new numbering
_MAX_CELLS = 20_000  # of one grid; with more, tiles are numbered through the run, which gives no positions


class Grid:
    """The positions of a whole run, added in any order.

    A section takes one integer with a bit per cell: 10^5 sections of 100 tiles take some 11 MB. `missing` looks only
    at sections that changed since its last call.
    """

    def __init__(self) -> None:
        self._grids: dict[int | None, _Series] = {}
        self._newest: int | None = None
        self._latest: int | None = None
        self._finished: set[int] = set()
        self._unfinished: set[int] = set()  # when `missing` was last called

    def add(self, position: Position) -> None:
        """Add a tile. Positions without a section, or without a place in it, are ignored."""
        section, place = position.section, (position.row, position.col, position.tile)
        if section is None or place == (None, None, None):
            return
        self._latest = section
        self._newest = section if self._newest is None else max(section, self._newest)
        if position.grid not in self._grids:
            self._grids[position.grid] = _Series()
        self._grids[position.grid].add(section, place)

    def finish(self, section: int | None = None) -> None:
        """Mark the section as complete; None: the run."""
        told = {section} if section is not None else {self._newest, self._latest}
        self._finished |= {each for each in told if each is not None}

    def missing(self) -> list[Position]:
        """The tiles missing from finished sections, in order.

        All sections are finished except, until `finish` is called, the one with the highest number and that of the last
        tile. A position without row, column and tile is the whole section, or all of one grid in it.
        """
        unfinished = {each for each in (self._newest, self._latest) if each is not None} - self._finished
        for section in unfinished ^ self._unfinished:
            self._changed(section)
        self._unfinished = unfinished
        found: set[Position] = set()
        for grid, series in self._grids.items():
            for section, (row, col, tile) in series.lacking(unfinished):
                found.add(Position(section, grid, row, col, tile))
            for section in series.gaps():
                if section not in unfinished:
                    there = any(section in each.have for each in self._grids.values())
                    found.add(Position(section, grid if there else None))
        return sorted(found, key=lambda p: [-1 if n is None else n for n in (p.section, *p.cell)])

    def _changed(self, section: int) -> None:
        for series in self._grids.values():
            if section in series.have:
                series.dirty.add(section)


@dataclass
class _Series:
    """One grid in all sections.

    Attributes
    ----------
    have : section -> its cells, a bit each
    bits : cell -> its bit
    """

    have: dict[int, int] = field(default_factory=dict)
    bits: dict[_Place, int] = field(default_factory=dict)
    dirty: set[int] = field(default_factory=set)
    _order: list[int] = field(default_factory=list)
    _gaps: list[int] = field(default_factory=list)
    _lacking: dict[int, int] = field(default_factory=dict)

    def add(self, section: int, place: _Place) -> None:
        if len(self.bits) > _MAX_CELLS:
            return
        bit = self.bits.setdefault(place, len(self.bits))
        if bit == _MAX_CELLS:
            for kept in (self.have, self.dirty, self._lacking, self._order, self._gaps):
                kept.clear()
            return
        before = self.have.get(section, 0)
        after = before | 1 << bit
        if after != before:
            self.have[section] = after
            self.dirty.add(section)

    def lacking(self, unfinished: set[int]) -> list[tuple[int, _Place]]:
        """Section and cell of each missing tile."""
        self._look_again(unfinished)
        places = list(self.bits)
        return [
            (section, places[bit])
            for section, lacking in self._lacking.items()
            if section not in unfinished
            for bit in _ones(lacking)
        ]

    def gaps(self) -> list[int]:
        """Missing sections, between two that have tiles of the grid."""
        self._sort()
        return self._gaps

    def _sort(self) -> None:
        if len(self._order) != len(self.have):
            self._order = sorted(self.have)
            self._gaps = _gaps(self._order)

    def _look_again(self, unfinished: set[int]) -> None:
        self._sort()
        places = {bisect_left(self._order, section) for section in self.dirty}
        self.dirty.clear()
        for at in {near for place in places for near in range(place - _EACH_SIDE, place + _EACH_SIDE + 1)}:
            if 0 <= at < len(self._order):
                section = self._order[at]
                if lacking := self._expected(at, unfinished) & ~self.have[section]:
                    self._lacking[section] = lacking
                else:
                    self._lacking.pop(section, None)

    def _expected(self, at: int, unfinished: set[int]) -> int:
        """The cells that most neighbours have, as bits; a cell that an unfinished one lacks may still come."""
        order = self._order
        near = order[max(at - _EACH_SIDE, 0) : at] + order[at + 1 : at + 1 + _EACH_SIDE]
        before = 0
        for section in order[max(at - _EACH_SIDE, 0) : at]:
            before |= self.have[section]
        after = 0
        for section in order[at + 1 : at + 1 + _EACH_SIDE]:
            after |= self.have[section]
        expected = 0
        for bit in _ones((before if at else after) & ~self.have[order[at]]):  # usually none
            votes = [self.have[section] >> bit & 1 for section in near]
            against = sum(not vote and section not in unfinished for vote, section in zip(votes, near, strict=True))
            if sum(votes) > against:
                expected |= 1 << bit
        return expected if at else expected & ~self._grown(self.have[order[at]], expected)

    def _grown(self, have: int, expected: int) -> int:
        """Of the cells that later sections have and the first lacks, those that look added to the plan, as bits.

        All of them if they are more than it has; else whole rows and columns of several cells, and several numbers
        beyond its last.
        """
        places = list(self.bits)
        had = [places[bit] for bit in _ones(have)]
        lacking = {bit: places[bit] for bit in _ones(expected & ~have)}
        if len(lacking) > len(had):
            return expected
        rows, cols = {row for row, _, _ in had}, {col for _, col, _ in had}
        last = max((tile for _, _, tile in had if tile is not None), default=-1)
        lines: dict[tuple[str, int | None], set[int]] = defaultdict(set)
        for bit, (row, col, tile) in lacking.items():
            if row not in rows:
                lines["row", row].add(bit)
            if col not in cols:
                lines["col", col].add(bit)
            if row is None and col is None and tile is not None and tile > last:
                lines["tiles", None].add(bit)
        grown = set().union(*(bits for bits in lines.values() if len(bits) > 1))
        return sum(1 << bit for bit in grown)


def _ones(bits: int) -> list[int]:
    return [at for at in range(bits.bit_length()) if bits >> at & 1]


def _gaps(order: list[int]) -> list[int]:
    """The numbers in each gap that has consecutive numbers before or after it."""
    steps = [after - before for before, after in pairwise(order)]
    found: list[int] = []
    for at, step in enumerate(steps):
        around = steps[max(at - 1, 0) : at] + steps[at + 1 : at + 2]
        if 1 < step <= _MAX_GAP and 1 in around:
            found.extend(range(order[at] + 1, order[at + 1]))
    return found
