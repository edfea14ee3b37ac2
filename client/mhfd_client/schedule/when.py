"""How often, and at what time of the day: the same words for every scheduler."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

EVERY = ("1h", "2h", "3h", "4h", "6h", "8h", "12h", "1d", "7d")
"""Intervals that every scheduler has: those of hours divide a day."""

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_AT = re.compile(r"(?:([a-z]{3})[a-z]*\s+)?([01]?\d|2[0-3]):([0-5]\d)", re.IGNORECASE)


@dataclass(frozen=True)
class When:
    """Times at which to score again, on this machine's clock.

    Attributes
    ----------
    every : one of `EVERY`
    at : time of the day of one of the times
    day : of the week, 0 is Monday; for "7d"
    """

    every: str
    at: time
    day: int = 0

    @classmethod
    def parse(cls, every: str, at: str) -> When:
        """Read "1d" and "02:00", or "7d" and "Sun 02:00"; ValueError for anything else."""
        match = _AT.fullmatch(at.strip())
        named = match and match[1] and match[1].capitalize()
        if match is None or (named and named not in DAYS):
            raise ValueError(f"'{at}' is no time: write it like 02:00, or \"Sun 02:00\" for once a week")
        if named and every != "7d":
            raise ValueError(f"'{at}' names a day, which goes with --every 7d only")
        return cls(every, time(int(match[2]), int(match[3])), DAYS.index(named) if named else 0)

    @property
    def hours(self) -> int | None:
        """The interval in hours; None for one of days."""
        return int(self.every[:-1]) if self.every.endswith("h") else None

    @property
    def interval(self) -> timedelta:
        return timedelta(hours=self.hours) if self.hours else timedelta(days=int(self.every[:-1]))

    def next(self, now: datetime) -> datetime:
        """The first time after `now`; both without a time zone, as this machine's clock shows them."""
        first = datetime.combine(now.date() - timedelta(days=7), self.at)
        if self.every == "7d":
            first += timedelta(days=(self.day - first.weekday()) % 7)
        return first + ((now - first) // self.interval + 1) * self.interval

    def __str__(self) -> str:
        if self.every == "7d":
            return f"every {DAYS[self.day]} at {self.at:%H:%M}"
        return f"every {f'{self.hours} h, also' if self.hours else 'day'} at {self.at:%H:%M}"
