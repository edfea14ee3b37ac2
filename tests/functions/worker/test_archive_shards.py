"""A shard is scored once, however often it is stopped, killed and asked for again; its rows are those of `score`."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mhfd import score
from mhfd.contract import Acquisition, Failure, FocusParams, FocusResult, Provenance, Remark, Timing
from mhfd.images import plain
from mhfd.worker import control_run, finish_run, plan_run, rows_of, score_shard
from mhfd.worker.archive import shard as sharding
from mhfd.worker.archive.manifest import Tile
from mhfd.worker.archive.parts import SINGLE, PartWriter, schema
from mhfd.worker.tasks import Asked

from .conftest import QUICK, rescored, results_in, score_shards, write_run, write_stack

Row = dict[str, Any]


def planned(folder: Path, **options: Any) -> dict[str, Any]:
    return plan_run(str(folder), None, QUICK, options)


def without_times(rows: list[Row]) -> list[Row]:
    return [{**row, "timing_ms": None} for row in rows]


def single(value: float | None) -> float | None:
    return None if value is None else float(str(np.float32(value)))


# Rows


def test_rows_are_those_of_score_but_for_single_precision(tmp_path: Path) -> None:
    names = write_run(tmp_path, 3)
    (tmp_path / "bad.tif").write_bytes(b"II*\0")
    rows = {row["path"]: row for row in rescored(tmp_path)["results"]}
    for name in names:
        wanted = score(tmp_path / name, FocusParams.from_dict(QUICK), "numpy").to_dict()
        wanted |= {"path": name, "timing_ms": None} | {key: single(wanted[key]) for key in SINGLE}
        assert {**rows[name], "timing_ms": None} == json.loads(json.dumps(wanted))
        assert rows[name]["spectrum"] == wanted["spectrum"]
    assert rows["bad.tif"]["error"]["code"] == "truncated"


FULL = FocusResult(
    path="a/b.tif#page=3",
    status="scored",
    provenance=Provenance(
        mhfd="9", params_sha256="ab", backend="numpy", device="cpu", tile_sha256="0f" * 32, measure=7
    ),
    shape=(64, 65),
    dtype="uint16",
    picture=(1, 2, 3, 4),
    pixel_size_nm=4.123456789012345,
    features=2**31 - 1,
    features_per_mpx=math.pi,
    features_by_scale=(1, 2, 3),
    scales_px=(1.1, 2.2, 3.3),
    focus_score=7.31,
    characteristic_scale_px=1e-30,
    noise=1e30,
    content=0.0,
    anisotropy=1.0,
    saturated=0.001,
    vollath_f4=-0.5,
    grey=65535.0,
    spectrum="2:a spectrum of another version",
    acquisition=Acquisition(
        format="tiff", lossy=True, vendor="fei", working_distance_mm=4.1, dwell_us=0.3, stage_um=(1.1, -2.2, 1e6 / 3)
    ),
    remarks=(Remark(code="lossy", message="é\n"), Remark(code="border", message="")),
    timing_ms=Timing(read=1234.567, copy=0.001, kernel=0.0, total=1234.568),
)
FAILED = FocusResult(
    path="=1+1\n\0\ud800", status="failed", error=Failure(code="corrupt", message="\ud800\0"), verdict="failed",
    provenance=Provenance(mhfd="9", params_sha256="ab", backend="", device=""),
)  # fmt: skip


def test_every_value_of_a_result_comes_back(tmp_path: Path) -> None:
    results = [FULL, FAILED, FULL.__class__(path="", status="scored", provenance=FULL.provenance)] * 40
    writer = PartWriter(tmp_path, "part.parquet", spectra=True)
    for number, result in enumerate(results):
        writer.add(result, Tile("a", -1, number, number))
    writer.keep(tmp_path / "part.parquet", tmp_path / "spectra.parquet", {})
    wanted = [json.loads(json.dumps(FocusResult.from_dict(each.to_dict()).to_dict())) for each in results]
    for row in wanted:
        row |= {key: single(row[key]) for key in SINGLE}
    assert json.loads(json.dumps(list(rows_of(tmp_path / "part.parquet", tmp_path / "spectra.parquet")))) == wanted
    assert [row["spectrum"] for row in rows_of(tmp_path / "part.parquet")] == [None] * len(results)


def test_a_part_has_a_column_for_all_that_the_tile_alone_tells() -> None:
    """A field that is added to results has to come into the parts, or to be judged."""
    columns = set(schema().names)
    elsewhere = {
        "error": "error_code", "shape": "rows", "provenance": "tile_sha256", "acquisition": "vendor",
        "timing_ms": "total_ms",
    }  # fmt: skip
    judged = {
        "verdict", "confidence", "defocus_um", "defocus_interval_um", "blur_px", "blur_nm", "blur_error_px",
        "blur_by_direction_px", "blur_map_px", "worst_block", "flag_px", "reference", "doubts",
    }  # fmt: skip
    names = set(FocusResult.__dataclass_fields__) - judged - {"spectrum"}
    assert {elsewhere.get(name, name) for name in names} <= columns
    for inner in (Acquisition, Provenance):
        assert set(inner.__dataclass_fields__) <= columns
    assert {f"{name}_ms" for name in Timing.__dataclass_fields__} <= columns


def test_spectra_lie_beside_the_results_unless_they_are_not_wanted(tmp_path: Path) -> None:
    write_run(tmp_path, 2)
    job = Path(rescored(tmp_path)["dataset"])
    assert (job / "spectra-00000.parquet").exists()
    job = Path(rescored(tmp_path, spectra=False)["dataset"])
    assert not list(job.glob("*spectra*"))


# Shards


def test_a_part_that_is_there_is_not_scored_again(tmp_path: Path) -> None:
    write_run(tmp_path, 5)
    plan = planned(tmp_path, shard_tiles=2)
    first = score_shards(plan)
    before = {path.name: path.stat().st_mtime_ns for path in Path(plan["manifest"]).parent.iterdir()}
    second = score_shards(plan)
    assert [each["already"] for each in first + second] == [False] * 3 + [True] * 3
    assert [each["scored"] for each in first] == [each["scored"] for each in second] == [2, 2, 1]
    assert {path.name: path.stat().st_mtime_ns for path in Path(plan["manifest"]).parent.iterdir()} == before
    assert planned(tmp_path, shard_tiles=2)["done"] == [0, 1, 2]


@pytest.mark.parametrize(("first", "count"), [(1, 2), (0, 1), (0, 3), (4, 2), (6, 2), (-2, 2), (0, 0), (True, 2)])
def test_what_is_no_shard_is_refused(tmp_path: Path, first: int, count: int) -> None:
    write_run(tmp_path, 5)
    plan = planned(tmp_path, shard_tiles=2)
    assert score_shard(plan["manifest"], first, count)["error"]["code"] == "bad_params"


def test_a_part_of_another_plan_does_not_count(tmp_path: Path) -> None:
    write_run(tmp_path, 2)
    one, two = planned(tmp_path), planned(tmp_path, job="two")
    score_shards(one)
    for name in ("part-00000.parquet", "spectra-00000.parquet"):
        (Path(two["manifest"]).parent / name).write_bytes((Path(one["manifest"]).parent / name).read_bytes())
    assert finish_run(two["manifest"])["missing"] == [0]
    assert not score_shard(two["manifest"], 0, 2)["already"]
    assert finish_run(two["manifest"])["complete"]


@pytest.mark.parametrize("name", ["part-00000.parquet", "spectra-00000.parquet"])
@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "text"])
def test_a_damaged_part_is_made_again(tmp_path: Path, name: str, damage: str) -> None:
    write_run(tmp_path, 2)
    plan = planned(tmp_path)
    score_shards(plan)
    path = Path(plan["manifest"]).parent / name
    data = path.read_bytes()
    path.write_bytes({"cut": data[:-10], "empty": b"", "gone": b"", "text": b"x" * 1000}[damage])
    if damage == "gone":
        path.unlink()
    assert control_run(plan["manifest"])["done"] == 0
    assert [each["already"] for each in score_shards(plan)] == [False]
    assert len(results_in(path.parent)) == 2


def test_other_parameters_than_planned_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path, 1)
    manifest = planned(tmp_path)["manifest"]
    for call in (lambda params: score_shard(manifest, 0, 1, params), lambda params: finish_run(manifest, params)):
        assert "other parameters" in call(QUICK | {"k_noise": 4})["error"]["message"]
        assert "error" not in call(QUICK)


def test_what_another_version_planned_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, 1)
    manifest = planned(tmp_path)["manifest"]
    monkeypatch.setattr("mhfd.worker.archive.manifest.__version__", "9.9")
    assert "plan the run again" in score_shard(manifest, 0, 1)["error"]["message"]


def test_a_file_that_is_gone_since_is_one_failed_row(tmp_path: Path) -> None:
    names = write_run(tmp_path, 3)
    plan = planned(tmp_path)
    (tmp_path / names[1]).unlink()
    assert [each["failures"] for each in score_shards(plan)] == [{"not_found": 1}]


# Stopping, and going on


def test_a_time_budget_ends_a_shard_and_the_next_call_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each tile takes a second of a clock that only reading moves."""
    write_run(tmp_path, 4)
    write_stack(tmp_path / "u.tif", 3)
    whole = without_times(rescored(tmp_path, job="whole")["results"])
    plan = planned(tmp_path)
    now = [1000.0]
    monkeypatch.setattr(sharding.time, "monotonic", lambda: now[0])

    def read(task: Any) -> Any:
        def reading(*args: Any) -> Any:
            now[0] += 1
            return task(*args)

        return reading

    for name in ("read_only", "read_page"):
        monkeypatch.setattr(sharding, name, read(getattr(sharding, name)))
    answers = []
    while not answers or answers[-1]["remaining"]:
        answers.append(score_shard(plan["manifest"], 0, 7, None, {"time_budget_s": 2.0}))
        assert len(answers) <= 7
    assert len(answers) > 1
    assert [each["stopped"] for each in answers[:-1]] == ["time_budget_s"] * (len(answers) - 1)
    assert all(each["scored"] == 7 - each["remaining"] for each in answers)
    job = Path(plan["manifest"]).parent
    assert sorted(path.name for path in job.iterdir()) == [
        "manifest.parquet", "part-00000.parquet", "spectra-00000.parquet",
    ]  # fmt: skip
    assert without_times(results_in(job)) == whole


def test_work_is_kept_every_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, 6)
    kept: list[str] = []
    keep = PartWriter.keep
    monkeypatch.setattr(
        PartWriter, "keep", lambda self, rows, *others: (kept.append(rows.name), keep(self, rows, *others))[1]
    )
    monkeypatch.setattr(sharding, "KEEP_S", -1.0)
    answer = rescored(tmp_path)
    assert kept == [*(f"piece-00000-{n}-1.parquet" for n in range(6)), "part-00000.parquet"]
    assert [row["path"] for row in answer["results"]] == [f"t{n:02}.tif" for n in range(6)]


@pytest.mark.parametrize(("action", "state"), [("pause", "paused"), ("cancel", "cancelled")])
def test_a_job_is_stopped_and_resumed(tmp_path: Path, action: str, state: str) -> None:
    write_run(tmp_path, 3)
    plan = planned(tmp_path)
    assert control_run(plan["manifest"], action)["state"] == state
    answer = score_shard(plan["manifest"], 0, 3)
    assert (answer["stopped"], answer["remaining"], answer["scored"]) == (state, 3, 0)
    assert planned(tmp_path)["state"] == state
    assert control_run(plan["manifest"], "resume")["state"] == "running"
    answer = score_shard(plan["manifest"], 0, 3)
    assert (answer["stopped"], answer["remaining"], answer["scored"]) == (None, 0, 3)
    finish_run(plan["manifest"])
    assert control_run(plan["manifest"]) == {
        "schema": 1, "job": plan["job"], "state": "finished", "tiles": 3, "shards": 1, "done": 1, "rows": 3,
        "scored": 3, "failed": 0,
    }  # fmt: skip


def test_a_running_shard_stops_when_it_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, 60)
    plan = planned(tmp_path)
    monkeypatch.setattr(sharding, "LOOK_S", 0.0)
    read, begun, told = sharding.read_only, threading.Event(), threading.Event()

    def waiting(asked: Asked) -> Any:
        begun.set()
        assert told.wait(30)
        return read(asked)

    monkeypatch.setattr(sharding, "read_only", waiting)
    answers: list[Row] = []
    thread = threading.Thread(target=lambda: answers.append(score_shard(plan["manifest"], 0, 60)))
    thread.start()
    assert begun.wait(30)
    control_run(plan["manifest"], "pause")
    told.set()
    thread.join(60)
    assert answers[0]["stopped"] == "paused"
    assert 0 < answers[0]["scored"] == 60 - answers[0]["remaining"] < 60
    control_run(plan["manifest"], "resume")
    assert score_shard(plan["manifest"], 0, 60)["scored"] == 60


def test_the_same_shard_twice_at_once_is_one_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, 20)
    plan = planned(tmp_path)
    monkeypatch.setattr(sharding, "KEEP_S", 0.0)
    answers: list[Row] = []
    threads = [threading.Thread(target=lambda: answers.append(score_shard(plan["manifest"], 0, 20))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [answer.get("scored") for answer in answers] == [20] * 4
    assert [row["path"] for row in results_in(Path(plan["manifest"]).parent)] == [f"t{n:02}.tif" for n in range(20)]
    assert not list(Path(plan["manifest"]).parent.glob("*.tmp"))


PROGRAM = """
import sys
from mhfd.worker.archive import shard
shard.KEEP_S = 0.05
manifest, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
shard.score_shard(manifest, first, count)
"""


@pytest.mark.skipif(os.name == "nt", reason="kills by signal")
@pytest.mark.parametrize("seed", range(2))
def test_a_run_killed_at_any_moment_goes_on_and_loses_nothing(tmp_path: Path, seed: int) -> None:
    """Both the tiles of a kill in the middle of a write, and those of one between two renames, are scored once."""
    write_run(tmp_path, 30)
    write_stack(tmp_path / "u.tif", 5)
    (tmp_path / "bad.tif").write_bytes(b"II*\0")
    whole = without_times(rescored(tmp_path, job="whole")["results"])
    plan = planned(tmp_path, shard_tiles=18)
    job, draw = Path(plan["manifest"]).parent, random.Random(seed)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "MHFD_BACKEND": "numpy"}
    for first in (0, 18):
        command = [sys.executable, "-c", PROGRAM, plan["manifest"], str(first), "18"]
        for _ in range(3):
            with subprocess.Popen(command, env=environment) as run:
                deadline = time.monotonic() + 120
                while not list(job.glob("*.tmp")) and run.poll() is None:  # it has begun to write
                    assert time.monotonic() < deadline
                    time.sleep(0.001)
                try:
                    run.wait(draw.uniform(0, 0.4))
                except subprocess.TimeoutExpired:
                    run.send_signal(signal.SIGKILL)
    assert finish_run(plan["manifest"])["complete"] in (False, True)
    assert not list(job.glob("*.tmp"))  # of processes that are dead
    score_shards(plan)
    answer = finish_run(plan["manifest"])
    assert (answer["complete"], answer["rows"]) == (True, 36)
    assert without_times(results_in(job)) == whole
    assert sorted({path.name.split("-")[0] for path in job.iterdir()}) == [
        "_SUCCESS.json", "manifest.parquet", "part", "spectra", "summary.json", "verdicts",
    ]  # fmt: skip


def test_an_error_in_the_middle_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, 2)
    plan = planned(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as away:
        away.setattr("mhfd.worker.archive.files.os.fsync", full)
        assert score_shard(plan["manifest"], 0, 2)["error"]["code"] == "cannot_write"
    assert [path.name for path in Path(plan["manifest"]).parent.iterdir()] == ["manifest.parquet"]
    assert score_shard(plan["manifest"], 0, 2)["scored"] == 2


def test_a_tile_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, 4)
    plan = planned(tmp_path)
    opened: list[str] = []
    path_open, file_of = Path.open, plain.FileIO

    def counting(self: Path, *args: Any, **more: Any) -> Any:
        if self.suffix == ".tif":
            opened.append(self.name)
        return path_open(self, *args, **more)

    def of_known_header(path: str) -> Any:
        opened.append(Path(path).name)
        return file_of(path)

    monkeypatch.setattr(Path, "open", counting)
    monkeypatch.setattr(plain, "FileIO", of_known_header)
    score_shards(plan)
    assert sorted(opened) == [f"t{n:02}.tif" for n in range(4)]
