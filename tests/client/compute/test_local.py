"""The pool of processes: the fate of tasks when a process dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mhfd.images import DEFAULT_MAX_PIXELS
from mhfd.images.inline import encode_tile
from mhfd_client.compute.local import LocalCompute
from mhfd_client.compute.protocol import Json, TaskLostError, WorkerDiedError

ANSWER_S = 60.0


@pytest.fixture
def compute() -> Iterator[LocalCompute]:
    opened = LocalCompute(workers=1)
    yield opened
    opened.close()


def long_task() -> Json:
    tile = encode_tile(np.random.default_rng(1).integers(0, 256, (1024, 1024), dtype=np.uint8), "raw")
    return {"tiles": [tile] * 40, "params": {"n_scales": 64}}


def pid(compute: LocalCompute) -> int:
    return int(compute.submit("describe", {}).result(ANSWER_S)["pid"])


def test_task_of_a_killed_worker_fails_the_next_is_sent_again(compute: LocalCompute) -> None:
    worker = pid(compute)
    running = compute.submit("score_inline", long_task())
    queued = compute.submit("describe", {})
    os.kill(worker, signal.SIGTERM)
    with pytest.raises(WorkerDiedError):
        running.result(ANSWER_S)
    with pytest.raises(TaskLostError):
        queued.result(ANSWER_S)


def test_the_limit_for_tasks_of_others_is_not_for_ones_own(compute: LocalCompute) -> None:
    assert compute.submit("describe", {}).result(ANSWER_S)["max_pixels"] == DEFAULT_MAX_PIXELS


def test_killed_worker_is_replaced(compute: LocalCompute) -> None:
    first = pid(compute)
    running = compute.submit("score_inline", long_task())
    os.kill(first, signal.SIGTERM)
    assert isinstance(running.exception(ANSWER_S), WorkerDiedError)
    assert pid(compute) != first


def test_task_that_is_late_is_ended(compute: LocalCompute) -> None:
    pid(compute)
    running = compute.submit("score_inline", long_task())
    compute.chase(running)
    assert isinstance(running.exception(ANSWER_S), WorkerDiedError)


def test_worker_stays_warm(compute: LocalCompute) -> None:
    assert pid(compute) == pid(compute)


def test_script_without_a_main_guard_is_not_run_again_in_the_workers(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import numpy as np\nfrom mhfd_client import Client\nprint('begun')\n"
        "print(Client().score(np.zeros((8, 8), np.uint8))[0].status)\n"
    )
    # Nor does anything hang at the end, though the client is not closed.
    told = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=ANSWER_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MHFD_CONFIG": str(_empty(tmp_path))},
    )
    assert told.stdout.splitlines() == ["begun", "scored"], told.stderr
    assert "Error" not in told.stderr


def _empty(folder: Path) -> Path:
    (folder / "config.toml").write_text("")
    return folder / "config.toml"


@pytest.mark.skipif(sys.platform == "win32", reason="what is killed there cannot be watched by its number")
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, signal\n"
        "from mhfd_client.compute.local import LocalCompute\n"
        "if __name__ == '__main__':\n"
        "    compute = LocalCompute(1)\n"
        "    print(compute.submit('describe', {}).result(30)['pid'], flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    worker = int(subprocess.run([sys.executable, script], capture_output=True, check=False, timeout=60).stdout)
    end_s = time.monotonic() + 10
    while is_running(worker):
        assert time.monotonic() < end_s, "the worker lives on"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
