"""Tiles that wait for workers: for a job in a batch queue, or for workers that do not start.

A queue is not a failure. While the endpoint has no workers no deadline runs, nothing is sent again and no tile fails,
until `queue_patience_s` is over. The time goes on while no client runs: the saved state has its beginning.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from mhfd.text import counted
from mhfd_client.compute.protocol import Status, Workers
from mhfd_client.config import Limits

SILENT_S = 120.0  # workers that have not answered for so long since they came do not start
LOOKS = 2  # in a row that found no workers, before somebody is told: at the first they may just start
HALF_A_DAY_S = 43_200.0


@dataclass(frozen=True)
class Waiting:
    """What a person is told of tiles that wait for workers; as a sentence, `str`.

    Attributes
    ----------
    since : Unix seconds
    silent : there are workers, but none answers
    """

    endpoint: str
    since: float
    tiles: int
    silent: bool = False

    def __str__(self) -> str:
        recent = time.time() - self.since < HALF_A_DAY_S
        since = time.strftime("%H:%M" if recent else "%Y-%m-%d %H:%M", time.localtime(self.since))
        wait = counted(self.tiles, "tile waits", "tiles wait")
        if self.silent:
            return (
                f"endpoint '{self.endpoint}' runs, its workers do not start: none has answered since they came, and "
                f"{wait} since {since}; look at manager.log and worker_*.log in the endpoint's folder on that machine"
            )
        return f"endpoint '{self.endpoint}' has no workers yet: queued since {since}, {wait}"


class Queue:
    """Whether tiles wait for an endpoint's workers, and since when.

    Attributes
    ----------
    since : Unix seconds; None while they do not wait
    """

    def __init__(self, name: str, limits: Limits) -> None:
        self._name = name
        self._patience_s = limits.queue_patience_s
        self._looks = 0
        self._workers = Workers.THERE
        self._silent = False
        self.since: float | None = None

    @property
    def give_up_s(self) -> float:
        """When patience ends (monotonic); infinite while nothing waits."""
        return math.inf if self.since is None else time.monotonic() + self.since + self._patience_s - time.time()

    def look(self, status: Status, quiet_s: float) -> bool:
        """Take in a status; True if tiles wait for workers, so that their deadlines begin anew.

        Parameters
        ----------
        quiet_s : for how long nothing was heard of the endpoint
        """
        self._workers = status.workers
        if status.workers in (Workers.THERE, Workers.GONE):
            self.end()
            return False
        self._looks += 1
        self._silent = status.workers is Workers.SILENT and status.workers_s >= SILENT_S
        if self.since is None:
            self.since = time.time() - quiet_s
        return status.workers is not Workers.UNKNOWN  # then the service may know more of a single task

    def waiting(self, tiles: int) -> Waiting | None:
        """What to tell of so many open tiles; None if nothing."""
        if self.since is None or self._looks < LOOKS or (self._workers is Workers.SILENT and not self._silent):
            return None
        return Waiting(self._name, self.since, tiles, self._silent)

    def resume(self, since: float | None) -> None:
        """Go on from an earlier process."""
        self.since = since

    def end(self) -> None:
        """Workers answer, or the tiles were given up."""
        self.since, self._looks, self._silent = None, 0, False

    def too_long(self) -> str:
        """Why a tile fails that has waited too long."""
        hours = f"{self._patience_s / 3600:.3g} h"
        return (
            f"endpoint '{self._name}' had no workers for {hours}, or none that started: see `mhfd doctor --endpoint "
            f"{self._name}`, raise limits.queue_patience_s, then `mhfd retry RUN --failed --code queue_too_long`"
        )
