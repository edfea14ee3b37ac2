"""The first answer of an endpoint, or why none comes: a queue, or workers that do not start."""

from __future__ import annotations

import time
from concurrent.futures import wait

from mhfd.text import counted
from mhfd_client.compute.protocol import Compute, ComputeError, EndpointUnavailableError, Json, Status, Workers

LOOK_S = 5.0  # between two looks at an endpoint that does not answer
SILENT_S = 60.0  # workers that have not answered a question of no work so long after they came do not start

_FOLDER = "below ~/.globus_compute/uep.* on that machine"


class NoWorkersError(EndpointUnavailableError):
    """The endpoint runs, but has no workers, or none that answers.

    Attributes
    ----------
    queued : it may only be that its job waits in a batch queue
    remedy : what to do
    """

    def __init__(self, message: str, remedy: str, *, queued: bool) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.queued = queued


def first_answer(compute: Compute, function: str, deadline_s: float) -> Json:
    """Run a function that does next to nothing, on an endpoint whose status is looked up every few seconds.

    Raises
    ------
    NoWorkersError
        It runs, but its workers do not, or not yet.
    ComputeError
        As `Compute.submit`.
    TimeoutError
        No answer came, and why is not known.
    """
    reply = compute.submit(function, {})
    ends_s = time.monotonic() + deadline_s
    while not wait([reply], max(0.0, min(LOOK_S, ends_s - time.monotonic()))).done:
        over = time.monotonic() >= ends_s
        try:
            status = compute.status().result(deadline_s)
        except ComputeError:  # a look that failed says nothing of the answer
            if over:
                raise
            continue
        if status.workers is Workers.SILENT and (over or status.workers_s >= SILENT_S):
            raise _none_start(status)
        if over and status.workers is Workers.AWAITED:
            raise _none_yet(deadline_s)
        if over:
            break
    return reply.result(0.0)


def _none_start(status: Status) -> NoWorkersError:
    workers = counted(int(status.details.get("total_workers", 0)), "worker")
    return NoWorkersError(
        f"the endpoint runs, its workers do not start: it counts {workers}, and none answers",
        f"look at manager.log and worker_*.log {_FOLDER}: workers that die at once start again without end, for "
        "example where cpu_affinity names cores that the machine does not have",
        queued=False,
    )


def _none_yet(seconds: float) -> NoWorkersError:
    return NoWorkersError(
        f"the endpoint runs, but has had no workers for {seconds:.0f} s",
        "if its job waits in a batch queue, wait: tiles wait, too, and none fails; else look at the files in "
        f"submit_scripts {_FOLDER}",
        queued=True,
    )
