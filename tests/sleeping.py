"""An endpoint whose workers sleep, and connections to it: a `Compute` with the limits of the service, but no service.

What it keeps of the real thing: one queue for all clients, first come, first served; workers that take a task when they
are free; the time on the way; requests that wait for a token bucket, with several tasks in each; answers that are JSON.
"""

from __future__ import annotations

import heapq
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime

from mhfd.contract import FocusParams, FocusResult, Provenance
from mhfd_client.compute.protocol import Json, Reply, Status
from mhfd_client.service.pacing import TokenBucket

KEPT_FOR_QUESTIONS, TASKS_PER_REQUEST = 3, 64  # as mhfd_client.compute.globus
SHA256 = "0" * 64  # of the pixels of every tile


def template(spectrum: str | None = None) -> str:
    """A row as JSON, with NAME in place of the tile's name."""
    about = Provenance(mhfd="0", params_sha256=FocusParams().sha256, backend="none", device="none", tile_sha256=SHA256)
    return json.dumps(
        FocusResult(
            path="NAME", status="scored", provenance=about, shape=(1024, 1024), dtype="uint8", pixel_size_nm=4.6,
            features=3127, features_per_mpx=2982.1395874, features_by_scale=tuple(range(812, 300, -32)),
            scales_px=tuple(FocusParams().scales[:-1]), focus_score=7.31294812, characteristic_scale_px=3.2184791,
            noise=0.0213874, content=0.9712345, anisotropy=0.0812938, saturated=0.0035123, vollath_f4=0.0042198,
            spectrum=spectrum,
        ).to_dict()
    )  # fmt: skip


class SleepingEndpoint:
    """Workers that sleep; each task begins when one is free, in the order of arrival.

    Parameters
    ----------
    tiles_per_s : of one worker
    per_task_s : of a worker, beside the tiles
    """

    def __init__(self, workers: int, tiles_per_s: float, per_task_s: float = 0.02) -> None:
        self.workers = workers
        self.tiles_per_s = tiles_per_s
        self._per_task_s = per_task_s
        self._free_s = [(0.0, number) for number in range(workers)]
        self._ends: list[tuple[float, int, Callable[[int], None], int]] = []
        self._count = 0
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def take(self, tiles: int, done: Callable[[int], None]) -> None:
        """Queue a task; `done` is called with the worker's number when it has ended."""
        with self._changed:
            free_s, worker = heapq.heappop(self._free_s)
            end_s = max(free_s, time.monotonic()) + self._per_task_s + tiles / self.tiles_per_s
            heapq.heappush(self._free_s, (end_s, worker))
            self._count += 1
            heapq.heappush(self._ends, (end_s, self._count, done, worker))
            self._changed.notify()

    @property
    def queued_s(self) -> float:
        """Seconds until a worker is free for a task that comes now."""
        with self._changed:
            return max(0.0, self._free_s[0][0] - time.monotonic())

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (not self._ends or self._ends[0][0] > time.monotonic()):
                    self._changed.wait(self._ends[0][0] - time.monotonic() if self._ends else None)
                if self._closed:
                    return
                _, _, done, worker = heapq.heappop(self._ends)
            done(worker)


class SleepingCompute:
    """A client's connection to a `SleepingEndpoint`.

    Parameters
    ----------
    travel_s : from client to endpoint, and back again
    row : JSON of a row, see `template`

    Attributes
    ----------
    requests : number of requests made
    tasks : number of tiles in each task
    """

    name = "sleeping"
    functions: Collection[str] = ("score_inline", "score_paths")
    grain = 8

    def __init__(
        self,
        endpoint: SleepingEndpoint,
        *,
        travel_s: float = 0.07,
        row: str | None = None,
        slots: int = 512,
        requests_per_10_s: int = 18,
    ) -> None:
        self.acknowledged: Callable[[], None] = lambda: None
        self.slots = slots
        self.requests = 0
        self.tasks: list[int] = []
        self._endpoint = endpoint
        self._travel_s = travel_s
        self._row = row or template()
        self._bucket = TokenBucket(requests_per_10_s)
        self._unsent: deque[tuple[Json, Reply]] = deque()
        self._way: deque[tuple[float, Callable[[], None]]] = deque()  # all take the same time
        self._something = threading.Condition()
        self._closed = False
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._send, self._carry)]
        for thread in self._threads:
            thread.start()

    def connect(self, *, interactive: bool | None = None) -> None:
        pass

    def submit(self, function: str, arguments: Json) -> Reply:
        reply: Reply = Future()
        with self._something:
            self._unsent.append((arguments, reply))
            self._something.notify_all()
        return reply

    def delay_s(self) -> float:
        return max(self._bucket.delay_s(ahead=len(self._unsent) // TASKS_PER_REQUEST), self._bucket.spread_s())

    def sendable(self) -> int:
        return max(1, self._bucket.free() - KEPT_FOR_QUESTIONS) * TASKS_PER_REQUEST

    def chase(self, reply: Reply) -> None:
        pass

    def status(self) -> Future[Status]:
        answer: Future[Status] = Future()
        answer.set_result(Status(True, datetime(2026, 1, 31, 12, 3), {}))
        return answer

    def task_id(self, reply: Reply) -> str | None:
        return None

    def state(self) -> Json:
        return {}

    def resume(self, state: Json, task_ids: Collection[str]) -> dict[str, Reply]:
        return {}

    def close(self) -> None:
        with self._something:
            self._closed = True
            self._something.notify_all()

    # --- The way there and back -----------------------------------------------------------------------------------

    def _send(self) -> None:
        while True:
            with self._something:
                self._something.wait_for(lambda: self._unsent or self._closed)
                if self._closed:
                    return
                load = [self._unsent.popleft() for _ in range(min(TASKS_PER_REQUEST, len(self._unsent)))]
            self._bucket.take()
            self.requests += 1
            for arguments, reply in load:
                names = [item["name"] for item in arguments["paths"]]
                self.tasks.append(len(names))
                self._later(lambda names=names, reply=reply: self._arrive(names, reply))  # type: ignore[misc]

    def _arrive(self, names: list[str], reply: Reply) -> None:
        def done(worker: int) -> None:
            self._later(lambda: self._answer(names, worker, reply))

        self._endpoint.take(len(names), done)

    def _answer(self, names: list[str], worker: int, reply: Reply) -> None:
        rows = ", ".join(self._row.replace("NAME", name, 1) for name in names)
        about = f'{{"host": "h", "pid": {worker}}}'
        text = f'{{"schema": 1, "rows": [{rows}], "rows_file": null, "count": {len(names)}, "worker": {about}}}'
        if not reply.done():
            reply.set_result(json.loads(text))

    def _later(self, act: Callable[[], None]) -> None:
        with self._something:
            self._way.append((time.monotonic() + self._travel_s, act))
            self._something.notify_all()

    def _carry(self) -> None:
        while True:
            with self._something:
                self._something.wait_for(lambda: self._way or self._closed)
                if self._closed:
                    return
                due_s, act = self._way.popleft()
            time.sleep(max(0.0, due_s - time.monotonic()))
            act()


@contextmanager
def sleeping_endpoint(workers: int, tiles_per_s: float, per_task_s: float = 0.02) -> Iterator[SleepingEndpoint]:
    """An endpoint until the block ends."""
    endpoint = SleepingEndpoint(workers, tiles_per_s, per_task_s)
    try:
        yield endpoint
    finally:
        endpoint.close()
