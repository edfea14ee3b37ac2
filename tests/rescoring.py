"""An archive that takes no disk, and endpoints whose workers sleep over its shards: in real time, or in none.

What stands in for the remote machine answers as `plan_run`, `score_shard` and `finish_run` do. All of the client is the
real one. Endpoints share the archive, as those of one file system do.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from mhfd_client.compute.protocol import Json, Reply, Status, TaskLostError
from mhfd_client.config import Limits
from mhfd_client.rescore.events import Event, Events
from mhfd_client.rescore.site import Place, Site

TASKS_PER_REQUEST = 64  # as mhfd_client.compute.globus
RUN = "/archive/run"
MANIFEST = f"{RUN}/.mhfd/job/manifest.parquet"
END_S = 30 * 86400.0


class Timed(Events):
    """Events at a time: by timers."""

    def after(self, seconds: float, event: Event) -> None:
        timer = threading.Timer(seconds, self.put, (event,))
        timer.daemon = True
        timer.start()


class Simulated(Timed):
    """Events at a time, and a clock that jumps to the next one."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._number = itertools.count()
        self._heap: list[tuple[float, int, Event]] = []

    def now_s(self) -> float:
        return self._now_s

    def put(self, event: Event) -> None:
        self.after(0.0, event)

    def after(self, seconds: float, event: Event) -> None:
        heapq.heappush(self._heap, (self._now_s + seconds, next(self._number), event))

    def wait(self, timeout_s: float) -> Event | None:
        until_s = self._now_s + max(0.0, timeout_s)
        assert until_s < END_S, "the job does not end"
        if self._heap and self._heap[0][0] <= until_s:
            self._now_s, _, event = heapq.heappop(self._heap)
            return event
        self._now_s = until_s
        return None


@dataclass
class Archive:
    """A run and its parts.

    Attributes
    ----------
    parts : shard -> tiles that are scored in it
    """

    tiles: int
    shard_tiles: int = 65_536
    parts: dict[int, int] = field(default_factory=dict)
    state: str | None = None

    @property
    def shards(self) -> int:
        return -(-self.tiles // self.shard_tiles)

    def size(self, shard: int) -> int:
        return min(self.shard_tiles, self.tiles - shard * self.shard_tiles)

    def done(self) -> list[int]:
        return [shard for shard, tiles in sorted(self.parts.items()) if tiles == self.size(shard)]

    def plan(self) -> Json:
        return {
            "schema": 1, "job": "job", "manifest": MANIFEST, "manifest_sha256": "0", "folder": RUN, "files": self.tiles,
            "tiles": self.tiles, "bytes": self.tiles * 10**6, "shard_tiles": self.shard_tiles, "shards": self.shards,
            "done": self.done(), "skipped": 0, "state": self.state or "running", "remarks": [], "seconds": 0.0,
        }  # fmt: skip

    def score(self, shard: int, most: int) -> Json:
        before = self.parts.get(shard, 0)
        scored = min(most, self.size(shard) - before)
        self.parts[shard] = before + scored
        return {
            "schema": 1, "shard": shard, "count": self.size(shard), "scored": before + scored, "failed": 0,
            "failures": {}, "already": not scored, "remaining": self.size(shard) - before - scored,
            "stopped": self.state or ("time_budget_s" if before + scored < self.size(shard) else None),
        }  # fmt: skip

    def finish(self) -> Json:
        missing = [shard for shard in range(self.shards) if shard not in self.done()]
        return {"schema": 1, "complete": not missing, "missing": missing, "rows": sum(self.parts.values())}


class SleepingCompute:
    """A connection to an endpoint whose workers sleep.

    Parameters
    ----------
    per_task_s : of a worker, beside the tiles
    answer : what becomes of a task instead, by function and number of the task: an error, or True for never

    Attributes
    ----------
    requests : number of requests with tasks
    calls : arguments of each task, with its function
    """

    functions: Collection[str] = ("plan_run", "score_shard", "finish_run", "control_run")
    grain = 1
    slots = 512

    def __init__(
        self,
        name: str,
        archive: Archive,
        events: Timed,
        *,
        workers: int,
        tiles_per_s: float,
        per_task_s: float = 1.0,
        answer: Callable[[str, int], Exception | bool | None] = lambda function, number: None,
    ) -> None:
        self.acknowledged: Callable[[], None] = lambda: None
        self.name = name
        self.archive = archive
        self.workers = workers
        self.tiles_per_s = tiles_per_s
        self.answer = answer
        self.calls: list[tuple[str, Json]] = []
        self.chased: list[Reply] = []
        self.online = True
        self.most_in_flight = 0
        self._events = events
        self._per_task_s = per_task_s
        self._free_s = [0.0] * workers
        self._running: dict[Reply, str] = {}
        self._sent_at: list[float] = []

    @property
    def requests(self) -> int:
        return sum(-(-len(list(same)) // TASKS_PER_REQUEST) for _, same in itertools.groupby(self._sent_at))

    def connect(self, *, interactive: bool | None = None) -> None:
        pass

    def submit(self, function: str, arguments: Json) -> Reply:
        reply: Reply = Future()
        now = self._events.now_s()
        self.calls.append((function, arguments))
        self._sent_at.append(round(now, 2))
        self._running[reply] = str(len(self.calls))
        self.most_in_flight = max(self.most_in_flight, len(self._running))
        outcome = self.answer(function, len(self.calls))
        if outcome is True or not self.online:  # nobody takes it
            return reply
        begin_s = max(now, heapq.heappop(self._free_s))
        tiles = 0
        if function == "score_shard":
            shard = arguments["first"] // self.archive.shard_tiles
            left = self.archive.size(shard) - self.archive.parts.get(shard, 0)
            tiles = min(left, int(arguments["options"]["time_budget_s"] * self.tiles_per_s))
        seconds = self._per_task_s + tiles / self.tiles_per_s
        heapq.heappush(self._free_s, begin_s + seconds)
        self._events.after(begin_s + seconds - now, partial(self._end, reply, function, arguments, tiles, outcome))
        self.acknowledged()
        return reply

    def _end(self, reply: Reply, function: str, arguments: Json, tiles: int, outcome: Exception | bool | None) -> None:
        if self._running.pop(reply, None) is None:
            return
        if isinstance(outcome, Exception):
            reply.set_exception(outcome)
        elif function == "score_shard":
            found = self.archive.score(arguments["first"] // self.archive.shard_tiles, tiles)
            reply.set_result({**found, "seconds": self._per_task_s + tiles / self.tiles_per_s})
        else:
            reply.set_result(self.archive.plan() if function == "plan_run" else self.archive.finish())

    def delay_s(self) -> float:
        return 0.0

    def sendable(self) -> int:
        return self.slots

    def chase(self, reply: Reply) -> None:
        self.chased.append(reply)
        if self._running.pop(reply, None) is not None:
            reply.set_exception(TaskLostError("it is lost", sent=True))

    def status(self) -> Future[Status]:
        found: Future[Status] = Future()
        now = self._events.now_s()
        idle = sum(free_s <= now for free_s in self._free_s)
        details = {"total_workers": self.workers, "idle_workers": idle, "outstanding_tasks": len(self._running)}
        found.set_result(Status(self.online, datetime(2026, 1, 31, 12, 3), details))
        return found

    def task_id(self, reply: Reply) -> str | None:
        return self._running.get(reply)

    def state(self) -> Json:
        return {"group": self.name}

    def resume(self, state: Json, task_ids: Collection[str]) -> dict[str, Reply]:
        """Tasks that still run here, of this process; the others are lost."""
        known = {task_id: reply for reply, task_id in self._running.items()}
        found: dict[str, Reply] = {}
        for task_id in task_ids:
            found[task_id] = known.get(task_id) or Future()
            if task_id not in known:
                found[task_id].set_exception(TaskLostError("not known", sent=True))
        return found

    def close(self) -> None:
        pass


def site(compute: SleepingCompute, limits: Limits | None = None) -> Site:
    """An endpoint that sees the archive where it is."""
    return Site(compute, limits or Limits(), Place(RUN))
