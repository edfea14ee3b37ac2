"""Parcels in flight: which the endpoint has, and which of them are late."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass

from mhfd_client.compute.protocol import Reply
from mhfd_client.config import Limits
from mhfd_client.dispatch.pack import Parcel

DEADLINE_FACTOR = 5.0
DURATIONS_KEPT = 200


@dataclass(eq=False)
class Flight:
    """One parcel in flight; times are monotonic.

    Attributes
    ----------
    ahead : tiles in flight when it was sent, its own included
    """

    parcel: Parcel
    sent_s: float
    due_s: float
    ahead: int = 0


class Flights:
    """The parcels in flight; each is due after a time that follows from how long the last ones took.

    Attributes
    ----------
    n_tiles : tiles of all of them
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._flights: dict[Reply, Flight] = {}
        self._durations: deque[float] = deque(maxlen=DURATIONS_KEPT)
        self.n_tiles = 0

    def __len__(self) -> int:
        return len(self._flights)

    def add(self, reply: Reply, parcel: Parcel) -> None:
        now = time.monotonic()
        self.n_tiles += len(parcel.tiles)
        self._flights[reply] = Flight(parcel, now, now + self._deadline_s(), self.n_tiles)

    def pop(self, reply: Reply) -> Flight | None:
        """Take a parcel out; None if it was given up, or scored elsewhere."""
        flight = self._flights.pop(reply, None)
        self.n_tiles -= len(flight.parcel.tiles) if flight else 0
        return flight

    def clear(self) -> list[Parcel]:
        """Take all out."""
        parcels = self.parcels
        self._flights.clear()
        self.n_tiles = 0
        return parcels

    def measure(self, flight: Flight) -> float:
        """Learn from a parcel that was answered how long one takes; the seconds."""
        seconds = time.monotonic() - flight.sent_s
        self._durations.append(seconds)
        return seconds

    def late(self) -> list[Reply]:
        """Replies past their deadline; each gets a new one."""
        now = time.monotonic()
        late = [reply for reply, flight in self._flights.items() if now >= flight.due_s]
        for reply in late:
            self._flights[reply].due_s = now + self._deadline_s()
        return late

    def begin_anew(self) -> None:
        """All wait for workers: their time, and how long they take, counts from now."""
        now = time.monotonic()
        for flight in self._flights.values():
            flight.sent_s, flight.due_s = now, now + self._deadline_s()

    @property
    def next_due_s(self) -> float:
        """The earliest deadline; infinite without any."""
        return min((flight.due_s for flight in self._flights.values()), default=math.inf)

    @property
    def parcels(self) -> list[Parcel]:
        return [flight.parcel for flight in self._flights.values()]

    def items(self) -> list[tuple[Reply, Parcel]]:
        return [(reply, flight.parcel) for reply, flight in list(self._flights.items())]

    def _deadline_s(self) -> float:
        """`limits.deadline_s`, or five times the 99th percentile if longer."""
        if not self._durations:
            return self._limits.first_deadline_s
        ordered = sorted(self._durations)
        return max(self._limits.deadline_s, DEADLINE_FACTOR * ordered[(99 * (len(ordered) - 1)) // 100])
