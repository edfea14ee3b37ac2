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
    name = os.environ.get("MHFD_BACKEND") or "auto"
    if name.startswith("cupy") or (name == "auto" and cuda.unavailable() is None):
        number = gpu_number(os.environ, cuda.device_count())
        return select_backend("cupy" if name == "auto" else name, devices=[number])
    return select_backend(name, threads=1)


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
    """Cores for this worker: its share of the node's, unless it is pinned to cores of its own."""
    cores = available_cores()
    return cores if _has_own_cores() else max(1, cores // max(1, _whole(os.environ.get("PARSL_WORKER_COUNT"))))


def _has_own_cores() -> bool:
    """True if our parent process has more cores: then `cpu_affinity` has shared them out already."""
    if not hasattr(os, "sched_getaffinity"):
        return False
    try:
        return len(os.sched_getaffinity(os.getppid())) > available_cores()
    except OSError:  # it is gone, or belongs to someone else
        return False


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def gpu_uuid() -> str | None:
    """UUID of this worker's GPU; None on the processor."""
    if not backend().name.startswith("cupy"):
        return None
    return str(cuda.device(gpu_number(os.environ, cuda.device_count())).uuid)


def worker() -> dict[str, Any]:
    """This worker's identity, in every answer."""
    return {
        "host": platform.node(),
        "pid": os.getpid(),
        "mhfd": __version__,
        "python": platform.python_version(),
        "backend": backend().name,
        "device": backend().device,
        "device_uuid": gpu_uuid(),
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
