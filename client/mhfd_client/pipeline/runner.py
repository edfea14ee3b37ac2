"""Runs a step of the pipeline in a thread of its own: whenever it is woken, and again however often it fails."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from mhfd.contract import MhfdError
from mhfd_client.backoff import Backoff
from mhfd_client.pipeline.context import Bells
from mhfd_client.pipeline.notices import Board

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0


class Step(Protocol):
    """Moves tiles one state further."""

    @property
    def name(self) -> str: ...

    def step(self) -> float:
        """Do what can be done now; the seconds until the next call, unless woken before."""
        ...


class Runner:
    """Runs a step until it is stopped. Its errors are reported, and it is tried again after a pause.

    A full disk, a database that restarts, a fault of ours: none of them ends a watch that is to run for a week, since
    the ledger always knows what remains to be done.
    """

    def __init__(self, step: Step, board: Board, bell: Bells) -> None:
        self._step = step
        self._board = board
        self._bell = bell
        self._stopping = False
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._thread = threading.Thread(target=self._run, name=f"mhfd-{step.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Wake the step. May be called from any thread."""
        self._bell.ring()

    def stop(self) -> None:
        """Do not begin the step again."""
        self._stopping = True
        self._bell.ring()

    def join(self, timeout_s: float) -> bool:
        """Wait for the step to end; True if it has. One that hangs on a dead share is left behind."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping:
            self._bell.wait(self._once())

    def _once(self) -> float:
        matter = f"step {self._step.name}"
        try:
            wait_s = self._step.step()
        except Exception as error:  # the boundary of the thread: nothing may end it
            if self._stopping:  # what it works with may be closed already
                log.debug("step '%s' was cut off", self._step.name, exc_info=True)
                return 0.0
            if not isinstance(error, MhfdError | OSError):
                log.exception("step '%s' failed", self._step.name)
            self._board.put(matter, f"{self._step.name}: {error or type(error).__name__}; trying again")
            return self._backoff.fail()
        if self._backoff.pause_s:
            self._backoff.succeed()
            self._board.clear(matter, f"{self._step.name}: works again")
        return wait_s
