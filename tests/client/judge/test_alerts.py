"""Tiles to look at are named once, when there is enough to compare them with, and named again when that changes."""

from __future__ import annotations

import csv
import io
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mhfd._version import __version__
from mhfd.contract import FocusParams, FocusResult, Provenance
from mhfd_client.judge import alerts
from mhfd_client.judge.alerts import Alert, Alerts, News
from mhfd_client.judge.explain import explain
from mhfd_client.judge.find import find_tile
from mhfd_client.judge.identical import with_identical_frames
from mhfd_client.judge.run import keep_references, standard_of
from mhfd_client.ledger import Ledger, LedgerFullError, Run, SeenFile, open_ledger
from mhfd_client.naming.position import Position
from mhfd_client.views.export import export, judged_rows
from spectra import row as row_of
from spectra import spectrum

PARAMS = FocusParams()


def result(path: str, score: float | None, anisotropy: float = 0.05, pixels: str | None = None) -> FocusResult:
    about = Provenance(
        mhfd=__version__, params_sha256=PARAMS.sha256, backend="numpy", device="cpu", tile_sha256=pixels or path
    )
    if score is None:
        return FocusResult.failed(path, "corrupt", "it is damaged", about)
    return FocusResult(
        path=path, status="scored", provenance=about, shape=(4, 4), dtype="uint8", features=3, features_per_mpx=3.0,
        features_by_scale=(3,), scales_px=(1.0,), focus_score=score, noise=0.01, content=1.0, anisotropy=anisotropy,
        saturated=0.0, vollath_f4=0.001,
    )  # fmt: skip


class Watch:
    """A run in a ledger, and its alerts."""

    def __init__(self, ledger: Ledger, run: Run) -> None:
        self.ledger, self.run = ledger, run
        self.alerts = Alerts(ledger, run.run_id)
        self.time = 0

    def add(self, results: Iterable[FocusResult], position: Position | None = None) -> list[Alert]:
        """Take the files up and store their results, taken again where they are known."""
        stored: list[News] = []
        for each in results:
            self.time += 1
            self.ledger.see(self.run.run_id, [(SeenFile(each.path, 10, self.time), position)], float(self.time))
            (row,) = self.ledger.take(self.run.run_id, "seen", 9, now=0)
            if each.status == "scored":
                self.ledger.finish(row.tile_id, [(str(each.provenance.tile_sha256), (4, 4))], float(self.time))
            self.ledger.store([(row.tile_id, each)], float(self.time))
            stored.append(News.of(row, each))
        return self.alerts.add(stored)

    def sharp(self, n: int = 8, folder: str = "run") -> list[Alert]:
        return self.add(result(f"{folder}/{k}.tif", 10.0) for k in range(n))

    def exported(self) -> dict[str, str]:
        """The tiles to look at, as `mhfd export` has them."""
        found = judged_rows(self.ledger, self.run, self.ledger.rows(self.run.run_id))
        return {row.name: each["verdict"] for row, each in found if each and each["verdict"] in alerts.TO_LOOK_AT}


@pytest.fixture
def watch() -> Iterator[Watch]:
    with tempfile.TemporaryDirectory() as folder, open_ledger(Path(folder) / "ledger.db") as ledger:
        yield Watch(ledger, ledger.open_run(folder, PARAMS, layout="auto", endpoint="local"))


def names(told: list[Alert]) -> list[str]:
    return [alert.path for alert in told]


def test_blurred_tile_among_sharp_ones_is_named(watch: Watch) -> None:
    watch.sharp()
    (told,) = watch.add([result("run/bad.tif", 2.0)])
    assert str(told) == "out of focus: run/bad.tif (focus score 2, compared with scores of its folder)"


def test_blurred_tile_that_came_first_is_named_when_there_are_others(watch: Watch) -> None:
    assert watch.add([result("run/bad.tif", 2.0)]) == []
    assert names(watch.sharp()) == ["run/bad.tif"]


def test_tile_is_named_once(watch: Watch) -> None:
    watch.sharp()
    watch.add([result("run/bad.tif", 2.0)])
    assert watch.add([result("run/9.tif", 10.0)]) == []
    assert watch.alerts.settle() == []


def test_failed_tile_is_named_at_once(watch: Watch) -> None:
    assert [str(each) for each in watch.add([result("run/t.tif", None)])] == ["failed: run/t.tif: it is damaged"]


def test_folders_are_judged_apart(watch: Watch) -> None:
    watch.sharp(folder="one")
    assert watch.add(result(f"two/{k}.tif", 2.0) for k in range(8)) == []


def test_a_verdict_that_changes_is_corrected(watch: Watch) -> None:
    """Five sharp tiles make two blurred ones look bad, until it turns out that most are like them."""
    watch.sharp(5)
    assert len(watch.add(result(f"run/b{k}.tif", 5.0) for k in range(2))) == 2
    told = [str(each) for each in watch.add(result(f"run/c{k}.tif", 5.0) for k in range(20))]
    assert told[:2] == [
        f"now in focus: run/b{k}.tif (was out of focus, focus score 5, compared with scores of its folder)"
        for k in range(2)
    ]


def test_one_verdict_to_look_at_becomes_another(watch: Watch) -> None:
    watch.add(result(f"run/{k}.tif", 10.0 + k % 3) for k in range(9))
    (first,) = watch.add([result("run/bad.tif", 6.0, anisotropy=0.5)])
    assert first.verdict == "astigmatic"
    told = watch.add(result(f"run/m{k}.tif", 10.0, anisotropy=0.45) for k in range(20))
    assert [str(each) for each in told if each.path == "run/bad.tif"] == [
        "now out of focus: run/bad.tif (was astigmatic, focus score 6, compared with scores of its folder)"
    ]


def test_a_failed_tile_that_is_finished_later_gets_an_all_clear(watch: Watch) -> None:
    watch.add([result("run/t.tif", None)])
    assert [str(each) for each in watch.add([result("run/t.tif", 10.0)])] == ["now scored: run/t.tif (was failed)"]


def test_a_tile_that_failed_in_an_earlier_process_gets_it_too(watch: Watch) -> None:
    watch.sharp()
    watch.add([result("run/t.tif", None)])
    watch.alerts = Alerts(watch.ledger, watch.run.run_id)
    assert [str(each) for each in watch.add([result("run/t.tif", 10.0)])] == [
        "now in focus: run/t.tif (was failed, focus score 10, compared with scores of its folder)"
    ]


def test_a_tile_that_was_taken_again_and_is_no_better_is_named_again(watch: Watch) -> None:
    watch.sharp()
    watch.add([result("run/bad.tif", 2.0)])
    assert names(watch.add([result("run/bad.tif", 2.1, pixels="others")])) == ["run/bad.tif"]
    (told,) = watch.add([result("run/bad.tif", 10.0, pixels="sharp")])
    assert str(told).startswith("now in focus: run/bad.tif")


def test_tiles_of_an_earlier_process_are_not_named_again_but_count_as_peers(watch: Watch) -> None:
    watch.sharp()
    watch.add([result("run/bad.tif", 2.0)])
    watch.alerts = Alerts(watch.ledger, watch.run.run_id)
    assert names(watch.add([result("run/worse.tif", 1.9)])) == ["run/worse.tif"]


def test_memory_is_bounded(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "SAID", 5)
    for k in range(12):
        watch.add([result(f"{k}/bad{i}.tif", None) for i in range(3)])
        watch.sharp(2, folder=str(k))
    assert len(watch.alerts._said) == 5


# --- How the run goes ---------------------------------------------------------------------------------------------


def events(watch: Watch) -> list[tuple[str, bool]]:
    """Kind of each event, the oldest first, and whether it lasts."""
    return [(event.kind, event.ended_at is None) for event in reversed(watch.ledger.events(watch.run.run_id))]


def test_a_drift_is_one_event_that_ends_with_the_refocus(watch: Watch) -> None:
    watch.add(in_focus(16))
    assert events(watch) == []
    for k in range(10):
        watch.add([of_blur(f"run/d{k}.tif", 0.15 * k)])
    assert ("worsening", True) in events(watch)
    (event,) = [each for each in watch.ledger.events(watch.run.run_id) if each.kind == "worsening"]
    text = str(event.details["text"])
    assert re.match(r"focus is getting worse: blur 1\.\d px \(\d nm\) in the last 5 tiles, usual here 0\.\d px", text)
    watch.add(of_blur(f"run/e{k}.tif", 0.0) for k in range(8))
    assert ("worsening", False) in events(watch)
    watch.add(of_blur(f"run/f{k}.tif", 0.0) for k in range(20))
    assert [kind for kind, _ in events(watch)].count("worsening") == 1


def test_a_restart_in_the_middle_of_a_drift_begins_no_second_event(watch: Watch) -> None:
    watch.add(in_focus(16))
    watch.add(of_blur(f"run/d{k}.tif", 1.5) for k in range(6))
    before = events(watch)
    start_again(watch)
    watch.add([of_blur("run/d6.tif", 1.5)])
    assert events(watch) == before


def test_many_bad_tiles_far_apart_are_an_event_but_no_worsening(watch: Watch) -> None:
    watch.add(in_focus(16))
    watch.add(of_blur(f"run/m{k:02}.tif", 2.0 if k % 4 == 0 else 0.0) for k in range(20))
    assert events(watch) == [("many", True)]


def test_a_long_run_is_followed_between_its_judgements(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("AT_ONCE", 20), ("NEAR", 10), ("GROWTH", 10.0)):
        monkeypatch.setattr(alerts, name, value)
    watch.add(in_focus(20))
    for k in range(6):
        watch.add([of_blur(f"run/d{k}.tif", 1.5)])
    assert events(watch)[-1] == ("worsening", True)


# --- Started again ------------------------------------------------------------------------------------------------


def start_again(watch: Watch, ledger: Ledger | None = None) -> list[str]:
    """What another process says first."""
    watch.alerts = Alerts(ledger or watch.ledger, watch.run.run_id)
    return [str(each) for each in watch.alerts.start()]


def test_a_process_that_starts_again_tells_what_stands_and_nothing_new(watch: Watch) -> None:
    watch.sharp()
    (first,) = watch.add([result("run/bad.tif", 2.0)])
    (failed,) = watch.add([result("run/t.tif", None)])
    assert start_again(watch) == [f"still {first}", f"still {failed}"]
    assert watch.alerts.settle() == []


def test_what_was_scored_but_not_said_is_said_after_a_restart(watch: Watch) -> None:
    watch.sharp()
    said = watch.alerts
    watch.alerts = type("Killed", (), {"add": staticmethod(lambda _: [])})()  # type: ignore[assignment]
    watch.add([result("run/bad.tif", 2.0)])
    watch.alerts = said
    (told,) = start_again(watch)
    assert told.startswith("out of focus: run/bad.tif")


def test_a_verdict_of_an_earlier_process_is_corrected(watch: Watch) -> None:
    watch.sharp(5)
    watch.add(result(f"run/b{k}.tif", 5.0) for k in range(2))
    start_again(watch)
    told = [str(each) for each in watch.add(result(f"run/c{k}.tif", 5.0) for k in range(20))]
    assert [each.partition(" (")[0] for each in told][:2] == [f"now in focus: run/b{k}.tif" for k in range(2)]
    assert start_again(watch) == []


def test_a_tile_taken_again_after_a_restart_gets_the_all_clear(watch: Watch) -> None:
    watch.sharp()
    watch.add([result("run/bad.tif", 2.0)])
    start_again(watch)
    (told,) = watch.add([result("run/bad.tif", 10.0, pixels="sharp")])
    assert str(told).startswith("now in focus: run/bad.tif (taken again, was out of focus")
    assert start_again(watch) == []


def test_the_ledger_has_what_was_said_and_the_numbers_by_verdict(watch: Watch) -> None:
    watch.add(in_focus(12))
    watch.add([of_blur("run/bad.tif", 3.0), result("run/t.tif", None)])
    failed, bad = sorted(watch.ledger.said(watch.run.run_id), key=lambda each: each.verdict)
    assert (failed.verdict, failed.tile_sha256, failed.details["message"]) == ("failed", None, "it is damaged")
    assert (bad.verdict, bad.details["name"], bad.details["was"]) == ("out_of_focus", "run/bad.tif", None)
    assert bad.details["blur_px"] == pytest.approx(3.0, abs=0.2)
    assert {"confidence", "worst_block", "reference", "remarks"} <= bad.details.keys()
    numbers = watch.ledger.verdicts(watch.run.run_id)
    assert numbers is not None
    assert numbers[0]["counts"] == {"in_focus": 12, "out_of_focus": 1, "failed": 1}
    assert (numbers[0]["results"], numbers[0]["max_blur_px"]) == (14, 1.1)


def test_nothing_is_remembered_that_the_ledger_did_not_take(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.sharp()
    say, refusals = watch.ledger.say, [LedgerFullError("make room")]

    def full_at_first(*given: Any) -> None:
        if refusals:
            raise refusals.pop()
        say(*given)

    monkeypatch.setattr(watch.ledger, "say", full_at_first)
    with pytest.raises(LedgerFullError):
        watch.add([result("run/bad.tif", 2.0)])
    assert names(watch.alerts.settle()) == ["run/bad.tif"]


scores = st.sampled_from([None, 1.0, 2.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 10.5, 12.0, 20.0])
tiles = st.tuples(st.sampled_from("ab"), st.integers(0, 25), scores, st.sampled_from([0.05, 0.1, 0.3, 0.6]))


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(st.lists(tiles, min_size=1, max_size=12), max_size=12), small=st.booleans())
def test_at_the_end_of_a_run_watch_and_export_say_the_same(
    batches: list[list[tuple[str, int, float | None, float]]], small: bool
) -> None:
    at_once = alerts.AT_ONCE
    alerts.AT_ONCE = 3 if small else at_once
    try:
        with tempfile.TemporaryDirectory() as folder, open_ledger(Path(folder) / "ledger.db") as ledger:
            watch = Watch(ledger, ledger.open_run(folder, PARAMS, layout="auto", endpoint="local"))
            said: dict[str, str] = {}
            told: list[Alert] = []
            for n, batch in enumerate(batches):
                once = {f"{name}/{k}.tif": (score, lean) for name, k, score, lean in batch}
                told += watch.add(result(path, *each, pixels=f"{path}{n}") for path, each in once.items())
            for alert in told + watch.alerts.settle():
                said[alert.path] = alert.verdict
            bad = {path: verdict for path, verdict in said.items() if verdict in alerts.TO_LOOK_AT}
            assert bad == watch.exported()
    finally:
        alerts.AT_ONCE = at_once


# --- Tiles with a spectrum ------------------------------------------------------------------------------------------

RIGHT_HALF = np.array([0, 0, 2.5, 2.5]) * np.ones((4, 1))


def of_blur(path: str, sigma_px: Any, seed: int | None = None) -> FocusResult:
    """A tile of this blur; without a seed that of its path."""
    seed = sum(map(ord, path)) if seed is None else seed
    about = Provenance(
        mhfd=__version__, params_sha256=PARAMS.sha256, backend="numpy", device="cpu", tile_sha256=f"{path}{seed}"
    )
    return row_of(spectrum(np.random.default_rng(seed), sigma_px), path, provenance=about)


def in_focus(n: int) -> list[FocusResult]:
    return [of_blur(f"run/{k:03}.tif", 0.0) for k in range(n)]


def test_an_alert_says_how_blurred_a_tile_is(watch: Watch) -> None:
    assert watch.add(in_focus(12)) == []
    (told,) = watch.add([of_blur("run/bad.tif", 3.0)])
    size = r"blur (2.9|3.0|3.1) px \(1[123] nm\)"
    usual = r"usual here 0\.\d px \([012] nm\)"
    reference = r"compared with \d+ tiles of this run"
    why = rf"{size}, threshold 1.1 px, {usual}, focus score 5, {reference}"
    assert re.fullmatch(rf"out of focus: run/bad.tif \({why}\)", str(told))


def test_an_alert_begins_with_the_time_and_says_the_place(watch: Watch) -> None:
    watch.add(in_focus(12))
    watch.alerts = Alerts(watch.ledger, watch.run.run_id, clock=lambda: 1e9)
    here = Position(section=3, row=0, col=1)
    (told,) = watch.add([of_blur("run/bad.tif", 3.0)], here)
    clock = time.strftime("%H:%M:%S", time.localtime(1e9))
    assert told.line.startswith(f"{clock} out of focus: run/bad.tif (section 3, row 0, col 1: blur ")
    (failed,) = watch.add([result("run/t.tif", None)], here)
    assert str(failed) == "failed: run/t.tif (section 3, row 0, col 1): it is damaged"
    assert start_again(watch) == [f"still {told}", f"still {failed}"]


def test_what_is_usual_is_that_of_the_last_sharp_tiles_before_a_tile(watch: Watch) -> None:
    """As `mhfd explain` says it."""
    watch.add(of_blur(f"run/a{k:03}.tif", 0.0) for k in range(60))
    watch.add(of_blur(f"run/b{k:03}.tif", 0.6) for k in range(60))
    told = watch.add([of_blur("run/c.tif", 3.0)])[-1]
    (run, row) = find_tile(watch.ledger, "run/c.tif") or pytest.fail("it is there")
    usual_px = explain(watch.ledger, run, row).usual_px
    assert told.numbers["usual_px"] == usual_px
    assert usual_px == pytest.approx(0.6, abs=0.2)  # not the half of it, as of the whole run
    assert f"usual here {usual_px:.1f} px" in str(told)


def test_a_correction_says_that_the_tile_was_taken_again(watch: Watch) -> None:
    watch.add(in_focus(12))
    watch.add([of_blur("run/bad.tif", 3.0)])
    (told,) = watch.add([of_blur("run/bad.tif", 0.0, seed=5)])
    assert re.match(r"now in focus: run/bad.tif \(taken again, was out of focus, blur 0\.\d px ", str(told))


def test_the_last_judgement_is_what_is_kept_for_later_runs(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.add(in_focus(20))
    watch.alerts.settle()
    monkeypatch.setattr(alerts, "judge_run", lambda *_: pytest.fail("it was judged again"))
    watch.alerts.keep()
    (kept,) = watch.ledger.references("default")
    keep_references(watch.ledger, watch.run.run_id, "other")
    (anew,) = watch.ledger.references("other")
    assert (kept.tiles, kept.reference) == (anew.tiles, anew.reference)
    assert kept.reference["name"] == f"run {watch.run.run_id}"


def test_an_alert_says_where(watch: Watch) -> None:
    watch.add(in_focus(12))
    (told,) = watch.add([of_blur("run/bad.tif", RIGHT_HALF)])
    assert "right" in str(told)


def test_a_tile_that_turns_out_to_be_usual_gets_an_all_clear(watch: Watch) -> None:
    """Blurred beside tiles that are much alike; in focus when it turns out that they differ as much."""
    watch.add(in_focus(20))
    (told,) = watch.add([of_blur("run/soft.tif", 1.0)])
    assert told.verdict == "out_of_focus"
    more = watch.add(of_blur(f"run/m{k:03}.tif", 0.9) for k in range(100))
    now = [str(each) for each in [*more, *watch.alerts.settle()] if each.path == "run/soft.tif"]
    assert now[-1].startswith("now in focus: run/soft.tif (was out of focus, blur ")


def test_a_blurred_start_is_told_when_sharp_tiles_come(watch: Watch) -> None:
    assert watch.add(of_blur(f"run/b{k}.tif", 2.0) for k in range(6)) == []
    told = watch.add(in_focus(12)) + watch.alerts.settle()
    assert sorted(names(told)) == [f"run/b{k}.tif" for k in range(6)]


@pytest.mark.parametrize("max_blur_px", [0.7, 1.1, 1.6, 2.2])
def test_watch_and_export_say_the_same_with_the_threshold_of_the_run(watch: Watch, max_blur_px: float) -> None:
    watch.ledger.set_rule(watch.run.run_id, {"max_blur_px": max_blur_px}, 1.0)
    watch.alerts = Alerts(watch.ledger, watch.run.run_id)
    told = watch.add(in_focus(20))
    told += watch.add(of_blur(f"run/b{k}.tif", 0.2 + 0.25 * k) for k in range(12))
    said = {each.path: each.verdict for each in told + watch.alerts.settle()}
    bad = {path: verdict for path, verdict in said.items() if verdict in alerts.TO_LOOK_AT}
    assert bad == watch.exported()
    assert 3 <= len(bad) < 12


def test_export_takes_another_threshold(watch: Watch) -> None:
    watch.add([*in_focus(20), of_blur("run/soft.tif", 1.6)])
    run_id = watch.run.run_id
    for max_blur_px, verdict in ((1.1, "out_of_focus"), (3.0, "in_focus")):
        table = io.BytesIO()
        export(
            watch.ledger, watch.run, table, "csv", standard=standard_of(watch.ledger, run_id, max_blur_px=max_blur_px)
        )
        lines = {line["path"]: line for line in csv.DictReader(io.StringIO(table.getvalue().decode()))}
        assert lines["run/soft.tif"]["verdict"] == verdict
        assert float(lines["run/soft.tif"]["blur_px"]) == pytest.approx(1.6, abs=0.2)


def test_a_large_run_is_judged_near_its_end_by_its_own_reference(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the last tiles most are blurred: beside them alone the bad ones would be the rule."""
    for name, value in (("AT_ONCE", 20), ("NEAR", 10), ("GROWTH", 10.0)):
        monkeypatch.setattr(alerts, name, value)
    watch.add(in_focus(20))
    whole_run = [0]
    judge_run = alerts.judge_run
    monkeypatch.setattr(alerts, "judge_run", lambda *given: whole_run.append(1) or judge_run(*given))
    told = [each for k in range(30) for each in watch.add([of_blur(f"run/b{k}.tif", 2.0)])]
    assert whole_run == [0]
    assert [each.path for each in told if each.verdict == "out_of_focus"] == [f"run/b{k}.tif" for k in range(30)]
    watch.alerts.settle()
    assert whole_run == [0, 1]
    assert len(watch.exported()) == 30


def test_a_large_run_is_not_judged_as_a_whole_all_the_time(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("AT_ONCE", 0), ("GROWTH", 0.0), ("SHARE_OF_TIME", 1e9)):
        monkeypatch.setattr(alerts, name, value)
    whole_run = []
    judge_run = alerts.judge_run
    monkeypatch.setattr(alerts, "judge_run", lambda *given: whole_run.append(1) or judge_run(*given))
    for each in in_focus(20):
        watch.add([each])
    assert whole_run == [1]
    watch.alerts.settle()
    assert whole_run == [1, 1]


# --- Identical frames ---------------------------------------------------------------------------------------------


def test_a_frame_with_the_pixels_of_an_earlier_one_has_a_remark() -> None:
    rows = with_identical_frames(
        [result("a.tif", 1.0, pixels="p"), result("b.tif", 1.0), result("c.tif", 1.0, pixels="p")]
    )
    assert [[each.code for each in row.remarks] for row in rows] == [[], [], ["identical_frame"]]
    assert "a.tif" in rows[2].remarks[0].message


def test_a_tile_that_is_scored_twice_under_one_name_is_no_copy() -> None:
    assert not any(row.remarks for row in with_identical_frames([result("a.tif", 1.0), result("a.tif", 1.0)]))


def test_export_names_the_earlier_tile_and_status_counts(watch: Watch) -> None:
    watch.add([result("run/a.tif", 10.0, pixels="p"), result("run/b.tif", 10.0, pixels="p")])
    found = judged_rows(watch.ledger, watch.run, watch.ledger.rows(watch.run.run_id))
    remarks = {row.name: (each or {})["remarks"] for row, each in found}
    assert remarks["run/a.tif"] == []
    (remark,) = remarks["run/b.tif"]
    assert remark["code"] == "identical_frame"
    assert "run/a.tif" in remark["message"]
    table = io.BytesIO()
    export(watch.ledger, watch.run, table, "csv")
    lines = csv.DictReader(io.StringIO(table.getvalue().decode()))
    assert {line["path"]: line["remarks"] for line in lines} == {"run/a.tif": "", "run/b.tif": "identical_frame"}
    assert watch.ledger.summary(watch.run.run_id).identical == 1
