"""Quiet hours: "22:00-07:00", in local time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

_HOURS = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\s*-\s*([01]?\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True)
class QuietHours:
    """From one time of the day to another, over midnight if the second comes first."""

    begins: time
    ends: time

    @classmethod
    def parse(cls, text: str) -> QuietHours:
        """Read "22:00-07:00"; ValueError for anything else."""
        match = _HOURS.fullmatch(text.strip())
        if match is None or match.group(1, 2) == match.group(3, 4):
            raise ValueError(f"'{text}' are no quiet hours; write them like 22:00-07:00")
        hours = [int(each) for each in match.groups()]
        return cls(time(hours[0], hours[1]), time(hours[2], hours[3]))

    def hold(self, at: float) -> bool:
        """True if a time (Unix seconds) lies in them."""
        now = datetime.fromtimestamp(at).time()
        if self.begins < self.ends:
            return self.begins <= now < self.ends
        return now >= self.begins or now < self.ends

    def end_after(self, at: float) -> float:
        """When they end next after a time."""
        now = datetime.fromtimestamp(at)
        end = datetime.combine(now.date(), self.ends)
        return (end if end > now else end + timedelta(days=1)).timestamp()
