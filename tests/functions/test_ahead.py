"""What is compiled in the background takes the place of the slower code, and never stops a batch."""

from __future__ import annotations

import logging
import subprocess
import sys

import numpy as np
import pytest

from mhfd import ahead
from mhfd.ahead import Later, _every
from mhfd.backends import select_backend
from mhfd.contract import FocusParams
from mhfd.scoring import stream
from mhfd.scoring.tile import Scorer, job


def test_what_cannot_be_compiled_leaves_the_slower_code(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> int:
        raise RuntimeError("no compiler")

    failing, declining, fine = Later(fail), Later[int](lambda: None), Later(lambda: 7)
    try:
        with caplog.at_level(logging.WARNING):
            for each in (failing, declining, fine):
                assert each.made is None
                each._prepare()
    finally:
        del _every[-3:]  # it would be compiled with the others
    assert (failing.made, declining.made, fine.made) == (None, None, 7)
    assert "slower code" in caplog.text


def test_all_loops_are_compiled_once_a_process() -> None:
    pytest.importorskip("numba")
    program = """
from mhfd import ahead
from mhfd.scoring import first_look, identity, rows
thread = ahead.prepare()
assert thread is ahead.prepare()
thread.join()
assert first_look._COMPILED.made and rows._COMPILED.made
assert identity.takes_many() == (identity._MANY.made is not None)  # as the trial told
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("count", "times"), [(2, 0), (3, 1), (7, 1)])
def test_it_begins_once_tiles_are_many(monkeypatch: pytest.MonkeyPatch, count: int, times: int) -> None:
    begun: list[None] = []
    monkeypatch.setattr(stream, "MANY", 3)
    monkeypatch.setattr(ahead, "prepare", lambda: begun.append(None))
    scorer = Scorer(FocusParams(n_scales=2, max_t=3), select_backend("numpy"))
    tiles = [np.full((16, 16), number, np.uint8) for number in range(count)]
    assert len(list(stream.in_threads(scorer, map(job, tiles), threads=2))) == count
    assert len(begun) == times
    assert len(list(stream.in_this_thread(scorer, map(job, tiles)))) == count
    assert len(begun) == 2 * times
