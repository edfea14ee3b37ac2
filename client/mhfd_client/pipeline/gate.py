"""`seen` -> `ready`: a tile goes on when its file is finished, whole and readable."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

from mhfd.contract import ErrorCode, FocusResult
from mhfd_client.dispatch.pack import not_measured
from mhfd_client.files.names import to_local
from mhfd_client.gate import Finished, Gate, NotYet, Unreadable
from mhfd_client.ledger import Run, SeenFile, TileRow
from mhfd_client.pipeline.context import Context

Outcome: TypeAlias = Finished | NotYet | Unreadable

QUEUED = 16  # tiles for each thread, taken so many at a time
WINDOW = 4096  # tiles under examination or postponed
IDLE_S = 5.0
BRIEF_S = 10.0


class GateStep:
    """Runs the finished-file gate in a few threads: each file is read whole, once."""

    name = "gate"

    def __init__(
        self,
        context: Context,
        gate: Gate,
    ) -> None:
        self._context = context
        self._run = context.run
        self._ledger = context.ledger
        self._gate = gate
        self._threads = context.options.threads
        self._pool = ThreadPoolExecutor(self._threads, "mhfd-gate")
        self._open: dict[int, tuple[TileRow, Future[Outcome]]] = {}
        self._later: dict[int, float] = {}  # tile -> not before, monotonic

    def step(self) -> float:
        self._take_outcomes()
        now_s = time.monotonic()
        self._later = {tile_id: due_s for tile_id, due_s in self._later.items() if due_s > now_s}
        for row in self._next_rows():
            future = self._pool.submit(self._examine, row)
            self._open[row.tile_id] = (row, future)
            future.add_done_callback(lambda _: self._context.wake("gate"))
        due_s = min(self._later.values(), default=now_s + IDLE_S)
        return min(max(0.0, due_s - time.monotonic()), IDLE_S)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _next_rows(self) -> list[TileRow]:
        """A few rows per thread: behind a long queue, later and more urgent tiles would wait."""
        room = min(QUEUED * self._threads - len(self._open), WINDOW - len(self._open) - len(self._later))
        if room < min(QUEUED, WINDOW - len(self._later)):
            return []
        return self._context.take("seen", room, exclude=[*self._open, *self._later])

    def _examine(self, row: TileRow) -> Outcome:
        file = to_local(self._context.root, row.path)
        return self._gate.examine(file, SeenFile(row.path, row.size, row.mtime_ns), accepted=row.accepted)

    def _take_outcomes(self) -> None:
        done = [(row, future.result()) for row, future in self._open.values() if future.done()]
        if not done:
            return
        now = time.time()
        telling = [(row, outcome) for row, outcome in done if not _is_brief(outcome)]
        if telling:
            with self._ledger.transaction():
                for row, outcome in telling:
                    self._note(row, outcome, now)
        for row, outcome in done:  # only now: if the ledger was full, they are noted later
            del self._open[row.tile_id]
            if isinstance(outcome, NotYet):
                self._later[row.tile_id] = time.monotonic() + outcome.again_s
        if any(isinstance(outcome, Finished) for _, outcome in done):
            self._context.wake("transfer")

    def _note(self, row: TileRow, outcome: Outcome, now: float) -> None:
        if isinstance(outcome, Finished):
            pages = [(page.tile_sha256, page.shape) for page in outcome.pages]
            self._ledger.finish(row.tile_id, pages, now)
        elif isinstance(outcome, Unreadable):
            self._ledger.store([(row.tile_id, unreadable(row, outcome.code, outcome.message, self._run))], now)
        elif outcome.reason != "away" and outcome.unchanged_s >= self._context.options.stall_s:
            self._ledger.stalled([row.tile_id], outcome.reason, now)
        elif outcome.reason != row.reason:
            self._ledger.waiting([row.tile_id], outcome.reason, now)


def _is_brief(outcome: Outcome) -> bool:
    """True if all files go through it: not worth a line in the ledger."""
    return isinstance(outcome, NotYet) and outcome.reason in ("settling", "growing") and outcome.unchanged_s < BRIEF_S


def unreadable(row: TileRow, code: ErrorCode, message: str, run: Run) -> FocusResult:
    """The failed row of a tile whose file cannot be scored."""
    return FocusResult.failed(row.name, code, message, not_measured(run.params_sha256, "not sent"))
