"""One tile -> one row: read, measure, record provenance; a tile that cannot be scored is a failed row."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from time import perf_counter
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from mhfd._version import __version__
from mhfd.backends import Backend
from mhfd.contract import (
    Acquisition,
    BackendError,
    ErrorCode,
    FocusParams,
    FocusResult,
    Provenance,
    TileError,
    Timing,
    page_path,
)
from mhfd.images import DEFAULT_MAX_PIXELS, Tile, grey_tile
from mhfd.images.blocks import shows_jpeg
from mhfd.images.picture import Choice, choose, part_of
from mhfd.kernel.measures import FeatureList, Measures
from mhfd.kernel.pixels import Pixels
from mhfd.readers.reading import read_only_tile, read_tile
from mhfd.scoring.first_look import grey_if_plain
from mhfd.scoring.identity import tile_sha256
from mhfd.scoring.remarks import Examined, all_remarks, examine

Source: TypeAlias = "str | PathLike[str] | NDArray[Any]"
T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One tile to score, or a file of which only a look inside tells how many it holds.

    Attributes
    ----------
    read : returns the tile, or the jobs of its file's tiles, or raises `TileError`; called in whichever thread is free
    name : the path in the tile's row; "" for the tile's own
    """

    read: Callable[[], Tile | Pages]
    name: str = ""


@dataclass(frozen=True)
class Pages:
    """The jobs of a file's tiles, each made when its turn comes: a volume may hold millions.

    Attributes
    ----------
    read : the tile of that number
    """

    name: str
    read: Callable[[int], Tile]
    numbers: Sequence[int]

    def __iter__(self) -> Iterator[Job]:
        return (Job(partial(self.read, page), page_path(self.name, page)) for page in self.numbers)


def job(source: Source, page: int | None = None, name: str = "", *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Job:
    """A `Job` for an array or a file.

    Parameters
    ----------
    page : of a file that holds several, from 0; None: the file must hold one tile
    max_pixels : larger tiles are refused before they are read
    """
    return Job(partial(_read, source, page, max_pixels), name)


def _read(source: Source, page: int | None, max_pixels: int) -> Tile:
    if isinstance(source, np.ndarray):
        pixels = grey_tile(source, "the array")
        if pixels.size > max_pixels:
            raise TileError("too_large", f"the array has {pixels.size} pixels, more than max_pixels = {max_pixels}")
        return Tile(path="", pixels=pixels, pixel_size_nm=None, acquisition=Acquisition())
    if not isinstance(source, str | os.PathLike):
        raise TileError("unsupported", f"a tile is a file's path or a NumPy array, not a {type(source).__name__}")
    if page is not None:
        return read_tile(source, page, max_pixels=max_pixels)
    if isinstance(tile := read_only_tile(source, max_pixels=max_pixels), int):
        raise TileError(
            "several_tiles",
            f"{os.fspath(source)} holds {tile} tiles: say which one (page=0), or use score_many for all of them",
        )
    return tile


def file_job(name: str, read_only: Callable[[], Tile | int], read: Callable[[int], Tile]) -> Job:
    """A `Job` for a file's tile, or for each of its tiles.

    Parameters
    ----------
    read_only : its only tile, or how many it holds
    read : the tile of that number
    """

    def tile_or_pages() -> Tile | Pages:
        return found if isinstance(found := read_only(), Tile) else Pages(name, read, range(found))

    return Job(tile_or_pages, name)


@dataclass(frozen=True)
class Loaded:
    """A tile that was read.

    Attributes
    ----------
    pixels : the part of the tile that is scored
    params : with the scales in this tile's pixels
    choice : which part that is
    examined : identity (unless it is taken of several tiles at a time) and remarks; None for a tile that stays in its
        file, which is examined when it is measured
    """

    job: Job
    tile: Tile
    pixels: Pixels
    choice: Choice
    examined: Examined | None
    pixel_size_nm: float | None
    params: FocusParams
    read_ms: float


@dataclass(frozen=True)
class Scorer:
    """Parameters and backend of all tiles of a call.

    Attributes
    ----------
    pixel_size_nm : overrides what the files say
    """

    params: FocusParams
    backend: Backend
    pixel_size_nm: float | None = None

    def load(self, job: Job) -> Loaded:
        """Read one tile, as `read`."""
        loaded = self.read(job)
        assert isinstance(loaded, Loaded)  # else the job is not one tile
        return loaded

    def read(self, job: Job, *, identify: bool = True) -> Loaded | Pages:
        """Read one tile; of a file that holds several, their jobs.

        Parameters
        ----------
        identify : take the identity of a tile that is held in memory; else `row` is told

        Raises
        ------
        TileError
            it cannot be read, or its scales are unknown.
        """
        start = perf_counter()
        if not isinstance(tile := job.read(), Tile):
            return tile
        pixel_size_nm = tile.pixel_size_nm if self.pixel_size_nm is None else self.pixel_size_nm
        params = self.params.in_pixels(pixel_size_nm)
        if (grey := grey_if_plain(tile, params)) is not None:
            read_ms = ms_since(start)
            sha256 = tile_sha256(tile.pixels) if identify else None
            examined = Examined(sha256, (), grey)
            return Loaded(job, tile, tile.pixels, Choice(), examined, pixel_size_nm, params, read_ms)
        lossy = tile.acquisition.lossy
        if not lossy and (lossy := shows_jpeg(tile.pixels)):
            tile = replace(tile, acquisition=replace(tile.acquisition, lossy=True))
        choice = choose(tile.pixels, tile.picture, params, tile.path or "the array", lossy=lossy)
        read_ms = ms_since(start)
        return Loaded(
            job=job,
            tile=tile,
            pixels=part_of(tile.pixels, choice.box),
            choice=choice,
            examined=examine(tile.pixels, choice.box, identify=identify)
            if isinstance(tile.pixels, np.ndarray)
            else None,
            pixel_size_nm=pixel_size_nm,
            params=params,
            read_ms=read_ms,
        )

    def measure(self, loaded: Loaded) -> tuple[FocusResult, FeatureList]:
        """Measure one tile with the backend as a whole: threads, or every device it has."""
        if (now := self.backend.now(loaded.pixels, loaded.params)) is not self.backend:
            return replace(self, backend=now).measure(loaded)
        start = perf_counter()
        measures, features = self.backend.measure(loaded.pixels, loaded.params)
        row = self.row(loaded, measures, self.backend.device, kernel_ms=ms_since(start))
        if loaded.choice.box is not None:  # positions are those in the whole page
            top, left, _, _ = loaded.choice.box
            features = replace(features, rows=features.rows + top, cols=features.cols + left)
        return row, features

    def row(
        self,
        loaded: Loaded,
        measures: Measures,
        device: str,
        *,
        sha256: str | None = None,
        copy_ms: float = 0.0,
        kernel_ms: float,
    ) -> FocusResult:
        """The result of a tile that was measured; `sha256`: its identity, if `read` did not take it and it is known."""
        pixels, acquisition = loaded.tile.pixels, loaded.tile.acquisition
        rows, cols = pixels.shape
        examined = loaded.examined or examine(pixels, loaded.choice.box)
        return FocusResult(
            path=loaded.job.name or loaded.tile.path,
            status="scored",
            shape=(rows, cols),
            dtype=pixels.dtype.name,
            picture=loaded.choice.box,
            pixel_size_nm=loaded.pixel_size_nm,
            features=measures.features,
            features_per_mpx=measures.features / loaded.pixels.size * 1e6,
            features_by_scale=measures.features_by_scale,
            scales_px=tuple(loaded.params.scales[:-1]),
            focus_score=measures.focus_score,
            characteristic_scale_px=measures.characteristic_scale_px,
            noise=measures.noise,
            content=measures.lossy_content if acquisition.lossy else measures.content,
            anisotropy=measures.anisotropy,
            saturated=measures.saturated,
            vollath_f4=measures.vollath_f4,
            grey=examined.grey,
            spectrum=measures.spectrum.pack() if measures.spectrum else None,
            acquisition=acquisition,
            remarks=all_remarks(examined, loaded.choice.remarks, acquisition, measures),
            provenance=self._provenance(device, sha256 or examined.sha256 or tile_sha256(pixels)),
            timing_ms=Timing(
                read=round(loaded.read_ms, 3),
                copy=round(copy_ms, 3),
                kernel=round(kernel_ms, 3),
                total=round(loaded.read_ms + copy_ms + kernel_ms, 3),
            ),
        )

    def or_failed_row(self, job: Job, step: Callable[[], T]) -> T | FocusResult:
        """The result of `step`, or the failed row for its error."""
        try:
            return step()
        except TileError as error:
            return self._failed(job, error.code, error.message)
        except MemoryError:
            return self._failed(
                job,
                "out_of_memory",
                "there is not enough memory for a tile of this size: score fewer at once (workers=1), use smaller "
                "strips (max_host_bytes), or crop it",
            )
        except BackendError as error:
            return self._failed(job, "device_failed", str(error))
        except Exception as error:  # a bug in mhfd must not stop a night's batch: its trace goes to the log
            log.exception("scoring %s", job.name or "an array")
            return self._failed(job, "internal", f"{type(error).__name__}: {error}; please report this as a bug")

    def _failed(self, job: Job, code: ErrorCode, message: str) -> FocusResult:
        return FocusResult.failed(job.name, code, message, self._provenance(self.backend.device, None))

    def _provenance(self, device: str, sha256: str | None) -> Provenance:
        return Provenance(
            mhfd=__version__,
            params_sha256=self.params.sha256,
            backend=self.backend.name,
            device=device,
            tile_sha256=sha256,
        )


def ms_since(start: float) -> float:
    return (perf_counter() - start) * 1e3
