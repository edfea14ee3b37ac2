"""The device of this worker process, fixed for its lifetime."""

from __future__ import annotations

import logging
import os
import platform
import threading
from collections.abc import Mapping
from functools import cache
from typing import Any

from mhfd import cuda
from mhfd._version import __version__
from mhfd.backends import Backend, available_cores, select_backend
from mhfd.worker import affinity

log = logging.getLogger(__name__)

_failed = threading.Event()


@cache
def backend() -> Backend:
    """The backend, chosen once: this worker's GPU, else the processor with one thread for one tile.

    Raises
    ------
    BackendError
        MHFD_BACKEND names one that does not work here; or the GPU cannot run the kernels.
    """
    name, number = _wanted(), _gpu()
    if number is None:
        return select_backend(name, threads=1)
    near_gpu()  # before there is a context: its pinned memory then is near the GPU, too
    return select_backend("cupy" if name == "auto" else name, devices=[number])


def _wanted() -> str:
    return os.environ.get("MHFD_BACKEND") or "auto"


def _gpu() -> int | None:
    """Number of this worker's GPU; None on the processor."""
    name = _wanted()
    on_gpu = name.startswith("cupy") or (name == "auto" and cuda.unavailable() is None)
    return gpu_number(os.environ, cuda.device_count()) if on_gpu else None


@cache
def near_gpu() -> affinity.Near | None:
    """The cores next to this worker's GPU, to which this process keeps from now on; None where it has all it had."""
    number = _gpu()
    bus_id = None if number is None else cuda.pci_bus_id(number)
    return None if bus_id is None else affinity.keep_near(bus_id)


def backend_with(threads: int) -> Backend:
    """The same backend, on the processor with `threads` threads for one tile."""
    chosen = backend()
    if chosen.lanes or threads == 1:
        return chosen
    return select_backend(chosen.name, threads=threads, meanwhile=chosen.standin is not None)


def gpu_number(environment: Mapping[str, str], count: int) -> int:
    """Number of this worker's GPU, as CUDA counts the visible ones.

    A worker pinned to one GPU sees only that one. Without pinning, the workers of a node share its GPUs by rank.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and len(visible.strip(",").split(",")) == 1:
        return 0
    return _whole(environment.get("PARSL_WORKER_RANK")) % max(1, count)


def threads_here() -> int:
    """Cores for this worker: its share of the node's, and of those next to its GPU; all where it has its own."""
    near = near_gpu()
    cores, workers = available_cores(), max(1, _whole(os.environ.get("PARSL_WORKER_COUNT")))
    if near is not None:
        return max(1, min(cores // near.gpus, max(cores, _cores_of_the_node()) // workers))
    # Where our parent has more, `cpu_affinity` has shared them out already.
    return cores if _cores_of_the_node() > cores else max(1, cores // workers)


def _cores_of_the_node() -> int:
    """The cores of our parent process, which started all workers; 0 where that is not known."""
    if not hasattr(os, "sched_getaffinity"):
        return 0
    try:
        return len(os.sched_getaffinity(os.getppid()))
    except OSError:  # it is gone, or belongs to someone else
        return 0


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def gpu_uuid() -> str | None:
    """UUID of this worker's GPU; None on the processor."""
    if not backend().name.startswith("cupy"):
        return None
    return str(cuda.device(gpu_number(os.environ, cuda.device_count())).uuid)


def worker() -> dict[str, Any]:
    """This worker's identity, in every answer; `cores` are those it keeps to, as Linux lists them."""
    return {
        "host": platform.node(),
        "pid": os.getpid(),
        "mhfd": __version__,
        "python": platform.python_version(),
        "backend": backend().name,
        "device": backend().device,
        "device_uuid": gpu_uuid(),
        "cores": affinity.cores_text(),
    }


def device_failed() -> None:
    """Remember that the GPU stopped answering."""
    _failed.set()


def leave_if_failed() -> None:
    """End this process if its GPU has failed before: CUDA recovers in a new process only.

    The worker would otherwise take task after task and fail each at once. Parsl starts another in its place, and the
    endpoint tries the task again (`max_retries_on_system_failure`). Nothing else in mhfd ends a process.
    """
    if _failed.is_set() and "PARSL_WORKER_RANK" in os.environ:
        log.critical("the GPU of this worker has failed; the worker ends; Parsl starts another")
        os._exit(70)
