"""What the service says of an endpoint: online or not, and whether its workers are there.

Two endpoints answer to one name. The one in the configuration starts a user endpoint for each user and each set of
options; that one has the tasks and reports its workers, the other only that it lives. The service names the user
endpoint when it takes a task, or else each finished task does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from mhfd_client.compute.protocol import Json, Status
from mhfd_client.compute.staff import Staff


class Reports:
    """Asks for an endpoint's status, and keeps the last answer.

    Parameters
    ----------
    client : gives the SDK's client; its requests wait for the service
    endpoint : the UUID of the configuration

    Attributes
    ----------
    user_endpoint : the UUID of the one that has our tasks; None while it is not known
    staff : its workers
    """

    def __init__(self, client: Callable[[], Any], endpoint: str) -> None:
        self._client = client
        self._endpoint = endpoint
        self._last: Status | None = None
        self._last_s = -math.inf
        self.user_endpoint: str | None = None
        self.staff = Staff()

    def known(self, seconds: float) -> Status | None:
        """The last status, if it is no older than that; of the workers, with what answers have shown since."""
        if self._last is None or time.monotonic() >= self._last_s + seconds:
            return None
        return replace(self._last, workers=self.staff.workers, workers_s=self.staff.seconds)

    def ask(self) -> Status:
        """Ask the service; whatever the SDK raises."""
        told = self._client().get_endpoint_status(self._endpoint)
        online, now = told.get("status") == "online", datetime.now().astimezone()
        since = self._last.since if self._last is not None and self._last.online == online else now
        details = told.get("details") or {}
        if online:
            details = self._look_at_workers(details)
        self._last = Status(online, since, details, self.staff.workers, self.staff.seconds)
        self._last_s = time.monotonic()
        return self._last

    def learn(self, user_endpoint: object) -> None:
        """Take in the name of the endpoint that has a task; an endpoint without a template has them itself."""
        if user_endpoint and str(user_endpoint) != self._endpoint:
            self.user_endpoint = str(user_endpoint)

    def _look_at_workers(self, details: Json) -> Json:
        if self.user_endpoint is None:
            self.staff.look(True, details)
            return details
        told = self._client().get_endpoint_status(self.user_endpoint)
        report: Json = told.get("details") or {}
        self.staff.look(told.get("status") == "online", report)
        return {**details, **report}
