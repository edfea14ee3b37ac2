"""A job that waits in Slurm's queue, with deadlines shortened a hundredfold: nothing fails, nothing is sent twice."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from loopback.broker import wait_until
from mhfd.contract import FocusParams, FocusResult
from mhfd.registry import source_of
from mhfd_client import Client
from mhfd_client.config import Config, Limits, parse_config
from mhfd_client.dispatch.queueing import Waiting
from slurm.cluster import Slurm
from slurm.test_endpoint import OPTIONS, RESULT_S

if TYPE_CHECKING:
    from loopback.stack import Loopback

PARAMS = FocusParams(n_scales=4, max_t=5.0)
SHORTENED = 100
QUEUED_S = 40.0  # of the shortened time: more than an hour without
TILES = 12

Told = SimpleQueue[Waiting | None]


@pytest.fixture
def config(loopback: Loopback, slurm: Slurm) -> Config:
    """The endpoint on Slurm, with all times of the client a hundredth of the defaults, but the patience."""
    client = loopback.client()
    functions = {"score_inline": client.register_source_code(source_of("score_inline"), "score_inline")}
    times = ("deadline_s", "first_deadline_s", "status_after_s", "status_every_s")
    limits: dict[str, Any] = {name: getattr(Limits(), name) / SHORTENED for name in times}
    about = {"uuid": loopback.endpoint_id, "functions": functions, "user_endpoint_config": OPTIONS}
    return parse_config({"endpoints": {"slurm": {**about, "limits": {**limits, "requests_per_10_s": 1000}}}})


def submit(client: Client) -> list[Future[FocusResult]]:
    given = [np.random.default_rng(seed).integers(0, 256, (24, 24), dtype=np.uint8) for seed in range(TILES)]
    return [client.submit(pixels, PARAMS) for pixels in given]


def stays(fact: Callable[[], bool], seconds: float) -> None:
    """Check again and again, so long, that something is so."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        assert fact()
        time.sleep(0.5)


def test_a_queue_fails_nothing_and_sends_nothing_twice(loopback: Loopback, slurm: Slurm, config: Config) -> None:
    told = Told()
    tasks = loopback.service.cloud.tasks
    before = len(tasks)
    slurm.hold()
    with Client("slurm", config=config, on_queue=told.put) as client:
        futures = submit(client)
        wait_until(lambda: list(slurm.jobs().values()) == ["PENDING"], RESULT_S, "a job in the queue")
        sent = len(tasks) - before
        stays(lambda: len(tasks) - before == sent and not any(future.done() for future in futures), QUEUED_S)
        waiting = told.get(timeout=RESULT_S)
        assert re.fullmatch(rf"endpoint 'slurm' has no workers yet: queued since \S+, {TILES} tiles wait", str(waiting))
        slurm.release()
        rows = [future.result(RESULT_S) for future in futures]
    assert [row.error for row in rows] == [None] * TILES
    assert len(tasks) - before == sent
    assert told.get(timeout=RESULT_S) is None


def test_a_client_that_starts_again_waits_on(loopback: Loopback, slurm: Slurm, config: Config) -> None:
    """The time in the queue goes on, and what the first client sent is not sent again."""
    told, told_later = Told(), Told()
    tasks = loopback.service.cloud.tasks
    before = len(tasks)
    slurm.hold()
    first = Client("slurm", config=config, on_queue=told.put)
    submit(first)
    waiting = told.get(timeout=RESULT_S)
    wait_until(lambda: list(slurm.jobs().values()) == ["PENDING"], RESULT_S, "a job in the queue")
    sent, state = len(tasks) - before, first.state()
    first.close(0.0)
    with Client("slurm", config=config, on_queue=told_later.put) as client:
        taken_up = client.resume(state)
        again = told_later.get(timeout=RESULT_S)
        assert waiting is not None
        assert again is not None
        assert (again.since, again.tiles) == (waiting.since, TILES)
        slurm.release()
        rows = [future.result(RESULT_S) for _, future in taken_up]
    assert [row.error for row in rows] == [None] * TILES
    assert len(tasks) - before == sent
