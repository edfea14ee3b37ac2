"""Read every pixel of a file once: check that all of it decodes and is filled to its end, and hash it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from mhfd.contract import MhfdError
from mhfd.images import Tile, count_tiles, read_tile
from mhfd.scoring.tile import tile_sha256

BLANK_BYTES = 512  # zeros at the end by which a file that does not decode counts as not filled
JPEG_PADDING = 65_536  # zeros that some writers put after the end, to fill up the last block of the disk


@dataclass(frozen=True)
class PageFacts:
    """One tile of a finished file: its identity (`mhfd.scoring.tile.tile_sha256`) and (rows, cols)."""

    tile_sha256: str
    shape: tuple[int, int]


class BlankEndError(MhfdError):
    """A page ends in rows of exact zeros: a camera never writes them, a file created at its full size has them."""


def read_pages(file: Path, max_pixels: int, *, blank_ok: bool = False) -> tuple[PageFacts, ...]:
    """Decode each page of a file, one at a time; large ones by rows, in constant memory.

    Raises
    ------
    BlankEndError
        A page is not filled to its end, unless `blank_ok`.
    TileError
        A page cannot be read, or is not a tile.
    """
    return tuple(_read_page(file, page, max_pixels, blank_ok) for page in range(count_tiles(file)))


def ends_in_zeros(file: Path) -> bool:
    """True if the last bytes of a file are zero: cheap, for files that do not decode."""
    return not any(_last_bytes(file, max(1, min(BLANK_BYTES, file.stat().st_size // 8))))


def _read_page(file: Path, page: int, max_pixels: int, blank_ok: bool) -> PageFacts:
    tile = read_tile(file, page, max_pixels=max_pixels)
    if not blank_ok and _is_blank_at_end(file, tile):
        raise BlankEndError(f"{tile.path} ends in rows of zeros, like a file that is not filled yet")
    return PageFacts(tile_sha256(tile.pixels), tile.pixels.shape)


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
