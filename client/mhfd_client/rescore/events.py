"""What a driver waits for; a simulation puts its own in place of this."""

from __future__ import annotations

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

Event = Callable[[], None]


class Events:
    """Things to do in the driver's thread, put there by any thread; and the driver's clock."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Event] = SimpleQueue()

    def now_s(self) -> float:
        """Seconds, from any beginning."""
        return time.monotonic()

    def put(self, event: Event) -> None:
        """Have the driver's thread call `event`; a signal handler may put too."""
        self._queue.put(event)

    def wait(self, timeout_s: float) -> Event | None:
        """The next event; None where none came in time."""
        try:
            return self._queue.get(timeout=max(0.0, timeout_s))
        except Empty:
            return None
