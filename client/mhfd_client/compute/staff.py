"""Whether an endpoint's workers are there, from its reports and from the answers that came.

A user endpoint of globus-compute-endpoint 4.19 reports with each heartbeat how many workers have registered
(`total_workers`) and how many tasks it holds (`outstanding_tasks`). Nothing else tells a job that waits in a batch
queue from a task that was lost, nor a manager whose workers die and start again without end: that one reports all its
workers, with a task each, and none answers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from mhfd_client.compute.protocol import Json, Workers

START_S = 600.0  # an endpoint that has not come up by then had been there before, and died
HEARTBEAT_S = 30.0  # of an endpoint that does not say
STALE_HEARTBEATS = 3  # so long a report may be older than the task that was sent

MAY_BE_LOST = (Workers.THERE, Workers.GONE)


class Staff:
    """The workers of one endpoint.

    Attributes
    ----------
    workers : as far as the last report and the answers since show
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since_s = self._begun_s = clock()
        self._answered_s = -math.inf
        self._came_s = math.inf  # when workers were first seen where there had been none
        self._empty_since_s = math.inf  # no workers and no tasks since then
        self.workers = Workers.UNKNOWN

    @property
    def seconds(self) -> float:
        """For how long this is so."""
        return self._clock() - self._since_s

    @property
    def may_lose(self) -> bool:
        """True if a late task may have been lost: workers had it, or would have."""
        return self.workers in MAY_BE_LOST

    def answered(self) -> None:
        """A worker answered."""
        self._answered_s = self._clock()
        self._came_s = min(self._came_s, self._answered_s)
        if self.workers in (Workers.UNKNOWN, Workers.SILENT):
            self._become(Workers.THERE)

    def look(self, online: bool, report: Json) -> None:
        """Take in a report of the endpoint that has the tasks; {} if there is none."""
        total, held = report.get("total_workers"), report.get("outstanding_tasks") or 0
        if total != 0 or held:
            self._empty_since_s = math.inf
        if not total:
            self._came_s = math.inf
        elif self._came_s == math.inf:
            self._came_s = self._clock()
        self._become(self._seen(online, report, total, held))

    def _seen(self, online: bool, report: Json, total: int | None, held: int) -> Workers:
        now, ever = self._clock(), self._answered_s > -math.inf
        if not online:
            starts = total is None and not ever and now - self._begun_s < START_S
            return Workers.AWAITED if starts else Workers.GONE
        if total is None:
            return Workers.THERE if ever else Workers.UNKNOWN
        if total > 0:
            return Workers.SILENT if held and self._answered_s < self._came_s else Workers.THERE
        if held:
            return Workers.AWAITED
        self._empty_since_s = min(self._empty_since_s, now)
        stale_s = STALE_HEARTBEATS * float(report.get("heartbeat_period") or HEARTBEAT_S)
        return Workers.AWAITED if now - self._empty_since_s < stale_s else Workers.GONE

    def _become(self, workers: Workers) -> None:
        if workers is not self.workers:
            self.workers, self._since_s = workers, self._clock()
