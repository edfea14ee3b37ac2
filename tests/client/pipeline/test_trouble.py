"""A watch that is asked to end, that meets a full disk, or whose steps fail."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from ledger_connections import Connection
from mhfd_client.config import load_config, resolve
from mhfd_client.ledger import Ledger, LedgerFullError, open_ledger
from mhfd_client.pipeline import Board
from mhfd_client.pipeline.assembly import open_watch
from mhfd_client.pipeline.context import Bell
from mhfd_client.pipeline.runner import Runner

END_S = 60.0
FAST = (
    "[endpoints.local]\nworkers = 1\n[profiles.p]\npoll_s = 0.5\nsettle_s = 0.2\nparams = {n_scales = 4, max_t = 5.0}\n"
)


def wait_until(true: Callable[[], bool], timeout_s: float = END_S) -> None:
    end_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end_s, "it never came true"
        time.sleep(0.05)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    for k in range(3):
        tifffile.imwrite(folder / f"t{k}.tif", np.random.default_rng(k).integers(0, 256, (48, 48), dtype=np.uint8))
    return folder


def scored(ledger: Path) -> int:
    if not ledger.exists():
        return 0
    try:
        with open_ledger(ledger, readonly=True) as opened:
            return opened.summary(opened.find_run().run_id).counts.get("scored", 0)
    except Exception:  # it is just being made
        return 0


# ------------------------------------------------------------------------------------------------------ asked to end


@pytest.fixture
def watch(run: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`mhfd watch` in a process of its own that has scored all there is."""
    config, ledger = run.parent / "config.toml", run.parent / "ledger.db"
    config.write_text(FAST)
    command = [sys.executable, "-m", "mhfd_client", "watch", run, "--config", config, "--ledger", ledger]
    with (run.parent / "told").open("wb") as told:
        process = subprocess.Popen(command, stdout=told, stderr=told)
    try:
        wait_until(lambda: scored(ledger) == 3 or process.poll() is not None)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="signals cannot be sent to one process on Windows")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_watch_ends_in_good_order(watch: subprocess.Popen[bytes], run: Path, number: int, code: int) -> None:
    os.kill(watch.pid, number)
    assert watch.wait(END_S) == code
    told = (run.parent / "told").read_text()
    assert "3 tiles scored" in told
    assert "Traceback" not in told


# ---------------------------------------------------------------------------------------------------------- no room


def test_full_disk_loses_nothing(run: Path, monkeypatch: pytest.MonkeyPatch, connections: list[Connection]) -> None:
    """There is room for one page more at a time, so that each step meets a full disk, and none forgets anything."""
    monkeypatch.setattr("mhfd_client.pipeline.runner.FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr("mhfd_client.pipeline.runner.LONGEST_PAUSE_S", 0.05)
    for k in range(3, 40):
        shutil.copy(run / f"t{k % 3}.tif", run / f"t{k}.tif")
    (run.parent / "config.toml").write_text(FAST)
    config = load_config(run.parent / "config.toml")
    file, told = run.parent / "ledger.db", list[str]()
    settings = resolve(config, None, {"ledger": str(file)}, environ={})
    with open_watch(run, config, settings, once=False, tell=told.append) as pipeline:
        connections[0].fill()
        thread = threading.Thread(target=pipeline.run)
        thread.start()
        try:
            wait_until(lambda: any("make room" in each for each in told))
            end_s = time.monotonic() + END_S
            while scored(file) < 40:
                assert time.monotonic() < end_s, f"{scored(file)} of 40 tiles are scored"
                connections[0].make_room(1)
                time.sleep(0.1)
        finally:
            pipeline.stop()
            thread.join(END_S)


@pytest.mark.parametrize("step", ["see", "finish", "sending", "stage", "submit", "store", "set_missing"])
def test_no_step_forgets_what_the_ledger_did_not_take(run: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    monkeypatch.setattr("mhfd_client.pipeline.runner.FIRST_PAUSE_S", 0.02)
    method, refusals = getattr(Ledger, step), [LedgerFullError("make room"), LedgerFullError("make room")]

    def full_at_first(*arguments: Any, **options: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return method(*arguments, **options)

    monkeypatch.setattr(Ledger, step, full_at_first)
    (run.parent / "config.toml").write_text(FAST)
    file = run.parent / "ledger.db"
    settings = resolve(config := load_config(run.parent / "config.toml"), None, {"ledger": str(file)}, environ={})
    with open_watch(run, config, settings, once=False, tell=lambda _: None) as pipeline:
        thread = threading.Thread(target=pipeline.run)
        thread.start()
        try:
            wait_until(lambda: scored(file) == 3 and not refusals)
        finally:
            pipeline.stop()
            thread.join(END_S)


# ------------------------------------------------------------------------------------------------------ failing steps


class Failing:
    """Fails a few times, then works."""

    name = "failing"

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.done = threading.Event()

    def step(self) -> float:
        if self.errors:
            raise self.errors.pop(0)
        self.done.set()
        return 60.0


def test_step_that_fails_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mhfd_client.pipeline.runner.FIRST_PAUSE_S", 0.01)
    told: list[str] = []
    step = Failing(LedgerFullError("there is no room"), LedgerFullError("there is no room"))
    runner = Runner(step, Board(told.append), Bell())
    runner.start()
    assert step.done.wait(END_S)
    runner.stop()
    assert runner.join(END_S)
    assert told == ["failing: there is no room; trying again", "failing: works again"]


def test_step_that_is_woken_does_not_wait() -> None:
    step = Failing()
    runner = Runner(step, Board(lambda _: None), Bell())
    runner.start()
    assert step.done.wait(END_S)
    step.done.clear()
    runner.wake()
    assert step.done.wait(END_S)
    runner.stop()
    assert runner.join(END_S)


# -------------------------------------------------------------------------------------------------------- the board


def test_matter_is_told_when_it_begins_changes_and_ends() -> None:
    told: list[str] = []
    board = Board(told.append)
    for text in ("offline", "offline", "still offline"):
        board.put("endpoint", text)
    board.clear("endpoint", "online")
    board.clear("endpoint", "online")
    assert told == ["offline", "still offline", "online"]


def test_notices_stand_until_they_are_over() -> None:
    board = Board(lambda _: None)
    board.put("a", "one")
    board.put("b", "two")
    board.clear("a")
    assert [notice.text for notice in board.notices()] == ["two"]
