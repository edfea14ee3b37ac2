"""Score many tiles, in order: in threads on the processor, in batches on GPUs.

Only a few tiles are in memory at a time, however many there are.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from mhfd import ahead
from mhfd.backends import Lane, Pending
from mhfd.contract import BackendError, FocusResult
from mhfd.images.memory import Recycled, read_into
from mhfd.kernel.measures import FeatureList, Measures
from mhfd.scoring.identity import identities, takes_many
from mhfd.scoring.tile import Job, Loaded, Pages, Scorer

T = TypeVar("T")

log = logging.getLogger(__name__)

TILES_PER_WORKER_AHEAD = 2
"""Tiles submitted ahead of the caller: keeps the cores busy, bounds the memory."""

BATCH_TILES = 32
BATCH_PIXELS = 2**25
"""A batch takes the tiles that are ready, up to these limits: beyond, a GPU gains nothing."""

MANY = 256
"""Tiles after which it pays to compile what many need beside the kernel (`mhfd.ahead`)."""

BATCHES_PER_LANE = 2
"""One computes while the next is copied."""


def in_threads(scorer: Scorer, jobs: Iterable[Job], threads: int) -> Iterator[FocusResult]:
    """Read and measure each tile in a pool of threads."""
    # Threads, not processes: the kernels release the lock.
    pool = ThreadPoolExecutor(threads, thread_name_prefix="mhfd-score")
    rows = _in_order(scorer, jobs, partial(_score, scorer), pool, threads * TILES_PER_WORKER_AHEAD)
    try:
        yield from _minding_many(_when_there(rows))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _when_there(rows: Iterable[FocusResult | _Waiting]) -> Iterator[FocusResult]:
    for row in rows:
        if isinstance(row, _Waiting):
            wait([row.first])
        else:
            yield row


def in_this_thread(scorer: Scorer, jobs: Iterable[Job]) -> Iterator[FocusResult]:
    """Tile after tile. The kernel keeps its memory for the next call: a new thread would have to get it anew."""
    return _minding_many(_one_by_one(scorer, jobs))


def _one_by_one(scorer: Scorer, jobs: Iterable[Job]) -> Iterator[FocusResult]:
    for job in jobs:
        found = scorer.or_failed_row(job, partial(_score, scorer, job))
        if isinstance(found, Pages):
            yield from _one_by_one(scorer, found)
        else:
            yield found


def _minding_many(rows: Iterable[FocusResult]) -> Iterator[FocusResult]:
    """The same rows; once they are many, what many need is compiled in the background."""
    for number, row in enumerate(rows, 1):
        if number == MANY:
            ahead.prepare()
        yield row


def _score(scorer: Scorer, job: Job) -> FocusResult | Pages:
    """The row of a tile; of a file that holds several, their jobs."""
    loaded = scorer.read(job)
    return loaded if isinstance(loaded, Pages) else scorer.measure(loaded)[0]


def in_batches(scorer: Scorer, jobs: Iterable[Job], readers: int) -> Iterator[FocusResult]:
    """Read in a pool of threads, measure in batches of equal tiles, on every device that works."""
    memory = scorer.backend.lanes[0].memory or Recycled()
    pool = ThreadPoolExecutor(readers, "mhfd-read", initializer=read_into, initargs=(memory,))
    writer = ThreadPoolExecutor(1, "mhfd-rows")  # rows wait for the device, and cost time: not that of this thread
    lanes = _Lanes(scorer, pool, writer)

    def read(job: Job) -> Loaded | Pages:
        return scorer.read(job, identify=not takes_many())  # where one at a time is as fast, its pixels are near

    under_way: deque[list[FocusResult] | _Batch] = deque()

    def is_idle() -> bool:
        """Whether a device has nothing to do."""
        return sum(not _is_ready(work) for work in under_way) < max(1, lanes.count)

    try:
        tiles = _in_order(scorer, jobs, read, pool, readers * TILES_PER_WORKER_AHEAD + BATCH_TILES)
        for work in _batches(tiles, is_idle):
            if isinstance(work, list):
                under_way.append(lanes.submit(work))
            elif isinstance(work, FocusResult):
                under_way.append([work])
            elif not (under_way and _is_ready(under_way[0])):
                work.wait(under_way[0] if under_way else [], is_idle())
            # While the next tile is still being read, give out rows that are there; wait only to keep the queue short.
            most = BATCHES_PER_LANE * max(1, lanes.count)
            while under_way and (len(under_way) > most or (isinstance(work, _Waiting) and _is_ready(under_way[0]))):
                yield from lanes.rows(under_way.popleft())
        while under_way:
            yield from lanes.rows(under_way.popleft())
    finally:
        writer.shutdown(wait=True, cancel_futures=True)
        pool.shutdown(wait=True, cancel_futures=True)


def _in_order(
    scorer: Scorer, jobs: Iterable[Job], step: Callable[[Job], T | Pages], pool: ThreadPoolExecutor, ahead: int
) -> Iterator[T | FocusResult | _Waiting]:
    """Take a step for each tile in a pool of threads: what it gives, in order, or the tile's failed row.

    The tiles of a file that holds several come in its place. As long as the next one is not there, what to wait for.
    """
    under_way: deque[Future[T | Pages | FocusResult]] = deque()

    def submit(job: Job) -> None:
        under_way.append(pool.submit(scorer.or_failed_row, job, partial(step, job)))

    def next_one() -> Iterator[T | FocusResult | _Waiting]:
        while not under_way[0].done():
            yield _Waiting(under_way[0], under_way[len(under_way) // 2])
        found = under_way.popleft().result()
        if isinstance(found, Pages):
            yield from _in_order(scorer, found, step, pool, ahead)
        else:
            yield found

    for job in jobs:
        submit(job)
        if len(under_way) >= ahead:
            yield from next_one()
    while under_way:
        yield from next_one()


def _batches(
    tiles: Iterator[Loaded | FocusResult | _Waiting], is_idle: Callable[[], bool]
) -> Iterator[list[Loaded] | FocusResult | _Waiting]:
    """Batches of consecutive tiles of equal shape, type and scales.

    Parameters
    ----------
    is_idle : whether a device has nothing to do: then a batch does not wait for more tiles
    """
    batch: list[Loaded] = []
    for tile in tiles:
        if batch and (
            is_idle() if isinstance(tile, _Waiting) else not (isinstance(tile, Loaded) and _fits(tile, batch))
        ):
            yield batch
            batch = []
        if isinstance(tile, Loaded):
            batch.append(tile)
        else:
            yield tile
    if batch:
        yield batch


@dataclass(frozen=True)
class _Waiting:
    """The next tile is still being read.

    Attributes
    ----------
    first, half : done when that tile is there, and when half of those submitted are
    """

    first: Future[Any]
    half: Future[Any]

    def wait(self, under_way: list[FocusResult] | _Batch, is_idle: bool) -> None:
        """Wait for tiles, as few as a device that is idle asks for, or for the rows that come first."""
        tile = self.first if is_idle else self.half
        wait([tile, under_way.rows] if isinstance(under_way, _Batch) else [tile], return_when=FIRST_COMPLETED)


def _is_ready(work: list[FocusResult] | _Batch) -> bool:
    return not isinstance(work, _Batch) or work.rows.done()


def _fits(tile: Loaded, batch: list[Loaded]) -> bool:
    here, there = tile.pixels, batch[0].pixels
    alike = (here.shape, here.dtype, tile.params) == (there.shape, there.dtype, batch[0].params)
    return alike and len(batch) < BATCH_TILES and here.size * (len(batch) + 1) <= BATCH_PIXELS


@dataclass
class _Refused:
    """Takes the place of a batch that could not be submitted."""

    error: Exception
    copy_ms: float = 0.0
    kernel_ms: float = 0.0

    def result(self) -> list[Measures]:
        raise self.error


@dataclass
class _Batch:
    """Tiles submitted to a lane."""

    tiles: list[Loaded]
    lane: Lane
    rows: Future[list[FocusResult]]


class _Lanes:
    """The devices that still work; one that fails is dropped."""

    def __init__(self, scorer: Scorer, readers: Executor, writer: Executor) -> None:
        self._scorer, self._readers, self._writer = scorer, readers, writer
        self._working = list(scorer.backend.lanes)
        self._turns = 0
        self._last_error = BackendError("no device was left")

    @property
    def count(self) -> int:
        return len(self._working)

    def submit(self, tiles: list[Loaded]) -> list[FocusResult] | _Batch:
        """Submit tiles to the next lane in turn; the whole backend measures a tile too large for a batch at once."""
        pixels = [each.pixels for each in tiles]
        arrays = [each for each in pixels if isinstance(each, np.ndarray)]
        if len(arrays) < len(pixels) or arrays[0].size > BATCH_PIXELS:
            measure = self._scorer.measure
            return [self._scorer.or_failed_row(each.job, partial(_first, measure, each)) for each in tiles]
        if not self._working:
            return [self._scorer.or_failed_row(each.job, partial(_fail, self._last_error)) for each in tiles]
        lane = self._working[self._turns % len(self._working)]
        if self._turns == 1:  # there are more tiles than a few
            ahead.prepare()
        self._turns += 1
        sha256 = self._readers.submit(_identities, tiles)
        try:
            pending = lane.submit(arrays, tiles[0].params)
        except Exception as error:  # any error: raised again when these tiles' rows are due
            pending = _Refused(error)
        return _Batch(tiles, lane, self._writer.submit(self._made, tiles, lane.device, pending, sha256))

    def rows(self, work: list[FocusResult] | _Batch) -> Iterator[FocusResult]:
        """Wait for the rows. Tiles that a broken device leaves undone go to the others, or fail row by row."""
        if not isinstance(work, _Batch):
            yield from work
            return
        rows = self._scorer.or_failed_row(work.tiles[0].job, partial(self._rows_of, work))
        if isinstance(rows, list):
            yield from rows
        elif len(work.tiles) == 1:
            yield rows
        else:  # one tile of the batch may be to blame: each on its own
            for tile in work.tiles:
                yield from self.rows(self.submit([tile]))

    def _rows_of(self, batch: _Batch) -> list[FocusResult]:
        try:
            return batch.rows.result()
        except BackendError as error:
            self._drop(batch.lane, error)
            return list(self.rows(self.submit(batch.tiles)))

    def _made(self, tiles: list[Loaded], device: str, pending: Pending, sha256: Future[list[str]]) -> list[FocusResult]:
        measures = pending.result()
        copy_ms, kernel_ms = pending.copy_ms / len(measures), pending.kernel_ms / len(measures)
        return [
            self._scorer.row(tile, numbers, device, sha256=identity, copy_ms=copy_ms, kernel_ms=kernel_ms)
            for tile, numbers, identity in zip(tiles, measures, sha256.result(), strict=True)
        ]

    def _drop(self, lane: Lane, error: BackendError) -> None:
        if lane in self._working:  # its next batch fails too, but only one is logged
            self._working.remove(lane)
            self._last_error = error
            log.error("%s; the devices left: %d", error, len(self._working))


def _first(measure: Callable[[Loaded], tuple[FocusResult, FeatureList]], tile: Loaded) -> FocusResult:
    return measure(tile)[0]


def _identities(tiles: Sequence[Loaded]) -> list[str]:
    known = [each.examined.sha256 for each in tiles if each.examined and each.examined.sha256]
    return known if len(known) == len(tiles) else identities([each.tile.pixels[:] for each in tiles])


def _fail(error: BackendError) -> FocusResult:
    raise error
