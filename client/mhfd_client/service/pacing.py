"""How fast the service may be asked: at most so many requests in any ten seconds."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

WINDOW_S = 10.0


class TokenBucket:
    """`tokens` requests at once; each token comes back ten seconds after it was taken.

    So no window of ten seconds ever holds more than `tokens` requests, which a bucket that refills steadily does not
    promise. One bucket serves all threads: the service counts them together.
    """

    def __init__(self, tokens: int, window_s: float = WINDOW_S, clock: Callable[[], float] = time.monotonic) -> None:
        self.tokens = tokens
        self._window_s = window_s
        self._clock = clock
        self._taken: deque[float] = deque(maxlen=tokens)  # when; a later time where somebody has to wait until then
        self._closed_until = 0.0
        self._lock = threading.Lock()

    def delay_s(self, ahead: int = 0) -> float:
        """How long a request made now, behind `ahead` others, would have to wait."""
        with self._lock:
            return max(0.0, self._free_at(ahead) - self._clock())

    def free(self) -> int:
        """How many requests could be made at once now."""
        with self._lock:
            now = self._clock()
            if now < self._closed_until:
                return 0
            return self.tokens - sum(taken + self._window_s > now for taken in self._taken)

    def take(self) -> None:
        """Wait for a token and take it; those who wait are served in the order in which they came."""
        with self._lock:
            now = self._clock()
            due = max(now, self._free_at(0))
            self._taken.append(due)
        if due > now:
            time.sleep(due - now)

    def hold(self, seconds: float) -> None:
        """Let nobody through for so long: the service said so (Retry-After)."""
        with self._lock:
            self._closed_until = max(self._closed_until, self._clock() + seconds)

    def _free_at(self, ahead: int) -> float:
        index = len(self._taken) + ahead - self.tokens  # the token that this request would use again
        back = self._taken[min(index, len(self._taken) - 1)] + self._window_s if index >= 0 and self._taken else 0.0
        return max(back, self._closed_until)
