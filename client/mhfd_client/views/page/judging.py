"""Scored tiles -> verdicts, cheaply: new tiles beside those before them, and the run as a whole when it has grown.

What is judged here is what `mhfd export` says of the run: the rule is that of mhfd_client.judge.run.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mhfd.contract import FocusResult
from mhfd.judge import Reference, references_of
from mhfd_client.judge.run import Standard, Tile, judge_run, standard_of, tile_of
from mhfd_client.ledger import Ledger, LedgerError

NEAR = 200
"""New tiles are judged beside so many before them, and by the run's reference."""

AT_ONCE = 500
GROWTH = 0.02
"""A run with more tiles is judged as a whole when it has grown by this share, or rests."""

RESTS_S = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Whole:
    """A run, judged as a whole.

    Attributes
    ----------
    tiles : without their spectra
    near : the last of them, with theirs
    references : the sharp ones
    """

    tiles: Sequence[Tile]
    near: Sequence[Tile]
    standard: Standard
    references: Sequence[Reference]


class Judge:
    """Judges the tiles of one run: new ones in the thread that follows the run, the run as a whole in another.

    Parameters
    ----------
    wake : called when a judgement of the whole run can be fetched from `judged`
    """

    def __init__(self, ledger: Ledger, run_id: int, wake: threading.Event) -> None:
        self._ledger, self._run_id, self._wake = ledger, run_id, wake
        self._standard = standard_of(ledger, run_id)
        self._near: deque[Tile] = deque(maxlen=NEAR)
        self._references: Sequence[Reference] = ()
        self._tiles: dict[int, Tile] = {}  # judged, without their spectra
        self._ordered: list[Tile] | None = []
        self._gone: set[int] = set()
        self._lock = threading.Lock()
        self.is_whole = False  # the run has been judged as a whole
        self._asked, self._closed = threading.Event(), threading.Event()
        self._done: queue.SimpleQueue[Whole] = queue.SimpleQueue()
        self._count = self._added = 0
        self._added_s = 0.0
        self.is_busy = False
        self._thread = threading.Thread(target=self._work, name="mhfd-judge", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._asked.set()
        self._thread.join(1.0)

    def near(self, fresh: Iterable[int]) -> list[Tile]:
        """These tiles, judged at once beside those before them."""
        new = [tile for tile in map(tile_of, self._ledger.get(list(fresh))) if tile]
        if not new:
            return []
        self._added += len(new)
        self._added_s = time.monotonic()
        wanted = {tile.tile_id for tile in new}
        judged = self._standard.judge([*self._near, *new], self._references)
        self._near.extend(new)
        found = [tile for tile in judged if tile.tile_id in wanted]
        self._keep(map(_without_spectrum, found))
        return found

    def ask_if_due(self) -> None:
        """Have the run judged as a whole if enough of it is new."""
        grown = self._count + self._added <= AT_ONCE or self._added >= GROWTH * self._count
        rests = time.monotonic() - self._added_s > RESTS_S
        if self._added and not self.is_busy and (grown or rests):
            self.ask()

    def ask(self) -> None:
        """Have the run judged as a whole, by the thresholds that count now."""
        self.is_busy = True
        self._added = 0
        self._standard = standard_of(self._ledger, self._run_id)
        self._asked.set()

    def judged(self) -> Whole | None:
        """The run as a whole, once after each judgement."""
        found = None
        while not self._done.empty():
            found = self._done.get()
        if found is not None:
            self.is_busy = False
            self._count = len(found.tiles)
            self._references = found.references
            self._near = deque(found.near, maxlen=NEAR)
            self._keep(found.tiles)
            self.is_whole = True
        return found

    # --- for any thread

    @property
    def references(self) -> Sequence[Reference]:
        """The sharp tiles of the run as a whole."""
        return self._references

    def tiles(self) -> Sequence[Tile]:
        """What was judged last of each tile, in the order in which they were taken, without spectra."""
        with self._lock:
            if self._ordered is None:
                self._ordered = sorted(self._tiles.values(), key=lambda tile: tile.taken)
            return self._ordered

    def result(self, tile_id: int) -> FocusResult | None:
        """What was judged last of a tile; None where that is nothing yet."""
        found = self._tiles.get(tile_id)
        return None if found is None else found.result

    def beside_each_other(self, tile_ids: Iterable[int]) -> list[Tile]:
        """These tiles, judged now: for what cannot wait for the run as a whole."""
        tiles = [tile for tile in map(tile_of, self._ledger.get(list(tile_ids))) if tile]
        return self._standard.judge(tiles, self._references)

    def forget(self, tile_id: int) -> None:
        """It was taken again: it is none of the run's tiles any more."""
        with self._lock:
            self._gone.add(tile_id)
            self._tiles.pop(tile_id, None)
            self._ordered = None

    def _keep(self, tiles: Iterable[Tile]) -> None:
        found = {tile.tile_id: tile for tile in tiles}
        with self._lock:
            self._tiles |= {i: tile for i, tile in found.items() if i not in self._gone}
            self._ordered = None

    def _work(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            if self._closed.is_set():
                return
            began_s = time.monotonic()
            try:
                self._done.put(self._whole(self._standard))
            except LedgerError as error:  # the next look asks again
                log.warning("the run could not be judged: %s", error)
                self.is_busy = False
            self._wake.set()
            self._closed.wait(time.monotonic() - began_s)  # half of a core at most

    def _whole(self, standard: Standard) -> Whole:
        tiles = judge_run(self._ledger, self._run_id, standard)
        references = references_of([tile.result for tile in tiles], name="this run")
        return Whole([_without_spectrum(tile) for tile in tiles], tiles[-NEAR:], standard, references)


def _without_spectrum(tile: Tile) -> Tile:
    """It is most of a tile, and only the judge needs it."""
    return replace(tile, result=replace(tile.result, spectrum=None))
