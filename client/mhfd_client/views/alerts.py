"""The events of a run, and who was told of them: as a table, JSON or CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mhfd_client.ledger import Delivery, Event, Json, Run
from mhfd_client.notify.words import as_json, in_words
from mhfd_client.views.listing import Listing
from mhfd_client.views.status import local, utc

SCHEMA = 1
COLUMNS = (
    "event_id", "kind", "subject", "text", "began_at", "ended_at", "acknowledged_at", "acknowledged_by",
)  # fmt: skip


def listing(run: Run, events: Sequence[Event], messages: Mapping[int, Sequence[Delivery]]) -> Listing:
    """The events in all forms.

    Parameters
    ----------
    messages : by event
    """
    return Listing(
        rows=(_one(event, messages.get(event.event_id, ())) for event in events),
        columns=COLUMNS,
        lines=lambda: (line for event in events for line in _lines(event, messages.get(event.event_id, ()))),
        whole=lambda found: {
            "schema": SCHEMA,
            "run": {"run_id": run.run_id, "folder": run.root},
            "events": found,
        },
    )


def seen_by(event: Event) -> str:
    """ ", seen by ana": who has acknowledged it; "" where nobody has."""
    if event.acknowledged_at is None:
        return ""
    return f", seen by {event.acknowledged_by}" if event.acknowledged_by else ", seen"


def _lines(event: Event, messages: Sequence[Delivery]) -> Iterator[str]:
    until = f" to {local(utc(event.ended_at))}" if event.ended_at is not None else ", lasts"
    yield f"{event.event_id:>4}  {in_words(event)} ({local(utc(event.began_at))}{until}{seen_by(event)})"
    for each in messages:
        yield f"        {each.about}: {each.channel}: {_fate(each)}"


def _fate(message: Delivery) -> str:
    if message.sent_at is not None:
        return message.error or f"sent {local(utc(message.sent_at))}"
    return "waits" + (f", {message.attempts} attempts: {message.error}" if message.error else "")


def _one(event: Event, messages: Sequence[Delivery]) -> Json:
    return {
        **as_json(event),
        "text": in_words(event),
        "began_at": utc(event.began_at),
        "ended_at": utc(event.ended_at),
        "acknowledged_at": utc(event.acknowledged_at),
        "messages": [
            {
                "about": each.about,
                "channel": each.channel,
                "attempts": each.attempts,
                "sent_at": utc(each.sent_at),
                "error": each.error,
            }
            for each in messages
        ],
    }
