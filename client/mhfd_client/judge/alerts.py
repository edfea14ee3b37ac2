"""Rows as they come in -> tiles to look at now, each judged against the latest tiles of its folder."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mhfd.contract import FocusResult
from mhfd.judge import Group, describe, group_of, judged

PEERS = 200  # latest tiles of a folder that a tile is compared with
FOLDERS = 64  # remembered; the least recently used is forgotten first
TO_LOOK_AT = ("out_of_focus", "astigmatic", "failed")


@dataclass
class _Peers:
    """The latest tiles of a folder, and those of them that are still undecided."""

    latest: deque[FocusResult] = field(default_factory=lambda: deque(maxlen=PEERS))
    undecided: deque[FocusResult] = field(default_factory=lambda: deque(maxlen=PEERS))

    def judged(self) -> Iterator[FocusResult]:
        peers = describe(self.latest)
        waiting, self.undecided = self.undecided, deque(maxlen=PEERS)
        for row in waiting:
            now = judged(row, peers)
            if peers is None and now.verdict == "cannot_tell":
                self.undecided.append(row)
            else:
                yield now


class Alerts:
    """Remembers enough of the last tiles to judge the next ones, in bounded memory however long a run is."""

    def __init__(self) -> None:
        self._folders: OrderedDict[Group, _Peers] = OrderedDict()

    def add(self, results: Iterable[FocusResult]) -> list[FocusResult]:
        """The tiles that a person should look at, with verdicts: of `results`, and of earlier undecided ones."""
        touched: dict[Group, _Peers] = {}
        for row in results:
            name = group_of(row.path, row.provenance.measure)
            folder = touched[name] = self._folder(name)
            folder.latest.append(row)
            folder.undecided.append(row)
        return [row for folder in touched.values() for row in folder.judged() if row.verdict in TO_LOOK_AT]

    def _folder(self, name: Group) -> _Peers:
        folder = self._folders.setdefault(name, _Peers())
        self._folders.move_to_end(name)
        while len(self._folders) > FOLDERS:
            self._folders.popitem(last=False)
        return folder
