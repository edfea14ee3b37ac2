"""A program that talks to the page's server: requests, and the events as they come."""

from __future__ import annotations

import http.client
import json
import queue
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mhfd_client.views.page.opening import Door, open_page
from page_run import Filling, Wafer, open_filling

WAIT_S = 60.0
"""For what takes a moment: these tests also run on machines that are busy."""


def until(holds: Callable[[], bool]) -> None:
    """Ask until it holds."""
    end_s = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end_s, "it does not come to hold"
        time.sleep(0.05)


@dataclass(frozen=True)
class Answer:
    """Status, headers (lower case) and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Asker:
    """Asks one server; `headers` go with every request."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    trusted: ssl.SSLContext | None = None

    @property
    def netloc(self) -> str:
        return urlsplit(self.url).netloc

    def connection(self) -> http.client.HTTPConnection:
        if self.url.startswith("https:"):
            return http.client.HTTPSConnection(self.netloc, timeout=WAIT_S, context=self.trusted)
        return http.client.HTTPConnection(self.netloc, timeout=WAIT_S)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}) -> Answer:
        connection = self.connection()
        try:
            connection.request(method, path, body, {**self.headers, **headers})
            found = connection.getresponse()
            return Answer(found.status, {k.lower(): v for k, v in found.getheaders()}, found.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, given: Any, **headers: str) -> Answer:
        sent = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        return self.ask("POST", path, json.dumps(given).encode(), sent)

    @contextmanager
    def events(self, after: int | None = None) -> Iterator[Events]:
        """The events, read in a thread of their own as long as the block lasts."""
        connection = self.connection()
        connection.request("GET", f"/api/events{'' if after is None else f'?after={after}'}", headers=self.headers)
        events = Events(connection.getresponse())
        try:
            yield events
        finally:
            events.close()
            connection.close()


@dataclass(frozen=True)
class Told:
    """One event."""

    kind: str
    data: Any
    seq: int | None
    at_s: float


class Events:
    """The events of one connection."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self._answer = answer
        self._told: queue.Queue[Told | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def next(self, kind: str, fits: Callable[[Any], bool] = lambda data: True) -> Told:
        """The next event of a kind that fits; others are passed over."""
        end_s = time.monotonic() + WAIT_S
        while (left_s := end_s - time.monotonic()) > 0:
            told = self._told.get(timeout=left_s)
            assert told is not None, "the connection ended"
            if told.kind == kind and fits(told.data):
                return told
        raise AssertionError(f"no {kind} came")

    def close(self) -> None:
        self._answer.close()

    def _read(self) -> None:
        kind, data, seq = "", "", None
        try:
            while line := self._answer.readline():
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    data = value
                elif name == "id":
                    seq = int(value)
                elif not name and kind:
                    self._told.put(Told(kind, json.loads(data), seq, time.monotonic()))
                    kind, data, seq = "", "", None
        except (OSError, ValueError, AttributeError, http.client.HTTPException):  # closed meanwhile
            pass
        self._told.put(None)


@dataclass
class Served:
    """A run and its page."""

    filling: Filling
    asker: Asker

    @property
    def get(self) -> Callable[..., Answer]:
        return self.asker.get

    @property
    def post(self) -> Callable[..., Answer]:
        return self.asker.post

    def wait_judged(self) -> None:
        """Until every scored tile has its verdict."""
        with self.asker.events() as events:
            events.next("counts", lambda counts: counts["unjudged"] == 0)


@contextmanager
def served(
    folder: Path,
    wafer: Wafer,
    door: Door | None = None,
    *,
    filled: bool = True,
    before: Callable[[Filling], None] = lambda _: None,
) -> Iterator[Served]:
    """A page of a wafer's run, with all its tiles or none; `before` it is opened something may happen to them."""
    filling = open_filling(folder, wafer)
    with filling.ledger:
        if filled:
            filling.add(wafer.spots())
        before(filling)
        with open_page(str(folder / "ledger.db"), filling.run, door or Door()) as url:
            yield Served(filling, Asker(url.partition("#")[0]))
