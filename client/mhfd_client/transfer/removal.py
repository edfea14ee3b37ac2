"""Removes copies of scored tiles from the destination: all that has accumulated, one deletion at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
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

    Attributes
    ----------
    notice : a notice to a person; "" when all is well
    """

    def __init__(self) -> None:
        self.notice = ""
        self._copies: list[str] = []
        self._task: tuple[str, int] | None = None  # its id, its number of copies
        self._look_s = 0.0

    def add(self, copies: Iterable[str]) -> None:
        self._copies += copies

    @property
    def under_way(self) -> bool:
        return bool(self._copies or self._task)

    def step(self, service: Service, about: Submission) -> bool:
        """Make the next request if it is due; True if there was one."""
        if self._task is not None:
            if time.monotonic() < self._look_s:
                return False
            self._look(service, *self._task)
            return True
        if self._copies:
            self._submit(service, about)
            return True
        return False

    def finish(self, service: Service, about: Submission) -> None:
        """Hand over what is left, without waiting for it."""
        try:
            while self._copies:
                self._submit(service, about)
        except TransferError as error:
            kept = counted(len(self._copies), "copy of a scored tile stays", "copies of scored tiles stay")
            log.warning("%s at the endpoint: %s", kept, error)

    def _submit(self, service: Service, about: Submission) -> None:
        copies = self._copies[:FILES]
        self._task = service.delete(copies, about), len(copies)
        del self._copies[: len(copies)]
        self._look_s = time.monotonic() + LOOK_S

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
            self._task = None
