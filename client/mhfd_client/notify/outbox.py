"""Sends what waits in the ledger for one channel, in a thread of its own: again after a failure or a restart."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from mhfd_client.config import AlertSettings
from mhfd_client.ledger import Delivery, Event, Ledger, Run
from mhfd_client.notify.policy import Pair, due, is_urgent
from mhfd_client.notify.protocol import Channel, NotSentError
from mhfd_client.notify.words import BUNDLES, message_of

log = logging.getLogger(__name__)

LOOK_S = 30.0
"""Somebody may have acknowledged something meanwhile."""

GIVE_UP_S = 86_400.0
"""A message that a channel has refused for so long is given up."""


class Outbox:
    """The messages of one channel; a step of the pipeline's kind.

    Parameters
    ----------
    on_post : called when a message waits
    """

    def __init__(
        self,
        ledger: Ledger,
        run: Run,
        channel: Channel,
        rules: AlertSettings,
        *,
        on_post: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._on_post = on_post
        self._ledger, self._run, self._channel, self._rules, self._clock = ledger, run, channel, rules, clock
        self._closing = False
        self._flushed = threading.Event()

    @property
    def name(self) -> str:
        return f"messages to {self._channel.name}"

    def post(self, event: Event, about: str) -> None:
        """Let a message wait; sent with the next step. Belongs to the caller's transaction."""
        self._ledger.save_delivery(Delivery(event.event_id, about, self._channel.name, self._clock(), 0, None, None))
        self._on_post()

    def close(self) -> None:
        """Do not wait for cool-downs any more: the watch ends."""
        self._closing = True

    def wait_until_empty(self, timeout_s: float) -> bool:
        """After `close`: wait until the step has sent all that is due; False if it has not by then."""
        return self._flushed.wait(timeout_s)

    def has(self, event_id: int) -> bool:
        """True if this channel gets, or got, messages of an event."""
        return any(each.event_id == event_id for each in self._deliveries())

    def step(self) -> float:
        """Send what is due; the seconds until something else may be.

        Raises
        ------
        NotSentError
            A message has not arrived; it waits for the next call.
        """
        now, closing = self._clock(), self._closing
        events = {event.event_id: event for event in self._ledger.events(self._run.run_id)}
        found = due(self._deliveries(), events, self._rules, now, closing=closing)
        for delivery, why in found.dropped:
            self._ledger.save_delivery(replace(delivery, sent_at=now, error=why))
        failures = [error for group in found.groups if (error := self._send(group)) is not None]
        if failures:
            raise failures[0]
        if closing:
            self._flushed.set()
        return max(0.0, min(found.next_at - now, LOOK_S))

    def _send(self, group: tuple[Pair, ...]) -> NotSentError | None:
        group = self._closed(group)
        urgent = any(is_urgent(event, self._rules) for _, event in group)
        message = message_of(self._run, self._channel.name, group, urgent=urgent)
        try:
            self._channel.send(message)
        except NotSentError as error:
            self._note(group, error)
            return error
        now = self._clock()
        with self._ledger.transaction():
            for delivery, _ in group:
                sent = replace(delivery, tried_at=now, attempts=delivery.attempts + 1, sent_at=now, error=None)
                self._ledger.save_delivery(sent)
        log.info("sent to %s: %s", self._channel.name, message.title)
        return None

    def _closed(self, group: tuple[Pair, ...]) -> tuple[Pair, ...]:
        """The group as it is told: bundles gather no more tiles from now on."""
        bundles = [event.event_id for _, event in group if event.kind in BUNDLES]
        if not bundles:
            return group
        with self._ledger.transaction():
            for event_id in bundles:
                self._ledger.end_event(event_id, self._clock())
            events = {event.event_id: event for event in self._ledger.events(self._run.run_id)}
        return tuple((delivery, events[delivery.event_id]) for delivery, _ in group)

    def _note(self, group: tuple[Pair, ...], error: NotSentError) -> None:
        now = self._clock()
        with self._ledger.transaction():
            for delivery, event in group:
                tried = replace(delivery, tried_at=now, attempts=delivery.attempts + 1, error=str(error))
                if delivery.attempts and now - event.began_at > GIVE_UP_S:
                    tried = replace(tried, sent_at=now, error=f"given up after a day: {error}")
                self._ledger.save_delivery(tried)

    def _deliveries(self) -> list[Delivery]:
        found = self._ledger.deliveries(self._run.run_id)
        return [each for each in found if each.channel == self._channel.name]
