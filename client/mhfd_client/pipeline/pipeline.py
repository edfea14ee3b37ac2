"""The steps that take a tile from its folder to its row in the ledger.

    watch       folder -> seen                            reconciling scan; events only wake it
    gate        seen -> ready                             finished-file gate
    transfer    ready -> staged                           files go where the endpoint can read them
    dispatch    staged -> submitted -> scored | failed    tasks out, rows in

The ledger is the queue: each step, in a thread of its own, takes tiles in one state and leaves them in the next, in
one short transaction. So no step waits for another, only what is in flight is in memory, and after a crash at any line
it is enough to start again. The folder is only read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from mhfd.contract import ExitCode, MhfdError
from mhfd.text import counted
from mhfd_client.client import Client
from mhfd_client.files.names import to_local, to_relative
from mhfd_client.gate import Gate, GateRules
from mhfd_client.ledger import Json, Ledger, LedgerBusyError, LedgerGoneError, Run, State, Summary
from mhfd_client.naming import Layout
from mhfd_client.pipeline.context import Bell, Bells, Context, Options, Results, Stage
from mhfd_client.pipeline.dispatch import DispatchStep
from mhfd_client.pipeline.gate import GateStep
from mhfd_client.pipeline.heart import Heart
from mhfd_client.pipeline.notices import Board
from mhfd_client.pipeline.runner import Runner
from mhfd_client.pipeline.transfer import TransferStep
from mhfd_client.pipeline.watch import WatchStep
from mhfd_client.transfer.protocol import Transfer
from mhfd_client.watch import Scanner, Waker

TICK_S = 0.2
JOIN_S = 5.0


class StandstillError(MhfdError):
    """Tiles are left, and none makes progress; the next start goes on with them."""

    exit_code = ExitCode.TEMPORARY


class Pipeline:
    """Watches one run. The caller holds the ledger's lease, and closes what it passes in.

    Parameters
    ----------
    bell : rings when something changes in the folder
    on_results : called with the rows as they are stored
    """

    def __init__(
        self,
        run: Run,
        ledger: Ledger,
        layout: Layout,
        transfer: Transfer,
        client: Client,
        options: Options,
        board: Board,
        *,
        bell: Bells | None = None,
        on_results: Callable[[Results], None] = lambda _: None,
    ) -> None:
        bells: dict[Stage, Bells] = {
            "watch": bell or Bell(), "gate": Bell(), "transfer": Bell(), "dispatch": Bell()
        }  # fmt: skip
        self._context = context = Context(run, ledger, options, board, bells)
        self._transfer = transfer
        self._client = client
        self._gate = Gate(GateRules(settle_s=options.settle_s, marker=options.marker))
        events = {"closed": bell.closed} if isinstance(bell, Waker) else {}
        self.watch = WatchStep(context, _scanner(context, layout), self._gate, layout, **events)
        self.gate = GateStep(context, self._gate, on_results=on_results)
        self.transfer = TransferStep(context, transfer)
        self.dispatch = DispatchStep(context, client, on_trouble=self._on_trouble, on_results=on_results)
        self._runners: dict[Stage, Runner] = {
            "watch": Runner(self.watch, board, bells["watch"]),
            "gate": Runner(self.gate, board, bells["gate"]),
            "transfer": Runner(self.transfer, board, bells["transfer"]),
            "dispatch": Runner(self.dispatch, board, bells["dispatch"]),
        }
        self._heart = Heart(context, self._look)
        self._standstill = _Standstill()
        self._stop = threading.Event()
        self._leave = threading.Event()
        self._trouble: MhfdError | None = None

    # --- From any thread, and from signal handlers ----------------------------------------------------------------

    def look(self, finished: str | None = None) -> None:
        """Scan at once, since the folder has changed.

        Parameters
        ----------
        finished : a file that the microscope reports as finished
        """
        root = self._context.root
        path = None if finished is None else to_relative(root, root / finished)
        if path is not None:
            self._gate.told(to_local(root, path))
        self._context.wake("watch")

    def stop(self) -> None:
        """Take up no more tiles, store what the endpoint answers within `drain_s`, then end."""
        self._stop.set()

    def leave(self) -> None:
        """End at once; the next start carries on."""
        self._leave.set()
        self._stop.set()

    @property
    def left(self) -> bool:
        """True if it was told to end at once."""
        return self._leave.is_set()

    @property
    def ledger(self) -> Ledger:
        return self._context.ledger

    @property
    def run_id(self) -> int:
        return self._context.run.run_id

    # --- The thread that waits --------------------------------------------------------------------------------------

    def run(self) -> Summary:
        """Watch until stopped; with `once`, until all is done. Return the run in numbers.

        Raises
        ------
        MhfdError
            With `once`: the endpoint does not take what is left, or nothing has moved for `patience_s`. At any time:
            another process has taken over the run, which only happens while its database is out of reach.
        """
        ledger, run_id, once = self._context.ledger, self._context.run.run_id, self._context.options.once
        for runner in self._runners.values():
            runner.start()
        try:
            while not self._stop.wait(TICK_S):
                self._beat()
                if once and self._is_over(ledger.summary(run_id)):
                    break
        finally:
            self._end()
        if self._trouble is not None and (once or isinstance(self._trouble, LedgerBusyError | LedgerGoneError)):
            raise self._trouble
        summary = ledger.summary(run_id)
        foreign = 0 if any(summary.counts.values()) or summary.gone else self.watch.foreign
        return replace(summary, left_out=len(self.watch.left_out) + foreign)

    def _is_over(self, summary: Summary) -> bool:
        """True if all is done, or if no more can be done now."""
        if summary.to_do == 0 and self.watch.scans and not self.watch.changes:
            self._trouble = None
            return True
        patience_s = self._context.options.patience_s
        queued = self._context.board.notice("queue") is not None  # which is no standstill, however long
        if self._standstill.lasts_s(summary.counts, queued=queued) > patience_s:
            notices = "; ".join(notice.text for notice in self._context.board.notices())
            self._trouble = StandstillError(
                f"{counted(summary.to_do, 'tile is', 'tiles are')} left, and none has moved for {patience_s:.0f} s: "
                f"{notices or 'see `mhfd status` and `mhfd doctor`'}. Start the watch again to go on with them"
            )
        return self._trouble is not None

    def _on_trouble(self, error: MhfdError) -> None:
        self._trouble = error

    def _end(self) -> None:
        """Stop the steps in order: what a step has begun is finished before its successor ends."""
        for stage in ("watch", "gate", "transfer"):
            self._runners[stage].stop()
        self.dispatch.drain()
        deadline_s = time.monotonic() + self._context.options.drain_s
        while self.dispatch.under_way and time.monotonic() < deadline_s and not self._leave.wait(TICK_S):
            self._beat()
        self._runners["dispatch"].stop()
        for runner in self._runners.values():
            runner.join(0.0 if self._leave.is_set() else JOIN_S)
        self.gate.close()
        if not self._leave.is_set():
            self.dispatch.finish()
            self.transfer.finish()
        self._beat(ended=True)

    def _beat(self, *, ended: bool = False) -> None:
        try:
            self._heart.beat(ended=ended)
        except (LedgerBusyError, LedgerGoneError) as error:
            self._trouble = error
            self.leave()

    def _look(self) -> Json:
        """The state of the steps, for the heartbeat."""
        scans, last_s = self.watch.scans, self.watch.last_s
        return {
            "endpoint": self._client.endpoint,
            "transfer": self._transfer.name,
            "scans": scans,
            "last_scan_s_ago": time.monotonic() - last_s if scans else None,
            "under_way": self.dispatch.under_way,
        }


class _Standstill:
    """Measures how long the counts of a run have not changed, but for the time in a batch queue."""

    def __init__(self) -> None:
        self._counts: Mapping[State, int] = {}
        self._since_s = time.monotonic()

    def lasts_s(self, counts: Mapping[State, int], *, queued: bool = False) -> float:
        now_s = time.monotonic()
        if queued or counts != self._counts:
            self._counts, self._since_s = counts, now_s
        return now_s - self._since_s


def _scanner(context: Context, layout: Layout) -> Scanner:
    return Scanner(
        Path(context.run.root),
        is_tile=lambda path: layout.position(path) is not None,
        exclude=context.options.exclude,
        seen_before=bool(context.ledger.folders(context.run.run_id)),
    )
