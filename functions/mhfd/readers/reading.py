"""The one place that tells how many tiles are in a file, and reads tile n of it, whatever the format."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mhfd import images
from mhfd.contract import Acquisition, TileError, page_path
from mhfd.extras import MissingExtraError
from mhfd.images import DEFAULT_MAX_PIXELS, DEFAULT_MAX_RESIDENT_BYTES, Member, Source, Tile, grey_tile
from mhfd.images.faults import as_tile_errors
from mhfd.images.grey import check_size, corrupt
from mhfd.plugins import PluginError
from mhfd.readers.opening import reader_of
from mhfd.readers.protocol import Opened, Reader
from mhfd.text import counted

__all__ = ["count_tiles", "opened", "read_only_tile", "read_tile"]

MOST_TILES = 2**31
"""As many pages as a task can name; a header that declares more is damaged."""


def count_tiles(path: Source) -> int:
    """Number of tiles in a file, from its headers; of the formats of `mhfd.images` as told there.

    Raises
    ------
    TileError
        The file cannot be read, or no reader knows it.
    """
    if isinstance(path, Member) or (reader := _reader_of(path)) is None:
        return images.count_tiles(path)
    with _opened(reader, path) as file:
        return _count(file, path)


def read_tile(
    path: Source,
    index: int = 0,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    max_resident_bytes: int = DEFAULT_MAX_RESIDENT_BYTES,
) -> Tile:
    """Read one tile; of a file that holds several, only this tile's pixels are read. See `mhfd.images.read_tile`.

    Parameters
    ----------
    max_resident_bytes : larger pages of TIFF files stay in their file; tiles of other formats are held

    Raises
    ------
    TileError
        The file or tile is bad; code and message say how.
    """
    if isinstance(path, Member) or (reader := _reader_of(path)) is None:
        return images.read_tile(path, index, max_pixels=max_pixels, max_resident_bytes=max_resident_bytes)
    with _opened(reader, path) as file:
        return _tile(reader, file, path, index, _count(file, path), max_pixels)


def read_only_tile(path: Source, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Tile | int:
    """The tile of a file that holds one; of another, how many it holds. The file is opened once for both.

    Raises
    ------
    TileError
        As `count_tiles` and `read_tile`.
    """
    if isinstance(path, Member) or (reader := _reader_of(path)) is None:
        return images.read_only_tile(path, max_pixels=max_pixels)
    with _opened(reader, path) as file:
        count = _count(file, path)
        return count if count != 1 else _tile(reader, file, path, 0, count, max_pixels)


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Opened | None]:
    """The open file, for what its headers tell; None for the formats of `mhfd.images`. Every error is a `TileError`."""
    if (reader := _reader_of(path)) is None:
        yield None
        return
    with _opened(reader, path) as file:
        yield file


def _reader_of(path: str | os.PathLike[str]) -> Reader | None:
    try:
        return reader_of(os.fspath(path))
    except PluginError as error:
        raise TileError("missing_codec", f"{path} cannot be read: {error}") from error


@contextmanager
def _opened(reader: Reader, path: str | os.PathLike[str]) -> Iterator[Opened]:
    with as_tile_errors(path):
        _check_kind(reader, path)
        try:
            with reader.open(os.fspath(path)) as file:
                yield file
        except MissingExtraError as error:
            raise TileError("missing_codec", f"{path} cannot be read: {error}") from error


def _check_kind(reader: Reader, path: str | os.PathLike[str]) -> None:
    mode = Path(path).stat().st_mode
    if stat.S_ISDIR(mode) and not reader.folders:
        raise TileError("not_an_image", f"{path} is a folder; name the image files in it")
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # opening a pipe would wait for ever
        raise TileError("not_an_image", f"{path} is not an ordinary file; name an image file")


def _count(file: Opened, path: str | os.PathLike[str]) -> int:
    if not (count := len(file)):
        raise TileError("not_an_image", f"{path} holds no tiles; name a file with tiles in it")
    if count > MOST_TILES:
        raise TileError("unsupported", f"{path} declares more than {MOST_TILES} tiles; name a part of it")
    return count


def _tile(reader: Reader, file: Opened, path: str | os.PathLike[str], index: int, count: int, max_pixels: int) -> Tile:
    if not 0 <= index < count:
        has = counted(count, "tile")
        raise TileError("not_found", f"{path} has {has}, so there is no tile {index}; they count from 0")
    what = str(path) if count == 1 else page_path(str(path), index)
    frame = file.frame(index)
    check_size(what, *frame.shape, max_pixels)
    if frame.unpacked > 4 * max(max_pixels, 2**24):  # as for the tiles of a TIFF file
        raise corrupt(what, f"it is stored in pieces of {frame.unpacked} pixels")
    pixels = grey_tile(file.pixels(index), what, lossy=frame.lossy)
    if pixels.shape != frame.shape:
        raise corrupt(what, f"it unpacks to {pixels.shape} pixels instead of {frame.shape}")
    acquisition = Acquisition(format=reader.name, lossy=frame.lossy)
    return Tile(path=what, pixels=pixels, pixel_size_nm=frame.pixel_size_nm, acquisition=acquisition)
