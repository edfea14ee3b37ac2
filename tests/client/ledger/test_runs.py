"""`mhfd runs`: what a ledger holds, the last opened first."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from mhfd.contract import FocusParams, FocusResult
from mhfd_client.cli import main
from mhfd_client.judge.alerts import Alerts
from mhfd_client.ledger import Json, Ledger, Missing, Run

pytestmark = pytest.mark.usefixtures("no_configuration")

Walk = Callable[..., int]
Make = Callable[..., FocusResult]


def runs() -> list[Json]:
    done = CliRunner().invoke(main, ["runs", "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["schema"] == 1
    return list(found["runs"])


def text() -> str:
    return CliRunner().invoke(main, ["runs"], catch_exceptions=False).stdout


@pytest.fixture
def other(ledger: Ledger, run: Run, tmp_path: Path) -> Run:
    """A run that was opened after `run`."""
    folder = str(tmp_path / "other")
    return ledger.open_run(folder, FocusParams(), layout="sbemimage", endpoint="dgx", now=1e9)


def test_the_last_opened_is_the_first(ledger: Ledger, run: Run, other: Run) -> None:
    assert [each["folder"] for each in runs()] == [other.root, run.root]
    ledger.open_run(run.root, run.params, layout="auto", endpoint="local", now=2e9)
    first, second = runs()
    assert (first["folder"], second["folder"]) == (run.root, other.root)
    assert (first["created_at"], first["opened_at"]) == (
        "1970-01-01T00:00:00.000+00:00",
        "2033-05-18T03:33:20.000+00:00",
    )
    assert (second["name"], second["layout"], second["endpoint"]) == ("other", "sbemimage", "dgx")


def test_a_run_is_told_in_numbers(ledger: Ledger, run: Run, walk: Walk) -> None:
    walk("a.tif", "scored", now=500.0)
    walk("b.tif", "failed", now=600.0)
    walk("c.tif", "ready")
    ledger.stalled([walk("d.tif", "seen")], "truncated", 700.0)
    ledger.set_missing(run.run_id, [Missing("e.tif", None, "listed")], 800.0)
    (found,) = runs()
    counts = {key: found[key] for key in ("scored", "failed", "to_do", "stalled", "missing")}
    assert counts == {"scored": 1, "failed": 1, "to_do": 1, "stalled": 1, "missing": 1}
    assert found["last_scored_at"] == "1970-01-01T00:10:00.000+00:00"
    assert re.search(
        r"  1 scored, not known flagged, 1 failed, 1 missing, 1 to be done, 1 stalled; last result 1970", text()
    )


def test_what_is_flagged_is_the_word_of_the_watch(ledger: Ledger, run: Run, walk: Walk, make_scored: Make) -> None:
    for k, score in enumerate([9.0, 9.1, 9.2, 9.3, 9.4, 9.5, 0.5]):
        tile_id = walk(f"{k}.tif", "submitted", pixels=f"p{k}")
        ledger.store([(tile_id, make_scored(f"{k}.tif", f"p{k}", score))], 1000.0 + k)
    assert runs()[0]["flagged"] is None  # nobody has judged it
    ledger.set_rule(run.run_id, {"max_blur_px": 1.1}, 1000.0)
    Alerts(ledger, run.run_id).start()
    assert runs()[0]["flagged"] == 1
    ledger.set_rule(run.run_id, {"max_blur_px": 3.0}, 2000.0)
    assert runs()[0]["flagged"] is None  # by another threshold


def test_a_run_without_results_has_none_flagged(run: Run) -> None:
    assert (runs()[0]["flagged"], runs()[0]["last_scored_at"]) == (0, None)
    assert "0 scored, 0 flagged, 0 failed, 0 missing; last result never" in text()


def test_whether_a_watch_lives_is_told(ledger: Ledger, run: Run) -> None:
    assert runs()[0]["watched"] is False
    ledger.heartbeat(run.run_id, {"pid": 7}, time.time())
    assert runs()[0]["watched"] is True
    assert "watched now, scored on local" in text()
    ledger.heartbeat(run.run_id, {"pid": 7}, time.time() - 100)
    assert "no watch, scored on local" in text()


def test_a_folder_has_a_line_of_its_own(run: Run, other: Run) -> None:
    lines = text().splitlines()
    assert [lines[0], lines[3]] == [other.root, run.root]


def test_a_ledger_without_runs_says_what_begins_one(ledger: Ledger) -> None:
    done = CliRunner().invoke(main, ["runs"])
    assert (done.exit_code, done.stdout) == (0, "")
    assert "has no runs yet: `mhfd watch DIR` begins one" in done.stderr
    csv_text = CliRunner().invoke(main, ["runs", "--format", "csv"])
    assert list(csv.DictReader(io.StringIO(csv_text.stdout))) == []
    assert not csv_text.stderr
