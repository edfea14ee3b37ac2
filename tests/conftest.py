"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ledger_connections import connections
from loopback.fixtures import (
    collect,
    loopback,
    loopback_session,
    pytest_collection_modifyitems,
    pytest_runtest_makereport,
)

# A shell without job control starts `make test &` with SIGINT ignored. The programs that the tests start, and stop with
# Ctrl-C, would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

__all__ = ["connections", "loopback", "loopback_session", "pytest_collection_modifyitems", "pytest_runtest_makereport"]


@pytest.hookimpl(optionalhook=True)  # some tests run pytest without xdist
def pytest_xdist_auto_num_workers() -> int:
    """With `-n auto`: more than there are cores, since many tests wait for services and disks."""
    return (os.cpu_count() or 1) + 2


def pytest_sessionstart() -> None:
    """Compile the kernel before the tests, not behind their backs: else "auto" is NumPy in the first of them."""
    if importlib.util.find_spec("numba"):
        from mhfd.kernel import machine_code

        machine_code.make()


def pytest_sessionfinish() -> None:
    """What ends with the last threads, too, is collected before pytest looks for what was left open."""
    collect()


@pytest.fixture(scope="session")
def em_tile() -> Callable[[str], Path]:
    """A real tile, or a folder of them, by its name under MHFD_EM_TILES, else under shared/em beside the repository."""
    folder = Path(os.environ.get("MHFD_EM_TILES", Path(__file__).parents[2] / "shared" / "em"))

    def find(name: str) -> Path:
        if not (folder / name).exists():
            pytest.skip("no EM tiles")
        return folder / name

    return find


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)
