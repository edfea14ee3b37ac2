"""The shipped folder on Slurm: jobs come and go, workers have GPUs of their own, and no task is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from loopback.broker import wait_until
from mhfd.images.inline import encode_tile
from mhfd.registry import source_of
from slurm.cluster import GPUS, NODES, Slurm
from slurm.fixtures import SETTINGS

if TYPE_CHECKING:
    from globus_compute_sdk import Executor

    from loopback.stack import Loopback

RESULT_S = 300.0  # a job's first task takes 10 s; more on a busy machine
OPTIONS = {"account": "m1234_g", "partition": "gpus", "constraint": "gpu"}
PLACE = """\
def place(number, seconds, marks):
    import os, pathlib, time
    pathlib.Path(marks, str(number)).touch()
    time.sleep(seconds)
    return {
        "number": number,
        "node": os.environ["SLURMD_NODENAME"],
        "job": os.environ["SLURM_JOB_ID"],
        "gpu": os.environ["CUDA_VISIBLE_DEVICES"],
        "worker": os.getpid(),
    }
"""

Json = dict[str, Any]
Call = Callable[..., "Future[Json]"]


@pytest.fixture
def call(loopback: Loopback, slurm: Slurm, tmp_path: Path) -> Call:
    """Send a task, with a user's options: it leaves its number in `tmp_path`, sleeps, then says where it ran."""
    function = loopback.client().register_source_code(PLACE, "place")
    executors: dict[str, Any] = {}

    def send(number: int, seconds: float = 0.0, **options: Any) -> Future[Json]:
        key = repr(options)
        if key not in executors:
            executors[key] = executor(loopback, **options)
        future: Future[Json] = executors[key].submit_to_registered_function(function, (number, seconds, str(tmp_path)))
        return future

    return send


def executor(loopback: Loopback, **options: Any) -> Executor:
    """Our folder takes nothing but JSON."""
    from globus_compute_sdk.serialize import ComputeSerializer, JSONData

    return loopback.executor(
        user_endpoint_config={**OPTIONS, **options},
        serializer=ComputeSerializer(strategy_data=JSONData()),
        result_serializers=[JSONData()],
    )


def answers(futures: list[Future[Json]]) -> list[Json]:
    return [future.result(RESULT_S) for future in futures]


def test_each_worker_has_a_gpu_of_its_own(call: Call) -> None:
    told = answers([call(number, 0.5, nodes=2) for number in range(48)])
    places = {(each["node"], each["gpu"], each["worker"]) for each in told}
    assert len(places) == len(NODES) * GPUS  # a worker keeps its GPU
    assert {place[:2] for place in places} == {(node, str(gpu)) for node in NODES for gpu in range(GPUS)}
    assert len({each["job"] for each in told}) == 1


def test_a_tile_is_scored_in_a_job(loopback: Loopback, slurm: Slurm) -> None:
    function = loopback.client().register_source_code(source_of("score_inline"), "score_inline")
    tile = encode_tile(np.random.default_rng(1).integers(0, 256, (64, 64), dtype=np.uint8), name="a")
    answer = executor(loopback).submit_to_registered_function(function, ([tile], {"n_scales": 2, "max_t": 4.0}))
    (row,) = answer.result(RESULT_S)["rows"]
    assert (row["path"], row["status"]) == ("a", "scored")


def test_a_user_chooses_fewer_gpus(call: Call) -> None:
    told = answers([call(number, 0.5, gpus_per_node=2, cpus_per_task=8) for number in range(16)])
    assert {each["gpu"] for each in told} == {"0", "1"}


def test_an_idle_job_ends(call: Call, slurm: Slurm) -> None:
    (told,) = answers([call(0)])
    assert slurm.running() == [told["job"]]
    start = time.monotonic()
    wait_until(lambda: not slurm.jobs(), RESULT_S, "the idle job has ended")
    assert time.monotonic() - start > float(SETTINGS["MHFD_JOB_IDLE_S"]) - 6  # the endpoint looks every 5 s
    assert answers([call(1)])[0]["job"] != told["job"]


def test_a_job_for_few_tasks_keeps_its_place_in_the_queue(call: Call, slurm: Slurm) -> None:
    slurm.hold()
    future = call(0)
    wait_until(lambda: list(slurm.jobs().values()) == ["PENDING"], RESULT_S, "a job waits")
    before = slurm.jobs()
    wait([future], timeout=16)  # the endpoint looks at its jobs three times
    assert slurm.jobs() == before
    slurm.release()
    assert future.result(RESULT_S)["job"] in before


def test_a_long_queue_loses_nothing(call: Call, slurm: Slurm) -> None:
    slurm.hold()
    futures = [call(number) for number in range(200)]
    wait_until(lambda: list(slurm.jobs().values()) == ["PENDING"], RESULT_S, "one job waits")
    done, _ = wait(futures, timeout=20)  # longer than the idle time and the heartbeat threshold
    assert not done
    assert list(slurm.jobs().values()) == ["PENDING"]
    slurm.release()
    assert [each["number"] for each in answers(futures)] == list(range(200))


def test_tasks_of_a_cancelled_job_are_done_by_another(call: Call, slurm: Slurm, tmp_path: Path) -> None:
    futures = [call(number, 10.0) for number in range(GPUS)]
    wait_until(lambda: len(list(tmp_path.iterdir())) == GPUS, RESULT_S, "all tasks have begun")
    (first,) = slurm.running()
    slurm.cancel(first)
    told = answers(futures)
    assert [each["number"] for each in told] == list(range(GPUS))
    assert all(each["job"] != first for each in told)


def test_an_endpoint_killed_with_its_job_running_comes_back(call: Call, loopback: Loopback, slurm: Slurm) -> None:
    (before,) = answers([call(0)])
    assert slurm.running() == [before["job"]]
    loopback.endpoint.kill()
    assert slurm.running() == [before["job"]]  # nobody told Slurm
    loopback.start_endpoint()
    (after,) = answers([call(1)])
    assert after["job"] != before["job"]
    wait_until(lambda: before["job"] not in slurm.jobs(), RESULT_S, "the job without an endpoint has ended")
