"""From files to numbers as `mhfd score FOLDER` goes, beside its parts alone: the kernel, and the readers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from mhfd import iter_scores
from mhfd.backends import Backend, Lane, Pending, available_cores, select_backend
from mhfd.contract import BackendName, FocusParams, FocusResult, TileError
from mhfd.images.memory import Allocate, Recycled
from mhfd.kernel.measures import FeatureList, Measures
from mhfd.kernel.pixels import Pixels
from mhfd.readers.reading import read_only_tile, read_tile
from mhfd.scoring.stream import BATCHES_PER_LANE, in_batches, in_threads
from mhfd.scoring.tile import Scorer, file_job
from mhfd_client.bench.contestants import Contestant, Field, Trial, working_backend
from mhfd_client.bench.plan import BACKENDS, FILES_LAPS
from mhfd_client.bench.watch import Laps, Watch

TILES = {"numpy": 8, "numba": 64, "cupy-fft": 64}
"""Files that a backend gets at most in a round, so that it takes about a second; others get all there are."""

WHOLE, KERNEL, READERS = FILES_LAPS


def gather_files(backends: Sequence[BackendName], batch: int) -> Field:
    """The backends that work here; arguments and errors as in `contestants.gather`."""
    found: list[Contestant] = []
    missing: list[str] = []
    for name in backends or BACKENDS:
        backend = working_backend(name, threads=1)  # as where there are many tiles: a thread each
        if isinstance(backend, Backend):
            found.append(_contestant(backend, batch))
        elif backends:
            raise backend
        else:
            missing.append(f"mhfd {name}: {backend}")
    return Field(contestants=tuple(found), missing=tuple(missing))


def write_files(pixels: NDArray[Any], count: int, folder: Path) -> tuple[Path, ...]:
    """Tiles that differ, as uncompressed TIFF files; just written, they are in the page cache."""
    files = tuple(folder / f"tile{number:06d}.tif" for number in range(count))
    for number, file in enumerate(files):
        tifffile.imwrite(file, np.roll(pixels, number, axis=0), photometric="minisblack")
    return files


def files_needed(contestants: Sequence[Contestant], most: int) -> int:
    """How many files the hungriest takes."""
    return min(most, max(TILES.get(each.name.removeprefix("mhfd "), most) for each in contestants))


def _contestant(backend: Backend, batch: int) -> Contestant:
    def time(job: Trial) -> Laps:
        files = job.files[: TILES.get(backend.name)]
        known, _ = select_backend("numpy").measure(job.pixels, job.params)
        idle = nothing(known, in_lanes=bool(backend.lanes))
        watch = Watch()
        rows = list(iter_scores([str(file) for file in files], job.params, backend.name))
        watch.lap(WHOLE)
        measured = _kernel_alone(backend, job, len(files), batch)
        watch.lap(KERNEL)
        list(scored(idle, files, job.params))
        watch.lap(READERS)
        tiles = {WHOLE: len(files), KERNEL: measured, READERS: len(files)}
        return Laps({lap: ms / tiles[lap] for lap, ms in watch.ms.items()}, _features(rows))

    note = "all measures, with the noise threshold"
    return Contestant(name=f"mhfd {backend.name}", device=backend.device, ours=True, note=note, time=time)


def _features(rows: Sequence[FocusResult]) -> int:
    """Of the first tile, when all were scored."""
    for row in rows:
        if row.error:
            raise TileError(row.error.code, f"{row.path}: {row.error.message}")
    return rows[0].features or 0


def _kernel_alone(backend: Backend, job: Trial, count: int, batch: int) -> int:
    """Measure a tile so many times, or some more; returns how many."""
    if backend.lanes:
        batches = -(-count // batch)
        keep_busy(backend.lanes[0], [job.pixels] * batch, job.params, batches)
        return batches * batch
    with ThreadPoolExecutor(available_cores()) as pool:
        return len(list(pool.map(lambda _: backend.measure(job.pixels, job.params), range(count))))


def keep_busy(lane: Lane, tiles: Sequence[NDArray[Any]], params: FocusParams, batches: int) -> None:
    """Have a device measure the same batch so many times, each submitted before the last is done."""
    under_way: deque[Pending] = deque()
    for _ in range(batches):
        under_way.append(lane.submit(tiles, params))
        if len(under_way) > BATCHES_PER_LANE:
            under_way.popleft().result()
    for pending in under_way:
        pending.result()


# --- A device that computes nothing -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """Numbers that a device need not compute: they are there."""

    measures: list[Measures]
    copy_ms: float = 0.0
    kernel_ms: float = 0.0

    def result(self) -> list[Measures]:
        return self.measures


@dataclass(frozen=True)
class Nothing:
    """A device that computes nothing."""

    measures: Measures
    device: str = "nothing"
    memory: Allocate = field(default_factory=Recycled)  # kept between calls, as a GPU's lane does

    def submit(self, tiles: Sequence[NDArray[Any]], params: FocusParams) -> Known:
        return Known([self.measures] * len(tiles))


def nothing(known: Measures, *, in_lanes: bool) -> Backend:
    """A backend that has the same numbers for every tile: as a device, or for threads."""

    def measure(tile: Pixels, params: FocusParams) -> tuple[Measures, FeatureList]:
        places, strengths = np.empty(0, np.int64), np.empty(0)
        return known, FeatureList(places, places, places, strengths, strengths)

    return Backend("nothing", "nothing", measure, lanes=(Nothing(known),) if in_lanes else ())


def scored(
    backend: Backend, files: Sequence[Path], params: FocusParams, readers: int | None = None
) -> Iterator[FocusResult]:
    """The rows of files by a backend that has no name, as `iter_scores` makes them; by default a reader a core."""
    jobs = (file_job(str(file), partial(read_only_tile, file), partial(read_tile, file)) for file in files)
    run = in_batches if backend.lanes else in_threads
    return run(Scorer(params, backend), jobs, readers or available_cores())
