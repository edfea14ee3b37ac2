"""The plain TIFF that most microscopes write, read without tifffile: it is a tenth of the work.

Plain is: one page, grey, uncompressed, its strips one after another, and no tag but those that are understood here. A
palette of all greys in order, as Zeiss writes it, is grey, too.
Whatever differs in the least, or looks damaged, is None, and left to tifffile and to its checks (mhfd.images.tiff), so
that there is one place that refuses.
"""

from __future__ import annotations

import os
import platform
import stat
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from io import BufferedReader, FileIO
from itertools import accumulate
from typing import Any

import numpy as np

from mhfd.ahead import Later
from mhfd.contract import Acquisition
from mhfd.images import metadata
from mhfd.images.grey import Array
from mhfd.images.member import File
from mhfd.images.memory import empty
from mhfd.images.metadata.beside import beside, name_beside
from mhfd.images.metadata.others import imagej_planes, is_imagej
from mhfd.images.picture import Box, in_header

_HEAD_BYTES = 4096
_MOST_TAGS = 64
_MOST_KNOWN = 3  # pages beside the last one

_SHORT, _LONG, _RATIONAL, _ASCII = 3, 4, 5, 2
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 13: 4}

_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _DESCRIPTION = 256, 257, 258, 259, 262, 270
_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _LENGTHS, _FORMAT, _PALETTE = 273, 277, 278, 279, 339, 320

_USUAL = {254: 0, 255: 1, _COMPRESSION: 1, 266: 1, _SAMPLES: 1, 284: 1, 317: 1}
"""Tags that must have one value, if they are there: a full-size page, uncompressed, of one channel."""

_BLACK_IS_0, _BY_PALETTE = 1, 3
_GREYS = {struct.pack(f"{order}768H", *[step * i for i in range(256)] * 3) for order in "<>" for step in (1, 256, 257)}
"""Palettes that show 8 bits as they are, by tifffile's way in either order of bytes."""

_TEXTS = {269, 271, 272, 285, 305, 306, 315, 316, 33432}
"""About the file, its maker and its program: of no use here."""

_TOLD = {_WIDTH, _LENGTH, _BITS, _DESCRIPTION, _OFFSETS, 274, _ROWS_PER_STRIP, _LENGTHS, 282, 283, 296, _FORMAT}

_UNUSED = {34119, 34665, 50838, 50839}
"""A copy of Zeiss's header, Exif, labels and overlays of ImageJ: of no use here."""

_VENDORS = {34118, 34680, 34682, 34683, 50431, 51023}
"""Headers of Zeiss, Thermo Fisher, Tescan and Fibics, which mhfd.images.metadata reads as they stand."""

_KINDS = {1: "u", 2: "i", 3: "f"}
_DTYPES = {"u8", "u16", "u32", "i8", "i16", "i32", "f32", "f64"}


Told = tuple["float | None", Acquisition, "Box | None"]


@dataclass(frozen=True)
class Tag:
    """Where a value stands, as tifffile's tags tell it."""

    type: int
    count: int
    valueoffset: int

    @property
    def valuebytecount(self) -> int:
        return self.count * _TYPE_BYTES[self.type]


class Tags:
    """The tags of a page by code; values are those of tifffile, which mhfd.images.metadata knows."""

    def __init__(self, found: dict[int, Tag], head: Head) -> None:
        self._found, self._head = found, head

    def of(self, head: Head) -> Tags:
        """The same tags of another file."""
        return Tags(self._found, head)

    def __contains__(self, code: object) -> bool:
        return code in self._found

    def get(self, code: int) -> Tag | None:
        return self._found.get(code)

    def valueof(self, code: int, default: Any = None) -> Any:
        """A number, a rational as (numerator, denominator), or a text."""
        if (tag := self._found.get(code)) is None:
            return default
        if tag.type == _ASCII:
            return self._head.data(tag).partition(b"\0")[0].decode("ascii")
        numbers = self.numbers(code)
        return numbers[0] if len(numbers) == 1 else numbers

    def numbers(self, code: int) -> tuple[int, ...]:
        tag = self._found[code]
        letter, n = {_SHORT: ("H", 1), _LONG: ("I", 1), _RATIONAL: ("I", 2)}[tag.type]
        return struct.unpack(f"{self._head.order}{tag.count * n}{letter}", self._head.data(tag))


@dataclass(frozen=True)
class PlainFile:
    filehandle: File


@dataclass(frozen=True)
class PlainPage:
    """A page, with what mhfd.images.metadata asks of tifffile's.

    Attributes
    ----------
    dtype : as stored
    offset : of the first pixel in the file
    told : what another file with the same header told
    """

    parent: PlainFile
    head: Head
    tags: Tags
    imagelength: int
    imagewidth: int
    dtype: np.dtype[Any]
    offset: int
    told: Told | None = None

    def of(self, file: File, head: Head) -> PlainPage:
        """The page of another file with the same header."""
        return replace(self, parent=PlainFile(file), head=head, tags=self.tags.of(head))

    def pixels(self) -> Array | None:
        """(rows, cols) as stored; None where the file ends before them."""
        found, file = self.empty(), self.parent.filehandle
        file.seek(self.offset)
        return found if file.readinto(found.data) == found.nbytes else None

    @cached_property
    def pieces(self) -> tuple[Array, Array, Array]:
        """(k,) where each piece of the header that was asked for begins, and ends, and (m,) uint8, all of them."""
        asked = self.head.asked
        starts = np.array(list(asked), dtype=np.int64)
        stops = starts + np.array([len(data) for data in asked.values()], dtype=np.int64)
        return starts, stops, np.frombuffer(b"".join(asked.values()), np.uint8)

    def empty(self) -> Array:
        """Where its pixels are read to."""
        return empty((self.imagelength, self.imagewidth), self.dtype)

    def header(self, path: str) -> Told:
        """Pixel size in nanometres, acquisition, and the part that the header calls picture."""
        if self.told is not None and beside(path) is None:
            return self.told
        page = metadata.Page(page=self, first=self, ifd=0, path=path)
        told = *metadata.from_tiff(page, lossy=False), in_header(self, self)
        # A vendor's header is not read through `head`, and tells each tile's own time and place.
        if told[1].vendor in (None, "imagej") and not any(code in self.tags for code in _VENDORS):
            _remember(replace(self, told=told))
        return told


class Head:
    """The first bytes of a file, and others when they are asked for.

    Attributes
    ----------
    asked : what was asked for, by offset
    """

    def __init__(self, file: File, size: int) -> None:
        file.seek(0)
        self._first, self._file, self.size = file.read(_HEAD_BYTES), file, size
        self.order = "<" if self._first[:2] == b"II" else ">"
        self.asked: dict[int, bytes] = {}

    def at(self, offset: int, length: int) -> bytes:
        """Bytes of the file; fewer where it ends."""
        if offset + length <= len(self._first):
            found = self._first[offset : offset + length]
        else:
            self._file.seek(offset)
            found = self._file.read(max(0, min(length, self.size - offset)))
        if len(found) > len(self.asked.get(offset, b"")):
            self.asked[offset] = found
        return found

    def has(self, asked: dict[int, bytes]) -> bool:
        """Whether the file has the same bytes where another one was asked for them; then these were asked for, too."""
        first = self._first
        for at, data in asked.items():
            end = at + len(data)
            if (first[at:end] if end <= len(first) else self.at(at, len(data))) != data:
                return False
        self.asked = dict(asked)
        return True

    def data(self, tag: Tag) -> bytes:
        return self.at(tag.valueoffset, tag.valuebytecount)


def known_file(path: str, max_pixels: int, max_bytes: int) -> tuple[Array, Told] | BufferedReader | None:
    """Pixels as stored, and what the header tells, of a file with the header of one that was read of late.

    As few calls of the system as it takes: around each, the threads of a process wait for one another. Of another file,
    the open file if it was opened, else None; `plain_page` or tifffile look at it, or why it cannot be opened.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - a third of the time
        known = next((page for page in _known if page.head.size == status.st_size), None)
        if known is None or known.told is None:
            return None
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            return None
        if not _is_small(known, max_pixels, max_bytes):
            return None
        if (read := READ_KNOWN.made) and (pixels := _in_one_call(read, path, known)) is not None:
            return pixels, known.told
        if os.path.lexists(name_beside(path)):
            return None
        file = FileIO(path)
    except (OSError, ValueError):
        return None
    try:
        head = file.read(known.offset)
        if all(head[at : at + len(data)] == data for at, data in known.head.asked.items()):
            pixels = known.empty()
            if file.readinto(pixels.data) == pixels.nbytes:
                file.close()
                return pixels, known.told
        file.seek(0)
        return BufferedReader(file)
    except (OSError, MemoryError):
        file.close()
        return None


def _in_one_call(read: Callable[..., bool], path: str, known: PlainPage) -> Array | None:
    """The pixels of a file with a known header; None if it has another, or a text beside it."""
    pixels, head = known.empty(), known.head
    text, flat = name_beside(path), pixels.reshape(-1).view(np.uint8)
    is_read = read(_c_string(path), _c_string(text), head.size, *known.pieces, known.offset, flat)
    return pixels if is_read else None


def _c_string(path: str | os.PathLike[str]) -> Array:
    return np.frombuffer(os.fsencode(path) + b"\0", np.uint8)


def _compiled() -> Callable[..., bool] | None:
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        return None
    from mhfd.images.compiled_read import is_there, read_known

    if not is_there(_c_string("/")):  # some containers forbid the call: then nothing would lie beside any tile
        return None
    nowhere, none = _c_string(""), np.empty(0, np.int64)
    read_known(nowhere, nowhere, 0, none, none, nowhere[:0], 0, np.empty(0, np.uint8))
    return read_known


READ_KNOWN = Later(_compiled)
"""`compiled_read.read_known`, where this machine has it."""


def plain_page(file: File, size: int, max_pixels: int, max_bytes: int) -> PlainPage | None:
    """The page of a plain file; None if the file is another, or its page is too large to be held.

    Parameters
    ----------
    file : a TIFF file by its first bytes
    size : of the file
    """
    head = Head(file, size)
    for known in _known:
        if known.head.size == size and head.has(known.head.asked):
            return known.of(file, head) if _is_small(known, max_pixels, max_bytes) else None
    found = _tags(head, size)
    if found is None:
        return None
    tags = Tags(found, head)
    rows, cols = (_one(tags, code, 0) for code in (_LENGTH, _WIDTH))
    kind, bits = _KINDS.get(_one(tags, _FORMAT, 1), ""), _one(tags, _BITS, 1)
    if f"{kind}{bits}" not in _DTYPES:
        return None
    if (_PALETTE in tags) != (_one(tags, _PHOTOMETRIC, _BLACK_IS_0) == _BY_PALETTE):
        return None
    if _PALETTE in tags and f"{kind}{bits}" != "u8":
        return None
    dtype = np.dtype(f"{head.order}{kind}{bits // 8}")
    offset = _start(tags, rows, rows * cols * dtype.itemsize, size)
    if offset is None or not _is_known(tags.valueof(_DESCRIPTION, "")):
        return None
    page = PlainPage(PlainFile(file), head, tags, rows, cols, dtype, offset)
    return page if _is_small(page, max_pixels, max_bytes) else None


_known: tuple[PlainPage, ...] = ()
"""Pages read of late: the files of a run often have one header, and only their pixels differ."""


def _remember(page: PlainPage) -> None:
    global _known
    page.head.asked = _joined(page.head.asked)
    _known = (page, *_known[:_MOST_KNOWN])


def _joined(asked: dict[int, bytes]) -> dict[int, bytes]:
    """The same bytes in as few pieces as there are."""
    found: dict[int, bytes] = {}
    at = end = -1
    for place, data in sorted(asked.items()):
        if place > end:
            at = place
        found[at] = found.get(at, b"") + data[max(0, end - place) :] if at < place else data
        end = at + len(found[at])
    return found


def _is_small(page: PlainPage, max_pixels: int, max_bytes: int) -> bool:
    pixels, is_wide = page.imagelength * page.imagewidth, page.dtype.kind != "f" and page.dtype.itemsize == 4
    # Wider integers are held as float64.
    return 0 < pixels <= max_pixels and pixels * (8 if is_wide else page.dtype.itemsize) <= max_bytes


def _tags(head: Head, size: int) -> dict[int, Tag] | None:
    """The tags of the only page; None if there are several pages, or one tag is not as it is in plain files."""
    first = head.at(0, 8)
    if len(first) < 8 or struct.unpack(f"{head.order}H", first[2:4]) != (42,):
        return None
    (place,) = struct.unpack(f"{head.order}I", first[4:])
    if len(count := head.at(place, 2)) < 2 or place < 8:
        return None
    (n,) = struct.unpack(f"{head.order}H", count)
    table, end = head.at(place + 2, 12 * n), place + 2 + 12 * n
    if not 0 < n <= _MOST_TAGS or len(table) < 12 * n or head.at(end, 4) != bytes(4):
        return None
    found: dict[int, Tag] = {}
    for i, (code, type_, values, inline) in enumerate(struct.iter_unpack(f"{head.order}HHII", table)):
        if code in found or type_ not in _TYPE_BYTES or not values:
            return None
        length = values * _TYPE_BYTES[type_]
        tag = Tag(type_, values, place + 10 + 12 * i if length <= 4 else inline)
        if not 8 <= tag.valueoffset <= size - length or not _is_plain(code, tag, head):
            return None
        found[code] = tag
    return found


def _is_plain(code: int, tag: Tag, head: Head) -> bool:
    is_number = tag.type in (_SHORT, _LONG)
    if code in _USUAL:
        return is_number and tag.count == 1 and Tags({code: tag}, head).valueof(code) == _USUAL[code]
    if code == _PHOTOMETRIC:
        return is_number and tag.count == 1 and Tags({code: tag}, head).valueof(code) in (_BLACK_IS_0, _BY_PALETTE)
    if code == _PALETTE:
        return tag.type == _SHORT and head.data(tag) in _GREYS
    if code in (282, 283):
        return tag.type == _RATIONAL and tag.count == 1
    if code == _DESCRIPTION or code in _TEXTS:
        return tag.type == _ASCII and (text := head.data(tag)).isascii() and b"\0" not in text.rstrip(b"\0")
    if code in (_OFFSETS, _LENGTHS):
        return is_number
    if code in _VENDORS:
        return tag.valuebytecount > 4  # of a shorter one tifffile does not tell where it stands
    return (is_number and tag.count == 1) if code in _TOLD else code in _UNUSED


def _one(tags: Tags, code: int, default: int) -> int:
    return tags.numbers(code)[0] if code in tags else default


def _start(tags: Tags, rows: int, wanted: int, size: int) -> int | None:
    """Where the pixels begin; None if they are not in one piece, whole, within the file."""
    if _OFFSETS not in tags or _LENGTHS not in tags:
        return None
    offsets, lengths = tags.numbers(_OFFSETS), tags.numbers(_LENGTHS)
    strips = -(-rows // max(1, _one(tags, _ROWS_PER_STRIP, rows)))
    together = offsets == tuple(accumulate(lengths[:-1], initial=offsets[0]))
    if not len(offsets) == len(lengths) == strips or not together or not all(lengths) or sum(lengths) != wanted:
        return None
    return offsets[0] if offsets[0] > 0 and offsets[0] + wanted <= size else None


def _is_known(description: str) -> bool:
    """Whether a description tells nothing of further pages: those of OME and ImageJ may."""
    if not is_imagej(description):
        return not description.lstrip().startswith("<")
    try:
        return imagej_planes(description) <= 1
    except ValueError:
        return False
