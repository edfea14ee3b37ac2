"""A trial of Globus Transfer: one byte goes the way of the tiles, to be looked at there, and nothing of it is left."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from mhfd_client.config import GlobusEndpoint, TransferEntry
from mhfd_client.transfer.globus import GlobusTransfer
from mhfd_client.transfer.protocol import Arrived, Json, NotSent, Outgoing, TransferError
from mhfd_client.transfer.staging import Staging

log = logging.getLogger(__name__)

POLL_S = 0.2
CONTENT = b"?"


class Trial(GlobusTransfer):
    """The transfer of one byte, under names that nothing else has.

    Parameters
    ----------
    folder : on this machine, that the source collection has
    """

    def __init__(self, entry: GlobusEndpoint, folder: Path, deadline_s: float) -> None:
        settings = (entry.transfer or TransferEntry()).model_copy(update={"deadline_s": deadline_s, "keep": False})
        name = f"mhfd-doctor-{uuid4().hex}"
        staging = Staging(settings, root=folder, run=name)
        self._own = staging.bundle_folder  # the folder of the run is left alone, where there is another
        if self._own is not None and settings.source_root is None and settings.local_root is None:
            staging = Staging(settings, root=self._own, run=name)
        self._file = (self._own or folder) / f".{name}"
        self._deadline_s = deadline_s
        self._sent = False  # and not removed
        super().__init__(entry.uuid, settings, staging, requests_per_10_s=entry.limits.requests_per_10_s)

    def there(self) -> Json:
        """Send the byte; where a worker finds it.

        Raises
        ------
        TransferError, OSError
            It does not arrive.
        """
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_bytes(CONTENT)
        self._sent = True
        self.send(self.ticket(), [Outgoing((0,), self._file, self._file.name, len(CONTENT), 0)])
        decided: list[Arrived | NotSent] = []

        def is_decided() -> bool:
            decided.extend(self.poll())
            return bool(decided)

        self._wait(is_decided, "the byte did not arrive")
        (fate,) = decided
        if isinstance(fate, NotSent) or fate.place is None:
            raise TransferError(fate.message if isinstance(fate, NotSent) else "nothing was moved")
        return fate.place

    def remove(self) -> None:
        """Remove its copy, and the folder made for it.

        Raises
        ------
        TransferError
            They are not removed.
        """
        self._withdraw()

        def removed() -> bool:
            self.poll()
            return not self._removal.under_way

        self._wait(removed, "the deletion did not end")
        if self._removal.notice:
            raise TransferError(self._removal.notice)

    def close(self) -> None:
        """Leave nothing, whatever has happened, and release everything."""
        with suppress(OSError):
            self._file.unlink(missing_ok=True)
            if self._own is not None:
                self._own.rmdir()
                self._own.parent.rmdir()  # if it is empty
        try:
            if self._sent:
                for task in self._tasks.values():
                    if task.task_id is not None:
                        self._connection.service.cancel(task.task_id)
                self._withdraw()
        except TransferError as error:
            log.warning("what doctor sent may be left in %s: %s", self._staging.destination_folder, error)
        super().close()

    def _withdraw(self) -> None:
        folder = self._staging.destination_folder
        self._removal.remove(self._connection.service, [folder], self._about(), recursive=True)
        self._sent = False

    def _wait(self, fact: Callable[[], object], otherwise: str) -> None:
        end_s = time.monotonic() + self._deadline_s
        while not fact():
            if time.monotonic() > end_s:
                why = "; ".join(self.notices()) or "Globus gives no reason; look at https://app.globus.org/activity"
                raise TransferError(f"{otherwise} within {self._deadline_s:.0f} s: {why}")
            time.sleep(POLL_S)
