"""When a channel is told what: cool-down, quiet hours, acknowledgement."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime

import pytest

from mhfd_client.config import AlertSettings
from mhfd_client.config.quiet import QuietHours
from mhfd_client.ledger import Delivery, Event
from mhfd_client.notify.policy import ACKNOWLEDGED, GATHER_S, MOST_WAITING, TAKEN_BACK, TOO_MANY, Due, due


def at(clock: str, day: int = 5) -> float:
    """Local time, as Unix seconds."""
    return datetime.fromisoformat(f"2026-03-{day:02}T{clock}").timestamp()


NOON = at("12:00")
RULES = AlertSettings(cooldown_s=600)
QUIET = AlertSettings(cooldown_s=600, quiet="22:00-07:00")


def event(number: int, began: float, kind: str = "missing", ended: float | None = None, **details: object) -> Event:
    return Event(number, kind, "", began, ended, None, None, {"text": f"event {number}", **details})


def waits(number: int, about: str = "began", sent: float | None = None, error: str | None = None) -> Delivery:
    return Delivery(number, about, "ops", 0.0, 1 if sent else 0, sent, error)


def told(found: Due) -> list[list[tuple[int, str]]]:
    return [[(delivery.event_id, delivery.about) for delivery, _ in group] for group in found.groups]


def ask(deliveries: list[Delivery], events: list[Event], rules: AlertSettings, now: float, **more: bool) -> Due:
    return due(deliveries, {each.event_id: each for each in events}, rules, now, **more)


def test_the_first_message_of_a_kind_goes_at_once() -> None:
    events = [event(1, NOON), event(2, NOON, "worsening")]
    assert told(ask([waits(1), waits(2)], events, RULES, NOON)) == [[(1, "began")], [(2, "began")]]


def test_a_bundle_gathers_tiles_for_a_moment_but_not_at_the_end() -> None:
    events = [event(1, NOON, "tiles", count=1, tiles=[])]
    found = ask([waits(1)], events, RULES, NOON)
    assert (told(found), found.next_at) == ([], NOON + GATHER_S)
    assert told(ask([waits(1)], events, RULES, NOON + GATHER_S)) == [[(1, "began")]]
    assert told(ask([waits(1)], events, RULES, NOON, closing=True)) == [[(1, "began")]]


def test_a_kind_that_flaps_is_told_again_after_the_cool_down_and_together() -> None:
    events = [event(k, NOON + 10 * k, ended=NOON + 10 * k + 5) for k in range(1, 5)]
    deliveries = [waits(1, sent=NOON + 11), waits(1, "ended", sent=NOON + 16)]
    deliveries += [waits(k, about) for k in range(2, 5) for about in ("began", "ended")]
    early = ask(deliveries, events, RULES, NOON + 60)
    assert (told(early), early.next_at) == ([], NOON + 11 + 600)
    (group,) = told(ask(deliveries, events, RULES, early.next_at))
    assert group == [(k, about) for k in range(2, 5) for about in ("began", "ended")]


def test_the_end_of_what_was_told_does_not_wait() -> None:
    deliveries = [waits(1, sent=NOON), waits(1, "ended")]
    assert told(ask(deliveries, [event(1, NOON, ended=NOON + 5)], RULES, NOON + 6)) == [[(1, "ended")]]


def test_at_the_end_of_a_watch_nothing_waits_for_a_cool_down() -> None:
    deliveries = [waits(1, sent=NOON), waits(2)]
    events = [event(1, NOON), event(2, NOON + 1)]
    assert told(ask(deliveries, events, RULES, NOON + 2)) == []
    assert told(ask(deliveries, events, RULES, NOON + 2, closing=True)) == [[(2, "began")]]


def test_what_is_acknowledged_is_silent_until_it_ends() -> None:
    seen = replace(event(1, NOON), acknowledged_at=NOON + 1)
    found = ask([waits(1)], [seen], RULES, NOON + 2)
    assert (told(found), found.dropped) == ([], ((waits(1), ACKNOWLEDGED),))
    ended = replace(seen, ended_at=NOON + 3)
    assert told(ask([waits(1, sent=NOON, error=ACKNOWLEDGED), waits(1, "ended")], [ended], RULES, NOON + 700)) == [
        [(1, "ended")]
    ]


def test_a_bundle_without_tiles_is_not_told() -> None:
    found = ask([waits(1)], [event(1, NOON, "tiles", count=0, tiles=[])], RULES, NOON)
    assert (told(found), found.dropped, found.next_at) == ([], ((waits(1), TAKEN_BACK),), math.inf)


def test_of_a_long_queue_the_oldest_are_dropped() -> None:
    numbers = range(MOST_WAITING + 3)
    found = ask([waits(k) for k in numbers], [event(k, NOON + k) for k in numbers], RULES, NOON + 1000)
    assert [(delivery.event_id, why) for delivery, why in found.dropped] == [(k, TOO_MANY) for k in range(3)]
    assert [len(group) for group in found.groups] == [MOST_WAITING]


# --- Quiet hours --------------------------------------------------------------------------------------------------


def test_in_quiet_hours_what_is_not_urgent_is_held_and_told_in_one_digest() -> None:
    night = at("23:30")
    events = [event(1, night), event(2, night + 60, "tiles", count=1, tiles=[]), event(3, night, "worsening")]
    deliveries = [waits(1), waits(2), waits(3)]
    found = ask(deliveries, events, QUIET, night + 120)
    assert (told(found), found.next_at) == ([[(3, "began")]], at("07:00", 6))
    deliveries[2] = waits(3, sent=night)
    assert told(ask(deliveries, events, QUIET, at("06:59", 6))) == []
    assert told(ask(deliveries, events, QUIET, at("07:00", 6))) == [[(1, "began"), (2, "began")]]


def test_quiet_hours_hold_at_the_end_of_a_watch_too() -> None:
    assert told(ask([waits(1)], [event(1, at("23:30"))], QUIET, at("23:31"), closing=True)) == []


def test_kinds_are_urgent_as_the_configuration_says() -> None:
    rules = AlertSettings(quiet="22:00-07:00", urgent=("missing",))
    events = [event(1, at("23:30")), event(2, at("23:30"), "worsening")]
    assert told(ask([waits(1), waits(2)], events, rules, at("23:31"))) == [[(1, "began")]]


@pytest.mark.parametrize(
    ("hours", "clock", "hold"),
    [
        ("22:00-07:00", "21:59", False), ("22:00-07:00", "22:00", True), ("22:00-07:00", "00:00", True),
        ("22:00-07:00", "07:00", False), ("12:00-13:30", "12:45", True), ("12:00-13:30", "13:30", False),
    ],
)  # fmt: skip
def test_quiet_hours_may_pass_midnight(hours: str, clock: str, hold: bool) -> None:
    assert QuietHours.parse(hours).hold(at(clock)) == hold


@pytest.mark.parametrize("hours", ["", "22-7", "22:00", "24:00-07:00", "22:00-07:60", "07:00-07:00"])
def test_what_are_no_quiet_hours_is_refused(hours: str) -> None:
    with pytest.raises(ValueError, match="22:00-07:00"):
        QuietHours.parse(hours)


def test_quiet_hours_end_next_after_a_time() -> None:
    quiet = QuietHours.parse("22:00-07:00")
    assert quiet.end_after(at("23:00")) == at("07:00", 6)
    assert quiet.end_after(at("06:00", 6)) == at("07:00", 6)
