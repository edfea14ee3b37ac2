"""Score a shard: tiles of the manifest in, a part out."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from mhfd.contract import FocusResult, ParamsError, TileError, page_path
from mhfd.images import Tile as Image
from mhfd.scoring.tile import Job as Task
from mhfd.scoring.tile import file_job
from mhfd.text import shown
from mhfd.worker import device
from mhfd.worker.archive.files import footer, reading, remove_left_over
from mhfd.worker.archive.job import Job, Piece
from mhfd.worker.archive.manifest import Manifest, Tile
from mhfd.worker.archive.options import FOREVER_S, number, options_of
from mhfd.worker.archive.parts import PartWriter, Tally
from mhfd.worker.places import writable_path
from mhfd.worker.tasks import SCHEMA, Answer, Asked, answered, read_only, read_page, results

KEEP_S = 60.0
"""Work is kept as a piece this often: so much is lost when a process is killed."""

LOOK_S = 1.0
"""How often a running shard looks whether it is to stop."""


def score_shard(
    manifest: object, first: object, count: object, params: object = None, options: object = None
) -> Answer:
    """Score some tiles of a manifest into a part beside it; nothing is done where that part is there.

    Parameters
    ----------
    manifest : its path, as `plan_run` answered it
    first, count : a shard: `first` is a multiple of the plan's "shard_tiles", `count` as many, fewer in the last shard
    params : keys of `FocusParams`; None, or those of the plan
    options : {"time_budget_s"}: seconds after which no further tile is begun

    Returns
    -------
    {"schema", "part", "shard", "first", "count", "scored", "failed", "failures", "already", "taken", "remaining",
    "stopped", "worker", "seconds"}, or {"schema", "error"}. `scored`, `failed` and `failures` (by code) count the
    part's results, or those kept so far: while `remaining` is not 0 it `stopped` at "time_budget_s", or since the job
    is "paused" or "cancelled", and the next call goes on from there. `taken`: of the results of this call those that
    earlier jobs had.
    """
    start = time.monotonic()
    return answered(lambda: _score(Manifest.open(manifest, params), first, count, options, start))


def _score(manifest: Manifest, first: object, count: object, options: object, start: float) -> Answer:
    given = options_of(options, ("time_budget_s",))
    deadline = start + min(number(given, "time_budget_s", (int, float)) or FOREVER_S, FOREVER_S)
    job, shard = Job(manifest), _shard(manifest, first, count)
    work = _Work(job, shard, deadline)
    about, tiles = job.finished(shard), manifest.plan.count(shard)
    if already := about is not None:
        job.remove_pieces(shard)  # left over where a process was killed after it had put the part into its place
    else:
        about, tiles = work.run()
    return {
        "schema": SCHEMA,
        "part": str(job.part(shard)),
        "shard": shard,
        "first": first,
        "count": count,
        **{key: about[key] for key in ("scored", "failed", "failures")},
        "already": already,
        "taken": work.taken,
        "remaining": manifest.plan.count(shard) - tiles,
        "stopped": work.stopped,
        "worker": device.worker(),
        "seconds": round(time.monotonic() - start, 3),
    }


def _shard(manifest: Manifest, first: object, count: object) -> int:
    plan = manifest.plan
    if type(first) is int and type(count) is int and 0 <= first < plan.tiles and first % plan.shard_tiles == 0:
        shard = first // plan.shard_tiles
        if count == plan.count(shard):
            return shard
    raise ParamsError(
        f"first {shown(first)} and count {shown(count)} are no shard of a plan of {plan.tiles} tiles in shards of "
        f"{plan.shard_tiles}: begin at a multiple of that, and take as many, or what is left"
    )


@dataclass
class _Handed:
    """A tile of the manifest that was handed out.

    Attributes
    ----------
    number : of its results; known once it is read, which is before the first of them comes
    earlier : where an earlier job has its result
    """

    tile: Tile
    number: int = 1
    earlier: _Earlier | None = None
    found: list[FocusResult] = field(default_factory=list)


@dataclass(frozen=True)
class _Earlier:
    """Another job's part, whole: `pyarrow.Table`s."""

    rows: Any
    spectra: Any


class _Done(NamedTuple):
    """Tiles of the manifest, the next in order, that are finished: a tile's results, or rows of an earlier part."""

    tiles: list[Tile]
    results: list[FocusResult]
    earlier: _Earlier | None = None


class _Work:
    """Scores what a shard lacks.

    Attributes
    ----------
    stopped : why it ended before the last tile
    taken : results that earlier jobs had
    """

    def __init__(self, job: Job, shard: int, deadline: float) -> None:
        self._job, self._shard, self._deadline, self._plan = job, shard, deadline, job.manifest.plan
        self._first, self._count = shard * self._plan.shard_tiles, self._plan.count(shard)
        self._handed: deque[_Handed] = deque()
        self._looked = -LOOK_S
        self._earlier = lru_cache(maxsize=4)(self._read_earlier)
        self.stopped: str | None = None
        self.taken = 0

    def run(self) -> tuple[dict[str, Any], int]:
        """Score, and put the part into its place, or keep what there is; returns its numbers, and how many tiles."""
        remove_left_over(self._job.folder)
        pieces = self._job.pieces(self._shard)
        begin = at = self._first + sum(piece.tiles for piece in pieces)
        end, since, writer = self._first + self._count, time.monotonic(), self._writer()
        try:
            for done in self._done(at, end - at):
                _add(done, writer)
                at += len(done.tiles)
                if time.monotonic() - since > KEEP_S and at < end:
                    pieces.append(self._keep(writer, begin, at - begin))
                    begin, since, writer = at, time.monotonic(), self._writer()
            if at == end and not pieces:
                part, spectra = self._job.part(self._shard), self._job.spectra(self._shard)
                writer.keep(part, spectra, self._footer(begin, at - begin))
                return writer.tally.to_dict(), self._count
            if at > begin:
                pieces.append(self._keep(writer, begin, at - begin))
        finally:
            writer.drop()
        if at == end:
            return self._join(pieces), self._count
        tally = Tally()
        for piece in pieces:
            tally.add(footer(piece.rows) or {})
        return tally.to_dict(), at - self._first

    def _writer(self) -> PartWriter:
        return PartWriter(self._job.folder, self._job.part(self._shard).name, spectra=self._plan.spectra)

    def _footer(self, first: int, count: int) -> dict[str, Any]:
        return {**self._plan.marks(), "first": first, "count": count}

    def _keep(self, writer: PartWriter, first: int, count: int) -> Piece:
        piece = self._job.piece(self._shard, first, count)
        writer.keep(piece.rows, piece.spectra, self._footer(first, count))
        return piece

    def _join(self, pieces: list[Piece]) -> dict[str, Any]:
        """Make the part of its pieces."""
        writer = self._writer()
        try:
            for piece in pieces:
                found = _tables(piece.rows, piece.spectra if self._plan.spectra else None)
                writer.take(found.rows, found.spectra)
            part, spectra = self._job.part(self._shard), self._job.spectra(self._shard)
            writer.keep(part, spectra, self._footer(self._first, self._count))
        except FileNotFoundError:
            # Whoever scores the same shard was quicker, and has removed the pieces.
            if (about := self._job.finished(self._shard)) is None:
                raise
            return about
        finally:
            writer.drop()
        self._job.remove_pieces(self._shard)
        return writer.tally.to_dict()

    def _done(self, first: int, count: int) -> Iterator[_Done]:
        """Tiles of the manifest in order, as they are finished."""
        with closing(results(self._plan.focus_params, self._jobs(first, count))) as scored:
            for result in scored:
                yield from self._without_result()
                handed = self._handed[0]
                handed.found.append(result)
                if len(handed.found) == handed.number:
                    self._handed.popleft()
                    yield _Done([handed.tile], handed.found)
            yield from self._without_result()

    def _without_result(self) -> Iterator[_Done]:
        """The next ones whose results earlier jobs have; those of one part together."""
        while self._handed and (self._handed[0].earlier or not self._handed[0].number):
            earlier, tiles = self._handed[0].earlier, list[Tile]()
            while self._handed and self._handed[0].earlier is earlier and (earlier or not self._handed[0].number):
                tiles.append(self._handed.popleft().tile)
            self.taken += len(tiles) if earlier else 0
            yield _Done(tiles, [], earlier)

    def _jobs(self, first: int, count: int) -> Iterator[Task]:
        for tile in self._job.manifest.tiles(first, count):
            if self._is_to_stop():
                return
            handed = _Handed(tile, earlier=self._earlier(tile.part) if tile.part >= 0 else None)
            self._handed.append(handed)
            if handed.earlier is None:
                yield self._score_job(handed)

    def _score_job(self, handed: _Handed) -> Task:
        tile = handed.tile
        asked = Asked(f"{self._plan.folder}/{tile.name}", self._plan.collection)
        read = partial(read_page, asked)
        if tile.page >= 0:
            return Task(partial(read, tile.page), page_path(tile.name, tile.page))

        def read_it() -> Image | int:
            if isinstance(found := read_only(asked), int):
                handed.number = found
            return found

        return file_job(tile.name, read_it, read)

    def _is_to_stop(self) -> bool:
        now = time.monotonic()
        if now >= self._deadline:
            self.stopped = "time_budget_s"
        elif now - self._looked >= LOOK_S:
            self._looked = now
            state = self._job.state
            self.stopped = None if state == "running" else state
        return self.stopped is not None

    def _read_earlier(self, part: int) -> _Earlier | None:
        """A part of an earlier job; None if it is gone, and the tile has to be scored."""
        try:
            rows = Path(writable_path(str(self._job.folder.parent / self._plan.earlier[part])))
            spectra = rows.with_name(rows.name.replace("part-", "spectra-")) if self._plan.spectra else None
            return _tables(rows, spectra)
        except (OSError, IndexError, ParamsError, TileError):  # the last: it leads to where tasks may not write
            return None


def _tables(rows: Path, spectra: Path | None) -> _Earlier:
    def read(path: Path) -> Any:
        with reading(path) as file:
            return file.read()

    return _Earlier(read(rows), None if spectra is None else read(spectra))


def _add(done: _Done, writer: PartWriter) -> None:
    if done.earlier is None:
        for result in done.results:
            writer.add(result, done.tiles[0])
        return
    rows = [tile.row for tile in done.tiles]
    spectra = None if done.earlier.spectra is None else done.earlier.spectra.take(rows)
    writer.take(done.earlier.rows.take(rows), spectra)
