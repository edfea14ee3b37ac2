"""While numba compiles, standard output and standard error stay the caller's, and so does what is set in numba."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("numba")

# Counts how often `sys.stdout` and `sys.stderr` change while numba compiles a loop that it tries several types for.
COMPILE = """
import sys, types
import numba

numba.config.SHOW_HELP = 1

class Watched(types.ModuleType):
    changes = 0

    def __setattr__(self, name, value):
        Watched.changes += name in ("stdout", "stderr")
        super().__setattr__(name, value)

sys.__class__ = Watched

from {module} import njit

@njit
def largest(values):
    found = [values[0]]
    for value in values[1:]:
        found.append(max(found[-1], value))
    return len(found)

assert largest(tuple(range(3))) == 3
assert numba.config.SHOW_HELP == 1
print(Watched.changes)
"""


def test_a_compilation_leaves_the_standard_output_alone() -> None:
    assert _changes("mhfd.compiler") == 0


def test_numba_by_itself_exchanges_the_standard_output() -> None:
    """Else what `mhfd.compiler` does is no longer needed."""
    pytest.importorskip("colorama")
    assert _changes("numba") > 0


def _changes(module: str) -> int:
    command = [sys.executable, "-c", COMPILE.format(module=module)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
