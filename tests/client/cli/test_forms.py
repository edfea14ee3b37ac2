"""Every command that lists has the same forms: a table, JSON, JSON lines and CSV, of the same things."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mhfd._version import __version__
from mhfd.contract import Failure, FocusParams, FocusResult, Provenance
from mhfd_client.cli import main
from mhfd_client.ledger import KeptCalibration, KeptReference, Ledger, Missing, SeenFile, open_ledger
from mhfd_client.naming.position import Position
from mhfd_client.views.export import COLUMNS

LISTS: dict[str, str | None] = {
    "runs": "runs", "retakes": "tiles", "alerts": "events", "reference list": None, "calibrate --list": None,
}  # fmt: skip
"""Commands -> the key of the JSON under which the list is; None: it is the JSON."""

FORMULA = "=cmd|' C calc'!A0"


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A ledger in which each of LISTS finds one entry, whose texts a spreadsheet would compute."""
    file = tmp_path / "ledger.db"
    monkeypatch.setenv("MHFD_LEDGER", str(file))
    monkeypatch.setenv("MHFD_CONFIG", str(tmp_path / "config.toml"))
    (tmp_path / "config.toml").touch()
    with open_ledger(file) as ledger:
        fill(ledger, tmp_path)
    yield file


def fill(ledger: Ledger, folder: Path) -> None:
    run = ledger.open_run(str(folder / "run"), FocusParams(), layout="auto", endpoint=FORMULA, now=100.0)
    name = f"{FORMULA}.tif"
    ledger.see(run.run_id, [(SeenFile(name, 10, 1), Position(section=3, row=0, col=1))], 100.0)
    (tile,) = ledger.take(run.run_id, "seen", 9, now=0)
    about = Provenance(mhfd=__version__, params_sha256=run.params_sha256, backend="none", device="cpu")
    error = Failure(code="not_an_image", message="it is none")
    ledger.store([(tile.tile_id, FocusResult(path=name, status="failed", error=error, provenance=about))], 200.0)
    ledger.set_missing(run.run_id, [Missing("gone.tif", None, "listed")], 300.0)
    ledger.begin_event(run.run_id, "missing", "", {"text": FORMULA}, 300.0)
    ledger.keep_reference(KeptReference(FORMULA, "512 x 512 px", 9, 400.0, run.run_id, {}))
    ledger.keep_calibration(KeptCalibration(FORMULA, "512 x 512 px", 400.0, {}))


def invoke(*args: str | Path) -> Result:
    done = CliRunner().invoke(main, [str(arg) for arg in args], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def listed(command: str, *form: str) -> list[dict[str, Any]]:
    found, key = json.loads(invoke(*command.split(), *form).stdout), LISTS[command]
    return list(found if key is None else found[key])


@pytest.mark.usefixtures("where")
@pytest.mark.parametrize("command", LISTS)
def test_json_lines_are_the_entries_of_the_json_and_the_csv_has_a_row_of_each(command: str) -> None:
    (entry,) = listed(command, "--format", "json")
    (line,) = invoke(*command.split(), "--format", "jsonl").stdout.splitlines()
    assert json.loads(line) == entry
    assert listed(command, "--json") == [entry]
    (row,) = csv.DictReader(io.StringIO(invoke(*command.split(), "--format", "csv").stdout))
    for key in row.keys() & entry.keys():
        if isinstance(entry[key], int | float) and not isinstance(entry[key], bool):
            assert float(row[key]) == entry[key], key
    assert invoke(*command.split()).stdout == invoke(*command.split(), "--format", "table").stdout != ""


@pytest.mark.usefixtures("where")
@pytest.mark.parametrize("command", LISTS)
def test_no_cell_of_a_csv_is_a_formula(command: str) -> None:
    text = invoke(*command.split(), "--format", "csv").stdout
    (row,) = csv.DictReader(io.StringIO(text))
    assert f"'{FORMULA}" in {value.removesuffix(".tif") for value in row.values()}
    assert not any(value.startswith("=") for value in row.values())


@pytest.mark.usefixtures("where")
def test_columns_are_called_as_in_the_export() -> None:
    (retake,) = csv.DictReader(io.StringIO(invoke("retakes", "--format", "csv").stdout))
    (export,) = csv.DictReader(io.StringIO(invoke("export").stdout))
    common = retake.keys() & set(COLUMNS)
    assert {"path", "section", "row", "col", "tile", "verdict", "blur_px", "decision", "scored_at"} <= common
    different = {key for key in common if retake[key] != export[key]} - {"state", "decision", "scored_at"}
    assert different == set()  # but for "open", and for how times are written


@pytest.mark.usefixtures("where")
@pytest.mark.parametrize("command", [*LISTS, "status"])
def test_json_and_another_form_exclude_each_other(command: str) -> None:
    done = CliRunner().invoke(main, [*command.split(), "--json", "--format", "jsonl"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert CliRunner().invoke(main, [*command.split(), "--format", "jsn"]).stderr.endswith("Did you mean 'json'?\n")


@pytest.mark.usefixtures("where")
def test_the_status_is_one_object_in_both_forms() -> None:
    one, other = (json.loads(invoke("status", "--format", form).stdout) for form in ("json", "jsonl"))
    assert one.keys() == other.keys()


def test_scores_have_the_same_forms(tmp_path: Path) -> None:
    (tmp_path / "notes.tif").write_text("no image")

    def scored(*args: str) -> str:
        done = CliRunner().invoke(main, ["score", str(tmp_path), *args])
        assert done.exit_code == 3
        return done.stdout

    (row,) = json.loads(scored("--format", "json"))
    (line,) = scored("--format", "jsonl").splitlines()
    (cells,) = csv.DictReader(io.StringIO(scored("--format", "csv")))
    assert json.loads(line)["error"] == row["error"]
    assert (cells["path"], cells["error_code"]) == (row["path"], "not_an_image")
    assert scored("--format", "csv") == scored("--csv", "-")
