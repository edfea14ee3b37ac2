"""Saves the state of a dispatcher when it has changed, but spends only a small part of the time on it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from mhfd_client.compute.protocol import Json

log = logging.getLogger(__name__)

PAUSES = 9  # after a save that took a second, nine seconds without: with 10^4 tiles in flight each takes long


class Saving:
    """When to save. What is sent shortly before a crash may be missing then, and is scored again.

    Parameters
    ----------
    snapshot : makes the state
    save : receives it; None if nobody wants it
    """

    def __init__(self, snapshot: Callable[[], Json], save: Callable[[Json], None] | None) -> None:
        self._snapshot = snapshot
        self._save = save
        self._changed = False
        self._not_before_s = 0.0

    @property
    def due_s(self) -> float:
        """When to call `save` (monotonic); infinite if nothing has changed."""
        return self._not_before_s if self._changed else math.inf

    def changed(self) -> None:
        """There is something to save."""
        self._changed = self._save is not None

    def save(self, *, at_once: bool = False) -> None:
        """Save, if something has changed and it is time, or `at_once`."""
        begun_s = time.monotonic()
        if self._save is None or not self._changed or (begun_s < self._not_before_s and not at_once):
            return
        self._changed = False
        try:
            self._save(self._snapshot())
        except Exception:  # the caller's code; tiles are more important than the saved state
            log.exception("the tasks in flight could not be saved")
        ended_s = time.monotonic()
        self._not_before_s = ended_s + PAUSES * (ended_s - begun_s)
