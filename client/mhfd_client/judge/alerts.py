"""Rows as they come in -> tiles to look at now, and corrections of what was said of earlier ones.

A verdict compares a tile with the others of its folder, so it may change when more of them are there. After new rows
the folder's tiles are judged again by the rule that `mhfd export` has (peers.py): at the end both say the same.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mhfd.contract import FocusResult, Verdict
from mhfd.judge import Evidence, Group, Peers, group_of, judge_one
from mhfd_client.judge.peers import read_peers
from mhfd_client.ledger import Ledger, TileRow

FOLDERS = 64  # remembered; the least recently used is forgotten first
SAID = 100_000  # tiles that something was said of, remembered
AT_ONCE = 500  # a folder with more scored tiles is judged again only when it has grown by a share,
GROWTH = 0.02  # this one, and at the end
TO_LOOK_AT: tuple[Verdict, ...] = ("out_of_focus", "astigmatic", "failed")


@dataclass(frozen=True)
class Alert:
    """One thing to say of a tile.

    Attributes
    ----------
    was : the verdict that was said of it before; None if nothing was
    message : of a failed tile
    """

    path: str
    verdict: Verdict
    was: Verdict | None = None
    focus_score: float | None = None
    message: str | None = None

    def __str__(self) -> str:
        verdict = self.verdict.replace("_", " ")
        if self.verdict == "failed":
            return f"failed: {self.path}: {self.message}"
        if self.was == "failed" and self.verdict == "cannot_tell":  # too few tiles yet to compare it with
            return f"now scored: {self.path} (was failed)"
        told = [f"was {self.was.replace('_', ' ')}"] if self.was is not None else []
        told += [f"focus score {self.focus_score:.3g}"] if self.focus_score is not None else []
        return f"{'now ' if self.was is not None else ''}{verdict}: {self.path} ({', '.join(told)})"


@dataclass(frozen=True)
class _Said:
    """What was said last of a tile, and of which pixels (None: it failed)."""

    verdict: Verdict
    tile_sha256: str | None


@dataclass
class _Folder:
    """A folder's peers as of the last time that all of it was judged, its scored tiles then, and those added since."""

    peers: Peers | None = None
    count: int = 0
    added: int = 0


class Alerts:
    """Judges the tiles of one run; in bounded memory however long it is. Any thread may call it.

    Parameters
    ----------
    since : of tiles scored before (Unix seconds) only corrections are said
    """

    def __init__(self, ledger: Ledger, run_id: int, since: float | None = None) -> None:
        self._ledger, self._run_id = ledger, run_id
        self._since = time.time() if since is None else since
        self._folders: OrderedDict[Group, _Folder] = OrderedDict()
        self._said: OrderedDict[str, _Said] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, results: Sequence[tuple[TileRow, FocusResult]]) -> list[Alert]:
        """What to say now that these rows are stored."""
        with self._lock:
            alerts: list[Alert] = []
            fresh: dict[Group, dict[str, FocusResult]] = {}
            failed_before = self._failed_before(results)
            for row, result in results:
                if result.error is not None:
                    self._say(row.name, "failed", None)
                    alerts.append(Alert(row.name, "failed", message=result.error.message))
                    continue
                if row.tile_id in failed_before and row.name not in self._said:
                    self._say(row.name, "failed", None)
                fresh.setdefault(group_of(row.path, result.provenance.measure), {})[row.name] = result
            for group, rows in fresh.items():
                alerts += self._judge(group, rows)
            return alerts

    def settle(self) -> list[Alert]:
        """What to say at the end of a run: every folder is judged once more."""
        with self._lock:
            return [alert for group in list(self._folders) for alert in self._judge(group, {}, last=True)]

    def _failed_before(self, results: Sequence[tuple[TileRow, FocusResult]]) -> Collection[int]:
        """The tiles that an earlier process may have called failed."""
        return self._ledger.failed_before([row.tile_id for row, _ in results])

    def _judge(self, group: Group, fresh: Mapping[str, FocusResult], *, last: bool = False) -> Iterator[Alert]:
        folder = self._folder(group)
        folder.added += len(fresh)
        seen: set[str] = set()
        if last or folder.count + folder.added <= AT_ONCE or folder.added >= GROWTH * folder.count:
            folder.peers = read_peers(self._ledger, self._run_id, group)
            tiles = self._ledger.scored_tiles(self._run_id, *group)
            folder.count, folder.added = len(tiles), 0
            for tile in tiles:
                seen.add(tile.name)
                if tile.scored_at >= self._since or tile.name in self._said:
                    yield from self._compare(tile.name, tile, tile.tile_sha256, folder.peers)
        for name, row in fresh.items():
            if name not in seen:
                yield from self._compare(name, row, row.provenance.tile_sha256, folder.peers)

    def _compare(self, name: str, tile: Evidence, tile_sha256: str | None, peers: Peers | None) -> Iterator[Alert]:
        """What is to be said of a tile beyond what was said."""
        verdict, before = judge_one(tile, peers).verdict, self._said.get(name)
        was = before.verdict if before is not None and before.verdict != verdict else None
        if verdict in TO_LOOK_AT:
            if before is None or was is not None or before.tile_sha256 != tile_sha256:  # or taken again, no better
                self._say(name, verdict, tile_sha256)
                yield Alert(name, verdict, was, tile.focus_score)
        elif was is not None:
            del self._said[name]
            yield Alert(name, verdict, was, tile.focus_score)

    def _say(self, name: str, verdict: Verdict, tile_sha256: str | None) -> None:
        self._said.pop(name, None)
        self._said[name] = _Said(verdict, tile_sha256)
        if len(self._said) > SAID:
            self._said.popitem(last=False)

    def _folder(self, group: Group) -> _Folder:
        folder = self._folders.setdefault(group, _Folder())
        self._folders.move_to_end(group)
        while len(self._folders) > FOLDERS:
            self._folders.popitem(last=False)
        return folder
