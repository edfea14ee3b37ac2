"""`mhfd rescore` on this machine: the real functions, in a worker process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result

from mhfd.worker.archive.parts import rows_of
from mhfd_client.cli import main
from mhfd_client.compute.local import LocalCompute
from mhfd_client.config import LocalLimits
from mhfd_client.rescore.driver import Driver
from mhfd_client.rescore.job import JobBusyError, JobFile, job_file
from mhfd_client.rescore.request import Request
from mhfd_client.rescore.site import Place, Site

TILES, SHARD = 12, 5


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `run` of twelve tiles in the working folder, one of them torn."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("MHFD_CONFIG", "")
    monkeypatch.setenv("MHFD_LEDGER", str(tmp_path / "ledger.db"))
    monkeypatch.setenv("MHFD_BACKEND", "numpy")
    write_tiles(tmp_path / "run", TILES)
    return tmp_path / "run"


def write_tiles(folder: Path, count: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(1)
    for k in range(count):
        tifffile.imwrite(folder / f"s0000_r0_c{k:03d}.tif", rng.integers(0, 255, (48, 48), np.uint8))


def rescore(*words: object) -> Result:
    return CliRunner().invoke(main, ["rescore", *map(str, words)])


def told(result: Result) -> dict[str, Any]:
    (found,) = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def test_a_run_becomes_a_dataset_and_the_second_time_nothing_is_scored(run: Path) -> None:
    first = rescore("run", "--shard-tiles", SHARD, "--json")
    assert first.exit_code == 0, first.output
    done = told(first)
    assert (done["state"], done["tiles"], done["shards"], done["done_now"]) == ("complete", TILES, 3, TILES)
    folder = Path(done["dataset"])
    names = [row["path"] for part in sorted(folder.glob("part-*.parquet")) for row in rows_of(part)]
    assert names == [f"s0000_r0_c{k:03d}.tif" for k in range(TILES)]
    assert Path(done["success"]).is_file()
    again = told(rescore("run", "--shard-tiles", SHARD, "--json"))
    assert (again["job"], again["done_now"]) == (done["job"], 0)


def test_a_failed_tile_is_told_and_stops_nothing(run: Path) -> None:
    (run / "s0000_r0_c003.tif").write_bytes(b"II*\0")
    result = rescore("run", "--json")
    assert result.exit_code == 3
    assert (told(result)["scored"], told(result)["failed"]) == (TILES - 1, 1)


def test_a_dry_run_writes_nothing(run: Path) -> None:
    result = rescore("run", "--dry-run", "--json")
    assert result.exit_code == 0
    found = told(result)
    assert (found["files"], found["tiles"], found["shards"], found["tasks"], found["requests"]) == (12, 12, 1, 3, 3)
    assert found["hours"] is None
    assert found["read_bytes"] == sum(file.stat().st_size for file in run.glob("*.tif"))
    assert not (run / ".mhfd").exists()


def test_after_a_job_the_time_of_the_next_one_is_known(run: Path) -> None:
    assert rescore("run", "--sample", 4).exit_code == 0
    result = rescore("run", "--dry-run")
    assert "time: about" in result.stdout


def test_a_pause_lasts_until_resume(run: Path) -> None:
    assert rescore("run", "--shard-tiles", SHARD).exit_code == 0
    assert rescore("--pause", "run").exit_code == 0
    paused = rescore("run", "--shard-tiles", SHARD)
    assert paused.exit_code == 75
    assert "goes on, with --resume" in paused.stdout
    assert rescore("run", "--shard-tiles", SHARD, "--resume").exit_code == 0
    status = rescore("--status", "run", "--json")
    assert (told(status)["state"], told(status)["done"], told(status)["rows"]) == ("finished", 3, TILES)


def test_status_without_a_run_lists_what_is_known(run: Path) -> None:
    assert "knows no job yet" in rescore("--status").output
    assert rescore("run").exit_code == 0
    assert f"{run}: complete, 1 of 1 shard" in rescore("--status").stdout


def test_a_run_that_nobody_began_is_unknown(run: Path) -> None:
    result = rescore("--pause", "run")
    assert result.exit_code == 78
    assert "knows no job of run" in result.stderr


def test_one_bad_run_does_not_stop_the_next(run: Path) -> None:
    (run.parent / "locked").mkdir()
    (run.parent / "locked" / ".mhfd").write_text("not a folder")
    result = rescore("locked", "run", "--json")
    bad, good = json.loads(result.stdout)
    assert (bad["state"], good["state"]) == ("failed", "complete")
    assert result.exit_code != 0


@pytest.mark.parametrize("words", [["rum"], [], ["run", "--sample", "2.5"], ["run", "--priority", "high"]])
def test_wrong_usage_is_told(run: Path, words: list[str]) -> None:
    assert rescore(*words).exit_code == 2


def test_a_reference_that_is_not_kept_is_refused(run: Path) -> None:
    assert CliRunner().invoke(main, ["watch", "run", "--once"]).exit_code == 0  # there is a ledger
    result = rescore("run", "--reference", "sem1")
    assert result.exit_code == 78
    assert "nothing is kept of 'sem1'" in result.stderr


def test_two_processes_do_not_work_on_one_job(run: Path) -> None:
    file = job_file(str(run), Request(run=str(run)).params, {"pattern": None})
    with file.locked():
        result = rescore("run")
    assert result.exit_code == 75
    assert "another `mhfd rescore`" in result.stderr
    with file.locked(), pytest.raises(JobBusyError), JobFile(file.file).locked():
        pass


def test_a_worker_that_is_killed_loses_nothing(run: Path) -> None:
    compute = LocalCompute(1)
    site = Site(compute, LocalLimits(), Place(str(run)), here=True)
    killed: list[int] = []

    def kill(progress: object) -> None:
        if not killed and compute._lanes[0]._pid is not None:
            killed.append(compute._lanes[0]._pid.result())
            os.kill(killed[0], signal.SIGTERM)

    request = Request(run=str(run), options={"shard_tiles": SHARD})
    outcome = Driver(request, [site], JobFile(run.parent / "job.json"), on_progress=kill).run()
    compute.close()
    assert killed
    assert outcome.state == "complete"
    assert outcome.finish is not None and outcome.finish["rows"] == TILES


@pytest.mark.skipif(sys.platform == "win32", reason="sends itself SIGINT")
def test_ctrl_c_ends_after_the_shards_in_flight_and_the_next_call_goes_on(run: Path) -> None:
    write_tiles(run.parent / "long", 400)
    command = [sys.executable, "-m", "mhfd_client", "rescore", "long", "--shard-tiles", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until_s = time.monotonic() + 60
    while not list((run.parent / "long").glob(".mhfd/*/part-00002.parquet")):
        assert process.poll() is None and time.monotonic() < until_s
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "ending when shards in flight are done" in err
    assert "stopped, 400 tiles in 200 shards" in out
    parts = len(list((run.parent / "long").glob(".mhfd/*/part-*.parquet")))
    assert 2 < parts < 200
    again = told(rescore("long", "--shard-tiles", 2, "--json"))
    assert (again["state"], again["done_now"]) == ("complete", 400 - 2 * parts)
