"""Timers that run flows: when they are due, and what became of their runs."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from loopback.flow_run import Run
from loopback.flow_state import Json


@dataclass
class Timer:
    """A recurring timer, or one that runs once (`interval` None)."""

    name: str
    flow: str
    body: Json
    start: datetime
    interval: timedelta | None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    next_run: datetime | None = None
    runs: list[tuple[datetime, Run]] = field(default_factory=list)
    active: bool = True

    def __post_init__(self) -> None:
        self.next_run = self.start

    @classmethod
    def of_request(cls, request: Json, now: datetime) -> Timer:
        """Read the body of POST /v2/timer; KeyError and ValueError if it is wrong."""
        schedule = request["schedule"]
        moment = schedule.get("start") or schedule.get("datetime")
        start = datetime.fromisoformat(moment) if moment else now
        if start.tzinfo is None:
            raise ValueError("start has no time zone")
        interval = timedelta(seconds=schedule["interval_seconds"]) if schedule["type"] == "recurring" else None
        if interval is not None and interval < timedelta(minutes=1):
            raise ValueError("a timer may not run more often than once a minute")
        return cls(request["name"], request["flow_id"], request["body"], start, interval)

    def due(self, now: datetime) -> bool:
        """True if a run has to begin; a tick during a run is skipped."""
        if not self.active or self.next_run is None or now < self.next_run:
            return False
        while self.next_run is not None and self.next_run <= now:
            self.next_run = self.next_run + self.interval if self.interval else None
        return not (self.runs and self.runs[-1][1].status == "ACTIVE")

    def document(self) -> Json:
        """As GET /jobs/ID answers."""
        results = [
            {"data": run.document(), "errors": None, "status": 202, "ran_at": at.isoformat()}
            for at, run in reversed(self.runs)
        ]
        return {
            "job_id": self.id,
            "name": self.name,
            "start": self.start.isoformat(),
            "interval": self.interval.total_seconds() if self.interval else None,
            "callback_url": f"https://flows.automate.globus.org/flows/{self.flow}/run",
            "callback_body": self.body,
            "status": "loaded" if self.active else "inactive",
            "inactive_reason": None if self.active else {"cause": "user", "detail": None},
            "last_ran_at": results[0]["ran_at"] if results else None,
            "next_run": self.next_run.isoformat() if self.next_run else None,
            "n_runs": len(self.runs),
            "n_errors": 0,
            "results": {"data": results, "page_next": None},
        }


def now() -> datetime:
    return datetime.now(timezone.utc)
