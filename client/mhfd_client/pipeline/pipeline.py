"""The line that a tile walks, from its folder to its row in the ledger.

    watch       folder -> seen                            reconciling scan; events only wake it
    gate        seen -> ready                             finished-file gate
    transfer    ready -> staged                           files go where the endpoint can read them
    dispatch    staged -> submitted -> scored | failed    tasks out, rows in

The ledger is the queue: each step, in a thread of its own, takes tiles in one state and leaves them in the next, in
one short transaction. So no step waits for another, only what is in flight is in memory, and a process that dies at any
line is made good by starting again. The folder is only ever read.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mhfd.contract import ExitCode, MhfdError
from mhfd_client.client import Client
from mhfd_client.files.names import to_local, to_relative
from mhfd_client.gate import Gate, GateRules
from mhfd_client.ledger import Ledger, LedgerBusyError, Order, Run, State, Summary
from mhfd_client.naming import Layout
from mhfd_client.pipeline.dispatch import DispatchStep, Results
from mhfd_client.pipeline.gate import GateStep
from mhfd_client.pipeline.notices import Board
from mhfd_client.pipeline.runner import Bells, Runner
from mhfd_client.pipeline.transfer import TransferStep
from mhfd_client.pipeline.watch import WatchStep
from mhfd_client.transfer.protocol import Transfer
from mhfd_client.watch import Scanner

HEARTBEAT_S = 5.0
TICK_S = 0.2
JOIN_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """How one run is watched; the keys of a profile (docs/configuration.md).

    Attributes
    ----------
    once : end when everything in the folder is scored, failed or stalled
    threads : that read files
    drain_s : how long a stop waits for tiles that the endpoint has
    patience_s : with `once`, how long nothing may move before the rest is left to the next start
    """

    poll_s: float = 5.0
    settle_s: float = 2.0
    stall_s: float = 600.0
    marker: str | None = None
    exclude: tuple[str, ...] = ()
    order: Order = "fresh"
    fresh_s: float = 120.0
    once: bool = False
    threads: int = 2
    drain_s: float = 30.0
    patience_s: float = 3600.0


class StandstillError(MhfdError):
    """Tiles are left, and nothing moves; the next start goes on with them."""

    exit_code = ExitCode.TEMPORARY


class Pipeline:
    """Watches one run. Whoever makes it holds the ledger's lease, and closes what it hands in.

    Parameters
    ----------
    bell : rings when something changes in the folder
    on_results : is given the rows as they are stored
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
        self._run = run
        self._ledger = ledger
        self._transfer = transfer
        self._client = client
        self._options = options
        self._board = board
        self._stop = threading.Event()
        self._leave = threading.Event()
        self._started_at = time.time()
        self._heartbeat_s = 0.0
        self._trouble: MhfdError | None = None
        self._counts: Mapping[State, int] = {}
        self._moved_s = time.monotonic()

        order, fresh_s = options.order, options.fresh_s
        scanner = Scanner(
            Path(run.root),
            is_tile=lambda path: layout.position(path) is not None,
            exclude=options.exclude,
            seen_before=bool(ledger.folders(run.run_id)),
        )
        self._gate = gate = Gate(GateRules(settle_s=options.settle_s, marker=options.marker))
        self.watching = WatchStep(
            run, ledger, scanner, gate, layout, board, poll_s=options.poll_s, on_found=lambda: self._checker.wake()
        )
        self.gating = GateStep(
            run,
            ledger,
            gate,
            stall_s=options.stall_s,
            order=order,
            fresh_s=fresh_s,
            threads=options.threads,
            wake=lambda: self._checker.wake(),
            on_ready=lambda: self._mover.wake(),
        )
        self.transferring = TransferStep(
            run, ledger, transfer, board, order=order, fresh_s=fresh_s, on_staged=lambda: self._scorer.wake()
        )
        self.dispatching = DispatchStep(
            run,
            ledger,
            client,
            board,
            order=order,
            fresh_s=fresh_s,
            patient=not options.once,
            wake=lambda: self._scorer.wake(),
            on_again=lambda: self._mover.wake(),
            on_trouble=self._on_trouble,
            on_results=on_results,
        )
        self._looker = Runner(self.watching, board, bell)
        self._checker = Runner(self.gating, board)
        self._mover = Runner(self.transferring, board)
        self._scorer = Runner(self.dispatching, board)
        self._runners = (self._looker, self._checker, self._mover, self._scorer)

    # --- From any thread, and from signal handlers ----------------------------------------------------------------

    def look(self, finished: str | None = None) -> None:
        """Something has happened in the folder: scan at once.

        Parameters
        ----------
        finished : the file of which the microscope says so, if it does
        """
        root = Path(self._run.root)
        path = None if finished is None else to_relative(root, root / finished)
        if path is not None:
            self._gate.told(to_local(root, path))
        self._looker.wake()

    def stop(self) -> None:
        """Take up nothing more, store what the endpoint still answers for a while, then end."""
        self._stop.set()

    def leave(self) -> None:
        """End at once; the next start carries on."""
        self._leave.set()
        self._stop.set()

    # --- The thread that waits --------------------------------------------------------------------------------------

    def run(self) -> Summary:
        """Watch until stopped; with `once`, until all is done. What is known at the end.

        Raises
        ------
        MhfdError
            With `once`: the endpoint does not take what is left, or nothing has moved for `patience_s`. At any time:
            another process has taken over the run, which only happens behind a database that was out of reach.
        """
        for runner in self._runners:
            runner.start()
        try:
            while not self._stop.wait(TICK_S):
                self._heartbeat()
                if self._options.once and self._is_over():
                    break
        finally:
            self._end()
        if self._trouble is not None and (self._options.once or isinstance(self._trouble, LedgerBusyError)):
            raise self._trouble
        return self._ledger.summary(self._run.run_id)

    def _is_over(self) -> bool:
        """All is done, or no more can be done now."""
        summary = self._ledger.summary(self._run.run_id)
        if summary.counts != self._counts:
            self._counts, self._moved_s = summary.counts, time.monotonic()
        if summary.to_do == 0 and self.watching.scans and not self.watching.changes:
            self._trouble = None
            return True
        if time.monotonic() - self._moved_s > self._options.patience_s:
            reasons = (
                "; ".join(notice.text for notice in self._board.notices()) or "see `mhfd status` and `mhfd doctor`"
            )
            self._trouble = StandstillError(
                f"{summary.to_do} tiles are left, and none has moved for {self._options.patience_s:.0f} s: {reasons}. "
                "Start the watch again to go on with them"
            )
        return self._trouble is not None

    def _on_trouble(self, error: MhfdError) -> None:
        self._trouble = error

    def _end(self) -> None:
        """In the order of the line: what a step has begun is finished before its successor ends."""
        for runner in (self._looker, self._checker, self._mover):
            runner.stop()
        self.dispatching.drain()
        deadline_s = time.monotonic() + self._options.drain_s
        while self.dispatching.under_way and time.monotonic() < deadline_s and not self._leave.wait(TICK_S):
            self._heartbeat()
        self._scorer.stop()
        for runner in self._runners:
            runner.join(0.0 if self._leave.is_set() else JOIN_S)
        self.gating.close()
        if not self._leave.is_set():
            self.dispatching.finish()
            self.transferring.finish()
        self._heartbeat(ended=True)

    def _heartbeat(self, *, ended: bool = False) -> None:
        """What `mhfd status` shows of the process that watches."""
        now_s = time.monotonic()
        if not ended and now_s < self._heartbeat_s + HEARTBEAT_S:
            return
        self._heartbeat_s = now_s
        status = {
            "pid": os.getpid(),
            "host": platform.node(),
            "started_at": self._started_at,
            "ended": ended,
            "endpoint": self._client.endpoint,
            "transfer": self._transfer.name,
            "scans": self.watching.scans,
            "last_scan_s_ago": now_s - self.watching.last_s if self.watching.scans else None,
            "under_way": self.dispatching.under_way,
            "notices": [{"text": notice.text, "since": notice.since} for notice in self._board.notices()],
        }
        try:
            self._ledger.heartbeat(self._run.run_id, status, time.time())
        except LedgerBusyError as error:  # the database was away, and somebody else has taken the run over
            self._trouble = error
            self.leave()
        except Exception as error:  # a full disk, say: the steps tell it; the watch goes on
            self._board.put("heartbeat", f"the ledger cannot be written: {error}")
        else:
            self._board.clear("heartbeat")
