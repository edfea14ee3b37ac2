"""TIFF file -> the pixels of one page. This module checks the header, tifffile decodes the pixels."""

from __future__ import annotations

import importlib.util
import lzma
import math
import os
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import tifffile

from mhfd.contract import Acquisition, TileError
from mhfd.images import metadata
from mhfd.images.grey import (
    Array,
    check_colour,
    check_palette,
    check_size,
    coloured,
    corrupt,
    grey_channel,
    kernel_dtype,
    missing_codec,
    through_palette,
    truncated,
)
from mhfd.images.jpeg import FILLERS, take_apart
from mhfd.images.levels import ReadRows, is_copy, times_smaller
from mhfd.images.member import File, size_of
from mhfd.images.metadata.others import imagej_planes
from mhfd.images.picture import Box, in_header
from mhfd.text import counted

# Limits on what a few header bytes may declare; real files stay far below.
_MAX_TAGS = 4096
_MAX_TAG_BYTES = 2**28
_MAX_STRIPS = 2**20

_PREVIEW_ROWS = 256  # decoded at a time, to see if a page is in colour

# JPEG, JPEG 2000, JPEG XR, JPEG XL, WebP, LERC. Most have a lossless variant too: a needless caution costs less.
_LOSSY = {6, 7, 33007, 34892, 33003, 33004, 33005, 34712, 22610, 34934, 50002, 52546, 34927, 50001, 34887}

_JPEG, _JPEG_XR = {6, 7, 33007, 34892}, {22610, 34934}

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


@dataclass(frozen=True, kw_only=True)
class PagePixels:
    """One page as a viewer shows it: (rows, cols) or (rows, cols, channels), not yet through `grey_tile`.

    Attributes
    ----------
    picture : the part that its header calls picture; None: all
    """

    pixels: Array | PageRows
    pixel_size_nm: float | None
    acquisition: Acquisition
    one_of_several: bool
    picture: Box | None


@dataclass(frozen=True)
class _Chain:
    """The pages of a file that are tiles, as (place in the chain, offset in the file), up to the first fault."""

    tiles: tuple[tuple[int, int], ...]
    broken: TileError | None


@dataclass(frozen=True)
class _Ifd:
    """A page: its place in the chain, its offset in the file, (rows, cols), and how its header says to show it.

    Attributes
    ----------
    photometric : 0 and 1 are grey
    bits : of a pixel; 0 where the page has several samples
    """

    place: int
    offset: int
    size: tuple[int, int]
    photometric: int
    bits: int


def count(file: File, path: str) -> int:
    """Number of tiles in an open TIFF file."""
    chain = _chain_of(file, path)
    _check_some(chain, path)
    return _planes(_open(file), file, path) if _is_single(chain) else len(chain.tiles)


def read(file: File, path: str, index: int, max_pixels: int, max_resident_bytes: int) -> PagePixels:
    """Decode tile `index` of an open TIFF file, and no other; see `images.read_tile`."""
    chain = _chain_of(file, path)
    if not 0 < index < len(chain.tiles):  # only reading the first tile reports a broken chain
        _check_some(chain, path)
    tif = _open(file)
    planes = _planes(tif, file, path) if _is_single(chain) else 1
    tiles = max(len(chain.tiles), planes)
    if index >= tiles:
        has = counted(tiles, "tile")
        raise TileError("not_found", f"{path} has {has}, so there is no tile {index}; they count from 0")
    place, offset = chain.tiles[0 if planes > 1 else index]
    tif.filehandle.seek(offset)  # tif.pages would visit every earlier page again
    page = tifffile.TiffPage(tif, index=place)
    if int(page.compression) == 1:
        page.predictor = 1  # left over by a program that unpacked the file; libtiff, and so most viewers, ignore it
    if planes > 1:
        page.dataoffsets = (page.dataoffsets[0] + index * page.nbytes,)
    _check_page(page, file, path, max_pixels)
    large = _resident_bytes(page) > max_resident_bytes and _has_rows(page)
    pixels = PageRows(page, file, path) if large else _whole(page, file, path)
    header = metadata.Page(page=page, first=tif.pages.first, ifd=page.index, path=path)
    pixel_size_nm, acquisition = metadata.from_tiff(header, lossy=int(page.compression) in _LOSSY)
    return PagePixels(
        pixels=pixels,
        pixel_size_nm=pixel_size_nm,
        acquisition=acquisition,
        one_of_several=tiles > 1,
        picture=in_header(page, tif.pages.first),
    )


class PageRows:
    """A page too large to hold, decoded some rows at a time.

    No file stays open: `read` takes one, so nothing needs closing, and threads may read at once.

    Attributes
    ----------
    shape : rows, cols, channels
    dtype : of what `read` returns
    """

    def __init__(self, page: tifffile.TiffPage, file: File, path: str) -> None:
        self._planes, _, rows, cols, self._samples = page.shaped
        self.shape = (rows, cols, self._planes * self._samples)
        self.dtype = np.dtype(page.dtype)
        self._page, self._path, self._state = page, path, _state(file)
        if page.is_contiguous and len(page.dataoffsets) == 1:
            page.databytecounts = (page.nbytes,)  # some writers get it wrong
        self._chunk_rows = page.tilelength if page.is_tiled else page.rowsperstrip
        self._coloured = np.zeros(rows, np.int64)  # pixels of each row that have a coloured entry of the palette
        self._kept: tuple[int, Array] | None = None  # number and pixels of the row of chunks last read in part
        _ = page.decode, page.colormap  # tifffile reads tags lazily, when the file may be closed

    def read(self, file: File, first: int, end: int) -> Array:
        """Rows [first, end) as `_as_shown`: (n, cols) or (n, cols, channels)."""
        if _state(file) != self._state:
            raise TileError("read_failed", f"{self._path} was changed while it was read; score it when it is complete")
        pixels = self._stored(file, first, end) if self._page.is_final else self._decoded(file, first, end)
        squeezed = {"YX": pixels[0, ..., 0], "YXS": pixels[0], "SYX": pixels[..., 0]}
        shown, self._coloured[first:end] = _as_shown(squeezed[self._page.axes], self._page, self._path)
        check_palette(int(self._coloured.sum()), self.shape[:2], self._path)
        return shown

    def _empty(self, rows: int) -> Array:
        """An array as tifffile orders a page: (planes, rows, cols, samples), planes or samples being 1."""
        return np.empty((self._planes, rows, self.shape[1], self._samples), self.dtype)

    def _stored(self, file: File, first: int, end: int) -> Array:
        """Rows stored uncompressed and contiguous in the file."""
        # Read, not mapped: a failing share or a file cut short then raises an error, and does not kill the process.
        pixels = self._empty(end - first)
        row_bytes = pixels[0, 0].nbytes
        for plane, part in enumerate(pixels):
            file.seek(self._page.dataoffsets[0] + (plane * self.shape[0] + first) * row_bytes)
            if file.readinto(part.reshape(-1).view(np.uint8)) < part.nbytes:
                raise truncated(self._path, "the pixels go on beyond the end")
        stored = self.dtype.newbyteorder(self._page.parent.byteorder)
        return pixels if stored.isnative else pixels.byteswap(inplace=True)

    def _decoded(self, file: File, first: int, end: int) -> Array:
        """Rows from the strips or tiles that cover them."""
        pixels, kept = self._empty(end - first), self._kept
        bands: dict[int, Array] = {}  # target of each row of chunks: in place if all of it is asked for
        begun: list[tuple[int, Array]] = []
        for number in range(first // self._chunk_rows, -(-end // self._chunk_rows)):
            top, bottom = number * self._chunk_rows, min((number + 1) * self._chunk_rows, self.shape[0])
            if first <= top and bottom <= end:
                bands[number] = pixels[:, top - first : bottom - first]
            elif kept and kept[0] == number:
                begun.append(kept)
            else:
                bands[number] = self._empty(bottom - top)
                begun.append((number, bands[number]))
        self._decode(file, bands)
        for number, band in begun:
            top = number * self._chunk_rows
            low, high = max(first, top), min(end, top + band.shape[1])
            pixels[:, low - first : high - first] = band[:, low - top : high - top]
            self._kept = number, band
        return pixels

    def _decode(self, file: File, bands: dict[int, Array]) -> None:
        page, lock = self._page, Lock()
        down, across = -(-self.shape[0] // self._chunk_rows), page.chunked[-2 if self._samples > 1 else -1]

        def decode(chunk: int) -> None:
            offset, length = page.dataoffsets[chunk], page.databytecounts[chunk]
            with lock:
                file.seek(offset)
                data = file.read(length)
            segment, (plane, _, top, left, _), (_, _, width, _) = _segment(page, data, chunk, self._path)
            band = bands[top // self._chunk_rows][plane]
            band[:, left : left + width] = segment[0, : len(band), : self.shape[1] - left]

        chunks = [
            (plane * down + number) * across + column
            for plane in range(self._planes)
            for number in bands
            for column in range(across)
        ]
        if page.maxworkers < 2 or len(chunks) < 2:
            for chunk in chunks:
                decode(chunk)
            return
        with ThreadPoolExecutor(page.maxworkers) as pool:
            for _ in pool.map(decode, chunks):
                pass


def _whole(page: tifffile.TiffPage, file: File, path: str) -> Array:
    if int(page.compression) in _JPEG | _JPEG_XR and _has_rows(page):  # `_segment` looks at their strips
        return PageRows(page, file, path).read(file, 0, page.imagelength)
    try:
        pixels = page.asarray()
    except tifffile.TiffFileError as exc:
        raise _cut(exc, path) from exc
    if pixels.shape != page.shape:
        raise corrupt(path, f"it unpacks to {pixels.shape} pixels instead of {page.shape}")
    shown, found = _as_shown(pixels, page, path)
    check_palette(int(found.sum()), page.shape, path)
    return shown


def _segment(page: tifffile.TiffPage, data: bytes, chunk: int, path: str) -> Any:
    """One strip or tile as tifffile decodes it: pixels, their place and shape."""

    def decoded(data: bytes) -> Any:
        return page.decode(data, chunk, jpegtables=page.jpegtables)

    try:
        found = decoded(data)
    except tifffile.TiffFileError as exc:
        raise _cut(exc, path) from exc
    assert found[0] is not None  # None only if there are no data, which `_check_strips` refuses
    others: Iterable[bytes] = ()  # the same picture if the strip is whole: see `mhfd.images.jpeg`
    if int(page.compression) in _JPEG:
        stream = take_apart(data)
        if stream.fault:
            raise truncated(path, stream.fault)
        others = stream.filled()
    elif int(page.compression) in _JPEG_XR:
        others = (data + filler for filler in FILLERS)
    if any(not np.array_equal(decoded(other)[0], found[0]) for other in others):
        raise truncated(path, "the pixels of a strip end before its last row")
    return found


def _cut(error: tifffile.TiffFileError, path: str) -> TileError:
    """tifffile found that a strip or tile unpacks to another number of pixels, or another fault."""
    shapes = re.search(r"cannot be reshaped from \(([\d, ]*)\) to \(([\d, ]*)\)", str(error))
    if shapes is None:
        return corrupt(path, str(error))
    found, wanted = (math.prod(int(n) for n in re.findall(r"\d+", each)) for each in shapes.groups())
    if found < wanted:
        return truncated(path, f"a strip of pixels unpacks to {found} of {wanted} pixels")
    return corrupt(path, str(error))


def _resident_bytes(page: tifffile.TiffPage) -> int:
    """Size of the page in memory, as decoded or as the kernel takes it, whichever is more."""
    return max(page.nbytes, page.imagelength * page.imagewidth * kernel_dtype(np.dtype(page.dtype)).itemsize)


def _has_rows(page: tifffile.TiffPage) -> bool:
    """True if `PageRows` can read it; NDPI, JPEG cut into tiles in a vendor's way, is left to tifffile."""
    return page.axes in ("YX", "YXS", "SYX") and page.jpegheader is None


def _state(file: File) -> tuple[int, int, int]:
    state = os.fstat(file.fileno())
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _open(file: File) -> tifffile.TiffFile:
    file.seek(0)
    # On opening, tifffile follows the private pointers of these formats; as plain TIFF they read the same.
    return tifffile.TiffFile(file, is_lsm=False, is_ndpi=False, is_scanimage=False)


def _chain_of(file: File, path: str) -> _Chain:
    return _walk(file, path) if isinstance(file, BytesIO) else _known(path, *_state(file))


@lru_cache(maxsize=16)
def _known(path: str, size: int, mtime_ns: int, ctime_ns: int) -> _Chain:
    """Follow the chain once for each state of a file: a stack of thousands is read tile by tile."""
    with Path(path).open("rb") as file:
        return _walk(file, path)


def _walk(file: File, path: str) -> _Chain:
    tiles: list[_Ifd] = []
    broken = None
    try:
        tiles.extend(_tile_ifds(file, path))
    except TileError as error:
        broken = error
    copies = _copies(file, path, tiles) | _previews(file, path, tiles)
    return _Chain(tuple((ifd.place, ifd.offset) for ifd in tiles if ifd not in copies), broken)


def _copies(file: File, path: str, tiles: list[_Ifd]) -> set[_Ifd]:
    """Pages that are smaller copies of their neighbours, or of the first page, without being marked as such."""
    copies = set()
    for n, page in enumerate(tiles):
        near = (tiles[n - 1 : n] or []) + tiles[n + 1 : n + 2] + tiles[:1]
        for other in near:
            if (times := times_smaller(page.size, other.size)) and _is_copy(file, path, page, other, times):
                copies.add(page)
                break
    return copies


def _is_copy(file: File, path: str, small: _Ifd, large: _Ifd, times: int) -> bool:
    def reader(ifd: _Ifd) -> ReadRows:
        tif = _open(file)
        tif.filehandle.seek(ifd.offset)
        page = tifffile.TiffPage(tif, index=ifd.place)
        _check_page(page, file, path, ifd.size[0] * ifd.size[1])
        if not _has_rows(page):
            raise corrupt(path, "its pages cannot be compared")
        rows = PageRows(page, file, path)

        def read_rows(first: int, end: int) -> Array:
            pixels = rows.read(file, first, end)
            return grey_channel(pixels) if pixels.ndim == 3 else pixels

        return read_rows

    try:
        return is_copy(reader(small), small.size, reader(large), large.size, times)
    # tifffile raises nearly anything on damaged bytes. What cannot be compared is a tile, and reading it says why.
    except Exception:
        return False


def _previews(file: File, path: str, tiles: list[_Ifd]) -> set[_Ifd]:
    """Colour pages beside a grey one as large that has more pixels or more bits: pictures for people, not tiles."""
    grey = [page for page in tiles if page.photometric in (0, 1)]
    coloured_ones = [page for page in tiles if page.photometric in (2, 3, 6)]  # RGB, palette, YCbCr
    return {
        page
        for page in coloured_ones
        if (near := [each for each in grey if all(g >= c for g, c in zip(each.size, page.size, strict=True))])
        and _is_preview(file, path, page, near)
    }


def _is_preview(file: File, path: str, ifd: _Ifd, grey: list[_Ifd]) -> bool:
    try:
        tif = _open(file)
        tif.filehandle.seek(ifd.offset)
        page = tifffile.TiffPage(tif, index=ifd.place)
        bits = page.bitspersample
        if not any(each.size != ifd.size or each.bits > bits for each in grey):
            return False
        _check_page(page, file, path, max(each.size[0] * each.size[1] for each in grey))
        rows = PageRows(page, file, path)
        lossy, found = int(page.compression) in _LOSSY, 0
        for first in range(0, ifd.size[0], _PREVIEW_ROWS):
            pixels = rows.read(file, first, min(first + _PREVIEW_ROWS, ifd.size[0]))
            found += coloured(pixels, lossy) if pixels.ndim == 3 and pixels.shape[2] >= 3 else 0
        check_colour(found, ifd.size, path, lossy)
    except TileError as error:
        return error.code == "colour"
    except Exception:  # as in `_is_copy`
        return False
    return False


def _is_single(chain: _Chain) -> bool:
    return [place for place, _ in chain.tiles] == [0]


def _check_some(chain: _Chain, path: str) -> None:
    if chain.broken:
        raise TileError(chain.broken.code, chain.broken.message)  # a new one: the cached one must not gather tracebacks
    if not chain.tiles:
        raise TileError("unsupported", f"{path} has only thumbnails or masks; wait if it is being written")


def _tile_ifds(file: File, path: str) -> Iterator[_Ifd]:
    """Each page that is a tile, of the chain of pages (IFDs).

    It also checks what tifffile does not: that the chain ends, and that its tags fit into memory.
    """
    size = size_of(file)

    def data(offset: int, length: int) -> bytes:
        if offset + length > size:
            raise truncated(path, "the header of a page lies beyond the end")
        file.seek(offset)
        return file.read(length)

    order = "<" if data(0, 2) == b"II" else ">"
    big = struct.unpack(f"{order}H", data(2, 2)) == (43,)
    word, count_format, entry_format = ("Q", "Q", "HHQ8s") if big else ("I", "H", "HHI4s")

    def number(offset: int, format_: str) -> int:
        value: int = struct.unpack(order + format_, data(offset, struct.calcsize(order + format_)))[0]
        return value

    offset = number(8 if big else 4, word)
    seen: dict[int, None] = {}
    while offset:
        if offset in seen:
            raise corrupt(path, "its pages form a ring")
        seen[offset] = None
        entries = number(offset, count_format)
        if entries > _MAX_TAGS:
            raise corrupt(path, f"page {len(seen) - 1} declares {entries} tags")
        start = offset + struct.calcsize(order + count_format)
        table = data(start, entries * struct.calcsize(order + entry_format))
        tags = list(struct.iter_unpack(order + entry_format, table))
        found = _tile_size(tags, order, size, path)
        if entries and found is not None:  # Fibics writes pages without any tag
            yield _Ifd(len(seen) - 1, offset, found, _short(tags, 262, order), _short(tags, 258, order))
        end = start + len(table)
        # Some writers leave out the zero that ends the chain.
        offset = number(end, word) if end + struct.calcsize(order + word) <= size else 0


def _short(tags: Iterable[tuple[int, int, int, bytes]], wanted: int, order: str) -> int:
    """The value of a tag that holds one short number; 0 without."""
    found = next((inline for code, type_, values, inline in tags if (code, type_, values) == (wanted, 3, 1)), b"")
    return int.from_bytes(found[:2], "little" if order == "<" else "big")


def _tile_size(
    entries: Iterable[tuple[int, int, int, bytes]], order: str, size: int, path: str
) -> tuple[int, int] | None:
    """(rows, cols) of a page that is a tile; None for a mask or a smaller copy."""
    total, is_tile, rows, cols = 0, True, 0, 0
    for code, type_, values, inline in entries:
        item = _TYPE_BYTES.get(type_, 1)
        if values * item <= size:  # tifffile drops a tag that reaches beyond the file
            total += values * item
            if total > _MAX_TAG_BYTES or (code in (273, 279, 324, 325) and values > _MAX_STRIPS):
                raise corrupt(path, f"tag {code} declares {values} values")
        if code in (254, 255, 256, 257):
            kind = int.from_bytes(inline[:item], "little" if order == "<" else "big")
            # NewSubfileType: bit 0 is a smaller copy of another page, bit 2 a mask. SubfileType: 2 is a smaller copy.
            is_tile &= not kind & 0b101 if code == 254 else code != 255 or kind != 2
            rows, cols = (kind if code == 257 else rows), (kind if code == 256 else cols)
    return (rows, cols) if is_tile else None


def _planes(tif: tifffile.TiffFile, file: File, path: str) -> int:
    """Number of planes, those without headers counted."""
    page = tif.pages.first
    planes = imagej_planes(page.description) if page.is_imagej and page.is_contiguous else 1
    fit = (size_of(file) - page.dataoffsets[0]) // max(page.nbytes, 1) if planes > 1 else 1
    if 1 < fit < planes:
        raise truncated(path, f"it holds {fit} of {planes} planes")
    return planes if fit > 1 else 1  # a single page taken out of a stack keeps the description


def _check_page(page: tifffile.TiffPage, file: File, path: str, max_pixels: int) -> None:
    """Check all that a page's header shows, before memory is spent on its pixels."""
    check_size(path, page.imagelength, page.imagewidth, max_pixels)
    compression, photometric = int(page.compression), int(page.photometric)
    if page.dtype is None or page.dtype.kind not in "iuf":
        raise TileError(
            "unsupported", f"{path} has pixels of {page.bitspersample} bits; convert it to 8- or 16-bit grey"
        )
    if photometric in (5, 8, 9, 10):  # CMYK, three kinds of L*a*b*
        raise TileError("colour", f"{path} is a colour image; convert it to grey")
    if photometric not in (0, 1, 2, 3, 6) or page.imagedepth != 1 or not 1 <= page.samplesperpixel <= 4:
        raise TileError("unsupported", f"{path} is not a plain grey image; convert it to 8- or 16-bit grey")
    _check_samples(page, path)
    if photometric == 6 and compression not in _LOSSY:  # YCbCr; tifffile does not convert it
        raise TileError("unsupported", f"{path} is stored as YCbCr; convert it to grey")
    if math.prod(page.chunks) > 4 * max(max_pixels, 2**24):  # tiles may reach beyond the image, but not this far
        raise corrupt(path, f"its strips or tiles are {page.chunks} pixels large")
    _check_strips(page, size_of(file), path)
    if compression not in tifffile.TIFF.DECOMPRESSORS:
        name = getattr(page.compression, "name", f"unknown ({compression})")
        if importlib.util.find_spec("imagecodecs") is None and not name.startswith("unknown"):
            raise missing_codec(path, name)
        raise TileError("unsupported", f"{path} has {name} compression; save it uncompressed, or with LZW or Deflate")
    _refuse_bombs(page, file, path)


def _check_samples(page: tifffile.TiffPage, path: str) -> None:
    """Refuse a page whose last sample would be dropped without being known to be alpha: a second detector, say."""
    samples, photometric = page.samplesperpixel, int(page.photometric)
    if samples not in (2, 4) or (samples == 4 and photometric in (2, 6)):  # the fourth of RGB is alpha, told or not
        return
    if not page.extrasamples or int(page.extrasamples[-1]) not in (1, 2):
        raise TileError(
            "unsupported",
            f"{path} has {samples} samples a pixel, and does not say that the last is alpha; keep one channel",
        )


def _check_strips(page: tifffile.TiffPage, size: int, path: str) -> None:
    strips, offsets, lengths = math.prod(page.chunked), page.dataoffsets, page.databytecounts
    if page.is_contiguous:  # read in one go from the first offset; some writers get the lengths wrong
        strips, offsets, lengths = 1, offsets[:1], (page.nbytes,)
    if min(len(offsets), len(lengths)) < strips:
        raise corrupt(path, f"it lists {min(len(offsets), len(lengths))} of {strips} strips")
    if not all(offsets) or not all(lengths):
        raise truncated(path, "some strips of pixels were never written")
    if any(offset + length > size for offset, length in zip(offsets, lengths, strict=False)):
        raise truncated(path, "the pixels go on beyond the end")
    if sum(lengths) > size:
        raise corrupt(path, "its strips overlap")


def _refuse_bombs(page: tifffile.TiffPage, file: File, path: str) -> None:
    """Refuse oversized strips: tifffile inflates in full without imagecodecs, with it to the size expected."""
    compression = int(page.compression)
    if tifffile.TIFF.DECOMPRESSORS[compression].__module__ != "tifffile._imagecodecs" or page.dtype is None:
        return
    if compression not in (8, 32946, 50013, 34925):
        return
    limit = 2 * math.prod(page.chunks) * page.dtype.itemsize + 4096
    for offset, length in zip(page.dataoffsets, page.databytecounts, strict=False):
        file.seek(offset)
        decoder = lzma.LZMADecompressor() if compression == 34925 else zlib.decompressobj()
        if len(decoder.decompress(file.read(length), limit)) == limit:
            raise corrupt(path, "a strip unpacks to more than its share of the image")


def _as_shown(pixels: Array, page: tifffile.TiffPage, path: str) -> tuple[Array, Array]:
    """Channels last, palette applied, white the largest value: the grey that a viewer shows.

    With it, of each row, the number of pixels that have a coloured entry of the palette.
    """
    found = np.zeros(1, np.int64)
    if page.axes == "SYX":
        pixels = np.moveaxis(pixels, 0, -1)
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        if page.colormap is None:
            raise corrupt(path, "it lacks its palette")
        palette = page.colormap.T  # (entries, 3) of 16 bits
        if pixels.dtype == np.uint8 and palette.max() > 255:
            palette = palette >> 8
        indices = pixels[..., 0] if pixels.ndim == 3 else pixels
        pixels, found = through_palette(indices, palette.astype(pixels.dtype), path)
    elif page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and 262 in page.tags:  # stated, not tifffile's default
        if pixels.dtype.kind == "u":
            pixels = np.subtract(2 ** int(page.bitspersample) - 1, pixels, dtype=pixels.dtype)  # 12 of 16 bits, say
        else:
            pixels = np.invert(pixels) if pixels.dtype.kind == "i" else np.negative(pixels)
    return pixels, found
