"""An endpoint without workers, and one whose workers die as soon as they start: nothing is lost, and both are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from loopback.broker import wait_until
from mhfd.contract import FocusParams
from mhfd.registry import source_of
from mhfd_client import Client
from mhfd_client.compute.protocol import Workers, WorkersCannotStartError
from mhfd_client.config import Config, parse_config
from mhfd_client.dispatch import queueing
from mhfd_client.dispatch.queueing import Waiting
from mhfd_client.doctor import examine

if TYPE_CHECKING:
    from loopback.stack import Loopback

PARAMS = FocusParams(n_scales=4, max_t=5.0)
RESULT_S = 240.0
HASTE = {"deadline_s": 1.2, "first_deadline_s": 6.0, "status_after_s": 0.1, "status_every_s": 0.6}
TILES = 6

Told = SimpleQueue[Waiting | None]


def config(loopback: Loopback, **options: Any) -> Config:
    """The endpoint of these options, with the client's times shortened a hundredfold."""
    client = loopback.client()
    names = ("score_inline", "describe")
    functions = {name: client.register_source_code(source_of(name), name) for name in names}
    about = {"uuid": loopback.endpoint_id, "functions": functions, "user_endpoint_config": options}
    return parse_config({"endpoints": {"here": {**about, "limits": {**HASTE, "requests_per_10_s": 1000}}}})


@pytest.fixture
def no_core(loopback: Loopback) -> Config:
    """An endpoint whose workers are to keep to cores that no machine has."""
    return config(loopback, cpu_affinity="list:100000")


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file for which the workers' job waits; made at the end, so that no process of the test is left."""
    yield tmp_path / "go"
    (tmp_path / "go").touch()


def test_workers_that_come_late_get_each_tile_once(loopback: Loopback, gate: Path) -> None:
    told, tasks = Told(), loopback.service.cloud.tasks
    before = len(tasks)
    waits = config(loopback, worker_init=f"while [ ! -e {gate} ]; do sleep 0.2; done")
    with Client("here", config=waits, on_queue=told.put) as client:
        given = [np.random.default_rng(seed).integers(0, 256, (24, 24), dtype=np.uint8) for seed in range(TILES)]
        futures = [client.submit(pixels, PARAMS) for pixels in given]
        for _ in range(20):  # looks; each deadline is over several times
            client.status()
        waiting = told.get(timeout=RESULT_S)
        assert waiting is not None
        assert (waiting.tiles, waiting.silent) == (TILES, False)
        wait_until(lambda: client.status().details.get("outstanding_tasks", 0) > 0, RESULT_S, "the endpoint has them")
        assert client.status().workers is Workers.AWAITED
        sent = len(tasks) - before
        gate.touch()
        rows = [future.result(RESULT_S) for future in futures]
    assert [row.error for row in rows] == [None] * TILES
    assert len(tasks) - before == sent


def test_workers_that_die_at_once_are_told_of_and_fail_no_tile(
    loopback: Loopback, no_core: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queueing, "SILENT_S", 15.0)
    told, tasks = Told(), loopback.service.cloud.tasks
    before = len(tasks)
    with Client("here", config=no_core, on_queue=told.put) as client:
        future = client.submit(np.zeros((24, 24), np.uint8), PARAMS)
        while (waiting := told.get(timeout=RESULT_S)) is None or not waiting.silent:
            assert not future.done()
        assert "runs, its workers do not start" in str(waiting)
        assert not future.done()
        assert len(tasks) - before == 1
        client.close(0.0)


def test_doctor_says_that_workers_do_not_start(no_core: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mhfd_client.compute.first_answer.SILENT_S", 5.0)
    (*_, last) = examine(no_core, "here", deadline_s=RESULT_S)
    assert (last.name, last.level) == ("workers", "FAIL")
    assert last.found == "the endpoint runs, its workers do not start: it counts 1 worker, and none answers"
    assert "worker_*.log" in last.remedy


def test_doctor_says_that_there_are_no_workers_yet(loopback: Loopback, gate: Path) -> None:
    waits = config(loopback, worker_init=f"while [ ! -e {gate} ]; do sleep 0.2; done")
    (*_, last) = examine(waits, "here", deadline_s=25.0)
    assert (last.name, last.level) == ("workers", "WARN"), last
    assert "batch queue" in last.remedy


def test_a_job_that_fails_is_the_endpoints_fault_and_told_with_its_reason(loopback: Loopback) -> None:
    broken = config(loopback, worker_init=". /nonexistent/venv/bin/activate || exit 3")
    with Client("here", config=broken) as client:
        future = client.submit(np.zeros((24, 24), np.uint8), PARAMS)
        with pytest.raises(WorkersCannotStartError, match="/nonexistent/venv/bin/activate"):
            future.result(RESULT_S)
