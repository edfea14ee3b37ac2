"""A ledger in a file and one in PostgreSQL, as in tests/client/ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from postgres import Postgres, postgres

__all__ = ["postgres"]


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty ledger's place."""
    if request.param == "sqlite":
        return str(tmp_path / "ledger.db")
    server: Postgres = request.getfixturevalue("postgres")
    return server.without_schema("mhfd")
