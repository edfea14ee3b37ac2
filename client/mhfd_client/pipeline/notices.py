"""What a person should know at this moment: one sentence a matter, told when it changes."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Notice:
    """One matter as it stands; `since` in Unix seconds."""

    text: str
    since: float


class Board:
    """The notices in force, by matter. All methods may be called from any thread.

    Parameters
    ----------
    tell : is given a sentence whenever a matter begins or changes, and when it is over
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._notices: dict[str, Notice] = {}
        self._lock = threading.Lock()

    def put(self, matter: str, text: str) -> None:
        """The matter stands like this; told unless it stood so before, but for its numbers."""
        with self._lock:
            before = self._notices.get(matter)
            self._notices[matter] = Notice(text, before.since if before else time.time())
        if before is None or _NUMBER.sub("", before.text) != _NUMBER.sub("", text):
            self._tell(text)

    def clear(self, matter: str, text: str | None = None) -> None:
        """The matter is over; `text` says so."""
        with self._lock:
            before = self._notices.pop(matter, None)
        if before is not None and text is not None:
            self._tell(text)

    def notices(self) -> list[Notice]:
        with self._lock:
            return sorted(self._notices.values(), key=lambda notice: notice.since)
