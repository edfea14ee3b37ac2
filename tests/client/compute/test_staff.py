"""What is concluded from the reports of an endpoint; each report is as globus-compute-endpoint 4.19 makes it."""

from __future__ import annotations

from typing import Any

import pytest

from mhfd_client.compute.protocol import Workers
from mhfd_client.compute.staff import HEARTBEAT_S, STALE_HEARTBEATS, START_S, Staff

STALE_S = STALE_HEARTBEATS * HEARTBEAT_S


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def staff(clock: Clock) -> Staff:
    return Staff(clock)


def report(total: int, held: int, **more: Any) -> dict[str, Any]:
    return {"total_workers": total, "outstanding_tasks": held, **more}


def test_nothing_is_known_of_an_endpoint_that_tells_nothing(staff: Staff) -> None:
    staff.look(True, {"heartbeat_period": 30.0})
    assert staff.workers is Workers.UNKNOWN
    assert not staff.may_lose


def test_an_answer_shows_that_workers_are_there(staff: Staff) -> None:
    staff.look(True, {})
    staff.answered()
    assert staff.workers is Workers.THERE
    staff.look(True, {})
    assert staff.workers is Workers.THERE


def test_tasks_without_workers_wait_for_them(staff: Staff, clock: Clock) -> None:
    staff.look(True, report(0, 3))
    clock.now += 86_400
    staff.look(True, report(0, 3))
    assert staff.workers is Workers.AWAITED
    assert staff.seconds == 86_400
    assert not staff.may_lose


def test_workers_whose_job_ended_are_waited_for_again(staff: Staff) -> None:
    staff.look(True, report(4, 3))
    staff.answered()
    staff.look(True, report(0, 3))
    assert staff.workers is Workers.AWAITED


def test_workers_that_came_are_silent_until_one_answers(staff: Staff, clock: Clock) -> None:
    staff.look(True, report(0, 3))
    clock.now += 60
    staff.look(True, report(4, 3))
    clock.now += 120
    staff.look(True, report(4, 3))
    assert staff.workers is Workers.SILENT
    assert staff.seconds == 120
    assert not staff.may_lose
    staff.answered()
    assert staff.workers is Workers.THERE


def test_workers_that_answered_before_the_first_look_are_not_silent(staff: Staff, clock: Clock) -> None:
    staff.answered()
    clock.now += 60
    staff.look(True, report(4, 3))
    assert staff.workers is Workers.THERE
    assert staff.may_lose


def test_an_answer_of_the_last_job_says_nothing_of_the_next(staff: Staff, clock: Clock) -> None:
    staff.answered()
    clock.now += 60
    staff.look(True, report(0, 3))
    clock.now += 60
    staff.look(True, report(4, 3))
    assert staff.workers is Workers.SILENT


def test_workers_without_tasks_have_none_of_ours(staff: Staff) -> None:
    staff.look(True, report(4, 0))
    assert staff.workers is Workers.THERE
    assert staff.may_lose


def test_a_report_without_tasks_may_be_older_than_the_task(staff: Staff, clock: Clock) -> None:
    staff.look(True, report(0, 0))
    clock.now += STALE_S - 1
    staff.look(True, report(0, 0))
    assert staff.workers is Workers.AWAITED
    clock.now += 1
    staff.look(True, report(0, 0))
    assert staff.workers is Workers.GONE
    assert staff.may_lose


def test_a_report_may_be_older_where_heartbeats_are_rare(staff: Staff, clock: Clock) -> None:
    staff.look(True, report(0, 0, heartbeat_period=5.0))
    clock.now += STALE_HEARTBEATS * 5.0
    staff.look(True, report(0, 0, heartbeat_period=5.0))
    assert staff.workers is Workers.GONE


def test_an_endpoint_that_never_reported_is_starting(staff: Staff, clock: Clock) -> None:
    staff.look(False, {})
    assert staff.workers is Workers.AWAITED
    clock.now += START_S
    staff.look(False, {})
    assert staff.workers is Workers.GONE


def test_an_endpoint_that_reported_and_went_has_lost_its_tasks(staff: Staff) -> None:
    staff.look(True, report(0, 3))
    staff.look(False, report(0, 3))
    assert staff.workers is Workers.GONE
    assert staff.may_lose
