"""Image file -> grey tile. A bad file raises `TileError`, before memory is spent on its pixels."""

from __future__ import annotations

import logging
import math
import os
import stat
import struct
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from PIL import BmpImagePlugin, ImageFile, JpegImagePlugin, PngImagePlugin

from mhfd.contract import Acquisition, TileError
from mhfd.images import metadata, plain, tiff
from mhfd.images.faults import as_tile_errors
from mhfd.images.grey import (
    Array,
    check_colour,
    check_palette,
    check_range,
    check_size,
    coloured,
    corrupt,
    grey_channel,
    grey_tile,
    kernel_dtype,
    through_palette,
    truncated,
    with_extremes,
)
from mhfd.images.jpeg import take_apart
from mhfd.images.member import File, Member, size_of
from mhfd.images.picture import Box
from mhfd.kernel.pixels import BLOCK_BYTES, Pixels

# Twice the largest frame that electron microscopes write (32768 x 32768); 2 GiB at 8 bit, 16 GiB as float64.
DEFAULT_MAX_PIXELS = 2**31

# Larger tiles stay in their file: a few at once must fit into a small machine, beside the kernel's own memory.
DEFAULT_MAX_RESIDENT_BYTES = 2**28

Format = Literal["tiff", "png", "bmp", "jpeg"]
Source: TypeAlias = "str | os.PathLike[str] | Member"

_MAGIC: dict[bytes, Format] = {
    b"II*\0": "tiff", b"MM\0*": "tiff", b"II+\0": "tiff", b"MM\0+": "tiff",
    b"\x89PNG\r\n\x1a\n": "png", b"BM": "bmp", b"\xff\xd8\xff": "jpeg",
}  # fmt: skip
_BMP_HEADERS = {struct.pack("<I", size) for size in (12, 40, 52, 56, 64, 108, 124)}


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One grey tile and the metadata of its file.

    Attributes
    ----------
    path : the file as given; page k of several is "stack.tif#page=k", counted from 0
    pixels : (rows, cols) integers of up to 16 bits, float32 or float64; native byte order, finite. An array, or for
        a large TIFF page `TileRows`
    pixel_size_nm : side of a pixel in nanometres, None where the file does not say
    acquisition : format, lossiness, and what the microscope's header says
    picture : (top, left, rows, cols) of what the header calls picture; None: all, or it does not say
    """

    path: str
    pixels: Pixels
    pixel_size_nm: float | None
    acquisition: Acquisition
    picture: Box | None = None


def count_tiles(path: Source) -> int:
    """Number of tiles in an image file, from its headers (and a few rows, where one page may be a copy of another).

    Each page of a TIFF file is a tile, except those marked as masks or as smaller copies of others, and those whose
    size and content show that they are such copies.

    Raises
    ------
    TileError
        The file cannot be read, or is not an image.
    """
    with _opened(path) as (file, format_):
        if format_ != "tiff" or _plain_page(file, DEFAULT_MAX_PIXELS, DEFAULT_MAX_RESIDENT_BYTES):
            return 1
        return _count(file, str(path))


class TileRows:
    """A tile that stays in its file: `Pixels` whose slices are read, decoded and checked when asked for.

    No file is open between slices, so there is nothing to close. Threads may take slices at once. Memory holds
    the rows asked for and one row of the file's strips or tiles; a file compressed in one piece is unpacked whole.

    A slice that shows a bad tile raises `TileError`, as `read_tile` would have.
    """

    def __init__(self, source: tiff.PageRows, file: File, path: str, what: str, *, lossy: bool) -> None:
        rows, cols, channels = source.shape
        self.shape = rows, cols
        self.dtype = kernel_dtype(source.dtype)
        self.size = rows * cols
        self._source, self._path, self._what = source, path, what
        self._low, self._high, self._lock = math.inf, -math.inf, threading.Lock()
        # JPEG may colour a share of the whole tile's pixels, so one slice cannot decide.
        self._known_grey = lossy and channels >= 3 and source.dtype.kind == "u"
        if self._known_grey:
            step = max(1, BLOCK_BYTES // (cols * channels * source.dtype.itemsize))
            blocks = (source.read(file, first, min(first + step, rows)) for first in range(0, rows, step))
            check_colour(sum(coloured(block, True) for block in blocks), self.shape, what, True)

    def __getitem__(self, rows: slice, /) -> Array:
        first, end, step = rows.indices(self.shape[0])
        if step != 1:
            raise ValueError(f"rows are read in order, not in steps of {step}")
        if end <= first:
            return np.empty((0, self.shape[1]), self.dtype)
        with _opened(self._path) as (file, _):
            with _silent_tifffile():
                pixels = self._source.read(file, first, end)
            tile, low, high = with_extremes(grey_channel(pixels) if self._known_grey else pixels, self._what)
            with self._lock:
                self._low, self._high = min(self._low, low), max(self._high, high)
            check_range(self._low, self._high, self._what)
            return tile


def read_tile(
    path: Source,
    index: int = 0,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    max_resident_bytes: int = DEFAULT_MAX_RESIDENT_BYTES,
) -> Tile:
    """Read one tile; of a stack, only this tile's pixels are read.

    Parameters
    ----------
    path : TIFF (BigTIFF, OME-TIFF), PNG, BMP or JPEG, recognised by content, not by name; or a `Member` of a file
    index : which of the file's `count_tiles`, from 0
    max_pixels : larger tiles are refused before they are decoded
    max_resident_bytes : larger TIFF pages are not held in memory; their rows are read when asked for (`TileRows`).
        PNG, BMP and JPEG files, and members of files, are read whole, whatever their size.

    Raises
    ------
    TileError
        The file or tile is bad; code and message say how. If a page is not held, bad pixels raise it in the first
        slice that shows them.
    """
    known = _read_known(path, max_pixels, max_resident_bytes) if index == 0 else None
    if isinstance(known, Tile):
        return known
    with _opened(path, known) as (file, format_):
        if index < 0 or (index > 0 and format_ != "tiff"):
            raise TileError("not_found", f"{path} has no tile {index}; tiles count from 0, and only TIFF has several")
        if format_ != "tiff":
            return _read_with_pillow(file, str(path), format_, max_pixels)
        at_most = _resident(path, max_resident_bytes)
        if index == 0 and (tile := _read_plain(file, str(path), max_pixels, at_most)):
            return tile
        return _read_tiff(file, str(path), index, max_pixels, at_most)


def read_only_tile(path: Source, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Tile | int:
    """The tile of a file that holds one; of another, how many it holds. The file is opened once for both.

    Raises
    ------
    TileError
        As `count_tiles` and `read_tile`.
    """
    known = _read_known(path, max_pixels, DEFAULT_MAX_RESIDENT_BYTES)
    if isinstance(known, Tile):
        return known
    with _opened(path, known) as (file, format_):
        if format_ != "tiff":
            return _read_with_pillow(file, str(path), format_, max_pixels)
        at_most = _resident(path, DEFAULT_MAX_RESIDENT_BYTES)
        if tile := _read_plain(file, str(path), max_pixels, at_most):
            return tile
        if (count := _count(file, str(path))) != 1:
            return count
        return _read_tiff(file, str(path), 0, max_pixels, at_most)


def _resident(path: Source, max_resident_bytes: int) -> int:
    """A member's rows cannot be read later one by one: its file is in memory only while it is open."""
    return sys.maxsize if isinstance(path, Member) else max_resident_bytes


def _plain_page(file: File, max_pixels: int, max_resident_bytes: int) -> plain.PlainPage | None:
    return plain.plain_page(file, size_of(file), max_pixels, max_resident_bytes)


def _read_plain(file: File, path: str, max_pixels: int, max_resident_bytes: int) -> Tile | None:
    """The tile of a plain TIFF file; None where tifffile has to look at it."""
    page = _plain_page(file, max_pixels, max_resident_bytes)
    if page is None or (stored := page.pixels()) is None:
        return None
    return _plain_tile(path, stored, page.header(path))


def _read_known(path: Source, max_pixels: int, max_resident_bytes: int) -> Tile | BufferedReader | None:
    """The tile of a file with a header that is known; of another, the file if it is open by now."""
    if isinstance(path, Member):
        return None
    try:
        found = plain.known_file(os.fspath(path), max_pixels, max_resident_bytes)
        return _plain_tile(str(path), *found) if isinstance(found, tuple) else found
    except MemoryError:
        return None


def _plain_tile(path: str, stored: Array, told: plain.Told) -> Tile:
    pixel_size_nm, acquisition, picture = told
    pixels = grey_tile(stored, path)
    return Tile(path=path, pixels=pixels, pixel_size_nm=pixel_size_nm, acquisition=acquisition, picture=picture)


def _count(file: File, path: str) -> int:
    with _silent_tifffile():
        return tiff.count(file, path)


def _read_tiff(file: File, path: str, index: int, max_pixels: int, max_resident_bytes: int) -> Tile:
    with _silent_tifffile():
        page = tiff.read(file, path, index, max_pixels, max_resident_bytes)
    what = f"{path}#page={index}" if page.one_of_several else path
    lossy = page.acquisition.lossy
    pixels: Pixels
    if isinstance(page.pixels, tiff.PageRows):
        pixels = TileRows(page.pixels, file, path, what, lossy=lossy)
    else:
        pixels = grey_tile(page.pixels, what, lossy=lossy)
    return Tile(
        path=what,
        pixels=pixels,
        pixel_size_nm=page.pixel_size_nm,
        acquisition=page.acquisition,
        picture=page.picture,
    )


@contextmanager
def _opened(path: Source, file: File | None = None) -> Iterator[tuple[File, Format]]:
    """The open file and its format; inside the block every error becomes a `TileError`.

    Parameters
    ----------
    file : if it is open by now
    """
    with as_tile_errors(path):
        if file is None:
            place = Path(path.path if isinstance(path, Member) else path)
            _check_file(place)
            file = path.read() if isinstance(path, Member) else place.open("rb")
        with file:
            yield file, _format(file, str(path))


def _check_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except ValueError as exc:  # a null character, or one that this system's names cannot have
        raise TileError("not_found", f"{str(path)!r} cannot be the name of a file; check the path") from exc
    if stat.S_ISDIR(mode):
        os.scandir(path).close()  # raises the reason if it may not be listed
        raise TileError("not_an_image", f"{path} is a folder; name the image files in it")
    if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
        raise TileError("not_an_image", f"{path} is not an ordinary file; name an image file")


@contextmanager
def _silent_tifffile() -> Iterator[None]:
    """Keep tifffile's log of oddities in a file off stderr, for this thread: `TileError` reports the errors."""
    logger, here = logging.getLogger("tifffile"), threading.get_ident()

    def from_elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != here

    logger.addFilter(from_elsewhere)
    try:
        yield
    finally:
        logger.removeFilter(from_elsewhere)


def _format(file: File, path: str) -> Format:
    head = file.read(18)
    file.seek(0)
    if not head:
        raise TileError("empty_file", f"{path} is empty; wait until it is written, or take the tile again")
    for magic, format_ in _MAGIC.items():
        # "BM" also begins many texts; in a BMP a header of one of a few sizes follows.
        if head.startswith(magic) and (format_ != "bmp" or head[14:] in _BMP_HEADERS):
            return format_
    raise TileError("not_an_image", f"{path} is not TIFF, PNG, BMP or JPEG inside; save it as one of these")


def _read_with_pillow(file: File, path: str, format_: Format, max_pixels: int) -> Tile:
    # The plug-ins directly: Image.open guesses the format again, and has a size limit for the whole process.
    image: ImageFile.ImageFile
    if format_ == "png":
        _check_png(file, path, max_pixels)
        image = PngImagePlugin.PngImageFile(file)
    elif format_ == "bmp":
        image = BmpImagePlugin.BmpImageFile(file)
    else:
        image = JpegImagePlugin.JpegImageFile(file)
    rows, cols = image.height, image.width
    check_size(path, rows, cols, max_pixels)
    size = size_of(file)
    if format_ == "jpeg" and rows * cols > 1024 * size:  # at least a bit for each 8 x 8 block
        raise truncated(path, f"{size} bytes cannot hold {rows} x {cols} pixels")
    if image.mode == "CMYK":
        raise TileError("colour", f"{path} is a CMYK colour image; convert it to grey")
    lossy = format_ == "jpeg"
    pixels = _grey_bands(image, path, lossy=lossy)
    if format_ == "png":
        _check_png_is_full(file, path, pixels)
    elif format_ == "jpeg":
        _check_jpeg_is_full(file, path, pixels)
    dpi = image.info.get("dpi", (None, None))
    pixel_size_nm, acquisition = metadata.from_picture(path, dpi=dpi, shape=(rows, cols), format_=format_, lossy=lossy)
    return Tile(path=path, pixels=pixels, pixel_size_nm=pixel_size_nm, acquisition=acquisition)


def _grey_bands(image: ImageFile.ImageFile, path: str, *, lossy: bool) -> Array:
    """The grey pixels of an image, converted in bands: beside Pillow's copy memory holds only the result."""
    cols, rows = image.size
    palette = np.asarray(image.getpalette("RGB"), np.uint8).reshape(-1, 3) if image.mode == "P" else None
    tile: Array | None = None
    colours = 0
    for here, band in _bands(image):
        if palette is not None:
            band, found = through_palette(band, palette, path)
            colours += int(found.sum())
        elif image.mode == "I":  # what older Pillow makes of 16-bit PNG
            band = band.astype(np.uint16)
        elif band.ndim == 3 and band.shape[2] >= 3:
            colours += coloured(band, lossy)
            band = grey_channel(band)
        grey = grey_tile(band, path)
        if tile is None:
            tile = np.empty((rows, cols), grey.dtype)
        tile[here] = grey
    assert tile is not None  # `check_size` refuses images without rows
    if palette is not None:
        check_palette(colours, tile.shape, path)
    else:
        check_colour(colours, tile.shape, path, lossy)
    return tile


def _bands(image: ImageFile.ImageFile) -> Iterator[tuple[slice, Array]]:
    cols, rows = image.size
    step = max(1, BLOCK_BYTES // (4 * cols))
    for top in range(0, rows, step):
        bottom = min(top + step, rows)
        yield slice(top, bottom), np.asarray(image.crop((0, top, cols, bottom)))


def _check_jpeg_is_full(file: File, path: str, pixels: Array) -> None:
    """Refuse a stream that was cut: see `mhfd.images.jpeg`."""
    file.seek(0)
    stream = take_apart(file.read())
    if stream.fault:
        raise truncated(path, stream.fault)
    for other in stream.filled():
        for here, band in _bands(JpegImagePlugin.JpegImageFile(BytesIO(other))):
            if not np.array_equal(grey_channel(band) if band.ndim == 3 else band, pixels[here]):
                raise truncated(path, "its pixels end before its last row")


def _check_png(file: File, path: str, max_pixels: int) -> None:
    """Refuse faults that Pillow ignores (a lost end, wrong check sums) or only warns of (animations)."""
    size = size_of(file)
    file.seek(8)
    kind = b""
    while kind != b"IEND":
        if len(head := file.read(8)) < 8:
            raise truncated(path, "its last chunk is missing")
        length, kind = struct.unpack(">I4s", head)
        if file.tell() + length + 4 > size:
            raise truncated(path, "a chunk goes on beyond the end of the file")
        body, check = file.read(length), file.read(4)
        if kind[0] < 0x60 and zlib.crc32(kind + body) != int.from_bytes(check, "big"):  # upper case: needed to decode
            raise corrupt(path, "a check sum is wrong")
        if kind == b"acTL":
            raise TileError("unsupported", f"{path} is an animation; save each frame as a file of its own")
        if kind == b"IHDR":
            cols, rows, depth, colour = struct.unpack(">IIBB", body[:10])
            check_size(path, rows, cols, max_pixels)
            if rows * cols * depth // 8 > 1032 * size:  # no deflate stream unpacks to more
                raise truncated(path, f"{size} bytes cannot hold {rows} x {cols} pixels")
            if depth == 16 and colour != 0:  # Pillow would silently keep the upper 8 bits
                raise TileError("unsupported", f"{path} is a 16-bit PNG with colour or alpha; save it as 16-bit grey")
    file.seek(0)


# Pixels of the seven passes of an interlaced PNG: first column and row, steps between them.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def _check_png_is_full(file: File, path: str, pixels: Array) -> None:
    """Refuse a stream that ends early by the rules: Pillow leaves the rows that it lacks 0."""
    file.seek(16)
    cols, rows, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", file.read(13))
    if colour != 3 and not interlaced and pixels[-1].any():  # rows come in order, and the last one is there
        return
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = ((len(range(left, cols, across)), len(range(top, rows, down))) for left, top, across, down in passes)
    needed = sum((1 + -(-wide * bits // 8)) * high for wide, high in sizes if wide)
    if (found := _inflated_bytes(file)) < needed:
        raise truncated(path, f"its pixels unpack to {found} of {needed} bytes")


def _inflated_bytes(file: File) -> int:
    """What the pixels of a PNG file unpack to, counted a few at a time."""
    stream, count = zlib.decompressobj(), 0
    file.seek(8)
    while True:
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"IEND":
            return count
        end = file.tell() + length
        while kind == b"IDAT" and not stream.eof and file.tell() < end:
            data = file.read(min(2**20, end - file.tell()))
            while data and not stream.eof:
                count += len(stream.decompress(data, 2**20))
                data = stream.unconsumed_tail
        file.seek(end + 4)
