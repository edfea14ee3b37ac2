"""Deadlines of parcels in flight."""

from __future__ import annotations

import time
from concurrent.futures import Future

import pytest

from mhfd.contract import FocusParams
from mhfd_client.compute.protocol import Reply
from mhfd_client.config import Limits
from mhfd_client.dispatch.flights import Flight, Flights
from mhfd_client.dispatch.pack import Parcel, Tile

PARCEL = Parcel([Tile("a.tif", "a.tif", None, FocusParams())])


def flights(*durations_s: float, deadline_s: float = 0.001) -> Flights:
    """Flights that have learnt from parcels that took so long."""
    made = Flights(Limits(deadline_s=deadline_s, first_deadline_s=600.0))
    for each in durations_s:
        made.measure(Flight(PARCEL, time.monotonic() - each, 0.0))
    return made


def due_in_s(made: Flights) -> float:
    made.add(Future(), PARCEL)
    return made.next_due_s - time.monotonic()


def test_first_parcel_has_the_first_deadline() -> None:
    assert due_in_s(flights()) == pytest.approx(600.0, abs=0.5)


def test_deadline_is_five_times_what_most_parcels_took() -> None:
    assert due_in_s(flights(*[0.2] * 99, 3.0)) == pytest.approx(1.0, abs=0.5)


def test_deadline_is_not_shorter_than_the_limit() -> None:
    assert due_in_s(flights(*[0.2] * 99, deadline_s=100.0)) == pytest.approx(100.0, abs=0.5)


def test_late_parcel_is_named_once_until_it_is_late_again() -> None:
    reply: Reply = Future()
    made = flights(0.0)
    made.add(reply, PARCEL)
    deadline = time.monotonic() + 5.0
    while not (late := made.late()) and time.monotonic() < deadline:
        pass
    assert late == [reply]
    assert made.next_due_s > time.monotonic() - 0.5
    assert [flight.parcel for flight in [made.pop(reply)] if flight] == [PARCEL]
    assert made.pop(reply) is None
