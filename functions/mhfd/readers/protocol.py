"""What a reader is: the part of mhfd that a facility writes to add a format (docs/formats.md)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # suffixes are asked for by commands that do without NumPy
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a tile lies, as its file tells it; None for what the file does not tell. Numbers count from 0.

    Attributes
    ----------
    section : number of the slice, along z
    grid : number of the picture within the section, where there are several: channels, times, images of a plate
    row, col : place in the grid
    """

    section: int | None = None
    grid: int | None = None
    row: int | None = None
    col: int | None = None


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What is known of a tile before its pixels are read.

    Attributes
    ----------
    shape : (rows, cols)
    pixel_size_nm : side of a pixel in nanometres, None where the file does not say
    lossy : the pixels went through JPEG or the like
    place : where it lies
    unpacked : pixels that have to be unpacked to read it, where those are more than its own
    """

    shape: tuple[int, int]
    pixel_size_nm: float | None = None
    lossy: bool = False
    place: Place = Place()
    unpacked: int = 0


class Opened(Protocol):
    """An open file. Tiles count from 0, and keep their numbers as long as the file stays as it is."""

    def __len__(self) -> int:
        """How many tiles the file holds, from its headers."""

    def frame(self, index: int) -> Frame:
        """What the headers tell of a tile; no pixels are read."""

    def pixels(self, index: int) -> NDArray[Any]:
        """(rows, cols) integers or floats of a tile, in any byte order. No other tile is read."""


class Reader(Protocol):
    """Reads one format. Several threads open files at once.

    Whatever it raises becomes the failed row of the tile; an `mhfd.TileError` keeps its code and message.

    Attributes
    ----------
    name : of the format, in the results' `acquisition.format`
    folders : True where the "file" is a folder: such a folder is one input, and nobody looks for images in it
    """

    name: str
    folders: bool

    def open(self, path: str) -> AbstractContextManager[Opened]:
        """Open a file."""
