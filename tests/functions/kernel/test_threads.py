"""Threads that share loops over rows: every row once, in order, and none at work when an error is told."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from mhfd.kernel.threads import CACHE_LINE, Share, Workers, aligned_empty


def spans(first: int, last: int) -> tuple[int, int]:
    return first, last


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("rows", [range(0), range(1), range(3, 10), range(64)])
def test_every_row_is_done_once_and_results_are_in_order(threads: int, rows: range) -> None:
    found = Workers(threads).run(spans, rows)
    assert [row for first, last in found for row in range(first, last)] == list(rows)
    assert len(found) == min(threads, len(rows))


def test_a_part_is_not_smaller_than_is_worth_a_thread() -> None:
    assert Workers(4).run(spans, range(10), least=4) == [(0, 5), (5, 10)]


def test_loops_that_are_shared_together_are_apart_in_the_results() -> None:
    found = Workers(3).run_all(Share(spans, range(2)), Share(spans, range(0)), Share(spans, range(3)))
    assert found == [[(0, 1), (1, 2)], [], [(0, 1), (1, 2), (2, 3)]]


def test_threads_work_at_the_same_time_and_stay_for_the_next_tile() -> None:
    meeting = threading.Barrier(3, timeout=30)

    def meet(first: int, last: int) -> threading.Thread:
        meeting.wait()  # ends only if all three are here
        return threading.current_thread()

    once, again = Workers(3).run(meet, range(3)), Workers(3).run(meet, range(3))
    assert len(set(once)) == 3
    assert set(once) == set(again)


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_is_told_when_nobody_writes_any_more(failing: int) -> None:
    done = []

    def loop(first: int, last: int) -> None:
        if first == failing:
            raise ZeroDivisionError
        time.sleep(0.05)
        done.append(first)

    with pytest.raises(ZeroDivisionError):
        Workers(2).run(loop, range(2))
    assert done == [1 - failing]


def test_what_runs_after_an_error_writes_to_memory_that_nobody_gets_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread cannot be started: its work stays in the queue, and runs when another thread is there."""
    begun, ended = threading.Event(), threading.Event()
    plane = Workers(3, keep=True).array("plane", (3,))

    def write(first: int, last: int) -> None:
        if first == 1:
            begun.set()
            ended.wait(30)
        plane[first] = 7

    def start(thread: threading.Thread, starting: Callable[[threading.Thread], None] = threading.Thread.start) -> None:
        if begun.is_set():
            ended.set()
            raise RuntimeError("can't start new thread")
        starting(thread)
        assert begun.wait(30)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="new thread"):
        Workers(3, keep=True).run(write, range(3))
    monkeypatch.undo()
    assert not np.shares_memory(plane, Workers(3, keep=True).array("plane", (3,)))
    assert Workers(3).run(spans, range(3)) == [(0, 1), (1, 2), (2, 3)]


FORKING = """
import os, signal, sys
from mhfd.kernel.threads import Workers

def spans(first, last):
    return first, last

Workers(2).run(spans, range(2))
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
signal.alarm(30)  # without threads it would wait for ever
os._exit(0 if Workers(2).run(spans, range(2)) == [(0, 1), (1, 2)] else 1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKING], check=True, timeout=60)


def test_kept_memory_is_the_callers_own_and_begins_at_a_line() -> None:
    ours = Workers(1, keep=True).array("plane", (3, 5))
    ours[:] = 7
    theirs = []
    other = threading.Thread(target=lambda: theirs.append(Workers(1, keep=True).array("plane", (3, 5))))
    other.start()
    other.join()
    assert not np.shares_memory(ours, theirs[0])
    assert np.shares_memory(ours, Workers(1, keep=True).array("plane", (2, 2)))
    assert not np.shares_memory(ours, Workers(1).array("plane", (3, 5)))
    assert all(array.ctypes.data % CACHE_LINE == 0 for array in (ours, aligned_empty((1,))))
