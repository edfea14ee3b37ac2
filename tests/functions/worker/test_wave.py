"""Waves of tasks: what is not done, as many as a flow's state holds, and whether it gets anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mhfd.worker import control_run, finish_run, next_wave, plan_run, score_shard
from mhfd.worker.archive.wave import SHARDS, TASKS_BYTES

from .conftest import QUICK, write_run

UUID = "3d2cf3b8-6b5c-4b5c-9d5f-0d3f3a1b2c4d"


def planned(folder: Path, tiles: int) -> str:
    """The manifest of a run with a tile a shard."""
    write_run(folder, tiles)
    return str(plan_run(str(folder), None, QUICK, {"shard_tiles": 1})["manifest"])


def work(wave: dict[str, Any]) -> None:
    for task in wave["tasks"]:
        assert task["function_id"] == UUID
        assert "error" not in score_shard(**task["kwargs"])


def test_waves_score_all_and_then_there_are_none(tmp_path: Path) -> None:
    manifest = planned(tmp_path, 5)
    told = []
    while (wave := next_wave(manifest, UUID, {"shards": 2}))["tasks"]:
        told.append((wave["missing"], wave["stored"], len(wave["tasks"]), wave["state"]))
        work(wave)
    assert told == [(5, 0, 2, "running"), (3, 2, 2, "running"), (1, 4, 1, "running")]
    assert finish_run(manifest)["complete"] is True
    assert (next_wave(manifest, UUID)["state"], next_wave(manifest, UUID)["missing"]) == ("finished", 0)


def test_a_shard_whose_part_is_damaged_is_in_the_next_wave(tmp_path: Path) -> None:
    manifest = planned(tmp_path, 3)
    work(next_wave(manifest, UUID))
    Path(manifest).with_name("part-00001.parquet").write_bytes(b"PAR1")
    (task,) = next_wave(manifest, UUID)["tasks"]
    assert (task["kwargs"]["first"], task["kwargs"]["count"]) == (1, 1)


def test_what_a_shard_kept_when_its_time_ran_out_counts_as_stored(tmp_path: Path) -> None:
    write_run(tmp_path, 4)
    manifest = plan_run(str(tmp_path), None, QUICK, {"shard_tiles": 4})["manifest"]
    wave = next_wave(manifest, UUID, {"time_budget_s": 1e-6})
    (task,) = wave["tasks"]
    assert task["kwargs"]["options"] == {"time_budget_s": 1e-6}
    stored = [wave["stored"]]
    for options in (task["kwargs"]["options"], task["kwargs"]["options"], None):
        assert "error" not in score_shard(manifest, 0, 4, None, options)
        stored.append(next_wave(manifest, UUID)["stored"])
    assert stored == sorted(stored) and stored[-1] == 4


@pytest.mark.parametrize(("action", "state"), [("pause", "paused"), ("cancel", "cancelled"), ("resume", "running")])
def test_the_state_is_told(action: str, state: str, tmp_path: Path) -> None:
    manifest = planned(tmp_path, 1)
    control_run(manifest, action)
    assert next_wave(manifest, UUID)["state"] == state


def test_a_wave_fits_into_a_flow_however_long_the_paths_are(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(
        *["a folder whose name is as long as names of folders may get in the worst of cases" * 2] * 6
    )
    folder.mkdir(parents=True)
    manifest = planned(folder, SHARDS + 1)
    tasks = next_wave(manifest, UUID)["tasks"]
    assert 0 < len(tasks) < SHARDS and len(json.dumps(tasks)) <= TASKS_BYTES
    assert len(next_wave(planned(tmp_path / "short", SHARDS + 1), UUID)["tasks"]) == SHARDS


def test_a_full_wave_and_all_answers_fit_into_a_flows_state(tmp_path: Path) -> None:
    """Globus allows 200 KB; the action provider puts each answer into it twice."""
    write_run(tmp_path, SHARDS + 1)
    plan = plan_run(str(tmp_path), None, QUICK, {"shard_tiles": 1})
    wave = next_wave(plan["manifest"], UUID)
    answers = [score_shard(**task["kwargs"]) for task in wave["tasks"]]
    wave_of_many = {**plan, "done": list(range(1526))}  # 10^8 tiles
    assert 2 * len(json.dumps([wave_of_many, wave, finish_run(plan["manifest"]), *answers])) < 150_000


@pytest.mark.parametrize(
    ("manifest", "function", "options"),
    [("/no/manifest.parquet", UUID, None), (None, UUID, None), ("", 3, None), ("", UUID, {"waves": 1})],
)
def test_a_wrong_request_is_an_answer(manifest: object, function: object, options: object, tmp_path: Path) -> None:
    manifest = planned(tmp_path, 1) if manifest == "" else manifest
    assert next_wave(manifest, function, options)["error"]["code"] == "bad_params"
