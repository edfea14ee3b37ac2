"""The fixture `connections`: a ledger's own SQLite connections. Some PRAGMAs hold for one connection only."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest


class Connection(sqlite3.Connection):
    """A connection whose file may be limited in size; SQLite then reports a full disk.

    Attributes
    ----------
    max_pages : largest size of the file; set by the thread that begins the next transaction
    """

    max_pages: int | None = None

    def fill(self) -> None:
        """Limit the file to its present size."""
        ((self.max_pages,),) = self.execute("PRAGMA page_count")

    def make_room(self, pages: int) -> None:
        """Raise the limit."""
        assert self.max_pages is not None
        self.max_pages += pages

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if self.max_pages is not None and sql.startswith("BEGIN"):
            super().execute(f"PRAGMA max_page_count = {self.max_pages}")
        return super().execute(sql, *values)


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """Collect every connection that the test opens; the first one belongs to the first ledger."""
    connect, opened = sqlite3.connect, list[Connection]()

    def connected(*arguments: Any, **options: Any) -> Connection:
        opened.append(connect(*arguments, factory=Connection, **options))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", connected)
    return opened
