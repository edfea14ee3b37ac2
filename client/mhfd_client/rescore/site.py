"""One endpoint that works on a job: its connection, where the run lies there, and what its last report said."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from mhfd.text import counted
from mhfd_client.compute.protocol import Compute, ComputeError, Status
from mhfd_client.config import ConfigError, GlobusEndpoint, Limits, LocalEndpoint
from mhfd_client.rescore.share import FIRST, Capacity, Priority, room

log = logging.getLogger(__name__)

GATHER_S = 5.0
"""Seconds between two requests with shards. A live client may make 18 of the 20 requests that the service takes from a
user in ten seconds; two are left."""

LOOK_HERE_S = 1.0  # this machine's status costs nothing


@dataclass(frozen=True)
class Place:
    """A folder as an endpoint sees it.

    Attributes
    ----------
    collection : UUID of the Globus collection in which `path` is; None for a path of the worker's machine
    """

    path: str
    collection: str | None = None


def place_of(run: str, name: str, entry: GlobusEndpoint | LocalEndpoint) -> Place:
    """Where a run is on an endpoint: by its `data` folders, else the path as it is.

    Raises
    ------
    ConfigError
        It is a path that cannot be one there.
    """
    if isinstance(entry, LocalEndpoint):
        return Place(str(Path(run).absolute()))
    for mapping in entry.data:
        if found := mapping.at_endpoint(run, None, ""):
            return Place(found["path"], found.get("collection"))
    if PurePosixPath(run).is_absolute():
        return Place(run)
    raise ConfigError(
        f"'{name}' does not know {run}: give the folder's path as the endpoint sees it, like /archive/run7, or add the "
        f"folder that both share to [[endpoints.{name}.data]]"
    )


class Site:
    """An endpoint that works on a job. Times are those of the driver's clock.

    Attributes
    ----------
    gone : why it gets no more work; None while it works
    in_flight : calls that it has
    heard_s : when it last answered; None before the first time
    next_send_s : when shards may be sent again: together, since requests are few
    """

    def __init__(self, compute: Compute, limits: Limits, place: Place, *, here: bool = False) -> None:
        self.compute = compute
        self.name = compute.name
        self.limits = limits
        self.place = place
        self.here = here
        self.gone: ComputeError | None = None
        self.status: Status | None = None
        self.in_flight = 0
        self.heard_s: float | None = None
        self.next_send_s = -math.inf
        self._workers = Capacity()
        self._ours = 0
        self._asking = False
        self._look_s = -math.inf
        self._offline_since_s: float | None = None
        self._queued_since: datetime | None = None

    # --- Its status -----------------------------------------------------------------------------------------------

    def look(self, now_s: float, then: Callable[[Future[Status]], None]) -> None:
        """Ask for the status if that is due; `then` gets the answer, in any thread."""
        if not self.gone and not self._asking and now_s >= self._look_s:
            self._asking = True
            self._look_s = now_s + (LOOK_HERE_S if self.here else self.limits.status_every_s)
            self.compute.status().add_done_callback(then)

    def see(self, answer: Future[Status], now_s: float) -> str | None:
        """Take in the answer to `look`; a sentence for people where something changed.

        An endpoint whose status cannot be had counts as offline.
        """
        self._asking = False
        error = answer.exception()
        if error is not None:
            log.warning("the status of '%s' is not known: %s", self.name, error)
        self.status = None if error is not None else answer.result()
        if self.status is None or not self.status.online:
            new, self._offline_since_s = not self.offline, self._offline_since_s if self.offline else now_s
            return f"'{self.name}' is offline; its shards wait" if new else None
        self._offline_since_s = None
        self._workers, self._ours = Capacity.of(self.status.details), self.in_flight
        if self._workers.total != 0 or not self.in_flight:
            self._queued_since = None
            return None
        new, self._queued_since = self._queued_since is None, self._queued_since or datetime.now()
        waiting = counted(self.in_flight, "task waits", "tasks wait")
        return f"'{self.name}': queued since {self._queued_since:%H:%M}, {waiting} for a worker" if new else None

    @property
    def offline(self) -> bool:
        return self._offline_since_s is not None

    def offline_for_s(self, now_s: float) -> float:
        return 0.0 if self._offline_since_s is None else now_s - self._offline_since_s

    # --- Its work -------------------------------------------------------------------------------------------------

    def free(self, now_s: float, priority: Priority, *, live: bool) -> int:
        """Shards to send it now."""
        if not self.ready(now_s) or self.compute.delay_s() > 0:
            return 0
        if self.status is None:  # asked a moment ago
            return max(0, FIRST - self.in_flight)
        most = min(room(self._workers, self._ours, priority, live=live), self.limits.tasks_in_flight)
        return max(0, most - self.in_flight)

    def ready(self, now_s: float) -> bool:
        """True if something could be sent now."""
        return not self.gone and not self.offline and now_s >= self.next_send_s

    def sent(self, now_s: float) -> None:
        """Shards were sent; the next ones go together, a while later."""
        self.hold(now_s + (0.0 if self.here else GATHER_S))

    def hold(self, until_s: float) -> None:
        """Send nothing before that time."""
        self.next_send_s = max(self.next_send_s, until_s)

    def heard(self, now_s: float) -> None:
        """An answer came: it works."""
        self.heard_s = now_s
        self._offline_since_s = None
