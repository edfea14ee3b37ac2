"""`mhfd rescore` on the unmodified Globus stack: shards out by the service, a dataset beside the data."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result

from mhfd.worker.archive.parts import rows_of
from mhfd_client.cli import main
from mhfd_client.rescore.job import known_jobs

if TYPE_CHECKING:
    from loopback.stack import Loopback

TILES, SHARD = 24, 4
END_S = 400.0


@pytest.fixture
def run(loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of 24 tiles, and a configuration with the endpoint "here", which sees it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("MHFD_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("MHFD_LEDGER", str(tmp_path / "ledger.db"))
    (tmp_path / "run").mkdir()
    rng = np.random.default_rng(1)
    for k in range(TILES):
        tifffile.imwrite(tmp_path / "run" / f"s0000_r0_c{k:02d}.tif", rng.integers(0, 255, (48, 48), np.uint8))
    registered = CliRunner().invoke(main, ["register", "--file", str(tmp_path / "functions.json")])
    assert registered.exit_code == 0, registered.output
    endpoint = f'uuid = "{loopback.endpoint_id}"\nuser_endpoint_config = {{engine = "ThreadPoolEngine"}}\n'
    limits = "limits = {requests_per_10_s = 200, status_every_s = 1.0, deadline_s = 20.0, first_deadline_s = 40.0}\n"
    (tmp_path / "config.toml").write_text(
        f'functions_file = "functions.json"\n[endpoints.here]\n{endpoint}{limits}[endpoints.there]\n{endpoint}{limits}'
    )
    return tmp_path / "run"


def rescore(*words: object) -> Result:
    return CliRunner().invoke(main, ["rescore", *map(str, words)])


def told(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def names_in(dataset: str) -> list[str]:
    return [row["path"] for part in sorted(Path(dataset).glob("part-*.parquet")) for row in rows_of(part)]


ALL = [f"s0000_r0_c{k:02d}.tif" for k in range(TILES)]


def test_a_run_is_scored_next_to_the_data(loopback: Loopback, run: Path) -> None:
    found = told(rescore(run, "--endpoint", "here", "--shard-tiles", SHARD, "--priority", "normal", "--json"))
    assert (found["state"], found["scored"], found["shards"]) == ("complete", TILES, 6)
    assert names_in(found["dataset"]) == ALL
    again = told(rescore(run, "--endpoint", "here", "--shard-tiles", SHARD, "--json"))
    assert (again["job"], again["done_now"]) == (found["job"], 0)


def test_two_endpoints_share_a_run(loopback: Loopback, run: Path) -> None:
    found = told(rescore(run, "--endpoint", "here,there", "--shard-tiles", SHARD, "--json"))
    assert names_in(found["dataset"]) == ALL
    ((_, record),) = known_jobs(str(run))
    assert set(record.tiles_per_s) == {"here", "there"}


def test_a_dry_run_asks_the_endpoint_and_writes_nothing(loopback: Loopback, run: Path) -> None:
    found = told(rescore(run, "--endpoint", "here", "--dry-run", "--json"))
    assert (found["files"], found["tasks"]) == (TILES, 3)
    assert not (run / ".mhfd").exists()


def test_pause_and_status_are_asked_of_the_endpoint(loopback: Loopback, run: Path) -> None:
    told(rescore(run, "--endpoint", "here", "--json"))
    assert told(rescore("--pause", run, "--json"))["done"] == 1
    assert rescore(run, "--endpoint", "here").exit_code == 75
    assert told(rescore(run, "--endpoint", "here", "--resume", "--json"))["state"] == "complete"


def test_a_killed_client_takes_up_its_tasks_and_sends_none_twice(loopback: Loopback, run: Path) -> None:
    words = ["rescore", str(run), "--endpoint", "here", "--shard-tiles", "2", "--priority", "normal"]
    before = len(loopback.service.cloud.tasks)
    process = subprocess.Popen([sys.executable, "-m", "mhfd_client", *words])
    until_s = time.monotonic() + END_S
    while not list(run.glob(".mhfd/*/part-*.parquet")):
        assert process.poll() is None and time.monotonic() < until_s
        time.sleep(0.02)
    process.kill()
    process.wait()
    found = told(CliRunner().invoke(main, [*words, "--json"]))
    assert names_in(found["dataset"]) == ALL
    assert len(loopback.service.cloud.tasks) - before == 2 + TILES // 2 + 1  # two plans, the shards, one finish


def test_an_endpoint_that_is_killed_in_the_middle_loses_nothing(loopback: Loopback, run: Path) -> None:
    words = ["rescore", str(run), "--endpoint", "here", "--shard-tiles", "2", "--priority", "normal", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mhfd_client", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until_s = time.monotonic() + END_S
    while not list(run.glob(".mhfd/*/part-*.parquet")):
        assert process.poll() is None and time.monotonic() < until_s
        time.sleep(0.02)
    loopback.endpoint.kill()
    loopback.start_endpoint()
    out, err = process.communicate(timeout=END_S)
    assert process.returncode == 0, err
    (found,) = json.loads(out)
    assert names_in(found["dataset"]) == ALL
