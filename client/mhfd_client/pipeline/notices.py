"""Notices to a person: one sentence per topic, reported when it changes."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Notice:
    """The notice of one topic; `since` in Unix seconds."""

    text: str
    since: float


class Board:
    """The current notices, by topic. All methods may be called from any thread.

    Parameters
    ----------
    tell : receives a sentence when a notice begins, changes or ends

    Attributes
    ----------
    signed_in_until : Unix seconds; None where that is not known, or nobody has to sign in
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._notices: dict[str, Notice] = {}
        self._lock = threading.Lock()
        self.signed_in_until: float | None = None

    def put(self, matter: str, text: str, since: float | None = None) -> None:
        """Set this topic's notice; report it unless only its numbers changed.

        Parameters
        ----------
        since : Unix seconds; by default when it was first set
        """
        with self._lock:
            before = self._notices.get(matter)
            begun = since if since is not None else before.since if before else time.time()
            self._notices[matter] = Notice(text, begun)
        if before is None or _NUMBER.sub("", before.text) != _NUMBER.sub("", text):
            self._tell(text)

    def clear(self, matter: str, text: str | None = None) -> None:
        """End this topic's notice; report `text`."""
        with self._lock:
            before = self._notices.pop(matter, None)
        if before is not None and text is not None:
            self._tell(text)

    def notice(self, matter: str) -> Notice | None:
        """The notice of one topic."""
        with self._lock:
            return self._notices.get(matter)

    def notices(self) -> list[Notice]:
        with self._lock:
            return sorted(self._notices.values(), key=lambda notice: notice.since)
