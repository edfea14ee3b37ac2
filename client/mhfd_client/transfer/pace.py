"""The size of the next transfer, and the pauses before the service is asked and files sent again."""

from __future__ import annotations

import logging
import time
from datetime import datetime

from mhfd.text import counted
from mhfd_client.backoff import Backoff
from mhfd_client.transfer.protocol import TransferUnreachableError

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0  # of requests while the service is out of reach
FIRST_REST_S, LONGEST_REST_S = 30.0, 900.0  # of sending after a task of which nothing arrived
TASK_S = 300.0  # a task is given what this time allows
FIRST_BYTES = 4_000_000_000  # while the speed is not known
TYPICAL_BYTES = 16_000_000  # of a file, while nothing is known


class Load:
    """The bytes of the next task: what the last ones moved in five minutes, or in half their deadline if shorter.

    Attributes
    ----------
    budget_bytes : of the next task
    moved : something has arrived since the start
    """

    def __init__(self, max_bytes: int, deadline_s: float) -> None:
        self._max_bytes = float(max_bytes)
        self._allowed_s = min(TASK_S, deadline_s / 2)
        self._file_bytes: float | None = None
        self.budget_bytes = min(self._max_bytes, FIRST_BYTES)
        self.moved = False

    def files(self, at_most: int) -> int:
        """How many files of the usual size a task takes; at least one."""
        file_bytes = TYPICAL_BYTES if self._file_bytes is None else max(1.0, self._file_bytes)
        return max(1, min(at_most, int(self.budget_bytes / file_bytes)))

    def see(self, size: int) -> None:
        """Learn the usual size of a file."""
        usual = size if self._file_bytes is None else self._file_bytes
        self._file_bytes = usual + (size - usual) / 100

    def measure(self, moved_bytes: int, took_s: float) -> None:
        """Shrink the budget if a task took too long, double it if one was quick: a small task shows no speed."""
        if not moved_bytes:
            return
        self.moved = True
        if took_s > self._allowed_s:
            self.budget_bytes = max(1.0, moved_bytes * self._allowed_s / took_s)
        elif took_s < self._allowed_s / 2:
            self.budget_bytes = min(self._max_bytes, 2 * self.budget_bytes)


class Patience:
    """Pauses: of all requests while the service is out of reach, of sending when the last task brought nothing."""

    def __init__(self) -> None:
        self._trouble: tuple[float, str] | None = None  # since when the service is out of reach, and why
        self._pauses = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._ask_not_before_s = 0.0
        self._rests = Backoff(FIRST_REST_S, LONGEST_REST_S)
        self._rest_until, self._rest_why = 0.0, ""
        self._send_not_before_s = 0.0

    @property
    def may_ask(self) -> bool:
        return time.monotonic() >= self._ask_not_before_s

    @property
    def may_send(self) -> bool:
        return self.may_ask and time.monotonic() >= self._send_not_before_s

    @property
    def send_after_s(self) -> float:
        """Seconds until files are sent again; 0: now."""
        return max(0.0, self._send_not_before_s - time.monotonic())

    def answered(self) -> None:
        """The service answered."""
        self._trouble = None
        self._pauses.succeed()

    def unreachable(self, error: TransferUnreachableError) -> None:
        """The service did not answer: pause, longer each time, or as long as it asks."""
        if self._trouble is None:
            log.info("%s; trying again", error)
        self._trouble = (self._trouble[0] if self._trouble else time.time(), str(error))
        self._ask_not_before_s = time.monotonic() + max(error.after_s, self._pauses.fail())

    def rest(self, why: str) -> None:
        """Send nothing for a while: the cause that failed all files would fail the next ones."""
        rest_s = self._rests.fail()
        self._send_not_before_s = time.monotonic() + rest_s
        self._rest_until, self._rest_why = time.time() + rest_s, why

    def arrived(self) -> None:
        """Something arrived: the next rest is short again."""
        self._rests.succeed()

    def trouble(self, n_files: int) -> str:
        """A notice while the service is out of reach, else ""; `n_files` are on their way."""
        if self._trouble is None:
            return ""
        since, why = self._trouble
        files = counted(n_files, "file is on its way", "files are on their way")
        return f"no answer from Globus since {_local(since)}, {files}: {why}"

    def resting(self) -> str:
        """A notice while nothing is sent, else ""."""
        return f"nothing is sent until {_local(self._rest_until)}: {self._rest_why}" if self.send_after_s else ""


def _local(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment):%Y-%m-%d %H:%M}"
