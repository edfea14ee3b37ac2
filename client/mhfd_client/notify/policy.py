"""When a channel is told what: cool-down, quiet hours, acknowledgement. Pure.

The queue is the ledger's: deliveries that are not sent yet. Those of one kind go together in one message.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mhfd_client.config import AlertSettings
from mhfd_client.ledger import Delivery, Event
from mhfd_client.notify.words import BUNDLES, matter_at

Pair = tuple[Delivery, Event]

MOST_WAITING = 200
"""Of one channel. The oldest beyond are dropped: a channel that was away for days tells of the last of them."""

GATHER_S = 5.0
"""A bundle waits so long for more tiles, at most a cool-down: those of one batch are found one after another."""

DIGEST = "digest"
TOO_MANY = "dropped: too many were waiting"
ACKNOWLEDGED = "not sent: it was acknowledged before"
TAKEN_BACK = "not sent: the verdicts had changed before"


@dataclass(frozen=True)
class Due:
    """What to do now on one channel.

    Attributes
    ----------
    groups : a message each, the oldest first
    dropped : deliveries that are not sent any more, and why
    next_at : when to look again, Unix seconds; infinite if only something new can change that
    """

    groups: tuple[tuple[Pair, ...], ...]
    dropped: tuple[tuple[Delivery, str], ...]
    next_at: float


def due(
    deliveries: Iterable[Delivery],
    events: Mapping[int, Event],
    rules: AlertSettings,
    now: float,
    *,
    closing: bool = False,
) -> Due:
    """What to do now on one channel.

    Parameters
    ----------
    deliveries : all of the channel, of one run
    closing : the watch ends: what waits for a cool-down only is due
    """
    known = [(each, events[each.event_id]) for each in deliveries if each.event_id in events]
    waiting = sorted(
        (pair for pair in known if pair[0].sent_at is None), key=lambda pair: (matter_at(*pair), pair[0].about)
    )
    dropped = [(delivery, why) for delivery, event in waiting if (why := _not_needed(delivery, event)) is not None]
    waiting = [pair for pair in waiting if _not_needed(*pair) is None]
    dropped += [(delivery, TOO_MANY) for delivery, _ in waiting[:-MOST_WAITING]]
    groups: dict[str, list[Pair]] = {}
    for pair in waiting[-MOST_WAITING:]:
        groups.setdefault(_group(pair, rules), []).append(pair)
    last = _last_began(known)
    begun = {event.event_id for delivery, event in known if delivery.about == "began" and _arrived(delivery)}
    ready: list[tuple[Pair, ...]] = []
    next_at = math.inf
    for name, group in groups.items():
        last_at = -math.inf if closing else last.get(name, -math.inf)
        at = _due_at(name, group, rules, now, last_at, begun, gather_s=0.0 if closing else GATHER_S)
        if at <= now:
            ready.append(tuple(group))
        else:
            next_at = min(next_at, at)
    return Due(tuple(ready), tuple(dropped), next_at)


def _not_needed(delivery: Delivery, event: Event) -> str | None:
    """Why nobody is told; None if somebody is."""
    if event.kind in BUNDLES and event.details.get("count") == 0:
        return TAKEN_BACK
    return ACKNOWLEDGED if event.acknowledged_at is not None and delivery.about == "began" else None


def _group(pair: Pair, rules: AlertSettings) -> str:
    """What was held in quiet hours goes together, and else what is of one kind."""
    quiet = rules.quiet_hours
    held = quiet is not None and not is_urgent(pair[1], rules) and quiet.hold(matter_at(*pair))
    return DIGEST if held else pair[1].kind


def is_urgent(event: Event, rules: AlertSettings) -> bool:
    return event.kind in rules.urgent


def _last_began(known: Sequence[Pair]) -> dict[str, float]:
    """Of each kind when its last message arrived that something began."""
    found: dict[str, float] = {}
    for delivery, event in known:
        if delivery.about == "began" and delivery.sent_at is not None and _arrived(delivery):
            found[event.kind] = max(found.get(event.kind, -math.inf), delivery.sent_at)
    return found


def _arrived(delivery: Delivery) -> bool:
    return delivery.sent_at is not None and delivery.error is None


def _due_at(
    name: str,
    group: Sequence[Pair],
    rules: AlertSettings,
    now: float,
    last_at: float,
    begun: set[int],
    *,
    gather_s: float,
) -> float:
    """When a group may be sent."""
    quiet = rules.quiet_hours
    if quiet is not None and quiet.hold(now) and not all(is_urgent(event, rules) for _, event in group):
        return quiet.end_after(now)
    if name in BUNDLES:
        return max(last_at + rules.cooldown_s, group[0][1].began_at + min(gather_s, rules.cooldown_s))
    ends_what_was_told = all(delivery.about == "ended" and event.event_id in begun for delivery, event in group)
    return now if name == DIGEST or ends_what_was_told else last_at + rules.cooldown_s
