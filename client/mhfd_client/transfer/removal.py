"""Removes copies of scored tiles from the destination, and says what could not be removed."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mhfd.text import counted
from mhfd_client.transfer.protocol import TransferError
from mhfd_client.transfer.task import ENDED

if TYPE_CHECKING:
    from mhfd_client.transfer.service import Service, Submission

log = logging.getLogger(__name__)

FILES = 5000  # of one deletion
LOOK_S = 5.0


class Removal:
    """Deletions; Globus does not count them among a user's transfers.

    What `remove` has taken is the service's task: it needs this process no longer.

    Attributes
    ----------
    notice : a notice to a person; "" when all is well
    """

    def __init__(self) -> None:
        self.notice = ""
        self._tasks: deque[tuple[str, int]] = deque()  # the id of each, its number of copies
        self._look_s = 0.0

    @property
    def under_way(self) -> bool:
        return bool(self._tasks)

    def remove(self, service: Service, copies: Sequence[str], about: Submission, *, recursive: bool = False) -> None:
        """Have the service remove copies, or folders with all in them; those that are gone already are no error."""
        for first in range(0, len(copies), FILES):
            some = copies[first : first + FILES]
            self._look_s = self._look_s if self._tasks else time.monotonic() + LOOK_S
            self._tasks.append((service.delete(some, about, recursive=recursive), len(some)))

    def refused(self, error: TransferError) -> None:
        """The service takes no deletion."""
        self.notice = f"copies of scored tiles stay at the endpoint: {error}"
        log.warning("%s", self.notice)

    def step(self, service: Service) -> bool:
        """Look at the oldest deletion if it is due; True if there was a request."""
        if not self._tasks or time.monotonic() < self._look_s:
            return False
        self._look(service, *self._tasks[0])
        return True

    def _look(self, service: Service, task_id: str, files: int) -> None:
        from mhfd_client.transfer.service import NotFoundError

        self._look_s = time.monotonic() + LOOK_S
        try:
            document = service.task(task_id)
        except NotFoundError as error:
            document = {"status": "FAILED", "fatal_error": {"description": str(error)}}
        if document["status"] == "FAILED":
            said = (document.get("fatal_error") or {}).get("description", "no reason was given")
            kept = counted(files, "copy of a scored tile was", "copies of scored tiles were")
            self.notice = f"{kept} not removed: {said}; remove what is left when the run is done"
            log.warning("deletion %s: %s", task_id, self.notice)
        if document["status"] in ENDED:
            self._tasks.popleft()
