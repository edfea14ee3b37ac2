"""The connections of a ledger to its file, for what only they can be told or asked: SQLite's PRAGMAs. The fixture
`connections`."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest


class Connection(sqlite3.Connection):
    """Like any other, but its disk can be full.

    Attributes
    ----------
    max_pages : the file has room for so many; heeded from the next transaction on, whichever thread begins it
    """

    max_pages: int | None = None

    def fill(self) -> None:
        """Leave no room for another page."""
        ((self.max_pages,),) = self.execute("PRAGMA page_count")

    def make_room(self, pages: int) -> None:
        """Leave room for so many pages more, on a disk that was filled."""
        assert self.max_pages is not None
        self.max_pages += pages

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if self.max_pages is not None and sql.startswith("BEGIN"):
            super().execute(f"PRAGMA max_page_count = {self.max_pages}")
        return super().execute(sql, *values)


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """All that are opened from now on, in that order; the first is that of the first ledger."""
    connect, opened = sqlite3.connect, list[Connection]()

    def connected(*arguments: Any, **options: Any) -> Connection:
        opened.append(connect(*arguments, factory=Connection, **options))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", connected)
    return opened
