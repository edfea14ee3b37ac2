"""Read every pixel of a file once: check that all of it decodes and is filled to its end, and hash it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import tifffile

from mhfd.contract import ErrorCode, TileError
from mhfd.images import Tile
from mhfd.kernel.pixels import Pixels, row_blocks
from mhfd.readers.reading import count_tiles, read_only_tile, read_tile
from mhfd.scoring.identity import tile_sha256

BLANK_BYTES = 512  # zeros at the end by which a file that does not decode counts as not filled
OF_THE_FILE: tuple[ErrorCode, ...] = ("not_found", "permission_denied", "read_failed", "empty_file", "not_an_image")
JPEG_PADDING = 65_536  # zeros that some writers put after the end, to fill up the last block of the disk


@dataclass(frozen=True)
class PageFacts:
    """One tile of a finished file.

    Attributes
    ----------
    tile_sha256 : its identity (`mhfd.scoring.identity.tile_sha256`)
    shape : (rows, cols)
    constant : all its pixels are the same
    """

    tile_sha256: str
    shape: tuple[int, int]
    constant: bool = False


@dataclass(frozen=True)
class BadPage:
    """A page that is not a tile, or cannot be read.

    Attributes
    ----------
    blank_end : it was read, and is not filled to its end
    """

    error: TileError
    blank_end: bool = False


Page: TypeAlias = PageFacts | BadPage


def read_pages(file: Path, max_pixels: int, *, blank_ok: bool = False) -> tuple[Page, ...]:
    """Decode each page of a file, one at a time; large ones by rows, in constant memory.

    A page that ends in rows of exact zeros is bad, unless `blank_ok`: a camera never writes them, and a file created
    at its full size has them.

    Raises
    ------
    TileError
        The file as a whole cannot be read now, or is not an image.
    """
    try:  # most files hold one tile: those are opened once
        found = read_only_tile(file, max_pixels=max_pixels)
        if isinstance(found, Tile):
            return (_page(file, found, blank_ok),)
    except TileError:  # of the file, or of one page: below
        pass
    return tuple(_read_page(file, page, max_pixels, blank_ok) for page in range(count_tiles(file)))


def ends_in_zeros(file: Path) -> bool:
    """True if the last bytes of a file are zero: cheap, for files that do not decode."""
    return not any(_last_bytes(file, max(1, min(BLANK_BYTES, file.stat().st_size // 8))))


def _read_page(file: Path, page: int, max_pixels: int, blank_ok: bool) -> Page:
    try:
        return _page(file, read_tile(file, page, max_pixels=max_pixels), blank_ok)
    except TileError as error:
        if error.code in OF_THE_FILE:
            raise
        return BadPage(error)


def _page(file: Path, tile: Tile, blank_ok: bool) -> Page:
    if not blank_ok and _is_blank_at_end(file, tile):
        message = f"{tile.path} ends in rows of zeros, like a file that is not filled yet; `mhfd retry` accepts it"
        return BadPage(TileError("truncated", message), blank_end=True)
    return PageFacts(tile_sha256(tile.pixels), tile.pixels.shape, _is_constant(tile.pixels))


def _is_constant(pixels: Pixels) -> bool:
    first = pixels[0:1][0, 0]
    return all(bool(np.all(block == first)) for _, block in row_blocks(pixels))


def _is_blank_at_end(file: Path, tile: Tile) -> bool:
    """True if the last rows are blank: 8, or a 32nd."""
    format_ = tile.acquisition.format
    if tile.acquisition.lossy:  # what was not written decodes to some grey, so look at the bytes
        return _lacks_jpeg_end(file) if format_ == "jpeg" else ends_in_zeros(file)
    rows = tile.pixels.shape[0]
    band = min(rows, max(8, -(-rows // 32)))
    last = tile.pixels[rows - band : rows]
    if format_ == "bmp":  # is written from the bottom up, with few exceptions
        return not last.any() or not tile.pixels[:band].any()
    constant = bool(np.all(last == last[0, 0]))
    return constant and (last[0, 0] == 0 or (format_ == "tiff" and _white_is_zero(file)))


def _white_is_zero(file: Path) -> bool:
    try:
        with tifffile.TiffFile(file) as opened:
            tag = opened.pages.first.tags.get(262)
            return tag is not None and int(tag.value) == 0
    # tifffile raises nearly anything. The file was read a moment ago, so it is being replaced, which the gate will see.
    except Exception:
        return False


def _lacks_jpeg_end(file: Path) -> bool:
    end = _last_bytes(file, JPEG_PADDING)
    return end.endswith(b"\0") and not end.rstrip(b"\0").endswith(b"\xff\xd9")


def _last_bytes(file: Path, count: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(max(0, opened.seek(0, os.SEEK_END) - count))
        return opened.read()
