"""docs/ledger.md is right: its tables name each column and key, its queries run on both databases."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mhfd_client.ledger import Ledger, Run
from mhfd_client.views.runs import listing
from mhfd_client.views.status import read_status

from .conftest import Ask

PAGE = (Path(__file__).parents[3] / "docs" / "ledger.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.*?);\n```", PAGE, flags=re.DOTALL)


@pytest.fixture
def full(ledger: Ledger, run: Run, walk: Callable[..., int]) -> Ledger:
    """A tile in each state, one taken twice, one submitted twice."""
    for k, state in enumerate(("seen", "ready", "staged", "submitted", "scored", "failed")):
        walk(f"{k}.tif", state)
    walk("again.tif", "scored")
    walk("again.tif", "scored", pixels="sharper", mtime=2)
    lost = walk("lost.tif", "submitted")
    ledger.back([lost], "staged", "the worker died", 200.0)
    ledger.submit([lost], "local", 201.0)
    return ledger


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
@pytest.mark.usefixtures("full")
def test_each_query_has_an_answer(ask: Ask, query: str) -> None:
    assert ask(query)


@pytest.mark.usefixtures("full")
def test_the_measures_in_the_view_are_those_of_the_result(ask: Ask) -> None:
    assert ask("SELECT features, focus_score FROM tiles WHERE path = '4.tif'") == [(3, 2.0)]


@pytest.mark.usefixtures("full")
def test_a_place_can_be_asked_for_in_the_view(ask: Ask) -> None:
    assert ask("SELECT section, row, col FROM tiles WHERE path = '4.tif'") == [(1, 0, 0)]


@pytest.mark.usefixtures("full")
def test_times_can_be_read_in_the_view(ask: Ask) -> None:
    ((seen,),) = ask("SELECT CAST(seen AS TEXT) FROM tiles WHERE path = '4.tif'")
    assert seen.startswith("1970-01-01")


@pytest.mark.usefixtures("ledger")
def test_each_column_is_described(where: str, ask: Ask) -> None:
    if not where.startswith("postgresql://"):
        found = ask(
            "SELECT m.name, c.name FROM sqlite_master AS m JOIN pragma_table_xinfo(m.name) AS c "
            "WHERE m.type IN ('table', 'view')"
        )
    else:
        columns = "SELECT table_name, column_name FROM information_schema.columns"
        found = ask(f"{columns} WHERE table_schema = 'mhfd'")
    assert len(found) > 90
    view, _, tables = PAGE.partition("## The tables")
    for table, column in found:
        part, heading = (view, r"\| column of `tiles`") if table == "tiles" else (tables, rf"(\| |\n)`{table}` ")
        described = re.search(rf"{heading}.*?(\n\n|$)", part, flags=re.DOTALL)
        assert described is not None, table
        assert f"`{column}`" in described[0], f"{table}.{column}"


def test_each_key_of_the_runs_is_described(full: Ledger) -> None:
    (found,) = listing(full, time.time()).rows
    section = PAGE.partition("## `mhfd runs`")[2].partition("\n## ")[0]
    assert [key for key in found if f"`{key}`" not in section] == []


def test_each_key_of_the_status_is_described(full: Ledger, run: Run) -> None:
    full.stalled([row.tile_id for row in full.take(run.run_id, "seen", 1, now=0.0)], "truncated", 300.0)
    full.heartbeat(run.run_id, {"pid": 1, "host": "scope"}, time.time())
    status = read_status(full, run, time.time())
    section = PAGE.partition("## `mhfd status --json`")[2].partition("\n## ")[0]
    inner = [key for part in ("run", "watcher") for key in status[part]]
    listed = [key for part in ("stalled_tiles", "failed_tiles") for key in status[part][0]]
    for key in [*status, *inner, *listed]:
        assert f"`{key}`" in section, key
