"""A ledger that mhfd 0.1.0 wrote opens, and a watch goes on with it. tests/data/ledger-0.1.0.sql is a dump of one.

It holds a run in /data/run: 13 tiles scored, one of them taken again, one file with two pages; a tile in each of
the other states, and one that is missing from the grid.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from mhfd.contract import FocusParams, FocusResult
from mhfd_client.cli import main
from mhfd_client.judge.run import JUDGED
from mhfd_client.ledger import Ledger, open_ledger

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "ledger.db"
    connection = sqlite3.connect(made)
    connection.executescript((DATA / "ledger-0.1.0.sql").read_text(encoding="utf-8"))
    connection.close()
    return made


@pytest.fixture
def old(file: Path) -> Iterator[Ledger]:
    with open_ledger(file) as opened:
        yield opened


def test_every_tile_is_in_the_state_that_it_was_in(old: Ledger) -> None:
    found = old.summary(old.find_run("/data/run").run_id)
    assert found.counts == {"seen": 2, "ready": 1, "staged": 1, "submitted": 1, "scored": 13, "failed": 1}
    assert (found.superseded, found.stalled, found.missing, found.to_do) == (1, 1, 1, 4)


def test_every_result_is_read(old: Ledger) -> None:
    rows = [row for row in old.rows(old.find_run().run_id) if row.result is not None]
    assert len(rows) == 14
    for row in rows:
        assert row.result is not None
        assert FocusResult.from_dict(row.result).status == row.state


def test_a_watch_with_the_same_parameters_goes_on_with_the_same_run(old: Ledger) -> None:
    run = old.open_run("/data/run", FocusParams(), layout="plain", endpoint="local")
    assert run.run_id == 1
    assert [row.path for row in old.take(run.run_id, "staged", 9, now=0)] == ["s0003_r1_c0.tif"]


def test_a_tile_goes_on_from_the_state_that_it_is_in(old: Ledger) -> None:
    run_id = old.find_run().run_id
    (staged,) = old.take(run_id, "staged", 9, now=0)
    old.submit([staged.tile_id], "local", 1.8e9)
    assert {row.path for row in old.take(run_id, "submitted", 9, now=0)} == {"s0003_r1_c0.tif", "s0003_r1_c1.tif"}


def test_status_and_export_show_it(file: Path) -> None:
    status = CliRunner().invoke(main, ["status", "/data/run", "--ledger", str(file), "--json"])
    assert json.loads(status.stdout)["counts"]["scored"] == 13
    export = CliRunner().invoke(main, ["export", "/data/run", "--ledger", str(file)])
    assert len(export.stdout.splitlines()) == 15


FIRST = ("verdict", "confidence", "defocus_um")
LATER = ("grey", "spectrum", *(key for key in JUDGED if key not in (*FIRST, "doubts")))


def test_rows_that_version_0_1_0_printed_are_read() -> None:
    rows = json.loads((DATA / "rows-0.1.0.json").read_text(encoding="utf-8"))
    for row in rows:
        read = FocusResult.from_dict(row).to_dict()
        assert read["provenance"].pop("measure") == 1
        assert (read.pop("picture"), read.pop("remarks"), read.pop("doubts")) == (None, [], [])
        assert {read.pop(key) for key in LATER} == {None}
        assert read == row
