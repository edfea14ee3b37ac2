"""While numba compiles, the standard output stays the caller's."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("numba")

# Counts how often numba would change `sys.stdout` while it compiles a loop that it has to ask for several times.
COMPILE = """
import sys, types
import {first}

class Watched(types.ModuleType):
    changes = 0

    def __setattr__(self, name, value):
        Watched.changes += name == "stdout"
        super().__setattr__(name, value)

sys.__class__ = Watched

from {second} import njit

@njit
def largest(values):
    found = [values[0]]
    for value in values[1:]:
        found.append(max(found[-1], value))
    return len(found)

assert largest(tuple(range(3))) == 3
print(Watched.changes)
"""


@pytest.mark.parametrize("first", ["sys", "numba"], ids=["new", "imported before"])
def test_a_compilation_leaves_the_standard_output_alone(first: str) -> None:
    assert _changes(first, "mhfd.compiler") == 0


def test_numba_by_itself_does_not() -> None:
    """Else what `mhfd.compiler` does is no longer needed."""
    pytest.importorskip("colorama")
    assert _changes("numba", "numba") > 0


def _changes(first: str, second: str) -> int:
    program = COMPILE.format(first=first, second=second)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_DISABLE_ERROR")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return int(done.stdout)
