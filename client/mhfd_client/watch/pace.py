"""The pauses between scans of a folder."""

from __future__ import annotations

import time
from collections.abc import Callable

MIN_PAUSE_S = 0.5
SHARE_OF_TIME = 10  # the pause is ten times as long as the scan: a large run, or a slow share, is not kept busy


class Pace:
    """When the next scan is due.

    Parameters
    ----------
    poll_s : seconds between scans while nothing calls for one
    """

    def __init__(self, poll_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._poll_s, self._clock = poll_s, clock
        self._ended: float | None = None
        self._took_s = 0.0

    def scanned(self, took_s: float) -> None:
        """A scan has just ended."""
        self._ended, self._took_s = self._clock(), took_s

    def due_in_s(self, *, rung: bool) -> float:
        """Seconds until the next scan, 0 when it is due; `rung`: True when an event came in: scan soon.

        Even then the pause is as long as the scan: where a tile comes every second, each would start one.
        """
        if self._ended is None:
            return 0.0
        pause_s = max(self._poll_s, SHARE_OF_TIME * self._took_s)
        if rung:
            pause_s = min(pause_s, self._took_s)
        return max(0.0, self._ended + max(MIN_PAUSE_S, pause_s) - self._clock())
