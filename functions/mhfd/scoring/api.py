"""Score tiles: files or arrays in, `FocusResult`s out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence, Sized
from functools import partial
from math import inf

import numpy as np

from mhfd.backends import available_cores, select_backend
from mhfd.contract import FocusParams, FocusResult, ParamsError, TileError
from mhfd.images import DEFAULT_MAX_PIXELS
from mhfd.kernel.measures import FeatureList
from mhfd.readers.reading import count_tiles, read_only_tile, read_tile
from mhfd.scoring import stream
from mhfd.scoring.tile import Job, Loaded, Scorer, Source, file_job, job
from mhfd.show.results import Results


def score(
    source: Source,
    params: FocusParams | None = None,
    backend: str = "auto",
    *,
    devices: Sequence[int] | None = None,
    partition: str = "auto",
    pixel_size_nm: float | None = None,
    page: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> FocusResult:
    """Score one tile.

    Parameters
    ----------
    source : an image file, or an array of shape (rows, cols), or (rows, cols, 3 or 4) whose colours are equal
    params : how to measure; the defaults suit stained tissue at 4 to 10 nm per pixel
    backend : "auto" (a GPU that answers, else the processor), "cupy", "cupy-fft", "numba" or "numpy"
    devices : numbers of the GPUs to use, for instance [0, 1]; by default the first
    partition : how several devices share the tile: "scales", "strips", or "auto": not shared if it fits on one
    pixel_size_nm : nanometres per pixel; overrides what the file says
    page : which tile of a file that holds several, from 0
    max_pixels : larger tiles are refused before they are read

    Raises
    ------
    TileError
        the tile cannot be scored; `.code` and `.message` say why.
    ParamsError, BackendError
        a value is wrong, or the backend is not available here.
    """
    return measured(
        source,
        params,
        backend,
        devices=devices,
        partition=partition,
        pixel_size_nm=pixel_size_nm,
        page=page,
        max_pixels=max_pixels,
    )[1]


def find_features(
    source: Source,
    params: FocusParams | None = None,
    backend: str = "auto",
    *,
    devices: Sequence[int] | None = None,
    partition: str = "auto",
    pixel_size_nm: float | None = None,
    page: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> FeatureList:
    """Positions, scales and strengths of one tile's features, to draw over it; arguments as in `score`."""
    return measured(
        source,
        params,
        backend,
        devices=devices,
        partition=partition,
        pixel_size_nm=pixel_size_nm,
        page=page,
        max_pixels=max_pixels,
    )[2]


def measured(
    source: Source,
    params: FocusParams | None = None,
    backend: str = "auto",
    *,
    devices: Sequence[int] | None = None,
    partition: str = "auto",
    pixel_size_nm: float | None = None,
    page: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> tuple[Loaded, FocusResult, FeatureList]:
    """One tile with all that is found in it; arguments as in `score`."""
    _check_pixel_size(pixel_size_nm)
    chosen = select_backend(backend, devices=devices, partition=partition)
    scorer = Scorer(params or FocusParams(), chosen, pixel_size_nm)
    loaded = scorer.load(job(source, page, max_pixels=max_pixels))
    return loaded, *scorer.measure(loaded)


def score_many(
    sources: Iterable[Source],
    params: FocusParams | None = None,
    backend: str = "auto",
    *,
    devices: Sequence[int] | None = None,
    pixel_size_nm: float | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    workers: int | None = None,
) -> Results:
    """Score tiles on all cores or devices, in order; one that cannot be scored becomes a row with `status` "failed".

    A file with several pages gives a row per page. Arguments as in `score`; each tile is scored on one of the
    `devices`. `workers` threads read (and, on the processor, measure) tiles, by default one per core. The list that
    comes back has `.to_pandas()`, `.plot()` and the like.
    """
    return Results(
        iter_scores(
            sources,
            params,
            backend,
            devices=devices,
            pixel_size_nm=pixel_size_nm,
            max_pixels=max_pixels,
            workers=workers,
        )
    )


def iter_scores(
    sources: Iterable[Source],
    params: FocusParams | None = None,
    backend: str = "auto",
    *,
    devices: Sequence[int] | None = None,
    pixel_size_nm: float | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    workers: int | None = None,
) -> Iterator[FocusResult]:
    """`score_many` as a stream: results come in order, as soon as they are ready.

    Only a few tiles are in memory at a time, however many there are. Closing the iterator, or an
    exception in the caller, lets the tiles under way finish and drops the rest.
    """
    if isinstance(sources, str | os.PathLike | np.ndarray):
        raise ParamsError("score_many and iter_scores take a list of tiles; for one tile use score")
    if workers is not None and workers < 1:
        raise ParamsError(f"workers must be at least 1, not {workers}")
    _check_pixel_size(pixel_size_nm)
    cores, jobs = available_cores(), _jobs(sources, max_pixels)
    if isinstance(sources, Sized) and len(sources) < cores:  # perhaps fewer tiles than cores
        workers = workers or max(1, min(cores, sum(map(_count, sources))))
    workers = workers or cores
    # Threads with a tile each need not wait for each other; only cores without a tile help with another's.
    chosen = select_backend(backend, devices=devices, threads=max(1, cores // workers))
    scorer = Scorer(params or FocusParams(), chosen, pixel_size_nm)
    run = stream.in_batches if chosen.lanes else stream.in_threads
    return run(scorer, jobs, workers)


def _jobs(sources: Iterable[Source], max_pixels: int) -> Iterator[Job]:
    for source in sources:
        if isinstance(source, str | os.PathLike):
            read_only = partial(read_only_tile, source, max_pixels=max_pixels)
            yield file_job(os.fspath(source), read_only, partial(read_tile, source, max_pixels=max_pixels))
        else:  # an array, or something that will fail as a row
            yield job(source, max_pixels=max_pixels)


def _count(source: Source) -> int:
    """How many tiles a source is; one that cannot be opened is one, to fail as a row."""
    try:
        return count_tiles(source) if isinstance(source, str | os.PathLike) else 1
    except TileError:
        return 1


def _check_pixel_size(pixel_size_nm: float | None) -> None:
    if pixel_size_nm is not None and not 0 < pixel_size_nm < inf:
        raise ParamsError(f"pixel_size_nm must be a positive number, not {pixel_size_nm}")
