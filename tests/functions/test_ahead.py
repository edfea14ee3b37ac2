"""What is compiled in the background takes the place of the slower code, and never stops a batch."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from mhfd.ahead import Later, _every


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
from mhfd.images import blocks, picture
from mhfd.scoring import identity, rows
from mhfd.scoring.compiled_sha256 import is_faster
thread = ahead.prepare()
assert thread is ahead.prepare()
thread.join()
assert blocks._COMPILED.made and picture._COMPILED.made and rows._COMPILED.made
assert bool(identity._MANY.made) == is_faster()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
