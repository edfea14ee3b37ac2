"""The interface for running the registered functions; its two implementations are local.py and globus.py.

A task's future fails with one of the errors below, each a different reaction of the sender (dispatch/dispatcher.py).
Both implementations pass the same tests: tests/client/compute/test_compute.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Protocol, TypeAlias

from mhfd.contract import ExitCode, MhfdError
from mhfd_client.service.attended import SignInNeededError

Json = dict[str, Any]
Reply: TypeAlias = "Future[Json]"


class ComputeError(MhfdError):
    """Tiles cannot be scored there; the message says what to do. Raised for the whole request, not for one tile.

    `exit_code` is that of a command that ends with it.
    """

    exit_code = ExitCode.UNAVAILABLE


class EndpointUnavailableError(ComputeError):
    """The endpoint or the service is out of reach; tiles have waited `patience_s` for it by then."""


class ComputeSignInError(ComputeError, SignInNeededError):
    """Somebody has to sign in; nobody is asked from the background."""

    exit_code = ExitCode.SIGN_IN


class NotPermittedError(ComputeError):
    """The endpoint does not run this function, or not for this user."""


class NotInstalledError(ComputeError):
    """The endpoint's Python lacks mhfd."""


class TaskLostError(ComputeError):
    """No answer will come, through no fault of the task: send it again.

    Parameters
    ----------
    sent : True if it was sent before
    after_s : pause before sending it
    """

    exit_code = ExitCode.TEMPORARY

    def __init__(self, message: str, *, sent: bool = False, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.sent = sent
        self.after_s = after_s


class TaskFailedError(ComputeError):
    """The task failed as a whole, not single tiles."""


class WorkerDiedError(TaskFailedError):
    """The worker ended while it had the task: one of the tiles, or the machine, killed it."""


class PayloadTooLargeError(TaskFailedError):
    """The task has too many bytes for the service."""


class ResultTooLargeError(TaskFailedError):
    """The rows are too large to send back; the message says where they are, if they were kept."""


class WorkersCannotStartError(EndpointUnavailableError):
    """The endpoint gave up its workers before one had started."""


class Workers(Enum):
    """What is known of an endpoint's workers."""

    UNKNOWN = "unknown"  # nothing was told of them, and none has answered yet
    AWAITED = "awaited"  # none yet: the endpoint starts, or its job waits in a batch queue
    SILENT = "silent"  # some, which have tasks, but none has answered since they came
    THERE = "there"
    GONE = "gone"  # ended, and with them the tasks that they had


@dataclass(frozen=True)
class Status:
    """An endpoint's status, as far as the service knows.

    Attributes
    ----------
    since : when this status was first seen
    details : the rest of the service's answer
    workers, workers_s : what is known of its workers, and for how many seconds
    """

    online: bool
    since: datetime
    details: Json
    workers: Workers = Workers.THERE
    workers_s: float = 0.0

    def __str__(self) -> str:
        return f"{'online' if self.online else 'offline'} since {self.since:%H:%M}"


class Compute(Protocol):
    """Runs registered functions; all methods may be called from any thread and none waits for a task.

    Attributes
    ----------
    acknowledged : called in any thread when a task gets its id; set it to be notified
    """

    acknowledged: Callable[[], None]

    @property
    def name(self) -> str:
        """The endpoint's name, as the user gives it."""
        ...

    @property
    def functions(self) -> Collection[str]:
        """Names that can be called."""
        ...

    @property
    def slots(self) -> int:
        """The number of tasks worth having in flight."""
        ...

    @property
    def grain(self) -> int:
        """The fewest tiles worth a task of their own while more are waiting."""
        ...

    def connect(self, *, interactive: bool | None = None) -> None:
        """Connect and, if need be, sign in (the only time the user is asked); later calls do nothing.

        Parameters
        ----------
        interactive : True if the user may be asked to sign in; by default, in a terminal or a notebook

        Raises
        ------
        ComputeError
            The connection fails; the kind says why.
        """
        ...

    def submit(self, function: str, arguments: Json) -> Reply:
        """Run a function with keyword arguments, all plain JSON; the future holds its JSON or a `ComputeError`."""
        ...

    def delay_s(self) -> float:
        """Seconds that a task would wait before it could be sent."""
        ...

    def sendable(self) -> int:
        """Tasks that could be sent now without waiting, at least 1; waiting tiles are shared out over them."""
        ...

    def chase(self, reply: Reply) -> None:
        """Look up a late task in the background. Its future ends if the task is done or lost, else it stays open."""
        ...

    def status(self) -> Future[Status]:
        """The endpoint's status, at most a minute old."""
        ...

    def task_id(self, reply: Reply) -> str | None:
        """The task's id where it runs; None until it is there."""
        ...

    def state(self) -> Json:
        """Plain data with which another process can take up the tasks in flight."""
        ...

    def resume(self, state: Json, task_ids: Collection[str]) -> dict[str, Reply]:
        """Take up tasks of an earlier process; those that cannot be found end with `TaskLostError`."""
        ...

    def close(self) -> None:
        """Close everything, without waiting for tasks."""
        ...
