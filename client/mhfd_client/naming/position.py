"""A tile's position in its run."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Position:
    """A tile's position as its name gives it; None for what it lacks.

    Attributes
    ----------
    section : number of the slice
    grid : number of the grid, region or mFOV within the section
    row, col : place in the grid
    tile : number in the grid, if tiles have no row and column
    """

    section: int | None = None
    grid: int | None = None
    row: int | None = None
    col: int | None = None
    tile: int | None = None

    @property
    def cell(self) -> tuple[int | None, int | None, int | None, int | None]:
        """The position within a section, comparable across sections."""
        return (self.grid, self.row, self.col, self.tile)

    def __str__(self) -> str:
        """For people: "section 3, row 0, col 2"."""
        return ", ".join(f"{key} {value}" for key, value in asdict(self).items() if value is not None)
