"""Where tiles lie on the map: a section, and a number within it."""

from __future__ import annotations

from collections.abc import Iterable

from mhfd_client.views.page.columns import NOWHERE

IN_A_LINE = 100
"""Tiles without a section are laid in lines of so many."""

Cell = tuple[int | None, int | None, int | None, int | None]
"""As `Position.cell`."""


class Places:
    """Cells -> their numbers within a section.

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

    def learn(self, cells: Iterable[Cell]) -> None:
        """Number these cells."""
        new = {cell for cell in set(cells) - self._numbers.keys() if any(each is not None for each in cell)}
        if not new:
            return
        ordered = sorted(new, key=_in_order)
        if self._cells and _in_order(ordered[0]) < _in_order(self._cells[-1]):
            self._cells = sorted([*self._cells, *ordered], key=_in_order)
            self.version += 1
        else:
            self._cells += ordered
        self._numbers = {cell: i for i, cell in enumerate(self._cells)}

    def place(self, n: int, section: int | None, cell: Cell) -> tuple[int, int]:
        """Section and number of a tile; `NOWHERE` for what does not fit."""
        if (number := self._numbers.get(cell)) is not None:
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


def label(cell: Cell) -> str:
    """A place within a section, for people: "r0 c1", "g2 t17"."""
    return " ".join(f"{letter}{value}" for letter, value in zip("grct", cell, strict=True) if value is not None)
