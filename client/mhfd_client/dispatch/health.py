"""The health of an endpoint, as far as its answers and its status show it."""

from __future__ import annotations

import logging
import math
import time
from concurrent.futures import Future
from enum import Enum

from mhfd_client.compute.protocol import Status
from mhfd_client.config import Limits

log = logging.getLogger(__name__)


class Change(Enum):
    """A change that a status showed."""

    UNKNOWN = "unknown"
    OFFLINE = "offline"
    ONLINE = "online"
    ONLINE_AGAIN = "online again"


class Health:
    """Knows when an endpoint last answered, if it is online, and since when there is trouble. Times are monotonic.

    Attributes
    ----------
    status : as last seen; None before the first look
    asking : a question about the status is under way
    """

    def __init__(self, name: str, limits: Limits) -> None:
        self._name = name
        self._limits = limits
        self._heard_s = time.monotonic()
        self._status_s = -math.inf
        self._trouble_since_s: float | None = None
        self._well = True  # as far as the last look at the status has shown
        self.status: Status | None = None
        self.asking = False

    @property
    def offline(self) -> bool:
        return self.status is not None and not self.status.online

    @property
    def quiet_s(self) -> float:
        """For how long nothing was heard, since the first task was sent."""
        return time.monotonic() - self._heard_s

    @property
    def trouble_until_s(self) -> float:
        """When trouble has lasted so long that somebody else had better do the work; infinite without trouble."""
        return math.inf if self._trouble_since_s is None else self._trouble_since_s + self._limits.status_after_s

    @property
    def ask_due_s(self) -> float:
        """When to ask for the status: nothing was heard for a while, and the last look was not just now."""
        return max(self._heard_s + self._limits.status_after_s, self._status_s + self._limits.status_every_s)

    @property
    def give_up_s(self) -> float:
        """When patience ends; infinite while there is no trouble."""
        return math.inf if self._trouble_since_s is None else self._trouble_since_s + self._limits.patience_s

    def begin(self) -> None:
        """Something was sent while nothing was in flight: silence counts from now."""
        self._heard_s = time.monotonic()

    def heard(self) -> None:
        """An answer came: the endpoint works."""
        self._heard_s = time.monotonic()
        self._trouble_since_s = None

    def acknowledged(self) -> None:
        """The service took a task, which says little of an endpoint that is offline."""
        if not self.offline:
            self._trouble_since_s = None

    def fail(self) -> bool:
        """The service or the endpoint is out of reach; True if that is new."""
        if self._trouble_since_s is not None:
            return False
        self._trouble_since_s = time.monotonic()
        return True

    def forget_trouble(self) -> None:
        self._trouble_since_s = None

    def look(self, answer: Future[Status]) -> Change:
        """Take in the answer to a status request."""
        self.asking = False
        self._status_s = time.monotonic()
        was_offline, was_well = self.offline, self._well
        failed = answer.cancelled() or answer.exception() is not None
        self._well = not failed and answer.result().online
        if not self._well and self._trouble_since_s is None:
            self._trouble_since_s = self._status_s
        if failed:
            reason = "cancelled" if answer.cancelled() else answer.exception()
            log.warning("the status of '%s' is not known: %s", self._name, reason)
            return Change.UNKNOWN
        self.status = answer.result()
        if not self.status.online:
            return Change.OFFLINE
        if not was_well:
            self._trouble_since_s = None
        return Change.ONLINE_AGAIN if was_offline else Change.ONLINE
