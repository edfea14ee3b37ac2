"""Something that runs the registered functions: one Protocol, two implementations, `local` and `globus`.

What can go wrong is told by the exception of a task's future; each kind is what whoever sent the task does about it
(submit.py). The same tests run on both implementations: tests/client/test_compute.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeAlias

from mhfd.contract import ExitCode, MhfdError
from mhfd_client.service.attended import SignInNeededError

Json = dict[str, Any]
Reply: TypeAlias = "Future[Json]"


class ComputeError(MhfdError):
    """Tiles cannot be scored there; the message says what to do. Raised for all that was asked, not for one tile.

    `exit_code` is that of a command that ends with it.
    """

    exit_code = ExitCode.UNAVAILABLE


class EndpointUnavailableError(ComputeError):
    """The endpoint, or the service, was out of reach for longer than the configuration has patience."""


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
    sent : the endpoint had it
    after_s : not earlier than this
    """

    exit_code = ExitCode.TEMPORARY

    def __init__(self, message: str, *, sent: bool = False, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.sent = sent
        self.after_s = after_s


class TaskFailedError(ComputeError):
    """The task failed as a whole, whatever its tiles."""


class WorkerDiedError(TaskFailedError):
    """The worker ended while it had the task: one of the tiles, or the machine, killed it."""


class PayloadTooLargeError(TaskFailedError):
    """The service does not carry so many bytes."""


class ResultTooLargeError(TaskFailedError):
    """The rows were too many bytes to be sent back; where they are, if anywhere, is in the message."""


@dataclass(frozen=True)
class Status:
    """Whether an endpoint works, as far as the service knows.

    Attributes
    ----------
    since : when it was first seen like this
    details : what the service tells besides
    """

    online: bool
    since: datetime
    details: Json

    def __str__(self) -> str:
        return f"{'online' if self.online else 'offline'} since {self.since:%H:%M}"


class Compute(Protocol):
    """Runs registered functions; all methods may be called from any thread and none waits for a task.

    Attributes
    ----------
    acknowledged : is called, in any thread, when a task has its id; to be set by whoever wants to know
    """

    acknowledged: Callable[[], None]

    @property
    def name(self) -> str:
        """Of the endpoint, as the user calls it."""
        ...

    @property
    def functions(self) -> Collection[str]:
        """Names that can be called."""
        ...

    @property
    def slots(self) -> int:
        """How many tasks are worth having in flight."""
        ...

    @property
    def grain(self) -> int:
        """Fewer tiles than this are not worth a task of their own, while more are waiting."""
        ...

    def connect(self, *, interactive: bool | None = None) -> None:
        """Get ready, sign in if need be (the only time anyone is asked); later calls do nothing.

        Parameters
        ----------
        interactive : whether somebody may be asked; by default, where there is a terminal or a notebook

        Raises
        ------
        ComputeError
            It cannot be done; the kind says why.
        """
        ...

    def submit(self, function: str, arguments: Json) -> Reply:
        """Run a function with keyword arguments, all plain JSON; the future holds its JSON or a `ComputeError`."""
        ...

    def delay_s(self) -> float:
        """How long a task would have to wait before it could even be sent."""
        ...

    def sendable(self) -> int:
        """How many tasks could be sent now without waiting; at least 1. What waits is shared out over them."""
        ...

    def chase(self, reply: Reply) -> None:
        """A task is late: find out, in the background. Its future ends if it is done or lost, else it stays open."""
        ...

    def status(self) -> Future[Status]:
        """Whether it works, at most a minute old."""
        ...

    def task_id(self, reply: Reply) -> str | None:
        """What the task is called where it runs; None while it is not there."""
        ...

    def state(self) -> Json:
        """Plain data with which another process can take up the tasks in flight."""
        ...

    def resume(self, state: Json, task_ids: Collection[str]) -> dict[str, Reply]:
        """Take up tasks of an earlier process; those that cannot be found end with `TaskLostError`."""
        ...

    def close(self) -> None:
        """Let go of everything, without waiting for tasks."""
        ...
