"""Faults on purpose, and the requests that came in: plain values that a test sets and reads while the service runs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "FORBIDDEN",
    413: "TASK_PAYLOAD_TOO_LARGE",
    429: "TOO_MANY_REQUESTS",
    500: "INTERNAL_ERROR",
    502: "BAD_GATEWAY",
    503: "SERVICE_UNAVAILABLE",
    504: "GATEWAY_TIMEOUT",
}


@dataclass
class Refusal:
    """`times` requests of one `kind` (None: any) are answered with `status`."""

    status: int
    times: int
    kind: str | None
    retry_after_s: int | None


@dataclass
class Refusals:
    """Requests that are refused on purpose, and the end of all faults; for both services."""

    refusals: list[Refusal] = field(default_factory=list)

    def refuse(
        self, status: int, *, times: int = 1, kind: str | None = "submit", retry_after_s: int | None = None
    ) -> None:
        """Answer the next `times` requests of `kind` (a route's name; None: any) with `status`."""
        self.refusals.append(Refusal(status, times, kind, retry_after_s))

    def clear(self) -> None:
        fresh = type(self)()
        for each in fields(self):
            setattr(self, each.name, getattr(fresh, each.name))

    def take_refusal(self, kind: str) -> Refusal | None:
        """The refusal for a request of `kind` now, counted down; None: no refusal."""
        for refusal in self.refusals:
            if refusal.kind in (None, kind) and refusal.times > 0:
                refusal.times -= 1
                return refusal
        return None


@dataclass
class Faults(Refusals):
    """The service misbehaves as these say, from the next request or message on; `clear()` ends all of it.

    Attributes
    ----------
    offline : the endpoint looks offline; tasks for it are accepted and kept back until it no longer does
    latency_s : every REST request takes longer by this (0.02 each way: a round trip of 40 ms)
    result_latency_s : every result reaches the client's queue later by this
    withhold_results : results stay in the service (asking for a task shows them), streamed when this ends
    lose_results, duplicate_results : this many next results are never streamed, or twice
    requests_per_10_s : the service's rate limit, 429 above it; None: no limit
    payload_bytes : the largest request body of a submission, 413 above it
    """

    offline: bool = False
    latency_s: float = 0.0
    result_latency_s: float = 0.0
    withhold_results: bool = False
    lose_results: int = 0
    duplicate_results: int = 0
    requests_per_10_s: int | None = None
    payload_bytes: int = 10_000_000


@dataclass
class TransferFaults(Refusals):
    """Faults of Globus Transfer, from the next request or file on. Names are patterns ("*/t7.tif").

    Attributes
    ----------
    denied : sources that may not be read
    denied_destinations : places that may not be written to
    corrupt_once : files of which the first copy has a wrong byte
    corrupt : files of which every copy has one
    quota_bytes : the most that a destination holds
    bytes_per_s : how fast each file is copied; None: as fast as it goes
    file_s : what each file takes beside its bytes
    paused : the message with which the destination's administrator paused all tasks
    disconnected : the source's Globus Connect Personal is not running
    suspended : credentials expired; tasks are INACTIVE
    hanging : no file gets any further
    deaf : deadlines and cancelling have no effect
    """

    denied: list[str] = field(default_factory=list)
    denied_destinations: list[str] = field(default_factory=list)
    corrupt_once: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)
    quota_bytes: int | None = None
    bytes_per_s: float | None = None
    file_s: float = 0.0
    paused: str | None = None
    disconnected: bool = False
    suspended: bool = False
    hanging: bool = False
    deaf: bool = False


@dataclass(frozen=True)
class Request:
    """One request as it was answered; `at_s` on the monotonic clock."""

    kind: str
    status: int
    at_s: float
    body_bytes: int


@dataclass
class Stats:
    """Every request since `clear()`, in the order of the answers."""

    requests: list[Request] = field(default_factory=list)

    def add(self, kind: str, status: int, body_bytes: int) -> None:
        self.requests.append(Request(kind, status, time.monotonic(), body_bytes))

    def of(self, kind: str | None = None, status: int | None = None) -> list[Request]:
        """The requests of one kind (a route's name), of one status, or all."""
        return [each for each in self.requests if kind in (None, each.kind) and status in (None, each.status)]

    def count(self, kind: str | None = None, status: int | None = None) -> int:
        return len(self.of(kind, status))

    def most_within(self, window_s: float) -> int:
        """The largest number of requests in any window of `window_s` (signing in does not count)."""
        return _most_within([each.at_s for each in self.requests if each.kind != "token"], window_s)

    def clear(self) -> None:
        self.requests.clear()


def _most_within(times_s: Iterable[float], window_s: float) -> int:
    ordered = sorted(times_s)
    most = first = 0
    for last, at_s in enumerate(ordered):
        while at_s - ordered[first] >= window_s:
            first += 1
        most = max(most, last - first + 1)
    return most
