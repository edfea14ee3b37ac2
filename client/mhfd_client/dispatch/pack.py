"""Tiles -> tasks: which way each tile travels, and how many fit together.

A file that the endpoint can read travels as its path; pixels travel inside the task, packed without loss. A task
holds tiles of one kind and with the same parameters, up to the limits in bytes and in number. Nothing is sent here.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mhfd._version import __version__
from mhfd.contract import (
    ErrorCode,
    FocusParams,
    FocusResult,
    Provenance,
    TileError,
    page_path,
    split_page,
)
from mhfd.images import Tile as TileRead
from mhfd.images.grey import grey_tile
from mhfd.images.inline import best_codec, encode_tile
from mhfd.readers.reading import count_tiles, read_tile
from mhfd_client.compute.protocol import Json
from mhfd_client.config import DataMapping, GlobusEndpoint, Limits, LocalEndpoint

log = logging.getLogger(__name__)

Source: TypeAlias = "str | os.PathLike[str] | NDArray[Any]"
Kind = Literal["inline", "path"]

FUNCTIONS: dict[Kind, tuple[str, str]] = {"inline": ("score_inline", "tiles"), "path": ("score_paths", "paths")}
ENVELOPE_BYTES = 16_384  # of a task beside its tiles: parameters, identifiers, the endpoint's options
BEST_RATIO = 8  # no codec packs a tile with content to less than an eighth: larger ones are refused unpacked
SAMPLE_BYTES = 65_536
PAYS_BELOW = 0.9  # of the size; a codec that gains less is not worth its time


@dataclass(eq=False)
class Tile:
    """One tile on its way.

    Attributes
    ----------
    name : the name of its row
    source : file, or pixels
    page : of a file that holds several; None: it must hold one
    place : where the endpoint finds the file, as `score_paths` takes it; None: look it up
    tag : the caller's own name for it, kept in the saved state
    future : of its row
    packed : its packed form; kept until its row is there, since a task may have to be sent again
    claimed : True if its future can no longer be cancelled; None: not yet tried
    """

    name: str
    source: str | NDArray[Any]
    page: int | None
    params: FocusParams
    place: Json | None = None
    tag: str | None = None
    future: Future[FocusResult] = field(default_factory=Future)
    packed: Packed | None = None
    claimed: bool | None = None

    def claim(self) -> bool:
        """Begin with it; False when its future was cancelled before."""
        if self.claimed is None:
            self.claimed = self.future.set_running_or_notify_cancel()
        return self.claimed

    @property
    def nbytes(self) -> int:
        """Memory that it holds while it waits."""
        return self.source.nbytes if isinstance(self.source, np.ndarray) else 0


@dataclass(frozen=True)
class Packed:
    """A tile as the endpoint takes it; `size` in bytes of a request."""

    kind: Kind
    item: Json
    size: int


@dataclass(eq=False)
class Parcel:
    """Tiles that make one task.

    Attributes
    ----------
    losses : how often it was lost after it had arrived
    deaths : how often a worker died with it
    """

    tiles: Sequence[Tile]
    losses: int = 0
    deaths: int = 0

    @property
    def kind(self) -> Kind:
        assert self.tiles[0].packed is not None
        return self.tiles[0].packed.kind

    @property
    def function(self) -> str:
        return FUNCTIONS[self.kind][0]

    @property
    def packed(self) -> bool:
        """True if not empty and ready to be sent."""
        return bool(self.tiles) and all(tile.packed for tile in self.tiles)

    def arguments(self) -> Json:
        items = [tile.packed.item for tile in self.tiles if tile.packed]
        return {FUNCTIONS[self.kind][1]: items, "params": self.tiles[0].params.to_dict()}

    def halves(self) -> tuple[Parcel, Parcel]:
        middle = len(self.tiles) // 2
        return Parcel(self.tiles[:middle]), Parcel(self.tiles[middle:])


def tiles_of(source: Source, params: FocusParams) -> Iterator[Tile]:
    """Each page of a file, or the array, as a tile."""
    if isinstance(source, np.ndarray):
        yield Tile("", source, None, params)
        return
    name = os.fspath(source)
    file, page = split_page(name)
    if file != name and not Path(name).exists():
        yield Tile(name, file, page, params)
        return
    try:
        count = count_tiles(name)
    except TileError:  # it will fail as a row, or only the endpoint has it
        count = 1
    for page in range(count):
        yield Tile(name if count == 1 else page_path(name, page), name, page if count > 1 else None, params)


def tile_of(source: Source, params: FocusParams) -> Tile:
    """The one tile of a source; a file with several fails as a row that says so."""
    if isinstance(source, np.ndarray):
        return Tile("", source, None, params)
    name = os.fspath(source)
    file, page = split_page(name)
    if file != name and not Path(name).exists():
        return Tile(name, file, page, params)
    return Tile(name, name, None, params)


class Packer:
    """Packs tiles for one endpoint.

    Attributes
    ----------
    name : of the endpoint, for messages
    everywhere : the endpoint is this machine and reads every file under the name that it has here
    """

    def __init__(self, name: str, entry: GlobusEndpoint | LocalEndpoint) -> None:
        self.name = name
        self.limits: Limits = entry.limits
        self.everywhere = isinstance(entry, LocalEndpoint)
        self._data: tuple[DataMapping, ...] = () if isinstance(entry, LocalEndpoint) else entry.data
        self._codec = "raw" if isinstance(entry, LocalEndpoint) else entry.codec

    def next_parcel(self, queue: deque[Tile], at_most: int, on_row: Callable[[Tile, FocusResult], None]) -> Parcel:
        """Take the tiles of the next task from the queue; those that cannot be sent get their row at once.

        The parcel is empty when none of the tiles could be sent.
        """
        taken: list[Tile] = []
        size = ENVELOPE_BYTES
        at_most = min(at_most, self.limits.max_tiles_per_task)
        while queue and len(taken) < at_most:
            tile = queue[0]
            if not tile.claim():
                queue.popleft()
                continue
            try:
                tile.packed = tile.packed or self.pack(tile, squeeze=len(queue) > 1 or bool(taken))
            except TileError as error:
                queue.popleft()
                on_row(tile, failed_row(tile, error.code, error.message, self.name))
                continue
            except Exception as error:  # a fault of ours must not stop the others
                log.exception("packing %s", tile.name or "an array")
                queue.popleft()
                message = f"{type(error).__name__}: {error}; please report this as a bug"
                on_row(tile, failed_row(tile, "internal", message, self.name))
                continue
            if taken and not (fits(tile, taken[0]) and size + tile.packed.size <= self.limits.max_task_bytes):
                break
            size += tile.packed.size
            taken.append(queue.popleft())
        return Parcel(taken)

    def pack(self, tile: Tile, *, squeeze: bool = True) -> Packed:
        """One tile as the endpoint takes it.

        Parameters
        ----------
        squeeze : True if fewer bytes are worth the time, for codec "auto"

        Raises
        ------
        TileError
            It cannot be read here, or it cannot be sent ("too_large_to_send").
        """
        if tile.place is not None and not self.everywhere:
            return _by_path({**tile.place, "page": tile.page, "name": tile.name})
        if isinstance(tile.source, np.ndarray):
            return self._inline(tile, grey_tile(tile.source, "the array"), None, squeeze)
        if (path := self._path(tile, tile.source)) is not None:
            return path
        if tile.page is None and (count := count_tiles(tile.source)) != 1:
            message = f"{tile.source} holds {count} tiles; name one, as in {page_path(tile.source, 0)}"
            raise TileError("several_tiles", message)
        if not self._may_fit(size := _file_size(tile.source)):
            raise self._too_large(tile, size)
        read = read_tile(tile.source, tile.page or 0)
        if not isinstance(read.pixels, np.ndarray):  # so large that it stays in its file
            raise self._too_large(tile, read.pixels.size * read.pixels.dtype.itemsize)
        return self._inline(tile, read.pixels, read, squeeze)

    def _path(self, tile: Tile, file: str) -> Packed | None:
        if self.everywhere:
            here = os.path.abspath(file)  # noqa: PTH100 - also of names that are not files
            return _by_path({"path": here, "page": tile.page, "name": tile.name})
        places = (mapping.at_endpoint(file, tile.page, tile.name) for mapping in self._data)
        place = next((each for each in places if each is not None), None)
        return None if place is None or self._better_inline(file) else _by_path(place)

    def _better_inline(self, file: str) -> bool:
        """Opening a small file on a parallel file system takes longer than sending it."""
        return 0 < _file_size(file) <= self.limits.inline_below_bytes

    def _inline(
        self,
        tile: Tile,
        pixels: NDArray[Any],
        read: TileRead | None,
        squeeze: bool,
    ) -> Packed:
        if not self._may_fit(pixels.nbytes):
            raise self._too_large(tile, pixels.nbytes)
        squeeze = squeeze or ENVELOPE_BYTES + pixels.nbytes * 4 // 3 > self.limits.max_task_bytes
        item = encode_tile(
            pixels,
            self._codec_for(pixels, squeeze),
            name=tile.name,
            pixel_size_nm=read.pixel_size_nm if read else None,
            acquisition=read.acquisition if read else None,
            picture=read.picture if read else None,
        )
        size = encoded_bytes(item)
        if ENVELOPE_BYTES + size > self.limits.max_task_bytes:
            raise self._too_large(tile, pixels.nbytes, size)
        return Packed("inline", item, size)

    def _codec_for(self, pixels: NDArray[Any], squeeze: bool) -> str:
        if self._codec != "auto":
            return self._codec
        return best_codec() if squeeze and _pays(pixels) else "raw"

    def _may_fit(self, nbytes: int) -> bool:
        return nbytes <= BEST_RATIO * self.limits.max_task_bytes

    def _too_large(self, tile: Tile, nbytes: int, size: int | None = None) -> TileError:
        packed = "" if size is None else f", {size / 1e6:.1f} MB packed"
        remedy = (
            f"say where the endpoint finds it ([endpoints.{self.name}.data] in the configuration), or score it on local"
            if tile.name
            else "save it to a file that the endpoint can read, or score it on local"
        )
        return TileError(
            "too_large_to_send",
            f"{tile.name or 'the array'} has {nbytes / 1e6:.1f} MB{packed}; a task to '{self.name}' carries "
            f"{self.limits.max_task_bytes / 1e6:.1f} MB, and the endpoint cannot read the tile itself: {remedy}",
        )


def _by_path(place: Json) -> Packed:
    return Packed("path", place, encoded_bytes(place))


def _file_size(file: str) -> int:
    """The size; 0 on an error, which reading will report."""
    try:
        return Path(file).stat().st_size
    except (OSError, ValueError):
        return 0


def fits(tile: Tile, first: Tile) -> bool:
    """True if they may share a task."""
    assert tile.packed is not None
    assert first.packed is not None
    return tile.packed.kind == first.packed.kind and (tile.params is first.params or tile.params == first.params)


def encoded_bytes(item: Json) -> int:
    """The bytes that it adds to a request: JSON inside JSON, where quotes count double; base64 has none."""
    data = item.get("data", "")
    text = json.dumps({**item, "data": ""} if data else item)  # ASCII, without line ends
    return len(text) + text.count('"') + text.count("\\") + 4 + len(data)


def failed_row(tile: Tile, code: ErrorCode, message: str, endpoint: str) -> FocusResult:
    """The row of a tile that an endpoint did not score."""
    return FocusResult.failed(tile.name, code, message, not_measured(tile.params.sha256, f"endpoint {endpoint}"))


def not_measured(params_sha256: str, device: str) -> Provenance:
    """The provenance of a row without measures; `device` says how far the tile came."""
    return Provenance(mhfd=__version__, params_sha256=params_sha256, backend="none", device=device)


def _pays(pixels: NDArray[Any]) -> bool:
    """True if packing makes these pixels smaller, judged by a few rows from the middle."""
    rows = max(1, SAMPLE_BYTES // max(1, pixels.itemsize * pixels.shape[1]))
    middle = pixels.shape[0] // 2
    sample = np.ascontiguousarray(pixels[middle : middle + rows])
    if sample.size < 2:
        return False
    if sample.dtype.kind == "f":
        return len(zlib.compress(sample.tobytes(), 1)) < PAYS_BELOW * sample.nbytes
    change = sample[:, 1:] - sample[:, :-1]  # modulo the type's range, as the codec takes them
    stream = zlib.compressobj(1, strategy=zlib.Z_HUFFMAN_ONLY)
    packed = len(stream.compress(change.tobytes())) + len(stream.flush())
    return packed < PAYS_BELOW * sample.nbytes
