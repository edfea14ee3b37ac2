"""A lock lets one run at a time write, and a dead run does not keep it."""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mhfd.worker.lock import STALE_S, BusyError, Lock

WAIT_S = 30.0


def test_an_abandoned_lock_is_taken_over(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    lock.write_text('{"token": "t", "where": "another machine", "host": "h", "pid": 1}')
    with pytest.raises(BusyError, match="process 1 on h"), Lock(lock):
        pass
    long_ago = time.time() - STALE_S - 60
    os.utime(lock, (long_ago, long_ago))
    with Lock(lock) as held:
        held.check()
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_who_lost_the_lock_stops_writing_and_leaves_it_alone(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    with Lock(lock) as held:
        lock.write_text('{"token": "another"}')
        with pytest.raises(BusyError):
            held.check()
    assert lock.exists()


def test_one_of_many_gets_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    inside, most, got = 0, 0, 0
    refused, over = threading.Event(), threading.Event()

    def turn() -> None:
        nonlocal inside, most, got
        try:
            with Lock(lock):
                inside += 1
                most = max(most, inside)
                got += 1
                refused.clear()
                if got < 10:  # stay until another is turned away
                    assert refused.wait(WAIT_S)
                else:
                    over.set()
                inside -= 1
        except BusyError:
            refused.set()

    def work(_: int) -> None:
        deadline = time.monotonic() + WAIT_S
        while not over.is_set() and time.monotonic() < deadline:
            turn()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert most == 1
    assert got >= 10
