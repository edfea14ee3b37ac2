"""`staged` -> `submitted` -> `scored` or `failed`: tiles go to the endpoint, their rows into the ledger."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Literal, TypeAlias

from mhfd.contract import ErrorCode, FocusResult, MhfdError
from mhfd_client.backoff import Backoff
from mhfd_client.client import Client
from mhfd_client.compute.protocol import ComputeError
from mhfd_client.dispatch.pack import Tile, not_measured
from mhfd_client.files.names import for_system, to_local
from mhfd_client.ledger import LedgerError, TileRow
from mhfd_client.pipeline.context import Context, Result, Results

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 300.0
IDLE_S = 5.0
MOST_AT_ONCE = 2048  # tiles taken from the ledger: results that come meanwhile wait so long to be stored
AT_ONCE = 512  # rows in one transaction: between two, tiles go out

NOT_THE_TILE: tuple[ErrorCode, ...] = ("not_found", "permission_denied", "read_failed", "device_failed")
"""Errors that point to the endpoint rather than to the tile, which was whole and readable here."""

ATTEMPTS = 5

Again: TypeAlias = "tuple[TileRow, str, Literal['ready', 'staged']]"  # the reason, the new state


class DispatchStep:
    """Keeps a window of tiles at the endpoint, and stores each row before it forgets the tile.

    Parameters
    ----------
    on_trouble : called with the error when the endpoint takes no tiles
    on_results : called with rows as they are stored
    """

    name = "dispatch"

    def __init__(
        self,
        context: Context,
        client: Client,
        *,
        on_trouble: Callable[[MhfdError], None] = lambda _: None,
        on_results: Callable[[Results], None] = lambda _: None,
    ) -> None:
        self._context = context
        self._run = context.run
        self._ledger = context.ledger
        self._board = context.board
        self._client = client
        self._patient = not context.options.once  # a tile that is not found fails only if others were scored since
        self._on_trouble = on_trouble
        self._on_results = on_results
        self._under_way: dict[int, tuple[TileRow, Tile, float]] = {}  # and since when
        self._last_good_s = -math.inf
        self._done: SimpleQueue[int] = SimpleQueue()
        self._unstored: list[int] = []  # answered, not in the ledger yet
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._not_before_s = 0.0
        self._draining = False
        self._resumed = False

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    def step(self) -> float:
        self._store()
        if self._send() or self._unstored:
            return 0.0
        return max(0.0, self._not_before_s - time.monotonic()) or IDLE_S

    def _send(self) -> bool:
        """Send what there is room for; True if more may follow at once."""
        if self._draining or time.monotonic() < self._not_before_s:
            return False
        try:
            self._client.connect(interactive=False)
            if not self._resumed:
                self._resume()
                self._resumed = True
            return self._submit() == MOST_AT_ONCE
        except ComputeError as error:
            self._hold(error)
            return False

    def drain(self) -> None:
        """Submit no more tiles."""
        self._draining = True
        self._context.wake("dispatch")

    def finish(self) -> None:
        """After the last step: store what has come in since."""
        self._store()
        while self._unstored:
            self._store()

    # --- Out ------------------------------------------------------------------------------------------------------

    def _submit(self) -> int:
        """The number of tiles that were sent."""
        window = self._client.window
        room = window - len(self._under_way)
        if room <= 0 or (room < window // 4 and len(self._under_way) > 1):
            return 0  # a few at a time would make small tasks
        rows = self._context.take("staged", min(room, MOST_AT_ONCE))
        if not rows:
            return 0
        self._ledger.submit([row.tile_id for row in rows], self._client.endpoint, time.time())
        tiles = [self._tile(row) for row in rows]
        for row, tile in zip(rows, tiles, strict=True):
            self._watch(row, tile)
        self._client.put(tiles)
        return len(rows)

    def _tile(self, row: TileRow) -> Tile:
        return Tile(
            name=row.name,
            source=for_system(to_local(self._context.root, row.path)),
            page=row.page if (row.pages or 1) > 1 else None,
            params=self._run.params,
            place=row.place,
            tag=str(row.tile_id),
        )

    def _watch(self, row: TileRow, tile: Tile) -> None:
        self._under_way[row.tile_id] = (row, tile, time.monotonic())
        tile.future.add_done_callback(partial(self._on_done, row.tile_id))

    def _resume(self) -> None:
        """Take up what an earlier process submitted: wait for its rows, or score it again."""
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
            log.warning("tasks in flight cannot be taken up (%s); tiles are scored again", error)
            return []

    # --- In -------------------------------------------------------------------------------------------------------

    def _on_done(self, tile_id: int, _: object) -> None:
        self._done.put(tile_id)
        self._context.wake("dispatch")

    def _store(self) -> None:
        """Store some of the rows that have come; what is left is in `_unstored`."""
        self._gather()
        batch = self._unstored[:AT_ONCE]
        if not batch:
            return
        results, again, errors = self._sorted(batch)
        stored = self._write(results, again)
        for tile_id in batch:  # only now: if the ledger was full, they are stored later
            del self._under_way[tile_id]
        del self._unstored[: len(batch)]
        for error in errors:
            self._hold(error)
        if again:
            self._context.wake("transfer")
        if stored:
            self._backoff.succeed()
            self._board.clear("endpoint", f"endpoint '{self._client.endpoint}' answers again")
            self._on_results(stored)
        elif again and not errors:
            self._pause(f"endpoint '{self._client.endpoint}': {again[0][1]}; trying again")

    def _write(self, results: Sequence[Result], again: Sequence[Again]) -> list[Result]:
        """Store results in one transaction; return them as stored.

        A transaction that fails because of a row is halved until that row stands alone; it becomes a failed row.
        """
        now = time.time()
        try:
            with self._ledger.transaction():
                self._ledger.store([(row.tile_id, result) for row, result in results], now)
                for row, why, state in again:
                    self._ledger.back([row.tile_id], state, why, now)
        except (LedgerError, OSError):  # no room, busy, out of reach: the same rows are stored later
            raise
        except Exception as error:  # of the database's driver: a value that it does not take
            if again:
                return [*self._write([], again), *self._write(results, [])] if results else self._set_back(again, error)
            if len(results) > 1:
                middle = len(results) // 2
                return self._write(results[:middle], []) + self._write(results[middle:], [])
            row, result = results[0]
            if result.error is not None and result.error.code == "bad_result":
                raise
            log.warning("the ledger does not take the result of %s", row.name, exc_info=True)
            return self._write([(row, _refused(row, result, error))], [])
        return list(results)

    def _set_back(self, again: Sequence[Again], error: Exception) -> list[Result]:
        """The reasons are texts of strangers' making; without them any tile can be set back."""
        log.warning("the ledger does not take a reason", exc_info=error)
        with self._ledger.transaction():
            for row, _, state in again:
                self._ledger.back([row.tile_id], state, "see the log", time.time())
        return []

    def _sorted(self, batch: Sequence[int]) -> tuple[list[Result], list[Again], list[BaseException]]:
        """Results to store, tiles to score again, and errors of the endpoint."""
        results: list[Result] = []
        again: list[Again] = []
        errors: list[BaseException] = []
        for tile_id in batch:
            row, tile, since_s = self._under_way[tile_id]
            if tile.future.cancelled() or isinstance(error := tile.future.exception(), CancelledError):
                continue  # we are closing: the next process takes it up
            if error is not None:
                again.append((row, str(error), "staged"))
                errors.append(error)
                continue
            result = tile.future.result()
            if result.error is None or not _is_the_endpoint(row, result.error.code):
                self._last_good_s = time.monotonic()
            elif not self._is_given_up(row, since_s):
                again.append((row, result.error.message, "ready"))
                continue
            results.append((row, result))
        return results, again, errors

    def _is_given_up(self, row: TileRow, since_s: float) -> bool:
        """True if the tile is to blame: others were scored since. Else its file system may be away for hours."""
        return row.attempts + 1 >= ATTEMPTS and (self._last_good_s > since_s or not self._patient)

    def _gather(self) -> None:
        with suppress(Empty):
            while True:
                self._unstored.append(self._done.get_nowait())

    def _hold(self, error: BaseException) -> None:
        """The endpoint takes no tiles: pause, longer each time. Everything stays in the ledger."""
        if isinstance(error, MhfdError):
            self._on_trouble(error)
        else:
            log.error("endpoint '%s' failed", self._client.endpoint, exc_info=error)
        self._pause(str(error) or type(error).__name__)

    def _pause(self, why: str) -> None:
        now_s = time.monotonic()
        if now_s >= self._not_before_s:
            self._not_before_s = now_s + self._backoff.fail()
        self._board.put("endpoint", why)


def _is_the_endpoint(row: TileRow, code: ErrorCode) -> bool:
    """True if an error points to the endpoint: an older mhfd there does not support a place within a bundle, either."""
    bundled = row.place is not None and "offset" in row.place
    return code in NOT_THE_TILE or (bundled and code == "unsupported")


def _refused(row: TileRow, result: FocusResult, error: Exception) -> FocusResult:
    """The failed row in place of a result that the ledger does not take."""
    message = f"the ledger does not take its result ({type(error).__name__}); please report this as a bug"
    about = not_measured(result.provenance.params_sha256, "not stored")
    return FocusResult.failed(row.name, "bad_result", message, about)
