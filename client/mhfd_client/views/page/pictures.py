"""Tiles -> pictures, pixel for pixel: made in threads of their own, few at once, and kept within bounds.

A file is opened by its row in the ledger only, below the run's folder, and over no link.
"""

from __future__ import annotations

import asyncio
import io
import stat
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mhfd.contract import MhfdError, TileError
from mhfd.images import Tile
from mhfd.readers.reading import read_tile
from mhfd_client.files.names import for_system, to_local
from mhfd_client.ledger import TileRow

AT_ONCE = 2
WAITING = 64
KEPT_BYTES = 128 * 2**20
"""Of pictures that are kept, and as much of tiles."""

MAX_PIXELS = 2**28
RESIDENT_BYTES = 2**26
"""Larger TIFF pages stay in their file, and only the rows of the picture are read."""

SAMPLE_ROWS = 512
DARK, LIGHT = 0.175, 99.825
"""Percentiles that become black and white."""

CELLS = 4
Array = NDArray[Any]
T = TypeVar("T")
Limits = tuple[float, float]


class BusyError(MhfdError):
    """Too many pictures are waited for."""


class NoPictureError(MhfdError):
    """The file is not there, is not what was scored, or may not be shown."""


@dataclass(frozen=True)
class Wanted:
    """A picture, as it is asked for.

    Attributes
    ----------
    kind : "crop" and "thumb" are pixel for pixel, "whole" is averaged
    rows, cols : size of a crop; of a thumbnail its side; of the whole the most it may have
    at : upper left corner (y, x); None: the most blurred part
    """

    kind: Literal["crop", "thumb", "whole"]
    rows: int
    cols: int
    at: tuple[int, int] | None = None

    @property
    def is_of_worst(self) -> bool:
        """True where it depends on what is said of the tile."""
        return self.kind != "whole" and self.at is None


@dataclass(frozen=True)
class Picture:
    """A PNG.

    Attributes
    ----------
    box : (top, left, rows, cols) of the tile that it shows
    scale : pixels of the tile for one of the picture, along each axis
    limits : grey levels that are black and white
    """

    png: bytes
    box: tuple[int, int, int, int]
    scale: int
    limits: Limits


class Pictures:
    """Makes the pictures of one run.

    Parameters
    ----------
    root : the run's folder
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="mhfd-picture")
        self._lock = threading.Lock()
        self._made: Bounded[Picture] = Bounded(KEPT_BYTES, lambda picture: len(picture.png))
        self._tiles: Bounded[Array] = Bounded(KEPT_BYTES, lambda pixels: int(pixels.nbytes))
        self._limits: Bounded[Limits] = Bounded(100_000, lambda _: 1)
        self._under_way: dict[object, Future[Any]] = {}
        self.waiting = 0

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def picture(
        self, row: TileRow, wanted: Wanted, worst: tuple[int, int] | None = None, grey: TileRow | None = None
    ) -> Picture:
        """The picture of a tile.

        Parameters
        ----------
        worst : (row, col) of the most blurred cell of the tile's map, None where that is not known
        grey : a tile whose black and white are taken instead
        """
        key = (row.tile_id, wanted, worst, grey.tile_id if grey else None)
        if (known := self._made.get(key)) is not None:
            return known

        def make() -> Picture:
            limits = self._limits_of(grey or row)
            made = _picture(self._pixels(row), wanted, worst, limits)
            self._made.put(key, made)
            return made

        return await self.work(key, make)

    async def work(self, key: object, make: Callable[[], T]) -> T:
        """What `make` returns, in one of our threads; asked for twice at once, it is made once.

        Raises
        ------
        BusyError
            Too many wait.
        """
        with self._lock:
            future, is_new = self._under_way.get(key), False
            if future is None:
                if self.waiting >= WAITING + AT_ONCE:
                    raise BusyError(f"{self.waiting} pictures are waited for already; ask again in a moment")
                self.waiting += 1
                future, is_new = self._pool.submit(make), True
                self._under_way[key] = future
        if is_new:  # without the lock: of one that is done already the callback is called here and now
            future.add_done_callback(lambda _: self._over(key))
        return await asyncio.shield(asyncio.wrap_future(future))

    def _over(self, key: object) -> None:
        with self._lock:
            self.waiting -= 1
            self._under_way.pop(key, None)

    def file_of(self, row: TileRow) -> Path:
        """The file of a tile.

        Raises
        ------
        NoPictureError
            It is not there, lies behind a link, or was written again since.
        """
        return file_of(self._root, row)

    def _pixels(self, row: TileRow) -> Any:
        """(rows, cols), all in memory or read by rows."""
        key = row.tile_id
        if (known := self._tiles.get(key)) is not None:
            return known
        pixels = self._read(row).pixels
        if isinstance(pixels, np.ndarray):
            self._tiles.put(key, pixels)
        return pixels

    def _read(self, row: TileRow) -> Tile:
        file = self.file_of(row)
        try:
            return read_tile(for_system(file), row.page, max_pixels=MAX_PIXELS, max_resident_bytes=RESIDENT_BYTES)
        except TileError as error:
            raise NoPictureError(error.message) from error

    def _limits_of(self, row: TileRow) -> Limits:
        if (known := self._limits.get(row.tile_id)) is not None:
            return known
        found = limits_of(self._pixels(row))
        self._limits.put(row.tile_id, found)
        return found


class Bounded(Generic[T]):
    """Keeps what was used last, up to a size; any thread may use it."""

    def __init__(self, room: int, size: Callable[[T], int]) -> None:
        self._room, self._size = room, size
        self._kept: OrderedDict[object, T] = OrderedDict()
        self._lock = threading.Lock()
        self.used = 0

    def get(self, key: object) -> T | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: object, value: T) -> None:
        size = self._size(value)
        with self._lock:
            if key in self._kept or size > self._room:
                return
            self._kept[key] = value
            self.used += size
            while self.used > self._room:
                self.used -= self._size(self._kept.popitem(last=False)[1])


def file_of(root: Path, row: TileRow) -> Path:
    """See `Pictures.file_of`."""
    path = root
    try:
        for part in to_local(Path(), row.path).parts:
            path = path / part
            state = path.lstat()
            if stat.S_ISLNK(state.st_mode) or (sys.platform == "win32" and state.st_reparse_tag):
                raise NoPictureError(f"{row.path} lies behind a link, and is not shown")
    except (OSError, ValueError) as error:
        raise NoPictureError(f"{row.path} is not there any more, or cannot be read") from error
    if not stat.S_ISREG(state.st_mode):
        raise NoPictureError(f"{row.path} is not an ordinary file")
    if (state.st_size, state.st_mtime_ns) != (row.size, row.mtime_ns):
        raise NoPictureError(f"{row.path} was written again since; what was scored is gone")
    return path


def limits_of(pixels: Any) -> Limits:
    """The grey levels of a tile that become black and white."""
    rows = pixels.shape[0]
    step = max(1, rows // SAMPLE_ROWS)
    sample = np.concatenate([pixels[at : at + 1] for at in range(0, rows, step)])
    low, high = np.percentile(sample, (DARK, LIGHT))
    return float(low), float(max(high, low + 1e-12))


def _picture(pixels: Any, wanted: Wanted, worst: tuple[int, int] | None, limits: Limits) -> Picture:
    rows, cols = pixels.shape
    if wanted.kind == "whole":
        scale = max(1, -(-max(rows, cols) // wanted.rows))
        return Picture(_png(_averaged(pixels, scale), limits), (0, 0, rows, cols), scale, limits)
    high, wide = min(wanted.rows, rows), min(wanted.cols, cols)
    if wanted.at is not None:
        top, left = min(wanted.at[0], rows - high), min(wanted.at[1], cols - wide)
    elif wanted.kind == "thumb":
        top, left = _structured(pixels, worst, high, wide)
    else:
        top, left = _middle_of(pixels.shape, worst, high, wide)
    return Picture(_png(pixels[top : top + high][:, left : left + wide], limits), (top, left, high, wide), 1, limits)


def _middle_of(shape: tuple[int, int], worst: tuple[int, int] | None, high: int, wide: int) -> tuple[int, int]:
    """Upper left corner of a part round the middle of a cell of the map, else of the tile."""
    middle = (0.5, 0.5) if worst is None else ((worst[0] + 0.5) / CELLS, (worst[1] + 0.5) / CELLS)
    top, left = (
        min(max(0, round(at * n - side / 2)), n - side) for at, n, side in zip(middle, shape, (high, wide), strict=True)
    )
    return top, left


def _structured(pixels: Any, worst: tuple[int, int] | None, high: int, wide: int) -> tuple[int, int]:
    """Upper left corner of the part of a cell that has the most structure; of the tile's middle where none is worst."""
    rows, cols = pixels.shape
    if worst is None:
        top, left, bottom, right = rows // 4, cols // 4, rows - rows // 4, cols - cols // 4
    else:
        top, left = worst[0] * rows // CELLS, worst[1] * cols // CELLS
        bottom, right = (worst[0] + 1) * rows // CELLS, (worst[1] + 1) * cols // CELLS
    if bottom - top <= high or right - left <= wide:
        return _middle_of((rows, cols), worst, high, wide)
    cell = np.asarray(pixels[top:bottom][:, left:right], np.float32)
    places = [
        (y, x)
        for y in range(0, cell.shape[0] - high + 1, max(1, high // 2))
        for x in range(0, cell.shape[1] - wide + 1, max(1, wide // 2))
    ]
    best = max(places, key=lambda at: float(_coarse(cell[at[0] : at[0] + high, at[1] : at[1] + wide]).std()))
    return top + best[0], left + best[1]


def _coarse(part: Array, step: int = 4) -> Array:
    """Means of blocks, so that noise counts little."""
    rows, cols = (n - n % step for n in part.shape)
    if not rows or not cols:
        return part
    means: Array = part[:rows, :cols].reshape(rows // step, step, cols // step, step).mean((1, 3))
    return means


def _averaged(pixels: Any, scale: int) -> Array:
    """Means of blocks of `scale` x `scale` pixels; rows and columns that fill no block are left out."""
    rows, cols = pixels.shape
    if scale == 1:
        return np.asarray(pixels[0:rows])
    lines = [
        np.asarray(pixels[at : at + scale][:, : cols - cols % scale], np.float32)
        .reshape(scale, cols // scale, scale)
        .mean((0, 2))
        for at in range(0, rows - rows % scale, scale)
    ]
    return np.stack(lines)


def _png(pixels: Array, limits: Limits) -> bytes:
    low, high = limits
    grey = np.clip((np.asarray(pixels, np.float64) - low) / (high - low), 0, 1)
    buffer = io.BytesIO()
    Image.fromarray(np.rint(grey * 255).astype(np.uint8)).save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()
