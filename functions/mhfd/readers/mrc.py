"""MRC files and stacks (`mrcfile` reads their headers): each section is a tile.

Pixels are read, not mapped into memory: a share that fails, or a file cut short, then raises an error, and does not
kill the process.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from mhfd.contract import TileError
from mhfd.extras import needed
from mhfd.images.grey import Array, check_size, corrupt, truncated
from mhfd.images.memory import empty
from mhfd.images.metadata.quantity import positive, square
from mhfd.readers.protocol import Frame, Place

_HEAD_BYTES = 1024
_IMOD_STAMP, _IMOD_SIGNED = 1146047817, 1  # https://bio3d.colorado.edu/imod/doc/mrc_format.txt
_IMOD_AT = 40  # of the stamp in the field "extra2"


class MrcReader:
    """Modes 0, 1, 2, 6 and 12. A file that ends too early gives its whole sections, and a failed row."""

    name = "mrc"
    folders = False

    @contextmanager
    def open(self, path: str) -> Iterator[MrcFile]:
        mrcfile = needed("mrcfile", "mrc", "an MRC file")
        with mrcfile.mrcfile.MrcFile(path, "r", header_only=True) as found, Path(path).open("rb") as file:
            yield MrcFile(file, path, found, mrcfile.utils)


class MrcFile:
    """An open file; `header` is mrcfile's record of its first bytes."""

    def __init__(self, file: BufferedReader, path: str, found: Any, utils: Any) -> None:
        self._file, self._path = file, path
        header = found.header
        self._dtype = _dtype(header, path, utils)
        *stack, rows, cols = utils.data_shape_from_header(header)
        check_size(path, rows, cols, abs(rows * cols))
        self._shape = int(rows), int(cols)
        self._declared = math.prod(stack)
        self._start = _HEAD_BYTES + int(header.nsymbt)
        self._bytes = rows * cols * self._dtype.itemsize
        self._whole = max(0, (os.fstat(file.fileno()).st_size - self._start) // self._bytes)
        self._pixel_size_nm = _pixel_size_nm(header)

    def __len__(self) -> int:
        return int(min(self._declared, self._whole + 1))  # what is cut off is one failed row, not thousands

    def frame(self, index: int) -> Frame:
        section = index if self._declared > 1 else None
        return Frame(shape=self._shape, pixel_size_nm=self._pixel_size_nm, place=Place(section=section))

    def pixels(self, index: int) -> Array:
        if index >= self._whole:
            raise truncated(self._path, f"it holds {self._whole} of {self._declared} sections")
        found = empty(self._shape, self._dtype)
        self._file.seek(self._start + index * self._bytes)
        if self._file.readinto(found.reshape(-1).view(np.uint8).data) < self._bytes:
            raise truncated(self._path, f"section {index} goes on beyond its end")
        return found


def _dtype(header: Any, path: str, utils: Any) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(utils.data_dtype_from_header(header))
    except ValueError as error:
        raise TileError(
            "unsupported", f"{path} has MRC mode {int(header.mode)}; mhfd reads modes 0, 1, 2, 6 and 12: convert it"
        ) from error
    if dtype == np.int8 and _is_unsigned(header):
        return np.dtype(np.uint8)
    if int(header.nsymbt) < 0:
        raise corrupt(path, "its extended header has a negative length")
    return dtype


def _is_unsigned(header: Any) -> bool:
    """True if IMOD, or SerialEM through it, wrote bytes the old way, and says so."""
    order = ">" if header.mode.dtype.byteorder == ">" else "<"
    stamp, flags = struct.unpack_from(f"{order}2i", bytes(header.extra2), _IMOD_AT)
    return stamp == _IMOD_STAMP and not flags & _IMOD_SIGNED


def _pixel_size_nm(header: Any) -> float | None:
    """From the size of the cell in angstroms, and the number of pixels along it."""
    sides = [
        positive(float(length), 0.1 / int(count)) if count else None
        for length, count in ((header.cella.x, header.mx), (header.cella.y, header.my))
    ]
    size = square(*sides)
    return size if size is not None and size > 0 else None  # NaN: unreadable
