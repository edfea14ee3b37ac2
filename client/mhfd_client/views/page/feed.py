"""Numbered events, shared by all viewers: one writer, many listeners."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

REMEMBERED = 4000
"""Events that a viewer who was away can still be sent."""

LISTENERS = 200
BEHIND = 1000
"""Events that wait for one listener; one further behind fetches everything again."""

COMMENT_S = 5.0
"""Without an event for so long a comment line is sent, so that both ends see that the other is there."""

SEQ_A_SECOND = 100
"""Numbers begin at the time, so that those of a server started later are higher."""

Data = dict[str, Any]


@dataclass(frozen=True)
class Event:
    """One event; seq is its number, None for one that only the asker gets."""

    kind: str
    data: Data
    seq: int | None = None

    @property
    def text(self) -> bytes:
        """As server-sent events have it."""
        number = "" if self.seq is None else f"id: {self.seq}\n"
        return f"{number}event: {self.kind}\ndata: {json.dumps(self.data, separators=(',', ':'))}\n\n".encode()


RESET = Event("reset", {})


class TooManyListenersError(Exception):
    """No more can listen."""


class Feed:
    """Any thread may publish; each listener is a coroutine of the server's loop.

    Parameters
    ----------
    greeting : what a new listener is told first
    """

    def __init__(self, greeting: Callable[[], Sequence[Event]] = tuple) -> None:
        self._greeting = greeting
        self._lock = threading.Lock()
        self._past: deque[tuple[int, bytes]] = deque(maxlen=REMEMBERED)
        self._listeners: dict[_Listener, None] = {}
        self._seq = int(time.time() * SEQ_A_SECOND)
        self._first = self._seq
        self._closed = False

    @property
    def seq(self) -> int:
        """Of the last event."""
        return self._seq

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def publish(self, kind: str, data: Data) -> Event:
        """Send an event to all; it, with its number."""
        with self._lock:
            self._seq += 1
            event = Event(kind, data, self._seq)
            text = event.text
            if kind == "reset":  # what came before is in what is fetched again
                self._past.clear()
                self._first = self._seq - 1
            self._past.append((self._seq, text))
            for listener in self._listeners:
                listener.send(text)
        return event

    def close(self) -> None:
        """End all listeners."""
        with self._lock:
            self._closed = True
            for listener in self._listeners:
                listener.send(None)

    async def listen(self, after: int | None = None) -> AsyncIterator[bytes]:
        """The events as they come, after a greeting.

        Parameters
        ----------
        after : the last one that the listener had: it gets those since, or a "reset" where they are not kept
        """
        listener = _Listener(asyncio.get_running_loop())
        with self._listening(listener):
            with self._lock:
                missed = self._since(after)
            for event in self._greeting():
                yield event.text
            for text in missed:
                yield text
            while True:
                try:
                    sent = await asyncio.wait_for(listener.texts.get(), COMMENT_S)
                except asyncio.TimeoutError:
                    sent = b": still here\n\n"
                if sent is None:
                    return
                yield sent

    def _since(self, after: int | None) -> list[bytes]:
        if after is None:
            return []
        oldest = self._past[0][0] - 1 if self._past else self._seq
        if not max(self._first, oldest) <= after <= self._seq:
            return [Event(RESET.kind, RESET.data, self._seq).text]
        return [text for seq, text in self._past if seq > after]

    @contextmanager
    def _listening(self, listener: _Listener) -> Any:
        with self._lock:
            if self._closed or len(self._listeners) >= LISTENERS:
                raise TooManyListenersError
            self._listeners[listener] = None
        try:
            yield
        finally:
            with self._lock:
                self._listeners.pop(listener, None)


class _Listener:
    """One viewer's queue."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.texts: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._loop = loop

    def send(self, text: bytes | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._take, text)
        except RuntimeError:  # the server's loop has ended
            return

    def _take(self, text: bytes | None) -> None:
        if self.texts.qsize() < BEHIND:
            self.texts.put_nowait(text)
        elif self.texts.qsize() == BEHIND:
            self.texts.put_nowait(RESET.text)
