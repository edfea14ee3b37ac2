"""A dataset is complete when every shard is, and has a verdict for each tile."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from mhfd.contract import FocusResult
from mhfd.judge import VerdictRule, judge, references_of
from mhfd.worker import finish_run, plan_run, score_shard
from mhfd.worker.archive import verdicts as judging
from mhfd.worker.archive.job import Job
from mhfd.worker.archive.manifest import Manifest
from mhfd.worker.archive.verdicts import Judging
from phantoms import as_uint8

from .conftest import QUICK, rescored, score_shards, write_run

SIDE, SCALES = 160, {"n_scales": 4, "max_t": 5.0}


def natural(rng: np.random.Generator) -> Any:
    """Make a tile whose spectrum falls by a power of the frequency, as that of tissue in focus does."""
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    frequency[0, 0] = 1
    tile = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(SIDE, SIDE))) * frequency**-1.5)
    return (tile - tile.mean()) / tile.std()


def write_tissue(folder: Path, count: int, blurred: range = range(0), sigma: float = 3.0) -> None:
    """Write tiles of one tissue; those in `blurred` are out of focus."""
    folder.mkdir(exist_ok=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        tile = 0.5 + 0.15 * natural(rng)
        tile = ndimage.gaussian_filter(tile, sigma) if number in blurred else tile
        tifffile.imwrite(folder / f"t{number:03}.tif", as_uint8(tile + rng.normal(0, 0.01, tile.shape)))


def verdicts_in(answer: dict[str, Any]) -> list[dict[str, Any]]:
    parquet = importlib.import_module("pyarrow.parquet")
    files = sorted(Path(answer["dataset"]).glob("verdicts-*.parquet"))
    return [row for file in files for row in parquet.read_table(file).to_pylist()]


def test_a_job_with_shards_missing_is_not_complete(tmp_path: Path) -> None:
    write_run(tmp_path, 5)
    plan = plan_run(str(tmp_path), None, QUICK, {"shard_tiles": 2})
    score_shard(plan["manifest"], 2, 2)
    answer = finish_run(plan["manifest"])
    assert (answer["complete"], answer["missing"], answer["rows"], answer["success"]) == (False, [0, 2], 2, None)
    assert not (Path(answer["dataset"]) / "_SUCCESS.json").exists()
    score_shards(plan)
    answer = finish_run(plan["manifest"])
    assert (answer["complete"], answer["missing"], answer["rows"]) == (True, [], 5)
    assert json.loads(Path(answer["success"]).read_text())["rows"] == 5
    assert json.loads((Path(answer["dataset"]) / "summary.json").read_text()) == answer["summary"]


def test_a_part_lost_after_the_end_is_noticed(tmp_path: Path) -> None:
    write_run(tmp_path, 2)
    answer = rescored(tmp_path)
    (Path(answer["dataset"]) / "part-00000.parquet").unlink()
    again = finish_run(answer["manifest"])
    assert (again["complete"], again["missing"]) == (False, [0])
    assert not Path(answer["success"]).exists()


def test_verdicts_are_those_of_the_judge_in_the_order_of_the_rows(tmp_path: Path) -> None:
    write_tissue(tmp_path, 20, blurred=range(8, 12))
    (tmp_path / "bad.tif").write_bytes(b"II*\0")
    answer = rescored(tmp_path, params=SCALES, shard_tiles=7)
    wanted = judge([FocusResult.from_dict(row) for row in answer["results"]])
    found = verdicts_in(answer)
    assert [row["path"] for row in found] == [row["path"] for row in answer["results"]]
    assert [row["verdict"] for row in found] == [row.verdict for row in wanted]
    assert [row["blur_px"] for row in found] == pytest.approx([row.blur_px for row in wanted], nan_ok=True)
    assert [tuple(row["doubts"]) for row in found] == [row.doubts for row in wanted]
    out = {row["path"] for row in found if row["verdict"] == "out_of_focus"}
    assert out == {f"t{number:03}.tif" for number in range(8, 12)}
    assert answer["by_verdict"] == {"failed": 1, "in_focus": 16, "out_of_focus": 4}


def test_a_stored_reference_tells_a_run_that_is_blurred_throughout(tmp_path: Path) -> None:
    write_tissue(tmp_path / "sharp", 12)
    write_tissue(tmp_path / "blurred", 12, blurred=range(12))
    sharp = rescored(tmp_path / "sharp", params=SCALES)
    judged = judge([FocusResult.from_dict(row) for row in sharp["results"]])
    (reference,) = references_of(judged, name="last week")
    plan = rescored(tmp_path / "blurred", params=SCALES)
    for given in (reference.to_dict(), [reference.to_dict()]):
        answer = finish_run(plan["manifest"], None, given)
        assert answer["by_verdict"] == {"out_of_focus": 12}
        assert answer["summary"]["references"] == ["last week"]
    assert finish_run(plan["manifest"])["by_verdict"] != {"out_of_focus": 12}


def test_what_is_judged_at_once_is_bounded_and_later_tiles_know_the_earlier(tmp_path: Path) -> None:
    """The second half is blurred throughout, and alone would look normal."""
    write_tissue(tmp_path, 32, blurred=range(16, 32))
    plan = plan_run(str(tmp_path), None, SCALES)
    score_shards(plan)
    answer = finish_run(plan["manifest"], options={"judged_at_once": 16})
    assert answer["by_verdict"] == {"in_focus": 16, "out_of_focus": 16}
    assert {row["reference"] for row in verdicts_in(answer)[16:]} == {"8 of earlier tiles of this run"}


def test_the_threshold_of_the_verdict_can_be_told(tmp_path: Path) -> None:
    write_tissue(tmp_path, 12, blurred=range(3), sigma=1.5)
    plan = rescored(tmp_path, params=SCALES)
    strict, mild = (finish_run(plan["manifest"], options={"max_blur_px": px}) for px in (0.8, 9.0))
    assert strict["by_verdict"]["out_of_focus"] == 3
    assert "out_of_focus" not in mild["by_verdict"]
    assert mild["summary"]["rule"]["max_blur_px"] == 9.0


def test_without_spectra_scores_are_compared(tmp_path: Path) -> None:
    write_tissue(tmp_path, 12, blurred=range(3))
    answer = rescored(tmp_path, params=SCALES, spectra=False)
    assert answer["complete"]
    assert {each for row in verdicts_in(answer) for each in row["doubts"]} == {"by_score"}


@pytest.mark.parametrize("wrong", [7, "x", {}, [{}], {"name": "x", "setting": [], "tiles": 1, "spectra": ["1:x"]}])
def test_a_wrong_reference_is_refused(tmp_path: Path, wrong: Any) -> None:
    write_run(tmp_path, 1)
    assert finish_run(rescored(tmp_path)["manifest"], None, wrong)["error"]["code"] == "bad_params"


def test_finishing_twice_is_harmless(tmp_path: Path) -> None:
    write_run(tmp_path, 3)
    first = rescored(tmp_path)
    second = finish_run(first["manifest"])
    assert {key: second[key] for key in second if key != "seconds"} == {
        key: first[key] for key in second if key != "seconds"
    }


def test_a_kill_before_the_end_leaves_no_sign_of_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, 2)
    answer = rescored(tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as away:
        away.setattr(judging, "judge", lambda *_, **__: killed())
        with pytest.raises(KeyboardInterrupt):
            finish_run(answer["manifest"], options={"max_blur_px": 3.0})
    assert not Path(answer["success"]).exists()
    assert finish_run(answer["manifest"])["complete"]


def test_processes_side_by_side_change_no_verdict(tmp_path: Path) -> None:
    """Stretches of 16 tiles; the second begins with the sharp ones of the first, and is blurred throughout."""
    write_tissue(tmp_path, 40, blurred=range(16, 32))
    answer = rescored(tmp_path, params=SCALES, shard_tiles=8)
    way = Judging(Job(Manifest.open(answer["manifest"])), VerdictRule(), (), at_once=8, stretch_tiles=16)
    found = []
    for processes in (1, 2):
        for file in Path(answer["dataset"]).glob("verdicts-*.parquet"):
            file.unlink()
        counts = way.run(processes)
        found.append((counts, verdicts_in(answer)))
    assert found[0] == found[1]
    assert found[0][0]["out_of_focus"] == 16
    assert [row["path"] for row in found[0][1]] == [row["path"] for row in answer["results"]]
    assert len(list(Path(answer["dataset"]).glob("verdicts-*.parquet"))) == 3


def test_a_judged_stretch_stays_until_its_parts_are_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tissue(tmp_path, 24)
    answer = rescored(tmp_path, params=SCALES, shard_tiles=8)
    way = Judging(Job(Manifest.open(answer["manifest"])), VerdictRule(), (), at_once=8, stretch_tiles=8)
    counts = way.run(1)
    judged: list[int] = []
    monkeypatch.setattr(judging, "judge", lambda rows, *_, **__: judged.append(len(rows)) or judge(rows))
    assert way.run(1) == counts and not judged
    part = Path(answer["dataset"]) / "part-00002.parquet"
    part.unlink()
    score_shards(answer)
    assert way.run(1) == counts
    assert judged == [8, 8], "the last stretch, and the tiles before it"


def test_where_no_process_can_judge_this_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tissue(tmp_path, 16)
    answer = rescored(tmp_path, params=SCALES, shard_tiles=8)
    monkeypatch.setattr(judging.sys, "executable", "/bin/false")
    way = Judging(Job(Manifest.open(answer["manifest"])), VerdictRule(), (), at_once=8, stretch_tiles=8)
    assert way.run(2) == {"in_focus": 16}
    assert len(verdicts_in(answer)) == 16


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_a_folder_whose_name_is_not_utf_8_is_judged_in_processes(tmp_path: Path) -> None:
    run = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xe9n"))
    write_tissue(run, 16)
    answer = rescored(run, params=SCALES, shard_tiles=8)
    assert (answer["complete"], answer["by_verdict"]) == (True, {"in_focus": 16})
    way = Judging(Job(Manifest.open(answer["manifest"])), VerdictRule(max_blur_px=3.0), (), at_once=8, stretch_tiles=8)
    assert way.run(2) == {"in_focus": 16}
