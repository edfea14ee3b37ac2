"""What happened to a run beyond single tiles, who was told of it, and who has seen it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mhfd_client.ledger.core import Core, dumps
from mhfd_client.ledger.database import Record
from mhfd_client.ledger.model import Json, LedgerError

_EVENTS = (
    "SELECT event_id, kind, subject, began_at, ended_at, acknowledged_at, acknowledged_by, json FROM event"
    " WHERE run_id = ?"
)


@dataclass(frozen=True)
class Event:
    """One matter, from its begin to its end. Times are Unix seconds.

    Attributes
    ----------
    kind : "worsening", "many", "missing", "endpoint", ...
    subject : what it is about, one open event each: a tile's name, an endpoint's; "" for the run as a whole
    ended_at : None while it lasts
    acknowledged_at, acknowledged_by : when somebody said to have seen it, and who
    details : the sentence, and numbers
    """

    event_id: int
    kind: str
    subject: str
    began_at: float
    ended_at: float | None
    acknowledged_at: float | None
    acknowledged_by: str | None
    details: Json


@dataclass(frozen=True)
class Delivery:
    """One message about an event on one channel.

    Attributes
    ----------
    about : "began", "ended", "corrected", ...
    tried_at, attempts : the last time, and how often
    sent_at : None while it has not arrived
    error : of the last time
    """

    event_id: int
    about: str
    channel: str
    tried_at: float
    attempts: int
    sent_at: float | None
    error: str | None


class Events(Core):
    """The part of `Ledger` that keeps events."""

    def begin_event(self, run_id: int, kind: str, subject: str, details: Json, now: float) -> tuple[Event, bool]:
        """Store that something began; the open event of this kind and subject, and True if it is new."""
        with self.transaction():
            known = self._ask(f"{_EVENTS} AND kind = ? AND subject = ? AND ended_at IS NULL", run_id, kind, subject)
            if known:
                return _event(known[0]), False
            ((event_id,),) = self._ask(
                "INSERT INTO event (run_id, kind, subject, began_at, json) VALUES (?, ?, ?, ?, ?) RETURNING event_id",
                run_id, kind, subject, now, dumps(details),
            )  # fmt: skip
            return Event(event_id, kind, subject, now, None, None, None, details), True

    def update_event(self, event_id: int, details: Json) -> None:
        """Store newer details of an event."""
        self._do("UPDATE event SET json = ? WHERE event_id = ?", dumps(details), event_id)

    def end_event(self, event_id: int, now: float) -> None:
        """Store that an event is over; one that was over stays so."""
        self._do("UPDATE event SET ended_at = ? WHERE event_id = ? AND ended_at IS NULL", now, event_id)

    def acknowledge(self, run_id: int, event_id: int, who: str | None, now: float) -> Event:
        """Store that somebody has seen an event: the first time counts.

        Raises
        ------
        LedgerError
            The run has no such event.
        """
        with self.transaction():
            self._do(
                "UPDATE event SET acknowledged_at = ?, acknowledged_by = ? "
                "WHERE run_id = ? AND event_id = ? AND acknowledged_at IS NULL",
                now, who, run_id, event_id,
            )  # fmt: skip
            found = self._ask(f"{_EVENTS} AND event_id = ?", run_id, event_id)
            if not found:
                raise LedgerError(f"run {run_id} has no event number {event_id}; `mhfd status` lists them")
            return _event(found[0])

    def events(self, run_id: int, *, open_only: bool = False, limit: int | None = None) -> list[Event]:
        """The events of a run, the last first.

        Parameters
        ----------
        open_only : only those that last
        """
        found = self._ask(
            f"{_EVENTS}{' AND ended_at IS NULL' if open_only else ''} ORDER BY began_at DESC, event_id DESC LIMIT ?",
            run_id, 2**62 if limit is None else limit,
        )  # fmt: skip
        return [_event(record) for record in found]

    def save_delivery(self, delivery: Delivery) -> None:
        """Store how a message fared, in place of what was known of it."""
        self._do(
            "INSERT INTO delivery (event_id, about, channel, tried_at, attempts, sent_at, error) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (event_id, about, channel) DO UPDATE SET "
            "tried_at = excluded.tried_at, attempts = excluded.attempts, sent_at = excluded.sent_at, "
            "error = excluded.error",
            delivery.event_id, delivery.about, delivery.channel, delivery.tried_at, delivery.attempts,
            delivery.sent_at, delivery.error,
        )  # fmt: skip

    def deliveries(self, run_id: int) -> list[Delivery]:
        """The messages about a run's events, by event."""
        found = self._ask(
            "SELECT d.event_id, d.about, d.channel, d.tried_at, d.attempts, d.sent_at, d.error FROM delivery AS d "
            "JOIN event AS e ON e.event_id = d.event_id WHERE e.run_id = ? ORDER BY d.event_id, d.about, d.channel",
            run_id,
        )
        return [Delivery(*record) for record in found]


def _event(record: Record) -> Event:
    event_id, kind, subject, began_at, ended_at, acknowledged_at, acknowledged_by, text = record
    return Event(event_id, kind, subject, began_at, ended_at, acknowledged_at, acknowledged_by, json.loads(text))
