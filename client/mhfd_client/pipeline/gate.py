"""`seen` -> `ready`: a tile goes on when its file is finished, whole and readable."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from mhfd.contract import ErrorCode, FocusResult
from mhfd_client.dispatch.pack import not_measured
from mhfd_client.files.names import to_local
from mhfd_client.gate import BadPage, Finished, Gate, NotYet, Page, PageFacts, Unreadable
from mhfd_client.ledger import Run, SeenFile, TileRow
from mhfd_client.pipeline.context import Context, Result, Results

Outcome: TypeAlias = Finished | NotYet | Unreadable

QUEUED = 32  # tiles for each thread, taken so many at a time
WINDOW = 4096  # tiles under examination or postponed
IDLE_S = 5.0
BRIEF_S = 10.0


class GateStep:
    """Runs the finished-file gate in a few threads: each file is read whole, once.

    Parameters
    ----------
    on_results : called with the failed rows of what cannot be scored, as they are stored
    """

    name = "gate"

    def __init__(
        self,
        context: Context,
        gate: Gate,
        *,
        on_results: Callable[[Results], None] = lambda _: None,
    ) -> None:
        self._on_results = on_results
        self._context = context
        self._run = context.run
        self._ledger = context.ledger
        self._gate = gate
        self._threads = context.options.threads
        self._pool = ThreadPoolExecutor(self._threads, "mhfd-gate")
        self._open: dict[int, tuple[TileRow, Future[Outcome]]] = {}
        self._later: dict[int, tuple[float, Path]] = {}  # tile -> not before, monotonic, unless its file is due

    def step(self) -> float:
        self._take_outcomes()
        now_s = time.monotonic()
        self._later = {
            tile_id: (due_s, file)
            for tile_id, (due_s, file) in self._later.items()
            if due_s > now_s and not self._gate.is_due(file)
        }
        for row in self._next_rows():
            future = self._pool.submit(self._examine, row)
            self._open[row.tile_id] = (row, future)
            future.add_done_callback(lambda _: self._context.wake("gate"))
        due_s = min((due_s for due_s, _ in self._later.values()), default=now_s + IDLE_S)
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
        return self._gate.examine(file, SeenFile(row.path, row.size, row.mtime_ns, row.ctime_ns), accepted=row.accepted)

    def _take_outcomes(self) -> None:
        done = [(row, future.result()) for row, future in self._open.values() if future.done()]
        if not done:
            return
        now = time.time()
        telling = [(row, self._given_up(outcome)) for row, outcome in done if not _is_brief(outcome)]
        failed: list[Result] = []
        if telling:
            with self._ledger.transaction():
                for row, outcome in telling:
                    failed += self._note(row, outcome, now)
        for row, outcome in done:  # only now: if the ledger was full, they are noted later
            del self._open[row.tile_id]
            if isinstance(outcome, NotYet):
                file = to_local(self._context.root, row.path)
                self._later[row.tile_id] = time.monotonic() + outcome.again_s, file
        if any(isinstance(outcome, Finished) for _, outcome in telling):
            self._context.wake("transfer")
        if failed:
            self._on_results(failed)

    def _given_up(self, outcome: Outcome) -> Outcome:
        """The outcome, or the pages of a file that is not waited for any longer."""
        if isinstance(outcome, NotYet) and outcome.pages and outcome.unchanged_s >= self._context.options.stall_s:
            return Finished(outcome.pages)
        return outcome

    def _note(self, row: TileRow, outcome: Outcome, now: float) -> list[Result]:
        """Store what is known of a tile; the failed rows."""
        if isinstance(outcome, Finished):
            return self._finish(row, outcome.pages, now)
        if isinstance(outcome, Unreadable):
            result = unreadable(row, outcome.code, outcome.message, self._run)
            self._ledger.store([(row.tile_id, result)], now)
            return [(row, result)]
        if outcome.reason != "away" and outcome.unchanged_s >= self._context.options.stall_s:
            self._ledger.stalled([row.tile_id], outcome.reason, now)
        elif outcome.reason != row.reason:
            self._ledger.waiting([row.tile_id], outcome.reason, now)
        return []

    def _finish(self, row: TileRow, pages: Sequence[Page], now: float) -> list[Result]:
        bad = {k: page.error for k, page in enumerate(pages) if isinstance(page, BadPage)}
        rows = {k: replace(row, page=k, pages=len(pages)) for k in bad}
        failed = {k: unreadable(rows[k], error.code, error.message, self._run) for k, error in bad.items()}
        found = [
            (page.tile_sha256, page.shape) if isinstance(page, PageFacts) else failed[k] for k, page in enumerate(pages)
        ]
        constant = [k for k, page in enumerate(pages) if isinstance(page, PageFacts) and page.constant]
        self._ledger.finish(row.tile_id, found, now, constant=constant)
        return [(rows[k], result) for k, result in failed.items()]


def _is_brief(outcome: Outcome) -> bool:
    """True if all files go through it: not worth a line in the ledger."""
    return isinstance(outcome, NotYet) and outcome.reason in ("settling", "growing") and outcome.unchanged_s < BRIEF_S


def unreadable(row: TileRow, code: ErrorCode, message: str, run: Run) -> FocusResult:
    """The failed row of a tile whose file cannot be scored."""
    return FocusResult.failed(row.name, code, message, not_measured(run.params_sha256, "not sent"))
