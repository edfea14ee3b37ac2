"""Times are the same for every scheduler."""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mhfd_client.schedule.systemd import calendar
from mhfd_client.schedule.when import DAYS, EVERY, When
from needs import need

MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1))


@given(st.sampled_from(EVERY), st.times(), st.integers(0, 6), MOMENTS)
def test_the_next_time_is_the_first_one_after_now(every: str, at: object, day: int, now: datetime) -> None:
    text = f"{at:%H:%M}"
    when = When.parse(every, f"{DAYS[day]} {text}" if every == "7d" else text)
    following = when.next(now)
    assert timedelta() < following - now <= when.interval
    assert when.next(following) == following + when.interval
    assert (following.minute, following.second) == (when.at.minute, 0)
    if when.hours is None:
        assert following.time() == when.at
    if every == "7d":
        assert following.weekday() == day


@pytest.mark.parametrize(
    ("every", "at"),
    [("1d", "2"), ("1d", "24:00"), ("1d", "02:60"), ("1d", "Sun 02:00"), ("7d", "Xyz 02:00"), ("1d", "")],
)
def test_what_is_no_time_is_refused(every: str, at: str) -> None:
    with pytest.raises(ValueError, match=r"is no time|names a day"):
        When.parse(every, at)


@pytest.mark.parametrize(("at", "day"), [("sun 2:05", 6), ("Sunday 02:05", 6), ("02:05", 0)])
def test_a_day_is_written_short_or_long(at: str, day: int) -> None:
    assert When.parse("7d", at).day == day


@pytest.mark.parametrize("every", EVERY)
def test_systemd_reads_the_times_as_we_do(every: str) -> None:
    """systemd-analyze computes the next times itself."""
    when = When.parse(every, "Wed 17:40" if every == "7d" else "17:40")
    now = datetime(2027, 3, 2, 4, 5, 6)
    expected = [when.next(now)]
    for _ in range(4):
        expected.append(when.next(expected[-1]))
    analyze = need("systemd-analyze", "systemd")
    command = [analyze, "calendar", "--iterations=5", f"--base-time={now:%Y-%m-%d %H:%M:%S} UTC", calendar(when)]
    said = subprocess.run(command, env={"TZ": "UTC", "LANG": "C"}, capture_output=True, text=True, check=True).stdout
    found = [
        line.partition(": ")[2].split()[1:3] for line in said.splitlines() if "Next elapse" in line or "Iter" in line
    ]
    assert [" ".join(each) for each in found] == [f"{each:%Y-%m-%d %H:%M:%S}" for each in expected]
