"""A lock lets one run at a time write, and a dead run does not keep it."""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mhfd.worker.lock import STALE_S, BusyError, Lock, _where

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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
def test_a_lock_that_cannot_be_written_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fdopen = os.fdopen

    def full(handle: int, *given: Any, **named: Any) -> Any:
        os.close(handle)
        return fdopen(os.open("/dev/full", os.O_WRONLY), *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr("mhfd.worker.lock.os.fdopen", full)
        with pytest.raises(OSError, match="No space left"), Lock(tmp_path / "x.lock"):
            pass
    assert list(tmp_path.iterdir()) == []
    with Lock(tmp_path / "x.lock"):
        pass


@pytest.mark.parametrize("hard_links", [True, False])
@pytest.mark.parametrize("newer", [True, False])
def test_a_lock_taken_by_mistake_is_put_back_but_never_over_a_newer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, newer: bool, hard_links: bool
) -> None:
    lock, rename = tmp_path / "x.lock", Path.rename
    lock.write_text(json.dumps({"token": "dead", "where": _where(), "host": "h", "pid": 2**22 + 1}))

    def late(path: Path, target: Path) -> Path:
        if path == lock:  # meanwhile the dead run's lock has a successor
            lock.write_text('{"token": "successor"}')
        moved = rename(path, target)
        if path == lock and newer:  # and while that is aside, another takes the lock
            lock.write_text('{"token": "newest"}')
        return moved

    def no_links(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(Path, "rename", late)
    if not hard_links:
        monkeypatch.setattr("mhfd.worker.lock.os.link", no_links)
    with pytest.raises(BusyError), Lock(lock):
        pass
    assert json.loads(lock.read_text())["token"] == ("newest" if newer else "successor")
    assert list(tmp_path.iterdir()) == [lock]


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
