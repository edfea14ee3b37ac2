"""What a notebook reads of a run is what `mhfd export` writes."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

import mhfd
from mhfd_client import notebook
from mhfd_client.ledger import Decision, LedgerError
from mhfd_client.notebook.opening import opened
from mhfd_client.views.export import COLUMNS, export
from page_run import Filling

Where = tuple[Path, Path]


def test_the_frame_is_the_export(filling: Filling, where: Where) -> None:
    bad = next(row for row in filling.ledger.rows(filling.run.run_id) if row.name == "s0004_r1_c2.tif")
    filling.ledger.decide(filling.run.run_id, Decision(bad.tile_id, "accept", "Ana", 1.0))
    out = io.BytesIO()
    export(filling.ledger, filling.run, out, "csv")
    written = list(csv.DictReader(io.StringIO(out.getvalue().decode())))
    frame = notebook.frame(*where)
    assert list(frame.columns) == list(COLUMNS)
    for name in ("path", "verdict", "section", "row", "col", "decision", "decided_by", "blur_px", "error_code"):
        known = [None if unknown else value for value, unknown in zip(frame[name], frame[name].isna(), strict=True)]
        assert ["" if value is None else str(value) for value in known] == [row[name] for row in written], name
    assert frame.set_index("path").loc["s0004_r1_c2.tif", "decision"] == "accept"


def test_results_of_a_run_have_its_verdicts(filling: Filling, where: Where) -> None:
    found = notebook.results(*where)
    assert type(found) is mhfd.Results
    assert {row.path: row.verdict for row in found.flagged} == {
        "s0004_r1_c2.tif": "out_of_focus", "s0005_r0_c0.tif": "failed",
    }  # fmt: skip
    assert len(found) == 72


def test_by_default_it_is_the_run_opened_last(filling: Filling, where: Where, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_LEDGER", str(where[1]))
    monkeypatch.setenv("MHFD_CONFIG", str(where[1].with_name("none.toml")))
    where[1].with_name("none.toml").touch()
    assert len(notebook.results()) == 72


def test_a_run_that_is_not_there_is_named(filling: Filling, where: Where) -> None:
    with pytest.raises(LedgerError, match=r"did you mean .*cortex-w07"):
        notebook.frame(where[0].with_name("cortex-w08"), where[1])


def test_the_ledger_is_opened_to_read(filling: Filling, where: Where) -> None:
    with opened(*where) as (ledger, run), pytest.raises(LedgerError):
        ledger.set_rule(run.run_id, {"max_blur_px": 9.0}, 1.0)
