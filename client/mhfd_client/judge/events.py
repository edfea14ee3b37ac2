"""Events of a run in the ledger: they begin once, end once, and are posted to the channels that want them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mhfd_client.config import AlertSettings
from mhfd_client.ledger import Event, Json, Ledger
from mhfd_client.notify.words import clock as clock_time

log = logging.getLogger(__name__)

LISTED = 40
"""Tiles that a bundle names; it counts the others."""


class Box(Protocol):
    """What takes messages: `mhfd_client.notify.outbox.Outbox`."""

    def post(self, event: Event, about: str) -> None: ...

    def has(self, event_id: int) -> bool: ...


@dataclass(frozen=True)
class Entry:
    """A tile in a bundle.

    Attributes
    ----------
    line : what is told of it
    event_id : of a correction: the bundle that had the first word
    """

    tile_id: int
    line: str
    event_id: int | None = None


class EventBook:
    """Begins and ends the events of one run.

    Parameters
    ----------
    boxes : where messages wait, one for each channel
    tell : receives a sentence when an event begins or ends
    """

    def __init__(
        self,
        ledger: Ledger,
        run_id: int,
        rules: AlertSettings,
        boxes: Sequence[Box] = (),
        *,
        tell: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger, self._run_id, self._rules = ledger, run_id, rules
        self._boxes, self._tell, self._clock = boxes, tell, clock
        self._open = {(event.kind, event.subject): event for event in ledger.events(run_id, open_only=True)}

    @property
    def rules(self) -> AlertSettings:
        return self._rules

    def standing(self) -> list[str]:
        """What an earlier process began and nobody has acknowledged, in sentences."""
        return [
            f"still: {event.details.get('text', event.kind)} (since {clock_time(event.began_at)})"
            for event in self._open.values()
            if event.acknowledged_at is None and "tiles" not in event.details
        ]

    def begin(self, kind: str, text: str, subject: str = "", **details: object) -> None:
        """Something is the case: an event begins, or goes on with newer details."""
        known = self._open.get((kind, subject))
        told: Json = {"text": text, **details}
        if known is not None:
            if known.details != told:
                self._ledger.update_event(known.event_id, told)
            return
        with self._ledger.transaction():
            event, new = self._ledger.begin_event(self._run_id, kind, subject, told, self._clock())
            if new:
                self._post(event, "began")
        self._open[kind, subject] = event
        if new:
            self._say(text, event, "began")

    def end(self, kind: str, text: str, subject: str = "") -> None:
        """It is the case no longer."""
        known = self._open.get((kind, subject))
        if known is None:
            return
        with self._ledger.transaction():
            self._ledger.update_event(known.event_id, {**known.details, "end": text})
            self._ledger.end_event(known.event_id, self._clock())
            self._post(known, "ended")
        del self._open[kind, subject]
        self._say(text, known, "ended")

    def gather(self, kind: str, entries: Sequence[Entry]) -> int | None:
        """Add tiles to the bundle that waits to be told; its number, None where nobody is to be told."""
        if not entries or not self._boxes or not self._wanted(kind):
            return None
        return self._gathered(kind, entries, self._boxes)

    def correct(self, entries: Iterable[Entry]) -> set[int]:
        """Tell changed verdicts where the first word was told; the tiles whose first word was taken back unsent."""
        by_event: dict[int, list[Entry]] = {}
        for entry in entries:
            if entry.event_id is not None:
                by_event.setdefault(entry.event_id, []).append(entry)
        taken_back: set[int] = set()
        if not by_event:
            return taken_back
        with self._ledger.transaction():  # a bundle may be about to be sent
            events = {event.event_id: event for event in self._ledger.events(self._run_id)}
            for event_id, changed in by_event.items():
                if event_id in events and events[event_id].ended_at is None:
                    self._take_back(events[event_id], changed)
                    taken_back |= {entry.tile_id for entry in changed}
                elif boxes := [box for box in self._boxes if box.has(event_id)]:
                    self._gathered("corrected", changed, boxes)
        return taken_back

    def _gathered(self, kind: str, entries: Sequence[Entry], boxes: Sequence[Box]) -> int:
        told = [{"tile_id": each.tile_id, "line": each.line} for each in entries]
        first: Json = {"count": len(told), "tiles": told[:LISTED]}
        with self._ledger.transaction():
            event, new = self._ledger.begin_event(self._run_id, kind, "", first, self._clock())
            if not new:
                tiles = [*event.details["tiles"], *told][:LISTED]
                self._ledger.update_event(event.event_id, {"count": event.details["count"] + len(told), "tiles": tiles})
            for box in boxes:
                if new or not box.has(event.event_id):
                    box.post(event, "began")
        return event.event_id

    def _take_back(self, event: Event, entries: Sequence[Entry]) -> None:
        gone = {each.tile_id for each in entries}
        count = event.details["count"] - len(gone)
        tiles = [each for each in event.details["tiles"] if each["tile_id"] not in gone]
        self._ledger.update_event(event.event_id, {"count": count, "tiles": tiles})
        if count <= 0:
            self._ledger.end_event(event.event_id, self._clock())

    def _post(self, event: Event, about: str) -> None:
        if self._wanted(event.kind):
            for box in self._boxes:
                box.post(event, about)

    def _wanted(self, kind: str) -> bool:
        return kind in self._rules.events

    def _say(self, text: str, event: Event, about: str) -> None:
        fields: Mapping[str, object] = {
            "event": {"event_id": event.event_id, "kind": event.kind, "about": about, **event.details}
        }
        log.warning("%s", text, extra={"on_screen": True, "fields": fields})
        self._tell(text)
