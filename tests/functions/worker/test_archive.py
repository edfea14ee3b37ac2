"""An archived run is scored once, however often it is stopped, killed and started again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tifffile

from mhfd.contract import FocusParams
from mhfd.worker import read_rows, score_run

from .conftest import COLLECTION, QUICK, tissue, write_run, write_stack


def latest(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Read the results file, and keep each tile's last row."""
    return {row["path"]: row for row in read_rows(answer["rows_file"])}


def test_a_run_is_scored_once(tmp_path: Path) -> None:
    names = write_run(tmp_path, 4)
    (tmp_path / "bad.tif").write_bytes(b"II*\0")
    first, second = score_run({"folder": str(tmp_path)}, QUICK), score_run({"folder": str(tmp_path)}, QUICK)
    assert (first["scored"], first["failed"], first["skipped"], first["remaining"]) == (4, 1, 0, 0)
    assert (second["count"], second["skipped"], second["remaining"]) == (0, 5, 0)
    assert set(latest(first)) == {*names, "bad.tif"}
    assert first["failed_first"] == [{"path": "bad.tif", "code": latest(first)["bad.tif"]["error"]["code"]}]
    assert Path(first["rows_file"]) == tmp_path / f"mhfd-{FocusParams.from_dict(QUICK).sha256[:12]}.jsonl"
    assert not list(tmp_path.glob("*.lock*"))


def test_a_changed_file_is_scored_again(tmp_path: Path) -> None:
    names = write_run(tmp_path, 2)
    before = latest(score_run({"folder": str(tmp_path)}, QUICK))
    tifffile.imwrite(tmp_path / names[0], tissue(99))
    os.utime(tmp_path / names[0], ns=(0, 0))
    answer = score_run({"folder": str(tmp_path)}, QUICK)
    assert (answer["scored"], answer["skipped"]) == (1, 1)
    assert latest(answer)[names[0]]["provenance"] != before[names[0]]["provenance"]


def test_other_parameters_are_another_file(tmp_path: Path) -> None:
    write_run(tmp_path, 1)
    first, second = (score_run({"folder": str(tmp_path)}, QUICK | {"k_noise": k}) for k in (4, 5))
    assert first["rows_file"] != second["rows_file"]
    assert second["scored"] == 1


def test_another_mhfd_scores_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, 1)
    score_run({"folder": str(tmp_path)}, QUICK)
    monkeypatch.setattr("mhfd.worker.archive.__version__", "9.9")
    assert score_run({"folder": str(tmp_path)}, QUICK)["scored"] == 1


def test_a_failure_that_may_have_passed_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "late.tif"
    manifest = {"paths": [str(path)], "out": str(tmp_path / "out")}
    assert score_run(manifest, QUICK)["failures"] == {"not_found": 1}
    tifffile.imwrite(path, tissue())
    answer = score_run(manifest, QUICK)
    assert (answer["scored"], latest(answer)[str(path)]["status"]) == (1, "scored")


def test_limited_calls_add_up(tmp_path: Path) -> None:
    names = write_run(tmp_path, 5)
    manifest = {"folder": str(tmp_path), "limit": 2}
    answers = [score_run(manifest, QUICK) for _ in range(3)]
    assert [answer["scored"] for answer in answers] == [2, 2, 1]
    assert [answer["remaining"] for answer in answers] == [3, 1, 0]
    assert [answer["stopped"] for answer in answers] == ["limit", "limit", None]
    assert [row["path"] for row in read_rows(answers[0]["rows_file"])] == names


def test_a_limit_within_a_stack_goes_on_where_it_stopped(tmp_path: Path) -> None:
    write_stack(tmp_path / "stack.tif", 5)
    answers = [score_run({"folder": str(tmp_path), "limit": 2}, QUICK) for _ in range(3)]
    assert [answer["remaining"] for answer in answers] == [1, 1, 0]
    assert [row["path"] for row in read_rows(answers[0]["rows_file"])] == [f"stack.tif#page={k}" for k in range(5)]


def test_a_time_budget_ends_a_call(tmp_path: Path) -> None:
    write_run(tmp_path, 3)
    answer = score_run({"folder": str(tmp_path), "time_budget_s": 1e-9}, QUICK)
    assert (answer["count"], answer["remaining"], answer["stopped"]) == (0, 3, "time_budget_s")


def test_folders_are_entered_when_the_pattern_says_so(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    write_run(tmp_path / "a" / "b", 1)
    assert score_run({"folder": str(tmp_path)}, QUICK)["count"] == 0
    answer = score_run({"folder": str(tmp_path), "pattern": "**/*"}, QUICK)
    assert list(latest(answer)) == ["a/b/t00.tif"]
    assert score_run({"folder": str(tmp_path), "pattern": "**/*"}, QUICK)["count"] == 0


def test_a_run_in_a_collection_stays_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "run", 2)
    monkeypatch.setenv("GCS_LOCAL_MAPS", json.dumps({COLLECTION: str(tmp_path)}))
    answer = score_run({"folder": "/run", "out": "results", "collection": COLLECTION}, QUICK)
    assert answer["scored"] == 2
    assert Path(answer["rows_file"]).parent == tmp_path / "results"
    outside = score_run({"folder": "run", "out": "../x", "collection": COLLECTION}, QUICK)
    assert outside["error"]["code"] == "bad_params"


@pytest.mark.parametrize(
    "manifest",
    [
        None, {}, {"folder": "a", "paths": ["b"]}, {"folder": 7}, {"paths": "a.tif"}, {"paths": [1]},
        {"folder": "/", "pattern": "../*"}, {"folder": "/", "pattern": "/etc/*"}, {"folder": "/", "limit": 0},
        {"folder": "/", "limit": 1.5}, {"folder": "/", "time_budget_s": -1}, {"folder": "/", "colour": 1},
    ],
)  # fmt: skip
def test_a_bad_manifest_is_refused(manifest: object) -> None:
    assert score_run(manifest, QUICK)["error"]["code"] == "bad_params"


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert score_run({"folder": str(tmp_path / "none")}, QUICK)["error"]["code"] == "bad_params"
    assert list(tmp_path.iterdir()) == []


def test_rows_that_have_no_place_are_an_error(tmp_path: Path) -> None:
    write_run(tmp_path, 1)
    (tmp_path / "file").touch()
    answer = score_run({"folder": str(tmp_path), "out": str(tmp_path / "file" / "x.jsonl")}, QUICK)
    assert answer["error"]["code"] == "cannot_write"


def test_a_summary_stays_small(tmp_path: Path) -> None:
    answer = score_run({"paths": [f"/none/{n}{'x' * 200}.tif" for n in range(300)], "out": str(tmp_path)}, QUICK)
    assert answer["failed"] == 300
    assert len(json.dumps(answer)) < 10_000


@pytest.mark.skipif(os.name == "nt", reason="on Windows a dead run's lock is waited out")
def test_a_killed_run_goes_on_and_loses_nothing(tmp_path: Path) -> None:
    names = write_run(tmp_path, 30)
    code = (  # from the eleventh tile on, reading waits until stdin ends
        "import sys; from pathlib import Path; from mhfd.worker import archive, tasks\n"
        "archive.FLUSH_S = 0.0; read = tasks.read_tile\n"
        "tasks.read_tile = lambda path, page: (Path(path).name < 't10' or sys.stdin.read(), read(path, page))[1]\n"
        f"archive.score_run({{'folder': {str(tmp_path)!r}}}, {QUICK!r})"
    )
    rows_file = tmp_path / f"mhfd-{FocusParams.from_dict(QUICK).sha256[:12]}.jsonl"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE) as run:
        deadline = time.monotonic() + 30
        while not (rows_file.exists() and rows_file.read_bytes().count(b"\n") == 10):
            assert run.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline, "the run did not write its first ten rows"
            time.sleep(0.01)
        busy = score_run({"folder": str(tmp_path)}, QUICK)
        run.kill()
    with rows_file.open("ab") as torn:
        torn.write(b'{"schema": 1, "fi')
    assert busy["error"]["code"] == "busy"
    answer = score_run({"folder": str(tmp_path)}, QUICK)
    assert (answer["scored"], answer["skipped"]) == (20, 10)
    assert sorted(row["path"] for row in read_rows(rows_file)) == names
