"""Results from an endpoint's spool find the tiles that lack them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mhfd.contract import FocusParams, FocusResult
from mhfd.worker.rows import Spool, read_spool
from mhfd_client.ledger import Ledger, RecoverReport, Run, SeenFile

Walk = Callable[..., int]
Make = Callable[..., FocusResult]


@pytest.fixture(autouse=True)
def sound_at_the_end(ledger: Ledger, where: str, sound: Callable[[str], None]) -> Iterator[None]:
    yield
    sound(where)


def line(result: FocusResult) -> dict[str, Any]:
    return {"spool": 1, "time": "2026-01-31T12:00:00+00:00", "task": None, "row": result.to_dict()}


@pytest.mark.parametrize("state", ["ready", "staged", "submitted"])
def test_a_tile_without_a_result_gets_it(ledger: Ledger, run: Run, walk: Walk, make_scored: Make, state: str) -> None:
    tile_id = walk("s1/a.tif", state)
    report = ledger.recover(run.run_id, [line(make_scored("s1/a.tif", "p"))], 500.0)
    assert report == RecoverReport(stored=1)
    (row,) = ledger.get([tile_id])
    assert (row.state, row.scored_at) == ("scored", 500.0)


def test_a_tile_is_found_by_its_pixels_whatever_the_endpoint_calls_it(
    ledger: Ledger, run: Run, walk: Walk, make_scored: Make
) -> None:
    tile_id = walk("a.tif", "submitted")
    ledger.recover(run.run_id, [line(make_scored("/staging/7/a.tif", "p"))], 500.0)
    (row,) = ledger.get([tile_id])
    assert row.result is not None
    assert row.result["path"] == "a.tif"


def test_of_tiles_with_the_same_pixels_the_named_one_is_meant(
    ledger: Ledger, run: Run, walk: Walk, make_scored: Make
) -> None:
    walk("a.tif", "submitted")
    walk("b.tif", "submitted")
    ledger.recover(run.run_id, [line(make_scored("b.tif", "p"))], 500.0)
    assert [(row.path, row.state) for row in ledger.rows(run.run_id)] == [("a.tif", "submitted"), ("b.tif", "scored")]


def test_a_line_without_a_known_name_serves_all_tiles_with_its_pixels(
    ledger: Ledger, run: Run, walk: Walk, make_scored: Make
) -> None:
    walk("a.tif", "submitted")
    walk("b.tif", "submitted")
    lines = [line(make_scored("b.tif", "p")), line(make_scored("elsewhere", "p"))]
    assert ledger.recover(run.run_id, lines, 500.0) == RecoverReport(stored=2)


def test_what_failed_is_scored_after_all(
    ledger: Ledger, run: Run, walk: Walk, make_scored: Make, make_failed: Make
) -> None:
    tile_id = walk("a.tif", "submitted")
    ledger.store([(tile_id, make_failed("a.tif", "worker_lost"))], 200.0)
    assert ledger.recover(run.run_id, [line(make_scored("a.tif", "p"))], 500.0).stored == 1


def test_a_result_that_is_there_is_known(ledger: Ledger, run: Run, walk: Walk, make_scored: Make) -> None:
    walk("s1/a.tif", "scored")
    assert ledger.recover(run.run_id, [line(make_scored("s1/a.tif", "p"))], 500.0) == RecoverReport(known=1)


def test_a_line_that_comes_twice_is_stored_once(ledger: Ledger, run: Run, walk: Walk, make_scored: Make) -> None:
    walk("a.tif", "submitted")
    lines = [line(make_scored("a.tif", "p"))] * 2
    assert ledger.recover(run.run_id, lines, 500.0) == RecoverReport(stored=1, known=1)


def test_a_page_is_found_by_its_name(ledger: Ledger, run: Run, walk: Walk, make_scored: Make) -> None:
    ledger.finish(walk("a.tif", "seen"), [("p0", (4, 4)), ("p1", (4, 4))], 101.0)
    lines = [line(make_scored("a.tif#page=1", "p1"))]
    assert ledger.recover(run.run_id, lines, 500.0) == RecoverReport(stored=1)
    assert ledger.recover(run.run_id, lines, 501.0) == RecoverReport(known=1)


def test_what_fits_no_tile_is_counted_by_why(ledger: Ledger, run: Run, make_scored: Make, make_failed: Make) -> None:
    other = make_scored("a.tif", "p")
    lines = [
        line(make_scored("a.tif", "p")),
        line(replace(other, provenance=replace(other.provenance, params_sha256=FocusParams(n_scales=2).sha256))),
        line(make_failed("a.tif")),
        {"spool": 1, "row": {"schema": 99}},
        {"row": None},
    ]
    assert ledger.recover(run.run_id, lines, 500.0) == RecoverReport(unmatched=2, failed=1, unreadable=2)


def test_the_lines_may_be_many(ledger: Ledger, run: Run, make_scored: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mhfd_client.ledger.results.LINES_AT_ONCE", 7)
    ledger.see(run.run_id, [(SeenFile(f"{k}.tif", 1, 1), None) for k in range(30)], 1.0)
    for k, row in enumerate(ledger.rows(run.run_id)):
        ledger.finish(row.tile_id, [(f"p{k}", (4, 4))], 2.0)
    lines = (line(make_scored(f"{k}.tif", f"p{k}")) for k in range(30))
    assert ledger.recover(run.run_id, lines, 500.0) == RecoverReport(stored=30)


def test_the_spool_of_a_worker_is_read(
    ledger: Ledger, run: Run, walk: Walk, make_scored: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk("a.tif", "submitted")
    monkeypatch.setenv("MHFD_SPOOL_DIR", str(tmp_path / "spool"))
    spool = Spool()
    spool.add(json.dumps(make_scored("a.tif", "p").to_dict()))
    spool.flush()
    assert ledger.recover(run.run_id, read_spool(tmp_path / "spool"), 500.0) == RecoverReport(stored=1)
