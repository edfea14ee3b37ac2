"""Read, measure, report: a tile in, a `FocusResult` out; one failure is one failed row."""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from os import PathLike
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mhfd._version import __version__
from mhfd.backends import Backend, select_backend
from mhfd.contract import (
    Acquisition,
    Failure,
    FocusParams,
    FocusResult,
    ParamsError,
    Provenance,
    TileError,
    Timing,
    page_path,
)
from mhfd.images import DEFAULT_MAX_PIXELS, Tile, count_tiles, grey_tile, read_tile
from mhfd.kernel.measures import FeatureList

Source: TypeAlias = "str | PathLike[str] | NDArray[Any]"

log = logging.getLogger(__name__)

TILES_PER_WORKER_AHEAD = 2
"""Work handed out ahead of the caller: keeps the cores busy, bounds what is in memory."""


def score(
    source: Source,
    params: FocusParams | None = None,
    backend: str = "auto",
    *,
    pixel_size_nm: float | None = None,
    page: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> FocusResult:
    """Score one tile.

    Parameters
    ----------
    source : an image file, or an array of shape (rows, cols), or (rows, cols, 3 or 4) that is grey in fact
    params : how to measure; the defaults suit stained tissue at 4 to 10 nm per pixel
    backend : "auto" or "numpy"
    pixel_size_nm : nanometres per pixel; overrides what the file says
    page : which tile of a file that holds several, from 0
    max_pixels : larger tiles are refused before they are read

    Raises
    ------
    TileError
        the tile cannot be scored; `.code` and `.message` say why.
    ParamsError, BackendError
        what was asked for does not exist here.
    """
    _check_pixel_size(pixel_size_nm)
    tile, read_ms = _load(source, page, max_pixels)
    return _measure(tile, params or FocusParams(), select_backend(backend), pixel_size_nm, read_ms)[0]


def find_features(
    source: Source,
    params: FocusParams | None = None,
    backend: str = "auto",
    *,
    pixel_size_nm: float | None = None,
    page: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> FeatureList:
    """Positions, scales and strengths of one tile's features, to draw over it; arguments as in `score`."""
    _check_pixel_size(pixel_size_nm)
    tile, read_ms = _load(source, page, max_pixels)
    return _measure(tile, params or FocusParams(), select_backend(backend), pixel_size_nm, read_ms)[1]


def score_many(
    sources: Iterable[Source],
    params: FocusParams | None = None,
    backend: str = "auto",
    *,
    pixel_size_nm: float | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    workers: int | None = None,
) -> list[FocusResult]:
    """Score tiles on all cores, in order; a tile that cannot be scored is a row with `status` "failed".

    A file with several pages gives a row a page. Arguments as in `score`; `workers` threads, by default
    one a core.
    """
    return list(
        iter_scores(sources, params, backend, pixel_size_nm=pixel_size_nm, max_pixels=max_pixels, workers=workers)
    )


def iter_scores(
    sources: Iterable[Source],
    params: FocusParams | None = None,
    backend: str = "auto",
    *,
    pixel_size_nm: float | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    workers: int | None = None,
) -> Iterator[FocusResult]:
    """`score_many` as a stream: results come in order, as soon as they are known.

    Only a few tiles are in memory at a time, however many there are. Closing the iterator, or an
    exception in the caller, lets the tiles under way finish and drops the rest.
    """
    if isinstance(sources, str | os.PathLike | np.ndarray):
        raise ParamsError("score_many and iter_scores take a list of tiles; for one tile use score")
    if workers is not None and workers < 1:
        raise ParamsError(f"workers must be at least 1, not {workers}")
    _check_pixel_size(pixel_size_nm)
    one = partial(
        _score_or_fail,
        params=params or FocusParams(),
        backend=select_backend(backend),
        pixel_size_nm=pixel_size_nm,
        max_pixels=max_pixels,
    )
    return _in_order(one, sources, workers or available_cores())


def _in_order(one: Callable[..., FocusResult], sources: Iterable[Source], threads: int) -> Iterator[FocusResult]:
    """Apply `one` to every tile in a pool of threads; yield in the order of the sources."""
    # Threads, not processes: the kernel spends its time in NumPy and SciPy, which release the lock.
    pool = ThreadPoolExecutor(threads, thread_name_prefix="mhfd-score")
    under_way: deque[Future[FocusResult]] = deque()
    try:
        for tile in _pages(sources):
            under_way.append(pool.submit(one, *tile))
            if len(under_way) >= threads * TILES_PER_WORKER_AHEAD:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def available_cores() -> int:
    """Cores this process may use: fewer than the machine has under a scheduler or in a container."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _pages(sources: Iterable[Source]) -> Iterator[tuple[Source, int | None, str]]:
    """Each tile as (file or array, page, name); a file that cannot be opened is passed on once, to fail as a row."""
    for source in sources:
        if not isinstance(source, str | os.PathLike):  # an array, or something that will fail as a row
            yield source, None, ""
            continue
        name = os.fspath(source)
        try:
            count = count_tiles(source)
        except TileError:
            count = 1
        for page in range(count):
            yield source, page, name if count == 1 else page_path(name, page)


def _score_or_fail(
    source: Source,
    page: int | None,
    name: str,
    *,
    params: FocusParams,
    backend: Backend,
    pixel_size_nm: float | None,
    max_pixels: int,
) -> FocusResult:
    try:
        tile, read_ms = _load(source, page, max_pixels)
        return _measure(tile, params, backend, pixel_size_nm, read_ms)[0]
    except TileError as error:
        failure = Failure(code=error.code, message=error.message)
    except MemoryError:
        failure = Failure(
            code="out_of_memory",
            message="there is not enough memory for a tile of this size: score fewer at once (workers=1), or crop it",
        )
    except Exception as error:  # a fault of ours must not stop a night's batch: its trace goes to the log
        log.exception("scoring %s", name or "an array")
        failure = Failure(code="internal", message=f"{type(error).__name__}: {error}; please report this as a bug")
    provenance = _provenance(params, backend, None)
    return FocusResult(path=name, status="failed", error=failure, verdict="failed", provenance=provenance)


def _load(source: Source, page: int | None, max_pixels: int) -> tuple[Tile, float]:
    """The tile, and the milliseconds it took to read."""
    start = perf_counter()
    if isinstance(source, np.ndarray):
        pixels = grey_tile(source, "the array")
        if pixels.size > max_pixels:
            raise TileError("too_large", f"the array has {pixels.size} pixels, more than max_pixels = {max_pixels}")
        tile = Tile(path="", pixels=pixels, pixel_size_nm=None, acquisition=Acquisition())
    elif not isinstance(source, str | os.PathLike):
        raise TileError("unsupported", f"a tile is a file's path or a NumPy array, not a {type(source).__name__}")
    else:
        if page is None and (count := count_tiles(source)) != 1:
            raise TileError(
                "several_tiles",
                f"{os.fspath(source)} holds {count} tiles: say which one (page=0), or use score_many for all of them",
            )
        tile = read_tile(source, page or 0, max_pixels=max_pixels)
    return tile, _ms_since(start)


def _measure(
    tile: Tile, params: FocusParams, backend: Backend, pixel_size_nm: float | None, read_ms: float
) -> tuple[FocusResult, FeatureList]:
    start = perf_counter()
    if pixel_size_nm is None:
        pixel_size_nm = tile.pixel_size_nm
    in_pixels = params.in_pixels(pixel_size_nm)
    measures, features = backend.measure(tile.pixels, in_pixels)
    kernel_ms = _ms_since(start)
    rows, cols = tile.pixels.shape
    result = FocusResult(
        path=tile.path,
        status="scored",
        shape=(rows, cols),
        dtype=tile.pixels.dtype.name,
        pixel_size_nm=pixel_size_nm,
        features=measures.features,
        features_per_mpx=measures.features / tile.pixels.size * 1e6,
        features_by_scale=measures.features_by_scale,
        scales_px=tuple(in_pixels.scales[:-1]),
        focus_score=measures.focus_score,
        characteristic_scale_px=measures.characteristic_scale_px,
        noise=measures.noise,
        content=measures.content,
        anisotropy=measures.anisotropy,
        saturated=measures.saturated,
        vollath_f4=measures.vollath_f4,
        acquisition=tile.acquisition,
        provenance=_provenance(params, backend, tile.pixels),
        timing_ms=Timing(read=round(read_ms, 3), kernel=round(kernel_ms, 3), total=round(read_ms + kernel_ms, 3)),
    )
    return result, features


def _check_pixel_size(pixel_size_nm: float | None) -> None:
    if pixel_size_nm is not None and not 0 < pixel_size_nm < math.inf:
        raise ParamsError(f"pixel_size_nm must be a positive number, not {pixel_size_nm}")


def _provenance(params: FocusParams, backend: Backend, pixels: NDArray[Any] | None) -> Provenance:
    return Provenance(
        mhfd=__version__,
        params_sha256=params.sha256,
        backend=backend.name,
        device=backend.device,
        tile_sha256=None if pixels is None else tile_sha256(pixels),
    )


def tile_sha256(pixels: NDArray[Any]) -> str:
    """Identity of a tile: hex SHA-256 of type, shape and pixels, whatever the file around them."""
    digest = hashlib.sha256(f"{pixels.dtype.newbyteorder('<').str} {pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)).data)
    return digest.hexdigest()


def _ms_since(start: float) -> float:
    return (perf_counter() - start) * 1e3
