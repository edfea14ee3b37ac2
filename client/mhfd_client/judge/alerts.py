"""Rows as they come in -> tiles to look at now, and corrections of what was said of earlier ones.

A verdict compares a tile with the sharp ones of its run, so it may change when more of them are there. After new rows
the run is judged again, by the function that `mhfd export` has (run.py): at the end both say the same.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from mhfd.contract import FocusResult, Verdict
from mhfd.judge import Reference, references_of
from mhfd_client.judge.run import Tile, judge_run, standard_of, tile_of
from mhfd_client.judge.words import blur_in_words
from mhfd_client.ledger import Ledger, TileRow

SAID = 100_000  # tiles that something was said of, remembered
AT_ONCE = 500  # a run with more scored tiles is judged as a whole only when it has grown by a share,
GROWTH = 0.02  # this one, and at the end; until then
NEAR = 200  # new tiles are judged beside so many before them, and by the run's reference
TO_LOOK_AT: tuple[Verdict, ...] = ("out_of_focus", "astigmatic", "failed")


@dataclass(frozen=True)
class Alert:
    """One thing to say of a tile.

    Attributes
    ----------
    was : the verdict that was said of it before; None if nothing was
    detail : how blurred it is, and where
    message : of a failed tile
    """

    path: str
    verdict: Verdict
    was: Verdict | None = None
    focus_score: float | None = None
    detail: str = ""
    message: str | None = None

    def __str__(self) -> str:
        verdict = self.verdict.replace("_", " ")
        if self.verdict == "failed":
            return f"failed: {self.path}: {self.message}"
        if self.was == "failed" and self.verdict == "cannot_tell":  # too few tiles yet to compare it with
            return f"now scored: {self.path} (was failed)"
        told = [f"was {self.was.replace('_', ' ')}"] if self.was is not None else []
        told += [self.detail] if self.detail else []
        told += [f"focus score {self.focus_score:.3g}"] if self.focus_score is not None else []
        return f"{'now ' if self.was is not None else ''}{verdict}: {self.path} ({', '.join(told)})"


@dataclass(frozen=True)
class _Said:
    """What was said last of a tile, and of which pixels (None: it failed)."""

    verdict: Verdict
    tile_sha256: str | None


class Alerts:
    """Judges the tiles of one run; any thread may call it.

    Parameters
    ----------
    since : of tiles scored before (Unix seconds) only corrections are said
    """

    def __init__(self, ledger: Ledger, run_id: int, since: float | None = None) -> None:
        self._ledger, self._run_id = ledger, run_id
        self._since = time.time() if since is None else since
        self._standard = standard_of(ledger, run_id)
        self._said: OrderedDict[str, _Said] = OrderedDict()
        self._count = self._added = 0  # scored tiles when the run was last judged as a whole, and those since
        self._near: deque[Tile] = deque(maxlen=NEAR)
        self._references: list[Reference] = []  # the run's own
        self._lock = threading.Lock()

    def add(self, results: Sequence[tuple[TileRow, FocusResult]]) -> list[Alert]:
        """What to say now that these rows are stored."""
        with self._lock:
            alerts: list[Alert] = []
            fresh: list[int] = []
            failed_before = self._failed_before(results)
            for row, result in results:
                if result.error is not None:
                    self._say(row.name, "failed", None)
                    alerts.append(Alert(row.name, "failed", message=result.error.message))
                    continue
                if row.tile_id in failed_before and row.name not in self._said:
                    self._say(row.name, "failed", None)
                fresh.append(row.tile_id)
            if fresh:
                alerts += self._judge(fresh)
            return alerts

    def settle(self) -> list[Alert]:
        """What to say at the end of a run: it is judged once more."""
        with self._lock:
            return list(self._judge_all())

    def _failed_before(self, results: Sequence[tuple[TileRow, FocusResult]]) -> Collection[int]:
        """The tiles that an earlier process may have called failed."""
        return self._ledger.failed_before([row.tile_id for row, _ in results])

    def _judge(self, fresh: Sequence[int]) -> Iterator[Alert]:
        self._added += len(fresh)
        if self._count + self._added <= AT_ONCE or self._added >= GROWTH * self._count:
            yield from self._judge_all()
            return
        before = {tile.tile_id for tile in self._near}
        self._near.extend(tile for tile in map(tile_of, self._ledger.get(fresh)) if tile)
        judged = self._standard.judge(self._near, self._references)
        yield from self._compare(tile for tile in judged if tile.tile_id not in before)

    def _judge_all(self) -> Iterator[Alert]:
        tiles = judge_run(self._ledger, self._run_id, self._standard)
        self._count, self._added = len(tiles), 0
        self._near = deque(tiles[-NEAR:], maxlen=NEAR)
        self._references = references_of([tile.result for tile in tiles], name="this run") if tiles else []
        yield from self._compare(tile for tile in tiles if tile.scored_at >= self._since or tile.name in self._said)

    def _compare(self, tiles: Iterable[Tile]) -> Iterator[Alert]:
        """What is to be said of tiles beyond what was said."""
        for tile in tiles:
            name, row, before = tile.name, tile.result, self._said.get(tile.name)
            verdict: Verdict = row.verdict or "cannot_tell"
            was = before.verdict if before is not None and before.verdict != verdict else None
            detail = blur_in_words(row)
            if verdict in TO_LOOK_AT:
                if before is None or was is not None or before.tile_sha256 != tile.tile_sha256:  # or taken again
                    self._say(name, verdict, tile.tile_sha256)
                    yield Alert(name, verdict, was, row.focus_score, detail)
            elif was is not None:
                del self._said[name]
                yield Alert(name, verdict, was, row.focus_score, detail)

    def _say(self, name: str, verdict: Verdict, tile_sha256: str | None) -> None:
        self._said.pop(name, None)
        self._said[name] = _Said(verdict, tile_sha256)
        if len(self._said) > SAID:
            self._said.popitem(last=False)
