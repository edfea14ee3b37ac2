"""`mhfd calibrate`: focal series from files, what is kept, and the threshold from sorted tiles."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from mhfd.contract import FocusParams
from mhfd_client.cli import main
from mhfd_client.ledger import SeenFile, open_ledger
from phantoms import EmTile, as_uint8, blurred, texture
from spectra import ABOUT, run

Z = (5198.0, 5199.0, 5200.0, 5201.0, 5202.0)
BEST, K = 5200.3, 1.2


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a focal series of known focus, and a table of its distances."""
    folder = tmp_path_factory.mktemp("series")
    rng = np.random.default_rng(11)
    field = sum(texture((384, 384), rng, finest=each, coarsest=16 * each) for each in (3.0, 6.0, 12.0)) * 0.07 + 0.5
    lines = ["file,working_distance_um"]
    for i, z in enumerate(Z):
        picture = blurred(field, float(np.hypot(0.4, K * (z - BEST)))) + rng.normal(0, 0.04, field.shape)
        Image.fromarray(as_uint8(picture)).save(folder / f"f{i}.png")
        lines.append(f"f{i}.png,{z}")
    (folder / "z.csv").write_text("\n".join(lines))
    return folder


def invoke(where: Path, *args: object) -> Result:
    return CliRunner().invoke(main, ["calibrate", *map(str, args), "--ledger", str(where / "ledger.db")])


def parsed(result: Result) -> Any:
    return json.loads(result.stdout)


# --- A series -------------------------------------------------------------------------------------------------------


def test_a_series_is_told_kept_listed_and_forgotten(frames: Path, tmp_path: Path) -> None:
    result = invoke(tmp_path, frames, "--distances", frames / "z.csv", "--instrument", "sem1", "--json")
    assert result.exit_code == 0, result.output
    found = parsed(result)
    best, low, high = found["best_focus_um"]
    assert low < BEST < high
    assert abs(best - BEST) < 0.1
    assert found["k_px_per_um"][0] == pytest.approx(K, rel=0.1)
    assert found["px_per_um"][0] == pytest.approx(K, rel=0.15)
    assert found["features"]["r"] < -0.9
    assert found["paper_features"] is not None
    assert [each["working_distance_um"] for each in found["frames"]] == list(Z)
    assert (found["instrument"], found["kept"]) == ("sem1", True)

    (kept,) = parsed(invoke(tmp_path, "--list", "--json"))
    assert kept["instrument"] == "sem1"
    assert kept["calibration"]["px_per_um"] == found["px_per_um"]
    assert invoke(tmp_path, "--list").stdout.startswith("sem1: 384 x 384 px")
    assert invoke(tmp_path, "--forget", "sem1").stdout == "1 calibration of sem1 forgotten\n"
    assert parsed(invoke(tmp_path, "--list", "--json")) == []
    assert invoke(tmp_path, "--forget", "sem1").exit_code == 78


def test_people_get_a_table_a_dry_run_keeps_nothing_and_a_picture_is_drawn(frames: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = invoke(tmp_path, frames, "--distances", frames / "z.csv", "--dry-run", "--plot", tmp_path / "p.svg")
    assert result.exit_code == 0, result.output
    assert "best focus: 5200" in result.stdout
    assert "astigmatism, rows - columns: " in result.stdout
    assert result.stdout.count(".png") == len(Z)
    assert "<svg" in (tmp_path / "p.svg").read_text(encoding="utf-8")
    assert not (tmp_path / "ledger.db").exists()


def test_a_series_beside_its_focus_is_refused_and_not_kept(frames: Path, tmp_path: Path) -> None:
    side = [frames / f"f{i}.png" for i in range(3)]  # up to 0.3 um before focus
    result = invoke(tmp_path, *side, "--distances", frames / "z.csv", "--instrument", "sem1")
    assert result.exit_code == 3
    assert "declined: best focus is not bracketed" in result.stdout
    assert "slope of D: " in result.stdout
    assert not (tmp_path / "ledger.db").exists()


def test_the_real_series_is_not_bracketed(em_tile: EmTile, tmp_path: Path) -> None:
    folder = em_tile("sem-focus-series")
    lines = ["file,working_distance_um"]
    for name, z in (("pert-5000", -18.324), ("base", -13.324), ("pert5000", -8.324)):
        lines.append(f"{next(folder.glob(f'*_{name}.png')).name},{z}")
    (tmp_path / "z.csv").write_text("\n".join(lines))
    result = invoke(tmp_path, folder, "--distances", tmp_path / "z.csv", "--json")
    found = parsed(result)
    assert (result.exit_code, found["reason"], found["best_focus_um"]) == (3, "not_bracketed", None)
    slope, low, high = found["slope_px2_per_um"]
    assert low < slope < high < 0
    k, k_low, k_high = found["k_px_per_um"]
    assert 0 <= k_low < k < k_high


def test_headers_without_a_distance_ask_for_a_table(frames: Path, tmp_path: Path) -> None:
    result = invoke(tmp_path, frames)
    assert result.exit_code == 2
    assert "--distances" in result.stderr
    (tmp_path / "z.csv").write_text("file,working_distance_um\nf0.png,1\n")
    result = invoke(tmp_path, frames, "--distances", tmp_path / "z.csv")
    assert result.exit_code == 2
    assert "f1.png" in result.stderr


def test_a_frame_that_cannot_be_read_is_told_and_the_others_are_fitted(frames: Path, tmp_path: Path) -> None:
    here = tmp_path / "series"
    shutil.copytree(frames, here)
    (here / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    result = invoke(tmp_path, here, "--distances", here / "z.csv", "--instrument", "sem1")
    assert result.exit_code == 3
    assert "failed: " in result.stdout
    assert "best focus: 5200" in result.stdout


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["nowhere"],
        ["--good", "a.txt"],
        ["--list", "--forget", "a"],
        ["x", "--list"],
        ["x", "--plot", "picture.gif"],
        ["x", "y", "--good", "a", "--bad", "b"],
    ],
)
def test_wrong_usage_is_2(tmp_path: Path, args: list[str]) -> None:
    assert invoke(tmp_path, *args).exit_code == 2


def test_without_matplotlib_a_picture_says_how_to_get_it(
    frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = invoke(tmp_path, frames, "--distances", frames / "z.csv", "--plot", tmp_path / "p.png")
    assert result.exit_code == 2
    assert "pip install" in result.stderr


# --- Sorted tiles ---------------------------------------------------------------------------------------------------


@pytest.fixture
def sorted_run(tmp_path: Path) -> Path:
    """A ledger with a run of 20 sharp tiles, t0 to t19, and 6 blurred by 3 px."""
    rng = np.random.default_rng(1)
    (tmp_path / "run").mkdir()
    with open_ledger(tmp_path / "ledger.db") as ledger:
        opened = ledger.open_run(str(tmp_path / "run"), FocusParams(), layout="auto", endpoint="local")
        for k, result in enumerate(run(rng, [*np.zeros(20), *np.full(6, 3.0)])):
            about = replace(ABOUT, tile_sha256=str(k))
            ledger.see(opened.run_id, [(SeenFile(result.path, 10, k + 1), None)], float(k))
            (tile,) = ledger.take(opened.run_id, "seen", 9, now=0)
            ledger.finish(tile.tile_id, [(str(k), (4, 4))], float(k))
            ledger.store([(tile.tile_id, replace(result, provenance=about))], float(k))
    (tmp_path / "good.txt").write_text("# sharp\n" + "\n".join(f"t{i}.tif" for i in range(10)))
    (tmp_path / "bad").mkdir()  # copies
    for i in range(20, 25):
        (tmp_path / "bad" / f"t{i}.tif").touch()
    return tmp_path


def test_sorted_tiles_give_the_line_for_the_profile(sorted_run: Path) -> None:
    result = invoke(sorted_run, "--good", sorted_run / "good.txt", "--bad", sorted_run / "bad")
    assert result.exit_code == 0, result.output
    assert "10 good and 5 bad tiles; area under the curve 1.000" in result.stdout
    line = result.stdout.splitlines()[-1]
    assert line.startswith("max_blur_px = ")
    assert 0.3 < float(line.partition("= ")[2]) < 3.3
    assert result.stdout.splitlines()[-2] == "[profiles.default.verdict]"
    assert "the run so far: 26 tiles, 6 flagged at 1.1; would flag 0 more, 0 fewer" in result.stdout


def test_sorted_tiles_as_json(sorted_run: Path) -> None:
    args = ("--good", sorted_run / "good.txt", "--bad", sorted_run / "bad" / "t2*.tif", "--json")
    found = parsed(invoke(sorted_run, sorted_run / "run", *args))
    assert (found["auc"], found["good"], found["bad"], found["max_blur_px_before"]) == (1.0, 10, 5, 1.1)
    assert found["run"] == {"tiles": 26, "flagged_before": 6, "newly_flagged": 0, "no_longer_flagged": 0}
    assert found["roc"][0]["caught"] == 1.0
    assert (found["roc"][-1]["caught"], found["roc"][-1]["false"]) == (0.0, 0.0)


def test_tiles_that_cannot_be_told_apart_are_3(sorted_run: Path) -> None:
    (sorted_run / "also.txt").write_text("\n".join(f"t{i}.tif" for i in range(10, 20)))
    result = invoke(sorted_run, "--good", sorted_run / "good.txt", "--bad", sorted_run / "also.txt")
    assert result.exit_code == 3
    assert "cannot be told apart" in result.stdout
    assert "max_blur_px =" not in result.stdout


def test_a_name_that_the_run_does_not_have_is_named(sorted_run: Path) -> None:
    (sorted_run / "also.txt").write_text("nowhere.tif\n")
    result = invoke(sorted_run, "--good", sorted_run / "good.txt", "--bad", sorted_run / "also.txt")
    assert result.exit_code == 2
    assert "nowhere.tif" in result.stderr


def test_a_tile_in_both_lists_is_refused(sorted_run: Path) -> None:
    result = invoke(sorted_run, "--good", sorted_run / "good.txt", "--bad", sorted_run / "good.txt")
    assert result.exit_code == 2
    assert "sort it once" in result.stderr
