"""Where a tile lies in its run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Position:
    """What a tile's name tells of its place; None where it is silent.

    Attributes
    ----------
    section : number of the slice
    grid : number of the grid, region or mFOV within the section
    row, col : place in the grid
    tile : number in the grid, where tiles are numbered, not placed
    """

    section: int | None = None
    grid: int | None = None
    row: int | None = None
    col: int | None = None
    tile: int | None = None

    @property
    def cell(self) -> tuple[int | None, int | None, int | None, int | None]:
        """The place in a section, the same in every section."""
        return (self.grid, self.row, self.col, self.tile)
