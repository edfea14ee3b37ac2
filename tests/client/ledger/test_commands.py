"""`mhfd status`, `export`, `retry` and `recover` as a user runs them; both databases export the same tables."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from mhfd._version import __version__
from mhfd.contract import FocusResult, Provenance
from mhfd.judge import judge
from mhfd_client.cli import main
from mhfd_client.ledger import Ledger, Missing, Run, open_ledger
from mhfd_client.naming.position import Position
from mhfd_client.views.where import Where
from spectra import row as row_of
from spectra import spectrum

pytestmark = pytest.mark.usefixtures("no_configuration")

Walk = Callable[..., int]
Make = Callable[..., FocusResult]


@pytest.fixture
def seven(ledger: Ledger, run: Run, walk: Walk, make_scored: Make) -> list[FocusResult]:
    """Seven tiles of a folder, scored, the last of them blurred; as `judge` sees them."""
    results = [
        make_scored(f"s1/{k}.tif", f"p{k}", score) for k, score in enumerate([9.0, 9.1, 9.2, 9.3, 9.4, 9.5, 0.5])
    ]
    for k, result in enumerate(results):
        tile_id = walk(result.path, "submitted", pixels=f"p{k}", now=1000.0 + k)
        ledger.store([(tile_id, result)], 1000.0 + k)
    return judge(results)


def invoke(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args], catch_exceptions=False)


# --- status -------------------------------------------------------------------------------------------------------


def test_status_counts_by_state(walk: Walk, run: Run) -> None:
    walk("a.tif", "scored")
    walk("b.tif", "scored")
    walk("c.tif", "staged")
    found = json.loads(invoke("status", run.root, "--json").stdout)
    assert found["counts"] == {"seen": 0, "ready": 0, "staged": 1, "submitted": 0, "scored": 2, "failed": 0}
    assert (found["to_do"], found["run"]["folder"]) == (1, run.root)


def test_status_without_a_folder_is_of_the_run_opened_last(run: Run) -> None:
    assert json.loads(invoke("status", "--json").stdout)["run"]["run_id"] == run.run_id


def test_status_of_an_unknown_folder_is_exit_code_78(run: Run, tmp_path: Path) -> None:
    result = invoke("status", tmp_path / "elsewhere")
    assert result.exit_code == 78
    assert "has no run of" in result.stderr


def test_status_says_whether_somebody_watches(ledger: Ledger, run: Run) -> None:
    assert "no watcher is running" in invoke("status").stdout
    beat = {"pid": 7, "host": "scope", "started_at": time.time() - 60, "last_scan_s_ago": 3.0, "notices": []}
    ledger.heartbeat(run.run_id, beat, time.time())
    assert re.search(
        r"watching since 20..-..-.. ..:..:.. \(process 7 on scope\); last scan 3 s ago", invoke("status").stdout
    )


def test_a_watcher_that_ended_is_not_running(ledger: Ledger, run: Run) -> None:
    ledger.heartbeat(run.run_id, {"pid": 7, "host": "scope", "ended": True}, time.time())
    assert "no watcher is running; the last one ended 20" in invoke("status").stdout
    assert json.loads(invoke("status", "--json").stdout)["watcher"]["ended"] is True


def test_a_watcher_that_is_silent_is_not_running(ledger: Ledger, run: Run) -> None:
    ledger.heartbeat(run.run_id, {"pid": 7, "host": "scope"}, time.time() - 100)
    watcher = json.loads(invoke("status", "--json").stdout)["watcher"]
    assert (watcher["alive"], watcher["ended"]) == (False, False)
    assert "no watcher is running; the last sign of one was 20" in invoke("status").stdout


def test_status_shows_what_the_watcher_wants_known(ledger: Ledger, run: Run) -> None:
    notice = {"text": "endpoint 'dgx' is offline", "since": time.time() - 60}
    ledger.heartbeat(run.run_id, {"pid": 7, "host": "scope", "notices": [notice]}, time.time())
    assert "! endpoint 'dgx' is offline (since 20" in invoke("status").stdout


def test_status_names_what_is_in_trouble_and_why(ledger: Ledger, run: Run, walk: Walk) -> None:
    ledger.stalled([walk("cut.tif", "seen")], "truncated", 700.0)
    walk("notes.tif", "failed")
    where = Position(section=3, row=0, col=2)
    ledger.set_missing(run.run_id, [Missing(None, where, "not in the grid"), Missing("z.tif", None, "listed")], 800.0)
    text = invoke("status").stdout
    for line in (
        r"seen +1  \(1 of them stalled\)",
        "  cut.tif: truncated, unchanged since 1970",
        r"  notes.tif: notes.tif is no image \(not_an_image\)",
        "  section 3, row 0, col 2: not in the grid, since 1970",
        "  z.tif: listed, since 1970",
    ):
        assert re.search(line, text), line


def test_status_lists_twenty_unless_all_are_asked_for(ledger: Ledger, run: Run) -> None:
    ledger.set_missing(run.run_id, [Missing(f"{k:03}.tif", None, "listed") for k in range(30)], 800.0)
    assert "and 10 more: --all lists them" in invoke("status").stdout
    assert "029.tif" in invoke("status", "--all").stdout


def test_status_shows_the_rate_of_the_last_minutes(ledger: Ledger, run: Run, walk: Walk, make_scored: Make) -> None:
    ledger.store([(walk(f"{k}.tif", "submitted"), make_scored("", "p")) for k in range(10)], time.time())
    assert json.loads(invoke("status", "--json").stdout)["per_minute"] == 2.0


def test_the_rate_of_a_young_run_is_that_since_its_first_result(
    ledger: Ledger, run: Run, walk: Walk, make_scored: Make
) -> None:
    for k in range(48):
        ledger.store([(walk(f"{k}.tif", "submitted"), make_scored("", "p"))], 1000.0 + 0.4 * k)
    found = ledger.summary(run.run_id, now=1019.2)
    assert found.window_s == pytest.approx(19.2)
    assert found.recent / found.window_s * 60 == pytest.approx(150)
    assert ledger.summary(run.run_id, now=2000.0).recent == 0  # the rate of the last minutes, not of the run


def test_two_results_at_once_are_no_high_rate(ledger: Ledger, run: Run, walk: Walk, make_scored: Make) -> None:
    for k in range(2):
        ledger.store([(walk(f"{k}.tif", "submitted"), make_scored("", "p"))], 1000.0 + 0.01 * k)
    assert ledger.summary(run.run_id, now=1000.02).window_s == 10.0


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_status_follows_until_ctrl_c(run: Run) -> None:
    command = [sys.executable, "-m", "mhfd_client", "status", "--follow", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        first = json.loads(following.stdout.readline())
        following.send_signal(signal.SIGINT)
        assert following.wait(20) == 0
    assert first["run"]["run_id"] == run.run_id


# --- export -------------------------------------------------------------------------------------------------------


def test_json_lines_are_results_with_verdicts(seven: list[FocusResult]) -> None:
    lines = invoke("export", "--format", "jsonl").stdout.splitlines()
    assert [FocusResult.from_dict(json.loads(line)) for line in lines] == seven
    assert [json.loads(line)["verdict"] for line in lines] == ["in_focus"] * 6 + ["out_of_focus"]


def test_csv_is_a_table_with_verdicts(seven: list[FocusResult]) -> None:
    rows = list(csv.DictReader(io.StringIO(invoke("export").stdout)))
    assert [row["verdict"] for row in rows] == [result.verdict for result in seven]
    assert (rows[0]["path"], rows[0]["section"], rows[0]["features"]) == ("s1/0.tif", "1", "3")
    assert rows[0]["scored_at"] == "1970-01-01T00:16:40+00:00"


def test_csv_begins_with_the_columns_of_score(seven: list[FocusResult]) -> None:
    from mhfd_client.views.terminal import CSV_COLUMNS

    header = invoke("export").stdout.splitlines()[0].split(",")
    assert header[: len(CSV_COLUMNS)] == list(CSV_COLUMNS)


def test_parquet_is_the_same_table(seven: list[FocusResult], tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    invoke("export", "--format", "parquet", "--out", tmp_path / "t.parquet")
    rows = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    assert [row["verdict"] for row in rows] == [result.verdict for result in seven]
    assert rows[6]["scored_at"].timestamp() == 1006.0


def test_failed_tiles_are_exported_with_their_error(walk: Walk) -> None:
    walk("notes.tif", "failed")
    (row,) = csv.DictReader(io.StringIO(invoke("export").stdout))
    assert (row["status"], row["verdict"], row["error_code"]) == ("failed", "failed", "not_an_image")


def test_tiles_without_a_result_are_exported_on_demand(seven: list[FocusResult], walk: Walk) -> None:
    walk("late.tif", "ready")
    assert "late.tif" not in invoke("export").stdout
    rows = list(csv.DictReader(io.StringIO(invoke("export", "--where", "ready").stdout)))
    assert [(row["path"], row["state"], row["verdict"]) for row in rows] == [("late.tif", "ready", "")]


@pytest.mark.parametrize("form", ["jsonl", "json", "table"])
def test_forms_that_hold_results_refuse_tiles_without(run: Run, form: str) -> None:
    assert invoke("export", "--format", form, "--where", "seen").exit_code == 2


BAD = "verdict=out_of_focus"  # the last of `seven`


@pytest.mark.parametrize(
    ("conditions", "tiles"),
    [
        ([BAD], [6]),
        (["verdict=in_focus,out_of_focus"], [*range(7)]),
        (["verdict!=in_focus"], [6]),
        (["focus_score>9.2"], [3, 4, 5]),
        (["focus_score >= 9.2", "focus_score<9.4"], [2, 3]),
        (["scored", "focus_score=9.1"], [1]),
        (["state=failed"], []),
        (["failed", "scored"], [*range(7)]),
        (["path=s1/2.tif,s1/4.tif"], [2, 4]),
        (["scored_at>=1970-01-01T00:16:45+00:00"], [5, 6]),
        (["decision=open"], [6]),
        (["decision!=open"], [*range(6)]),
        (["blur_px>0"], []),  # not known: there is no spectrum
    ],
)
def test_rows_that_fit_all_conditions_are_exported(
    seven: list[FocusResult], conditions: list[str], tiles: list[int]
) -> None:
    given = [part for each in conditions for part in ("--where", each)]
    rows = csv.DictReader(io.StringIO(invoke("export", *given).stdout))
    assert [row["path"] for row in rows] == [f"s1/{k}.tif" for k in tiles]


def test_every_form_has_the_rows_that_fit(seven: list[FocusResult], tmp_path: Path) -> None:
    bad = seven[6]
    for form in ("json", "jsonl"):
        (row,) = [json.loads(invoke("export", "--format", form, "--where", BAD).stdout)]
        assert FocusResult.from_dict(row[0] if form == "json" else row) == bad
    assert json.loads(invoke("export", "--json", "--where", "failed").stdout) == []
    table = invoke("export", "--format", "table", "--where", BAD).stdout
    assert "6.tif" in table and "5.tif" not in table
    assert invoke("export", "--format", "table", "--out", tmp_path / "t.txt").stderr.startswith("7 tiles in ")
    assert "5.tif" in (tmp_path / "t.txt").read_text()
    parquet = pytest.importorskip("pyarrow.parquet")
    invoke("export", "--format", "parquet", "--out", tmp_path / "t.parquet", "--where", BAD)
    assert [row["path"] for row in parquet.read_table(tmp_path / "t.parquet").to_pylist()] == [bad.path]


def test_a_condition_goes_by_the_threshold_that_is_asked_for(ledger: Ledger, run: Run, walk: Walk) -> None:
    rng = np.random.default_rng(1)
    for k in range(13):
        tile_id = walk(f"{k:02}.tif", "submitted", pixels=f"p{k}")
        about = Provenance(
            mhfd=__version__, params_sha256=run.params_sha256, backend="numpy", device="cpu", tile_sha256=f"p{k}"
        )
        ledger.store([(tile_id, row_of(spectrum(rng, 1.6 if k == 12 else 0.0), f"{k:02}.tif", provenance=about))], 1e3)

    def flagged(*more: str) -> list[str]:
        return [row["path"] for row in csv.DictReader(io.StringIO(invoke("export", "--where", BAD, *more).stdout))]

    assert (flagged(), flagged("--max-blur-px", "3")) == (["12.tif"], [])
    assert flagged("--where", "blur_px>1.2", "--where", "blur_px<2") == ["12.tif"]


@pytest.mark.parametrize(
    ("condition", "hint"),
    [
        ("verdct=in_focus", "there is no column 'verdct'; did you mean 'verdict'?"),
        ("verdict=blurred", "there is no verdict 'blurred'; known: in_focus, out_of_focus, "),
        ("verdict=out_of_focs", "did you mean 'out_of_focus'?"),
        ("scord", "did you mean 'scored'?"),
        ("verdict>in_focus", "verdict is no number: use = or !="),
        ("blur_px>1,2", "blur_px takes one number or time"),
        ("blur_px>much", "blur_px is compared with a number, not with 'much'"),
        ("scored_at>yesterday", "scored_at is compared with a time like "),
    ],
)
def test_a_condition_that_cannot_hold_is_refused_with_what_there_is(run: Run, condition: str, hint: str) -> None:
    done = invoke("export", "--where", condition)
    assert (done.exit_code, done.stdout) == (2, "")
    assert hint in done.stderr


def test_a_remark_is_one_of_the_codes() -> None:
    fits = Where.parse(["remarks=lossy"])
    assert fits({"remarks": "border lossy"})
    assert not fits({"remarks": "border"})
    assert not Where.parse(["remarks!=lossy"])({"remarks": "border lossy"})


def test_results_since_a_time(seven: list[FocusResult]) -> None:
    rows = list(csv.DictReader(io.StringIO(invoke("export", "--since", "1970-01-01T00:16:45+00:00").stdout)))
    assert [row["path"] for row in rows] == ["s1/5.tif", "s1/6.tif"]


def test_results_of_the_last_hours(seven: list[FocusResult]) -> None:
    assert len(invoke("export", "--since", "2h").stdout.splitlines()) == 1


def test_what_is_no_time_is_refused(run: Run) -> None:
    assert invoke("export", "--since", "yesterday").exit_code == 2


def test_a_file_appears_when_it_is_complete(seven: list[FocusResult], tmp_path: Path) -> None:
    assert invoke("export", "--out", tmp_path / "t.csv").stderr.startswith("7 tiles in ")
    assert not (tmp_path / "t.csv.part").exists()
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 8


def test_a_name_of_any_letters_is_exported(walk: Walk) -> None:
    walk('Schnitt ä, "切片".tif', "scored")
    (row,) = csv.DictReader(io.StringIO(invoke("export").stdout))
    assert row["path"] == 'Schnitt ä, "切片".tif'


# --- retry and recover --------------------------------------------------------------------------------------------


def test_retry_has_failed_tiles_done_again(ledger: Ledger, run: Run, walk: Walk) -> None:
    walk("a.tif", "failed")
    assert invoke("retry", "--failed").stderr.startswith("1 tile of")
    assert ledger.summary(run.run_id).counts["failed"] == 0


@pytest.mark.parametrize(
    ("asked", "hint"),
    [("s1/b.tiff", "did you mean s1/b.tif?"), ("b.tif", "did you mean s1/b.tif?"), ("xx", "`mhfd status --all`")],
)
def test_retry_of_a_tile_that_did_not_fail_is_refused_as_a_whole(
    ledger: Ledger, run: Run, walk: Walk, asked: str, hint: str
) -> None:
    walk("s1/a.tif", "scored")
    walk("s1/b.tif", "failed")
    result = invoke("retry", "--failed", "--tile", "s1/b.tif", "--tile", asked)
    assert result.exit_code == 2
    assert f"has no failed tile {asked}; {hint}" in result.stderr
    assert ledger.summary(run.run_id).counts["failed"] == 1


def test_retry_of_a_failed_tile_by_its_name(ledger: Ledger, run: Run, walk: Walk) -> None:
    walk("a.tif", "failed")
    walk("b.tif", "failed")
    assert invoke("retry", "--failed", "--stalled", "--tile", "b.tif").exit_code == 0
    assert ledger.summary(run.run_id).counts["failed"] == 1


def test_retry_of_a_mistyped_code_is_refused(ledger: Ledger, run: Run, walk: Walk) -> None:
    walk("a.tif", "failed")
    result = invoke("retry", "--failed", "--code", "not_an_imag")
    assert result.exit_code == 2
    assert "no failure has the code not_an_imag; did you mean 'not_an_image'?" in result.stderr
    assert invoke("retry", "--failed", "--code", "worker_lost").exit_code == 0  # there is just none


def test_retry_wants_to_know_which(run: Run) -> None:
    assert invoke("retry").exit_code == 2


def test_recover_takes_results_from_a_spool(
    ledger: Ledger, run: Run, walk: Walk, make_scored: Make, tmp_path: Path
) -> None:
    walk("a.tif", "submitted")
    spool = tmp_path / "spool"
    spool.mkdir()
    line = {"spool": 1, "time": "", "task": None, "row": make_scored("a.tif", "p").to_dict()}
    (spool / "mhfd-spool-20260131-host-1.jsonl").write_text(json.dumps(line) + "\n")
    assert json.loads(invoke("recover", spool, "--json").stdout)["stored"] == 1
    assert "1 was known" in invoke("recover", spool / "mhfd-spool-20260131-host-1.jsonl").stdout


def test_a_ledger_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_ledger(tmp_path / "other.db").close()
    result = invoke("status", "--ledger", tmp_path / "other.db")
    assert result.exit_code == 78
    assert "other.db has no runs yet" in result.stderr


def test_no_ledger_yet_is_exit_code_78(tmp_path: Path) -> None:
    result = invoke("status", "--ledger", tmp_path / "none.db")
    assert result.exit_code == 78
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("module", ["numpy", "psycopg", "pyarrow", "globus_compute_sdk"])
def test_status_imports_nothing_heavy(module: str, run: Run) -> None:
    script = f"""import sys
from click.testing import CliRunner
from mhfd_client.cli import main
assert CliRunner().invoke(main, ["status"]).exit_code == 0
print({module!r} in sys.modules)"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert found.strip() == str(module == "psycopg" and os.environ["MHFD_LEDGER"].startswith("postgresql"))
