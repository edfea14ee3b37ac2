"""`mhfd retakes`, and what `status` and `export` say of the same tiles; on both databases."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from mhfd.contract import Acquisition, FocusResult, Remark
from mhfd_client.cli import main
from mhfd_client.judge.run import judge_run, judged_keys
from mhfd_client.ledger import Ledger, Run, Said, SeenFile
from mhfd_client.naming.position import Position
from spectra import ABOUT, row, spectrum

pytestmark = pytest.mark.usefixtures("no_configuration")

DOCS = Path(__file__).parents[3] / "docs"
Take = Callable[..., int]
GOOD = 12
"""Tiles of section 1 that are sharp: enough to compare the others with."""


@pytest.fixture
def take(ledger: Ledger, run: Run, rng: np.random.Generator) -> Take:
    """Take a tile of a blur, again where the name is known; its number."""
    clock = iter(range(1, 10**6))

    def take(
        path: str,
        blur_px: float = 0.0,
        *,
        place: Position | None = None,
        stage_um: tuple[float, float, float] | None = None,
        scored: bool = True,
        **keys: Any,
    ) -> int:
        now = next(clock)
        ledger.see(run.run_id, [(SeenFile(path, 10, now), place)], float(now))
        (tile,) = ledger.take(run.run_id, "seen", 9, now=0)
        if scored:
            ledger.finish(tile.tile_id, [(f"pixels {now}", (4, 4))], float(now))
            result = row(spectrum(rng, blur_px), path, acquisition=Acquisition(stage_um=stage_um), **keys)
            about = replace(ABOUT, tile_sha256=f"pixels {now}")
            ledger.store([(tile.tile_id, replace(result, provenance=about))], float(now))
        return tile.tile_id

    return take


@pytest.fixture
def sharp(take: Take) -> None:
    """The sharp tiles of section 1."""
    for k in range(GOOD):
        take(f"s0001_r0_c{k}.tif", place=Position(section=1, row=0, col=k))


@pytest.fixture
def bad(sharp: None, take: Take) -> list[str]:
    """Two blurred tiles, of sections 1 and 2."""
    take("s0001_r1_c0.tif", 2.0, place=Position(section=1, row=1, col=0), stage_um=(48509.0, -1500.0, 10000.0))
    take("s0002_r0_c0.tif", 2.5, place=Position(section=2, row=0, col=0))
    return ["s0001_r1_c0.tif", "s0002_r0_c0.tif"]


def invoke(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args], catch_exceptions=False)


def listed(*args: str) -> dict[str, Any]:
    """The tiles of `mhfd retakes --json`, by name."""
    done = invoke("retakes", "--json", *args)
    assert done.exit_code == 0, done.stderr
    return {each["tile"]: each for each in json.loads(done.stdout)["tiles"]}


def states(*args: str) -> dict[str, str]:
    return {name: each["state"] for name, each in listed(*args).items()}


def say(ledger: Ledger, run: Run, now: float = 1e9) -> None:
    """What a watch leaves in the ledger at its end: its word on tiles to look at, and the numbers."""
    tiles = judge_run(ledger, run.run_id)
    known = {each.tile_id for each in ledger.said(run.run_id)}
    told = [t for t in tiles if t.result.verdict in ("out_of_focus", "astigmatic") or t.tile_id in known]
    words = [
        Said(t.tile_id, str(t.result.verdict), now, t.tile_sha256, {"was": None, **judged_keys(t.result)}) for t in told
    ]
    ledger.say(run.run_id, words)
    counts: dict[str, int] = {}
    for tile in tiles:
        counts[str(tile.result.verdict)] = counts.get(str(tile.result.verdict), 0) + 1
    rule = ledger.rule(run.run_id)
    ledger.set_verdicts(
        run.run_id, {"counts": counts, "results": len(tiles), "max_blur_px": rule.get("max_blur_px")}, now
    )


# --- The list -----------------------------------------------------------------------------------------------------


def test_blurred_tiles_are_open_until_somebody_decides(bad: list[str]) -> None:
    assert states() == dict.fromkeys(bad, "open")


def test_each_tile_has_place_stage_reason_and_blur(bad: list[str]) -> None:
    found = listed()[bad[0]]
    assert found["position"] == {"section": 1, "grid": None, "row": 1, "col": 0, "tile": None}
    assert found["stage_um"] == [48509.0, -1500.0, 10000.0]
    assert found["blur_px"] == pytest.approx(2.0, abs=0.2)
    assert found["blur_nm"] == pytest.approx(4.0 * found["blur_px"], abs=0.01)
    assert found["reason"].startswith(f"out of focus, blur {found['blur_px']:.1f} px")
    assert listed()[bad[1]]["stage_um"] is None


def test_the_table_is_by_section(bad: list[str]) -> None:
    lines = invoke("retakes").stdout.splitlines()
    assert [lines[0], lines[2]] == ["section 1: 1 tile", "section 2: 1 tile"]
    assert lines[1].startswith(f"  {bad[0]}  row 1, col 0, stage 48509.0, -1500.0, 10000.0 um: out of focus, blur ")
    assert lines[1].endswith("(open)")
    assert lines[-1] == "2 tiles to take again or to decide about"


def test_the_csv_has_the_same_values(bad: list[str], tmp_path: Path) -> None:
    assert invoke("retakes", "--format", "csv", "--out", tmp_path / "list.csv").stderr.startswith("2 tiles in ")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "list.csv").read_text())))
    assert [(each["path"], each["section"], each["row"], each["col"]) for each in rows] == [
        (bad[0], "1", "1", "0"),
        (bad[1], "2", "0", "0"),
    ]
    assert [float(each["blur_px"]) for each in rows] == [each["blur_px"] for each in listed().values()]
    assert (rows[0]["stage_x_um"], rows[0]["stage_y_um"], rows[1]["stage_x_um"]) == ("48509.0", "-1500.0", "")


def test_a_failed_tile_is_to_be_taken_again_too(sharp: None, ledger: Ledger, run: Run, make_failed: Any) -> None:
    ledger.see(run.run_id, [(SeenFile("cut.tif", 10, 1), None)], 100.0)
    (tile,) = ledger.take(run.run_id, "seen", 9, now=0)
    ledger.store([(tile.tile_id, make_failed("cut.tif"))], 100.0)
    assert listed()["cut.tif"]["reason"] == "failed, cut.tif is no image"
    assert "section unknown: 1 tile" in invoke("retakes").stdout


def test_a_remark_is_part_of_the_reason(sharp: None, take: Take) -> None:
    take("b.tif", 2.0, remarks=(Remark(code="charging", message="bright streaks"),))
    found = listed()["b.tif"]
    assert found["reason"].endswith(", bright streaks")
    assert found["remarks"] == [{"code": "charging", "message": "bright streaks"}]


def test_only_results_since_a_time(bad: list[str]) -> None:
    assert list(listed("--since", "1970-01-01T00:00:14+00:00")) == [bad[1]]
    assert listed("--since", "1h") == {}


def test_sbemimage_gets_its_own_ids(sharp: None, take: Take) -> None:
    take("tiles/g0000/t0065/stack_g0000_t0065_s00314.tif", 2.0)
    take("other.tif", 2.0)
    assert invoke("retakes", "--sbemimage").stdout.splitlines() == ["0000.0065.00314"]
    found = listed()["tiles/g0000/t0065/stack_g0000_t0065_s00314.tif"]
    assert (found["sbemimage_id"], found["sbemimage_tile"]) == ("0000.0065.00314", "0.65")


def test_formats_exclude_each_other(run: Run) -> None:
    assert invoke("retakes", "--json", "--sbemimage").exit_code == 2
    assert invoke("retakes", "--by", "ana").exit_code == 2


# --- Decisions ----------------------------------------------------------------------------------------------------


def test_decisions_are_kept_with_who_when_and_why(bad: list[str]) -> None:
    done = invoke("retakes", "--accept", bad[0], "--retake", bad[1], "--by", "ana", "--note", "a fold")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [f"retake: {bad[1]}", f"accept: {bad[0]}"]
    assert states() == {bad[1]: "retake"}
    found = listed("--all")[bad[0]]
    assert (found["state"], found["decision"], found["decided_by"], found["note"]) == (
        "accept", "accept", "ana", "a fold",
    )  # fmt: skip
    assert "(accept by ana, 20" in invoke("retakes", "--all").stdout


def test_a_decision_can_be_taken_back(bad: list[str]) -> None:
    invoke("retakes", "--ignore", bad[0])
    invoke("retakes", "--open", bad[0])
    assert states() == dict.fromkeys(bad, "open")


def test_a_sharp_tile_can_be_sent_back_by_a_person(bad: list[str]) -> None:
    invoke("retakes", "--retake", "s0001_r0_c3.tif")
    assert states()["s0001_r0_c3.tif"] == "retake"
    assert listed()["s0001_r0_c3.tif"]["reason"].startswith("in focus")
    invoke("retakes", "--open", "s0001_r0_c3.tif")
    assert list(states()) == bad


def test_a_wrong_name_changes_nothing(bad: list[str]) -> None:
    done = invoke("retakes", "--accept", bad[0], "--accept", "s0002_r0_c0.tiff")
    assert done.exit_code == 2
    assert f"has no tile s0002_r0_c0.tiff; did you mean {bad[1]}?" in done.stderr
    assert states() == dict.fromkeys(bad, "open")


def test_two_decisions_on_one_tile_are_refused(bad: list[str]) -> None:
    assert invoke("retakes", "--accept", bad[0], "--retake", bad[0]).exit_code == 2
    assert states() == dict.fromkeys(bad, "open")


def test_who_decides_is_the_account_unless_somebody_says_so(bad: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "microscope")
    invoke("retakes", "--accept", bad[0])
    assert listed("--all")[bad[0]]["decided_by"] == "microscope"


def test_decisions_of_another_process_count_while_a_watch_runs(bad: list[str], ledger: Ledger, run: Run) -> None:
    with ledger.lease(run.run_id):
        command = [sys.executable, "-m", "mhfd_client", "retakes", "--ignore", bad[0], "--by", "ben"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, f"ignore: {bad[0]}\n")
        assert [(each.decision, each.who) for each in ledger.decisions(run.run_id)] == [("ignore", "ben")]
    assert states() == {bad[1]: "open"}


def test_export_has_the_decisions(bad: list[str], tmp_path: Path) -> None:
    invoke("retakes", "--accept", bad[0], "--by", "ana")
    rows = {each["path"]: each for each in csv.DictReader(io.StringIO(invoke("export").stdout))}
    assert (rows[bad[0]]["decision"], rows[bad[0]]["decided_by"]) == ("accept", "ana")
    assert rows[bad[0]]["decided_at"].endswith("+00:00")
    assert (rows[bad[1]]["decision"], rows[bad[1]]["decided_by"]) == ("open", "")
    assert rows["s0001_r0_c0.tif"]["decision"] == ""
    parquet = pytest.importorskip("pyarrow.parquet")
    invoke("export", "--format", "parquet", "--out", tmp_path / "t.parquet")
    table = {each["path"]: each for each in parquet.read_table(tmp_path / "t.parquet").to_pylist()}
    assert [table[name]["decision"] for name in bad] == ["accept", "open"]
    line = json.loads(invoke("export", "--format", "jsonl").stdout.splitlines()[0])
    assert "decision" not in line


# --- Taken again --------------------------------------------------------------------------------------------------


def test_a_tile_taken_again_and_sharp_is_closed(bad: list[str], take: Take, ledger: Ledger, run: Run) -> None:
    say(ledger, run)
    take(bad[0])
    assert states() == {bad[1]: "open"}
    found = listed("--all")[bad[0]]
    assert (found["state"], found["decision"], found["newer_tile"]) == ("closed", None, bad[0])
    assert found["newer_verdict"] == "in_focus"
    assert found["newer_at"] is not None
    assert "(closed 1970" in invoke("retakes", "--all").stdout


def test_a_retake_that_was_asked_for_is_closed_when_it_is_sharp(bad: list[str], take: Take) -> None:
    invoke("retakes", "--retake", bad[0], "--by", "ana")
    take(bad[0])
    assert states() == {bad[1]: "open"}
    found = listed("--all")[bad[0]]
    assert (found["state"], found["decision"], found["decided_by"]) == ("closed", "retake", "ana")


def test_a_tile_taken_again_and_still_blurred_is_open_again(
    bad: list[str], take: Take, ledger: Ledger, run: Run
) -> None:
    invoke("retakes", "--retake", bad[0])
    take(bad[0], 1.8)
    assert listed()[bad[0]]["reason"].endswith("taken again 1 time")
    take(bad[0], 2.2)
    found = listed()[bad[0]]
    assert (found["state"], found["taken_again"], found["decision"]) == ("open", 2, None)
    assert found["blur_px"] == pytest.approx(2.2, abs=0.2)


@pytest.mark.parametrize("choice", ["accept", "ignore"])
def test_accepting_is_about_those_pixels(bad: list[str], take: Take, choice: str) -> None:
    invoke("retakes", f"--{choice}", bad[0])
    take(bad[0], 2.5)
    assert states()[bad[0]] == "open"


def test_a_file_that_was_only_touched_keeps_its_decision(bad: list[str], ledger: Ledger, run: Run) -> None:
    invoke("retakes", "--accept", bad[0])
    (tile,) = [each for each in ledger.rows(run.run_id) if each.name == bad[0]]
    ledger.see(run.run_id, [(SeenFile(bad[0], 10, 999), tile.position)], 500.0)
    (again,) = ledger.take(run.run_id, "seen", 9, now=0)
    ledger.finish(again.tile_id, [(str(tile.tile_sha256), (4, 4))], 500.0)
    assert states() == {bad[1]: "open"}  # also while it has no result
    result = FocusResult.from_dict(tile.result)
    ledger.store([(again.tile_id, result)], 501.0)
    assert states() == {bad[1]: "open"}
    assert listed("--all")[bad[0]]["taken_again"] == 0


def test_a_tile_whose_retake_is_under_way_stays_on_the_list(
    bad: list[str], take: Take, ledger: Ledger, run: Run
) -> None:
    say(ledger, run)
    take(bad[0], scored=False)
    found = listed()[bad[0]]
    assert found["state"] == "open"
    assert found["reason"].endswith("taken again: no result yet")
    assert found["newer_at"] is None


def test_a_newer_tile_at_the_same_place_closes_it(bad: list[str], take: Take) -> None:
    take("again/s0001_r1_c0_b.tif", place=Position(section=1, row=1, col=0))
    assert states() == {bad[1]: "open"}
    found = listed("--all")[bad[0]]
    assert (found["state"], found["newer_tile"]) == ("closed", "again/s0001_r1_c0_b.tif")
    assert "taken again as again/s0001_r1_c0_b.tif: in focus" in found["reason"]
    rows = {each["path"]: each for each in csv.DictReader(io.StringIO(invoke("export").stdout))}
    assert (rows[bad[0]]["verdict"], rows[bad[0]]["decision"]) == ("out_of_focus", "")


def test_a_newer_tile_at_the_same_place_that_is_blurred_takes_its_place(bad: list[str], take: Take) -> None:
    take("again.tif", 2.0, place=Position(section=1, row=1, col=0))
    assert states() == {"again.tif": "open", bad[1]: "open"}
    assert listed()["again.tif"]["taken_again"] == 1


def test_an_older_tile_at_the_same_place_closes_nothing(sharp: None, take: Take) -> None:
    place = Position(section=3, row=0, col=0)
    take("first.tif", place=place)
    take("second.tif", 2.0, place=place)
    assert states() == {"second.tif": "open"}


def test_two_detectors_are_no_retakes(take: Take) -> None:
    """Where most places have two tiles, a sharp one of the one detector says nothing of the other's."""
    for k in range(GOOD):
        place = Position(section=1, row=0, col=k)
        take(f"se/s0001_r0_c{k}.tif", 2.0 if k == 5 else 0.0, place=place)
        take(f"bse/s0001_r0_c{k}.tif", place=place)
    assert states() == {"se/s0001_r0_c5.tif": "open"}


def test_pages_that_were_taken_again_are_matched_by_number(sharp: None, ledger: Ledger, run: Run) -> None:
    rng = np.random.default_rng(5)
    for n, blurs in enumerate(([2.0, 2.0], [0.0, 2.0])):
        ledger.see(run.run_id, [(SeenFile("stack.tif", 10, 100 + n), None)], 100.0 + n)
        (tile,) = ledger.take(run.run_id, "seen", 9, now=0)
        ledger.finish(tile.tile_id, [(f"{n} {page}", (4, 4)) for page in range(2)], 100.0 + n)
        for page in ledger.take(run.run_id, "ready", 9, now=0):
            result = row(spectrum(rng, blurs[page.page]), page.name)
            about = replace(ABOUT, tile_sha256=page.tile_sha256)
            ledger.store([(page.tile_id, replace(result, provenance=about))], 100.0 + n)
        say(ledger, run, 100.0 + n)
    assert states("--all") == {"stack.tif#page=0": "closed", "stack.tif#page=1": "open"}
    assert listed()["stack.tif#page=1"]["taken_again"] == 1


# --- Status -------------------------------------------------------------------------------------------------------


def status() -> dict[str, Any]:
    found = json.loads(invoke("status", "--json").stdout)
    assert isinstance(found, dict)
    return found


def test_status_has_the_verdicts_and_the_tiles_to_look_at(bad: list[str]) -> None:
    invoke("retakes", "--retake", bad[0], "--by", "ana")
    found = status()
    assert {verdict: n for verdict, n in found["verdicts"].items() if n} == {"in_focus": GOOD, "out_of_focus": 2}
    assert (found["verdicts_by"], found["to_look_at"]) == ("judged", 2)
    assert [(each["tile"], each["decision"], each["decided_by"]) for each in found["tiles_to_look_at"]] == [
        (bad[1], "open", None),
        (bad[0], "retake", "ana"),
    ]
    text = invoke("status").stdout
    assert f"verdicts: {GOOD} in focus, 2 out of focus" in text
    assert f"  {bad[0]}: section 1, row 1, col 0: out of focus, blur " in text
    assert "(retake by ana)" in text


def test_status_leaves_out_what_was_accepted_or_closed(bad: list[str], take: Take) -> None:
    invoke("retakes", "--accept", bad[0])
    take("again.tif", place=Position(section=2, row=0, col=0))
    assert status()["tiles_to_look_at"] == []


def test_status_lists_twenty_tiles_unless_all_are_asked_for(sharp: None, take: Take) -> None:
    for k in range(23):
        take(f"b{k:02}.tif", 2.0)
    text = invoke("status").stdout
    assert "to look at: 23" in text
    assert "and 3 more: --all lists them" in text
    assert "b00.tif" not in text
    assert "b00.tif" in invoke("status", "--all").stdout


def test_a_name_is_never_broken_by_a_narrow_terminal(sharp: None, take: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    name = f"{'long_' * 30}.tif"
    take(name, 2.0)
    assert name in invoke("status").stdout
    assert name in invoke("retakes").stdout


def test_status_has_the_open_events(ledger: Ledger, run: Run) -> None:
    seen, _ = ledger.begin_event(run.run_id, "worsening", "", {"text": "focus is getting worse"}, 100.0)
    ledger.begin_event(run.run_id, "missing", "", {"text": "3 tiles are missing"}, 200.0)
    over, _ = ledger.begin_event(run.run_id, "endpoint", "dgx", {"text": "dgx is away"}, 300.0)
    ledger.begin_event(run.run_id, "tiles", "", {"count": 1, "tiles": []}, 250.0)  # tells of tiles that are listed
    ledger.acknowledge(run.run_id, seen.event_id, "ana", 150.0)
    ledger.end_event(over.event_id, 400.0)
    assert [(each["kind"], each["text"], each["acknowledged_by"]) for each in status()["events"]] == [
        ("missing", "3 tiles are missing", None),
        ("worsening", "focus is getting worse", "ana"),
    ]
    text = invoke("status").stdout
    assert "! 3 tiles are missing (since 1970-" in text
    assert ", acknowledged by ana)" in text
    assert "dgx" not in text


def test_no_text_of_strangers_reaches_a_terminal_as_it_is(sharp: None, take: Take, ledger: Ledger, run: Run) -> None:
    take("\x1b[2J.tif", 2.0)
    ledger.begin_event(run.run_id, "endpoint", "", {"text": "\x1b]0;owned\x07"}, 1.0)
    invoke("retakes", "--retake", "\x1b[2J.tif", "--by", "\x1b[31m", "--note", "a\nb")
    for command in (["status"], ["retakes"], ["retakes", "--format", "csv"], ["export"]):
        text = invoke(*command).stdout
        assert "\\x1b[2J.tif" in text
        assert "\x1b" not in text and "\x07" not in text


def test_each_key_is_described(bad: list[str], ledger: Ledger, run: Run) -> None:
    ledger.begin_event(run.run_id, "missing", "", {"text": "3 tiles are missing"}, 200.0)
    shown = status()
    told = json.loads(invoke("retakes", "--json").stdout)
    header = invoke("retakes", "--format", "csv").stdout.splitlines()[0].split(",")
    for page, keys in (
        ("ledger.md", [*shown["tiles_to_look_at"][0], *shown["events"][0]]),
        ("retakes.md", [*told, *told["tiles"][0]]),
    ):
        text = (DOCS / page).read_text(encoding="utf-8")
        assert [key for key in keys if f"`{key}`" not in text] == []
    of_place = {"path", "section", "grid", "row", "col", "stage_x_um", "stage_y_um", "stage_z_um"}
    assert set(header) == (told["tiles"][0].keys() - {"position", "stage_um"}) | of_place


# --- By the word of a watch ---------------------------------------------------------------------------------------


def test_who_asks_a_run_that_was_watched_to_its_end_gets_the_word_of_its_watch(
    bad: list[str], ledger: Ledger, run: Run
) -> None:
    before, verdicts = listed(), status()["verdicts"]
    say(ledger, run)
    found = status()
    assert (found["verdicts_by"], found["verdicts"]) == ("watch", verdicts)
    assert [each["blur_px"] for each in found["tiles_to_look_at"]] == [before[name]["blur_px"] for name in bad[::-1]]
    assert listed() == before


def test_a_new_result_ends_the_word_of_a_watch(bad: list[str], take: Take, ledger: Ledger, run: Run) -> None:
    say(ledger, run)
    take("late.tif", 2.0)
    assert status()["verdicts_by"] == "judged"
    assert "late.tif" in states()


def test_programs_read_one_object_with_the_run_it_is_of(bad: list[str], run: Run) -> None:
    found = json.loads(invoke("retakes", run.root, "--json").stdout)
    assert (found["schema"], found["run"]["folder"], found["counts"]) == (1, run.root, {"open": 2})
