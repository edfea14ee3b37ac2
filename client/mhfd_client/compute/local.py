"""This machine as an endpoint: a pool of processes that call the same functions as a Globus endpoint's workers."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from functools import partial
from multiprocessing import get_context, parent_process
from typing import Any

from mhfd.registry import FUNCTIONS
from mhfd_client.compute.protocol import (
    Json,
    NotPermittedError,
    Reply,
    Status,
    TaskFailedError,
    TaskLostError,
    WorkerDiedError,
)
from mhfd_client.logs import first_run_on_screen, is_first_run_on_screen

TASKS_PER_WORKER = 2  # one runs while the next is on its way to the process
ASK_FOR_GPUS_S = 10.0

_spawning = threading.Lock()
_until_the_end = ExitStack()  # of a worker


class LocalCompute:
    """One warm process for each core, or each GPU; started when first needed.

    Every process is a pool of its own, so that when one dies its task is known.
    """

    name = "local"
    functions: Collection[str] = FUNCTIONS
    grain = 1

    def __init__(self, workers: int | None = None) -> None:
        self.acknowledged: Callable[[], None] = lambda: None  # never called: tasks have no ids here
        self._lock = threading.Lock()
        self._workers = workers
        self._lanes: list[_Lane] = []
        self._since = datetime.now().astimezone()
        self._closed = False

    @property
    def slots(self) -> int:
        self.connect()
        return TASKS_PER_WORKER * len(self._lanes)

    def connect(self, *, interactive: bool | None = None) -> None:
        with self._lock:
            if not self._lanes:
                count = self._workers or count_workers()
                self._lanes = [_Lane(rank, count) for rank in range(count)]

    def submit(self, function: str, arguments: Json) -> Reply:
        if function not in FUNCTIONS:
            raise NotPermittedError(f"'{function}' is not a function of mhfd: use {', '.join(FUNCTIONS)}")
        self.connect()
        with self._lock:
            if self._closed:
                raise RuntimeError("this LocalCompute is closed")
            return min(self._lanes, key=_Lane.load).submit(function, arguments)

    def delay_s(self) -> float:
        return 0.0

    def sendable(self) -> int:
        return self.slots

    def chase(self, reply: Reply) -> None:
        """End the worker, as one so late hangs. Its first task is to blame; the others are sent again."""
        for lane in self._lanes:
            if lane.has(reply):
                lane.kill()

    def status(self) -> Future[Status]:
        answer: Future[Status] = Future()
        details = {"workers": len(self._lanes), "tasks": sum(map(_Lane.load, self._lanes))}
        answer.set_result(Status(online=not self._closed, since=self._since, details=details))
        return answer

    def task_id(self, reply: Reply) -> str | None:
        return None  # nothing outlives this process

    def state(self) -> Json:
        return {}

    def resume(self, state: Json, task_ids: Collection[str]) -> dict[str, Reply]:
        lost: dict[str, Reply] = {}
        for task_id in task_ids:
            lost[task_id] = Future()
            lost[task_id].set_exception(TaskLostError("local tasks end with the process that asked for them"))
        return lost

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for lane in self._lanes:
                lane.close()


class _Lane:
    """One worker process, replaced when it dies, and its tasks, oldest first."""

    def __init__(self, rank: int, count: int) -> None:
        self._environment = {  # Parsl's names: the worker needs to know only one way to find its share of the machine
            "PARSL_WORKER_RANK": str(rank),
            "PARSL_WORKER_COUNT": str(count),
        }
        self._tells_first_run = rank == 0 and is_first_run_on_screen()  # one of them is enough
        self._tasks: deque[Reply] = deque()
        self._pool: ProcessPoolExecutor | None = None
        self._buried: ProcessPoolExecutor | None = None  # the last one that died
        self._pid: Future[int] | None = None
        self._lock = threading.RLock()

    def load(self) -> int:
        return len(self._tasks)

    def has(self, reply: Reply) -> bool:
        return reply in self._tasks

    def submit(self, function: str, arguments: Json) -> Reply:
        reply: Reply = Future()
        with self._lock:
            try:
                pool = self._running_pool()
                under_way = pool.submit(_call, function, arguments)
            except BrokenProcessPool:  # it died while idle, or a moment ago
                self._pool = None
                pool = self._running_pool()
                under_way = pool.submit(_call, function, arguments)
            self._tasks.append(reply)
        under_way.add_done_callback(partial(self._on_done, reply, pool))
        return reply

    def kill(self) -> None:
        if self._pid is not None and self._pid.done() and self._pid.exception() is None:
            with suppress(ProcessLookupError, PermissionError):  # it has ended; the latter is how Windows says so
                os.kill(self._pid.result(), signal.SIGTERM)

    def close(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
            if self._tasks:  # else Python would wait for the task at its exit
                self.kill()

    def _running_pool(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = get_context("spawn")
            given = self._environment, self._tells_first_run
            self._pool = ProcessPoolExecutor(1, context, initializer=_begin, initargs=given)
            with _without_main():
                self._pid = self._pool.submit(os.getpid)
        return self._pool

    def _on_done(self, reply: Reply, pool: ProcessPoolExecutor, under_way: Future[Json]) -> None:
        with self._lock:
            self._tasks.remove(reply)
            died = not under_way.cancelled() and isinstance(under_way.exception(), BrokenProcessPool)
            # A dead process fails all its tasks, in the order of submission; only the first of them was running.
            to_blame = died and pool is not self._buried
            if died:
                self._buried = pool
                self._pool = None if self._pool is pool else self._pool
        _finish(reply, under_way, died, to_blame)


def _finish(reply: Reply, under_way: Future[Json], died: bool, to_blame: bool) -> None:
    if under_way.cancelled():
        reply.set_exception(TaskLostError("the local workers were closed before the task began"))
    elif to_blame:
        reply.set_exception(WorkerDiedError("the local worker process died while it had this task"))
    elif died:
        reply.set_exception(TaskLostError("the local worker process died before this task began"))
    elif error := under_way.exception():
        failed = TaskFailedError(f"{type(error).__name__}: {error}")
        failed.__cause__ = error
        reply.set_exception(failed)
    else:
        reply.set_result(under_way.result())


def count_workers() -> int:
    """The number of usable GPUs, else of cores."""
    from mhfd.backends import available_cores

    return count_gpus() or available_cores()


def count_gpus() -> int:
    """Count without loading CUDA into this process, which needs no GPU."""
    if importlib.util.find_spec("cupy") is None:
        return 0
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return len([each for each in visible.split(",") if each.strip() not in ("", "-1")])
    try:
        told = subprocess.run(
            ["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=ASK_FOR_GPUS_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    return told.stdout.count("UUID")


@contextmanager
def _without_main() -> Iterator[None]:
    """Keep the caller's script out of the new process, which does not need it and would run it again."""
    main = sys.modules["__main__"]
    missing: Any = object()
    with _spawning:
        spec, file = getattr(main, "__spec__", missing), getattr(main, "__file__", missing)
        main.__spec__ = None
        if file is not missing:
            del main.__file__
        try:
            yield
        finally:
            if spec is not missing:
                main.__spec__ = spec
            if file is not missing:
                main.__file__ = file


def _begin(environment: dict[str, str], tells_first_run: bool) -> None:
    """Prepare a new worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    from mhfd.images import DEFAULT_MAX_PIXELS

    os.environ.update(environment)
    os.environ.setdefault("MHFD_MAX_PIXELS", str(DEFAULT_MAX_PIXELS))  # the worker's own limit is for others' tasks
    if tells_first_run:
        _until_the_end.enter_context(first_run_on_screen())
    threading.Thread(target=_end_with_parent, name="mhfd-parent", daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent ends; else, after a kill, it would wait for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _call(function: str, arguments: Json) -> Json:
    from mhfd import remote

    answer: Json = getattr(remote, function)(**arguments)
    return answer
