"""Events in words: what a message says."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import PurePath
from uuid import uuid4

from mhfd.text import counted
from mhfd_client.ledger import Delivery, Event, Json, Run
from mhfd_client.notify.message import Message

MOST_LINES = 60

TITLES = {
    "worsening": "focus is getting worse",
    "many": "many bad tiles",
    "missing": "tiles are missing",
    "endpoint": "the endpoint is away",
    "sign_in": "somebody has to sign in",
    "silence": "no new tiles",
}

BUNDLES = {
    "tiles": ("tile to look at", "tiles to look at"),
    "failed": ("tile that could not be read", "tiles that could not be read"),
    "corrected": ("verdict that has changed", "verdicts that have changed"),
}
"""Events that gather tiles until they are told, and their names for one tile and for several."""


def message_of(run: Run, channel: str, group: Sequence[tuple[Delivery, Event]], *, urgent: bool) -> Message:
    """One message about some events, the oldest first."""
    by_event: dict[int, tuple[Event, set[str]]] = {}
    for delivery, event in group:
        by_event.setdefault(event.event_id, (event, set()))[1].add(delivery.about)
    lines = [line for event, abouts in by_event.values() for line in _lines(event, abouts)]
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"and {len(lines) - MOST_LINES} lines more: mhfd alerts"]
    if len(group) > 1 and group[0][1].kind not in BUNDLES:
        lines.append(f"{len(group)} messages, held since {clock(_since(group))} and told together")
    last = group[-1]
    return Message(
        id=f"run{run.run_id}-{channel}-{last[1].event_id}-{last[0].about}",
        title=_title(run, [event for event, _ in by_event.values()], {each.about for each, _ in group}),
        lines=(*lines, f"run: {run.root} (on {platform.node()})", *_pages(by_event.values())),
        urgent=urgent,
        data={
            "host": platform.node(),
            "run": {"run_id": run.run_id, "folder": run.root},
            "events": [{**as_json(event), "about": sorted(abouts)} for event, abouts in by_event.values()],
        },
    )


def page_of(kind: str) -> str:
    """The page of mhfd's documentation that says what this kind of event means, and what to do."""
    return f"docs/alarms/{kind}.md"


def trial_message(channel: str) -> Message:
    """To see whether a channel works."""
    return Message(
        id=f"test-{uuid4()}",
        title="a test",
        lines=(f"This is a test of [notify.{channel}], sent by `mhfd alerts --test` on {platform.node()}.",),
        data={"host": platform.node(), "run": None, "events": []},
    )


def in_words(event: Event) -> str:
    """An event in one line: for lists."""
    if event.kind in BUNDLES:
        count = int(event.details.get("count", 0))
        first = [str(each["line"]) for each in event.details.get("tiles", [])[:1]]
        more = f", and {count - 1} more" if count > 1 else ""
        return f"{counted(count, *BUNDLES[event.kind])}{': ' if first else ''}{''.join(first)}{more}"
    return str(event.details.get("text", event.kind))


def as_json(event: Event) -> Json:
    """An event as plain JSON types; times in Unix seconds."""
    return {
        "event_id": event.event_id, "kind": event.kind, "subject": event.subject, "began_at": event.began_at,
        "ended_at": event.ended_at, "acknowledged_at": event.acknowledged_at,
        "acknowledged_by": event.acknowledged_by, "details": event.details,
    }  # fmt: skip


def clock(at: float) -> str:
    """A time for people, local."""
    return f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M:%S}"


def _lines(event: Event, abouts: set[str]) -> list[str]:
    details = event.details
    if event.kind in BUNDLES:
        told = [str(each["line"]) for each in details.get("tiles", [])]
        more = int(details.get("count", len(told))) - len(told)
        return [*told, *([f"and {more} more: mhfd status"] if more > 0 else [])]
    text, end = str(details.get("text", event.kind)), str(details.get("end", "over"))
    if abouts == {"ended"}:
        return [f"{end} (since {clock(event.ended_at or event.began_at)})"]
    began = f"{text} (since {clock(event.began_at)})"
    return [began, f"{end} (since {clock(event.ended_at or event.began_at)})"] if "ended" in abouts else [began]


def _pages(events: Iterable[tuple[Event, set[str]]]) -> Iterator[str]:
    """Where it is said what to do, of what has begun; of tiles their own line says it."""
    begun = dict.fromkeys(event.kind for event, abouts in events if "began" in abouts and event.kind not in BUNDLES)
    if begun:
        yield f"what to do: {', '.join(map(page_of, begun))}"


def _since(group: Sequence[tuple[Delivery, Event]]) -> float:
    return min(matter_at(delivery, event) for delivery, event in group)


def matter_at(delivery: Delivery, event: Event) -> float:
    """When what a delivery is about happened."""
    return event.began_at if delivery.about == "began" else event.ended_at or event.began_at


def _title(run: Run, events: Sequence[Event], abouts: set[str]) -> str:
    kinds = list(dict.fromkeys(event.kind for event in events))
    name = PurePath(run.root).name or run.root
    if len(kinds) > 1:
        return f"{counted(len(events), 'event')} in {name}"
    if kinds[0] in BUNDLES:
        count = sum(int(event.details.get("count", 1)) for event in events)
        return f"{counted(count, *BUNDLES[kinds[0]])} in {name}"
    over = "over: " if abouts == {"ended"} else ""
    return f"{over}{TITLES.get(kinds[0], kinds[0])} in {name}"
