"""Blur becomes micrometres by a kept calibration; distances come from headers or a table."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mhfd.contract import FocusParams, FocusResult, ParamsError
from mhfd.judge import VerdictRule, setting_of
from mhfd.judge.focal import Interval
from mhfd_client.judge.calibration import (
    Calibration,
    Law,
    in_words,
    keep,
    kept_calibrations,
    read_distances,
    with_defocus,
)
from mhfd_client.judge.run import Standard, judge_results, judge_run, judged_keys, standard_of
from mhfd_client.ledger import KeptCalibration, Ledger, SeenFile, open_ledger
from spectra import ABOUT, row, run, spectrum

SETTING = setting_of(row(None))


def calibration(px_per_um: float = 0.5, error: float = 0.05, **keys: Any) -> Calibration:
    known: dict[str, Any] = {
        "setting": SETTING,
        "px_per_um": Interval(px_per_um, px_per_um - error, px_per_um + error),
        "best_um": Interval(5200.0, 5199.0, 5201.0),
        "details": {"frames": 7},
    }
    return Calibration(**{**known, **keys})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path / "ledger.db") as found:
        yield found


# --- Defocus --------------------------------------------------------------------------------------------------------


def test_defocus_is_blur_by_the_slope() -> None:
    value, (low, high) = calibration().defocus_um(2.0, 0.1)
    half = math.hypot(1.96 * 0.1 / 0.5, 4.0 * 0.1)
    assert value == 4.0
    assert (low, high) == pytest.approx((4 - half, 4 + half), abs=1e-3)


def test_no_blur_is_no_defocus_with_the_error_of_the_blur() -> None:
    assert calibration().defocus_um(0.0, 0.25) == (0.0, (0.0, 0.98))


def test_rows_of_the_calibrated_setting_alone_have_defocus() -> None:
    rows = [row(None, blur_px=2.0), row(None, blur_px=2.0, pixel_size_nm=8.0), row(None)]
    found = with_defocus(rows, [calibration()])
    assert [each.defocus_um for each in found] == [4.0, None, None]
    assert found[0].defocus_interval_um is not None
    assert found[1:] == rows[1:]


def test_of_two_calibrations_the_first_counts() -> None:
    (found,) = with_defocus([row(None, blur_px=2.0)], [calibration(0.5), calibration(0.25)])
    assert found.defocus_um == 4.0


def test_judged_tiles_have_defocus(rng: np.random.Generator) -> None:
    standard = Standard(VerdictRule(), calibrations=(calibration(),))
    found = judge_results(run(rng, [*np.zeros(12), 3.0]), standard)
    assert found[-1].defocus_um == pytest.approx(6.0, abs=0.6)
    assert found[-1].defocus_interval_um is not None
    low, high = found[-1].defocus_interval_um
    assert low < 6.0 < high
    assert found[0].defocus_um is not None
    assert found[0].defocus_um < 1.5


def test_a_run_is_judged_by_what_is_kept_of_its_instrument(ledger: Ledger, rng: np.random.Generator) -> None:
    opened = ledger.open_run("/data/run", FocusParams(), layout="auto", endpoint="local")
    for k, result in enumerate(run(rng, [*np.zeros(12), 3.0])):
        about = replace(ABOUT, tile_sha256=str(k))
        ledger.see(opened.run_id, [(SeenFile(result.path, 10, k + 1), None)], float(k))
        (tile,) = ledger.take(opened.run_id, "seen", 9, now=0)
        ledger.finish(tile.tile_id, [(str(k), (4, 4))], float(k))
        ledger.store([(tile.tile_id, replace(result, provenance=about))], float(k))
    ledger.set_rule(opened.run_id, {"instrument": "sem1"}, 0.0)
    assert {tile.result.defocus_um for tile in judge_run(ledger, opened.run_id)} == {None}
    keep(ledger, "sem2", calibration())
    assert standard_of(ledger, opened.run_id).calibrations == ()
    keep(ledger, "sem1", calibration())
    last = judge_run(ledger, opened.run_id)[-1].result
    assert judged_keys(last)["defocus_um"] == pytest.approx(6.0, abs=0.6)


# --- Keeping --------------------------------------------------------------------------------------------------------


def test_a_calibration_comes_back_from_json() -> None:
    found = calibration()
    assert Calibration.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize(
    "changed",
    [{"setting": None}, {"px_per_um": [1.0, 2.0]}, {"px_per_um": [0.0, 0.0, 1.0]}, {"best_focus_um": "5"}],
)
def test_a_damaged_calibration_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ParamsError):
        Calibration.from_dict({**calibration().to_dict(), **changed})


def test_what_cannot_be_read_is_passed_over(ledger: Ledger) -> None:
    keep(ledger, "sem1", calibration())
    newer = KeptCalibration("sem1", "of a newer version", 1.0, {"px_per_um": "?"})
    ledger.keep_calibration(newer)
    assert kept_calibrations(ledger, "sem1") == (calibration(),)
    assert "cannot read" in in_words(newer)


def test_kept_again_it_replaces_what_was_kept(ledger: Ledger) -> None:
    keep(ledger, "sem1", calibration(0.5))
    keep(ledger, "sem1", calibration(0.25))
    assert [each.px_per_um.value for each in kept_calibrations(ledger, "sem1")] == [0.25]


# --- The log-linear law ---------------------------------------------------------------------------------------------


def test_an_exponential_is_log_linear() -> None:
    law = Law.of([0.0, 1.0, 2.0, 3.0], [1000, 500, 250, 125])
    assert law is not None
    assert (law.r, law.slope) == pytest.approx((-1.0, -math.log(2)))
    assert math.exp(law.intercept) == pytest.approx(1000)


def test_too_few_counts_are_no_law() -> None:
    assert Law.of([0.0, 1.0, 2.0], [10, 0, None]) is None
    assert Law.of([1.0, 1.0, 1.0], [10, 20, 30]) is None


# --- Distances ------------------------------------------------------------------------------------------------------


def table(folder: Path, text: str) -> Path:
    path = folder / "distances.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_gives_distances_in_um_or_mm(tmp_path: Path) -> None:
    assert read_distances(table(tmp_path, "file,working_distance_um\na.tif,5200.5\n")) == {"a.tif": 5200.5}
    assert read_distances(table(tmp_path, "\ufeffnote, working_distance_mm, file\nx, 5.2, a.tif\n")) == {
        "a.tif": pytest.approx(5200.0)
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names the columns"),
        ("file,distance\na.tif,1\n", "names the columns"),
        ("file,working_distance_um,working_distance_mm\na.tif,1,1\n", "names the columns"),
        ("file,working_distance_um\n", "no lines"),
        ("file,working_distance_um\na.tif,1\nb.tif,near\n", "line 3"),
        ("file,working_distance_um\na.tif,nan\n", "line 2"),
        ("file,working_distance_um\na.tif\n", "line 2"),
        ("file,working_distance_um\na.tif,1\na.tif,2\n", "another distance"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ParamsError, match=says):
        read_distances(table(tmp_path, text))


def test_a_table_that_is_missing_or_no_text_says_so(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="No such file"):
        read_distances(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ParamsError, match="UTF-8"):
        read_distances(tmp_path / "binary.csv")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_the_spectra_here_are_of_the_setting_that_is_calibrated() -> None:
    found: FocusResult = row(spectrum(None))
    assert setting_of(found) == SETTING
