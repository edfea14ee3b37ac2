"""Rows as they come in -> tiles to look at now, each judged against the latest tiles of its folder."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from mhfd.contract import FocusResult
from mhfd_client.verdict import describe, judge_one

PEERS = 200  # latest tiles of a folder that a tile is compared with
FOLDERS = 64  # that are remembered, the one used last kept longest
TO_LOOK_AT = ("out_of_focus", "astigmatic", "failed")


class Alerts:
    """Remembers so much of the last tiles as it takes to judge the next ones; bounded, however long a run is."""

    def __init__(self) -> None:
        self._peers: OrderedDict[PurePosixPath, deque[FocusResult]] = OrderedDict()

    def add(self, results: Iterable[FocusResult]) -> Iterator[FocusResult]:
        """Those of the results that a person should look at, with verdict."""
        given = list(results)
        for row in given:
            self._of(row).append(row)
        for row in given:
            judged = judge_one(row, describe(self._of(row)))
            if judged.verdict in TO_LOOK_AT:
                yield judged

    def _of(self, row: FocusResult) -> deque[FocusResult]:
        folder = PurePosixPath(row.path).parent
        peers = self._peers.setdefault(folder, deque(maxlen=PEERS))
        self._peers.move_to_end(folder)
        while len(self._peers) > FOLDERS:
            self._peers.popitem(last=False)
        return peers
