"""Texts of strangers' making go into the ledger and come out, on SQLite and PostgreSQL alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mhfd.contract import Failure, FocusResult
from mhfd_client.ledger import Ledger, Missing, Run, SeenFile
from mhfd_client.views.export import judged_rows
from mhfd_client.views.status import lines, read_status

Ask = Callable[..., list[tuple[Any, ...]]]
Make = Callable[..., FocusResult]

HOSTILE = [
    "null\0byte", "half \udcb5 pair", "line\nbreak", "\x1b[2Jclear", "quote ' \" ; DROP TABLE tile; --", "% %s ?",
    "@ids", "\u202eright to left", "back\\slash", "\ufeff", "👩‍🔬" * 50, "=cmd()", "a" * 5000,
]  # fmt: skip


def see(ledger: Ledger, run: Run, *paths: str) -> list[int]:
    ledger.see(run.run_id, [(SeenFile(path, 1, 1), None) for path in paths], 1.0)
    return [row.tile_id for row in ledger.take(run.run_id, "seen", 99, now=0, order="oldest")]


def everything_is_shown(ledger: Ledger, run: Run) -> None:
    status = read_status(ledger, run, time.time(), None)
    assert all(line.plain for line in lines(status))
    assert len(list(judged_rows(ledger, run, ledger.rows(run.run_id)))) == len(list(ledger.rows(run.run_id)))


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:20])
def test_a_missing_tile_of_any_name_is_listed(ledger: Ledger, run: Run, text: str) -> None:
    ledger.set_missing(run.run_id, [Missing(text, None, "listed by the microscope"), Missing("b", None, text)], 1.0)
    assert len(ledger.missing(run.run_id)) == 2
    everything_is_shown(ledger, run)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:20])
def test_any_reason_is_kept(ledger: Ledger, run: Run, text: str) -> None:
    waiting, stalled = see(ledger, run, "a.tif", "b.tif")
    ledger.waiting([waiting], text, 2.0)
    ledger.stalled([stalled], text, 2.0)
    ledger.heartbeat(run.run_id, {"notices": [{"text": text, "since": 1.0}], "host": text}, 2.0)
    everything_is_shown(ledger, run)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:20])
def test_a_failure_of_any_message_is_kept(ledger: Ledger, run: Run, make_failed: Make, ask: Ask, text: str) -> None:
    (tile_id,) = see(ledger, run, "a.tif")
    row = replace(make_failed("a.tif"), error=Failure(code="corrupt", message=text))
    assert ledger.store([(tile_id, FocusResult.from_dict(row.to_dict()))], 2.0) == [tile_id]
    everything_is_shown(ledger, run)
    assert len(ask("SELECT result FROM tiles")) == 1  # the view makes JSON of it


@pytest.mark.parametrize("name", [text for text in HOSTILE if text.isprintable() and "\\" not in text])
def test_a_file_of_any_name_walks_to_its_result(ledger: Ledger, run: Run, make_scored: Make, name: str) -> None:
    (tile_id,) = see(ledger, run, f"{name}/{name}.tif")
    ledger.finish(tile_id, [("p", (4, 4))], 2.0)
    ledger.stage([(tile_id, {"path": name})], 3.0)
    ledger.submit([tile_id], name, 4.0)
    assert ledger.store([(tile_id, make_scored(f"{name}/{name}.tif", "p"))], 5.0) == [tile_id]
    assert [row.path for row in ledger.rows(run.run_id)] == [f"{name}/{name}.tif"]
    everything_is_shown(ledger, run)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(), max_size=40))
def test_any_text_goes_in_and_comes_out(ledger: Ledger, run: Run, text: str) -> None:
    ledger.set_missing(run.run_id, [Missing(text or "x", None, text)], 1.0)
    everything_is_shown(ledger, run)
