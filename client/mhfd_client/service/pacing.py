"""Pacing requests to a service: a limit for any ten seconds, no automatic retries, and Retry-After obeyed.

The SDKs' own retries take no token, sleep, and cut a Retry-After down to ten seconds; so the caller tries again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

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
        self._taken: deque[float] = deque(maxlen=tokens)  # times; in the future for a request that waits
        self._closed_until = 0.0
        self._lock = threading.Lock()

    def delay_s(self, ahead: int = 0) -> float:
        """Seconds that a request made now, behind `ahead` others, would wait."""
        with self._lock:
            return max(0.0, self._free_at(ahead) - self._clock())

    def spread_s(self) -> float:
        """Seconds to wait, for who makes many requests: else all would be made at once, and then none for long.

        Nothing until half of the tokens are taken; then an even share of the window after the last one.
        """
        with self._lock:
            now = self._clock()
            if 2 * sum(taken + self._window_s > now for taken in self._taken) < self.tokens:
                return 0.0
            return max(0.0, self._taken[-1] + self._window_s / self.tokens - now)

    def free(self) -> int:
        """The number of requests that could be made now."""
        with self._lock:
            now = self._clock()
            if now < self._closed_until:
                return 0
            return self.tokens - sum(taken + self._window_s > now for taken in self._taken)

    def take(self) -> None:
        """Wait for a token and take it; waiting threads are served in order of arrival."""
        with self._lock:
            now = self._clock()
            due = max(now, self._free_at(0))
            self._taken.append(due)
        if due > now:
            time.sleep(due - now)

    def hold(self, seconds: float) -> None:
        """Hold all requests for `seconds`, as Retry-After asks."""
        with self._lock:
            self._closed_until = max(self._closed_until, self._clock() + seconds)

    def _free_at(self, ahead: int) -> float:
        index = len(self._taken) + ahead - self.tokens  # the token that this request would use again
        back = self._taken[min(index, len(self._taken) - 1)] + self._window_s if index >= 0 and self._taken else 0.0
        return max(back, self._closed_until)


def make_once(client: Any) -> None:
    """Switch a Globus client's own retries off, but for the one that renews an expired token."""
    from globus_sdk.transport import RetryCheckCollection
    from globus_sdk.transport.default_retry_checks import check_expired_authorization

    client.retry_config.max_retries = 1
    client.retry_config.checks = RetryCheckCollection()
    client.retry_config.checks.register_check(check_expired_authorization)


def retry_after_s(error: Any) -> float:
    """Seconds that a refused request's Retry-After asks for; 0 without one, or where it is a date."""
    headers = getattr(error, "headers", None) or {}
    try:
        return max(0.0, float(headers.get("Retry-After", 0)))
    except ValueError:
        return 0.0
