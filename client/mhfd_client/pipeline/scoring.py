"""`staged` -> `submitted` -> `scored` or `failed`: tiles go to the endpoint, their rows into the ledger."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeAlias

from mhfd.contract import FocusResult, MhfdError
from mhfd_client.client import Client
from mhfd_client.compute import ComputeError
from mhfd_client.ledger import Ledger, Order, Run, TileRow
from mhfd_client.pack import Tile
from mhfd_client.paths import for_system, to_local
from mhfd_client.pipeline.board import Board

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 300.0
IDLE_S = 5.0
AT_ONCE = 256  # rows in one transaction

Results: TypeAlias = "Sequence[tuple[TileRow, FocusResult]]"


class Scoring:
    """Keeps the endpoint supplied, a window of tiles at a time, and stores each row before it forgets the tile."""

    name = "scoring"

    def __init__(
        self,
        run: Run,
        ledger: Ledger,
        client: Client,
        board: Board,
        *,
        order: Order,
        fresh_s: float,
        wake: Callable[[], None],
        on_trouble: Callable[[MhfdError], None] = lambda _: None,
        on_results: Callable[[Results], None] = lambda _: None,
    ) -> None:
        self._run = run
        self._ledger = ledger
        self._client = client
        self._board = board
        self._order: Order = order
        self._fresh_s = fresh_s
        self._wake = wake
        self._on_trouble = on_trouble
        self._on_results = on_results
        self._under_way: dict[int, tuple[TileRow, Tile]] = {}
        self._done: SimpleQueue[int] = SimpleQueue()
        self._unstored: list[int] = []  # answers that the ledger has not yet
        self._pause_s = 0.0
        self._not_before_s = 0.0
        self._draining = False
        self._resumed = False

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    def step(self) -> float:
        self._store()
        now_s = time.monotonic()
        if self._draining:
            return IDLE_S
        if now_s < self._not_before_s:
            return self._not_before_s - now_s
        try:
            self._client.connect(interactive=False)
            if not self._resumed:
                self._resume()
                self._resumed = True
            self._submit()
        except ComputeError as error:
            self._hold(error)
        return max(0.0, self._not_before_s - time.monotonic()) or IDLE_S

    def drain(self) -> None:
        """Hand over nothing more."""
        self._draining = True
        self._wake()

    def finish(self) -> None:
        """Store what has come in since the last step, when no step runs any more."""
        self._store()

    # --- Out ------------------------------------------------------------------------------------------------------

    def _submit(self) -> None:
        room = self._client.window - len(self._under_way)
        if room <= 0 or (room < self._client.window // 4 and len(self._under_way) > 1):
            return  # a few at a time would make small tasks
        rows = self._ledger.take(
            self._run.run_id, "staged", room, order=self._order, fresh_s=self._fresh_s, now=time.time()
        )
        if not rows:
            return
        self._ledger.submit([row.tile_id for row in rows], self._client.endpoint, time.time())
        tiles = [self._tile(row) for row in rows]
        for row, tile in zip(rows, tiles, strict=True):
            self._watch(row, tile)
        self._client.put(tiles)

    def _tile(self, row: TileRow) -> Tile:
        return Tile(
            name=row.name,
            source=for_system(to_local(Path(self._run.root), row.path)),
            page=row.page if (row.pages or 1) > 1 else None,
            params=self._run.params,
            place=row.place,
            tag=str(row.tile_id),
        )

    def _watch(self, row: TileRow, tile: Tile) -> None:
        self._under_way[row.tile_id] = (row, tile)
        tile.future.add_done_callback(partial(self._on_done, row.tile_id))

    def _resume(self) -> None:
        """What an earlier process had handed over: listen for it, or have it scored again."""
        run_id, now = self._run.run_id, time.time()
        rows = {row.tile_id: row for row in self._ledger.take(run_id, "submitted", 10**6, order="oldest", now=now)}
        for tile in self._taken_up() if rows else ():
            row = rows.pop(int(tile.tag), None) if tile.tag else None
            if row is not None:
                self._watch(row, tile)
        self._ledger.back(list(rows), "staged", "the earlier process ended", now)

    def _taken_up(self) -> list[Tile]:
        state = self._ledger.resume(self._run.run_id)
        if state is None or state.get("endpoint") != self._client.endpoint:
            return []
        try:
            return self._client.take_up(state)
        except ComputeError:
            raise
        except (MhfdError, KeyError, TypeError) as error:  # written by another version, say
            log.warning("what was in flight cannot be taken up (%s); it is scored again", error)
            return []

    # --- In -------------------------------------------------------------------------------------------------------

    def _on_done(self, tile_id: int, _: object) -> None:
        self._done.put(tile_id)
        self._wake()

    def _store(self) -> None:
        while self._gather():
            results: list[tuple[TileRow, FocusResult]] = []
            lost: dict[int, BaseException] = {}
            for tile_id in self._unstored[:AT_ONCE]:
                row, tile = self._under_way[tile_id]
                if tile.future.cancelled():
                    lost[tile_id] = CancelledError()
                elif (error := tile.future.exception()) is not None:
                    lost[tile_id] = error
                else:
                    results.append((row, tile.future.result()))
            self._write(results, lost)
            for tile_id in self._unstored[:AT_ONCE]:
                del self._under_way[tile_id]
            del self._unstored[:AT_ONCE]
            for error in lost.values():
                if not isinstance(error, CancelledError):
                    self._hold(error)
            if results:
                self._pause_s = 0.0
                self._board.clear("endpoint", f"endpoint '{self._client.endpoint}' answers again")
                self._on_results(results)

    def _gather(self) -> bool:
        try:
            while True:
                self._unstored.append(self._done.get_nowait())
        except Empty:
            return bool(self._unstored)

    def _write(self, results: Results, lost: dict[int, BaseException]) -> None:
        now = time.time()
        with self._ledger.transaction():
            self._ledger.store([(row.tile_id, result) for row, result in results], now)
            for tile_id, error in lost.items():
                if not isinstance(error, CancelledError):  # cancelled: the next process asks for it
                    self._ledger.back([tile_id], "staged", str(error), now)

    def _hold(self, error: BaseException) -> None:
        """The endpoint does not take tiles: wait, longer each time. Everything stays in the ledger."""
        if not isinstance(error, MhfdError):
            log.error("the endpoint '%s'", self._client.endpoint, exc_info=error)
        now_s = time.monotonic()
        if now_s >= self._not_before_s:
            self._pause_s = min(max(FIRST_PAUSE_S, 2 * self._pause_s), LONGEST_PAUSE_S)
            self._not_before_s = now_s + self._pause_s
        self._board.put("endpoint", str(error) or type(error).__name__)
        if isinstance(error, MhfdError):
            self._on_trouble(error)
