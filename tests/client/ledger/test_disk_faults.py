"""Every system call that a ledger's file needs fails once: it is reported, and nothing that was stored is lost.

SQLite never renames its files; those that we rename are in tests/client/files.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mhfd.contract import FocusParams
from mhfd_client.ledger import open_ledger
from needs import need

HERE = Path(__file__).parent
REPORTED = {"LedgerFullError", "LedgerUnavailableError"}


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if sys.platform != "linux":
        pytest.skip("the calls are replaced with LD_PRELOAD, which Linux has")
    target = tmp_path_factory.mktemp("shim") / "failing_calls.so"
    command = [need("gcc", "gcc"), "-shared", "-fPIC", "-O1", "-o", str(target), str(HERE / "failing_calls.c")]
    subprocess.run(command, check=True)
    return target


@pytest.mark.parametrize(("call", "least"), [("write", 100), ("sync", 10), ("truncate", 1), ("unlink", 1)])
def test_a_call_that_fails_costs_nothing_that_was_stored(
    call: str, least: int, shim: Path, tmp_path: Path, sound: Callable[[str | Path], None]
) -> None:
    command = [sys.executable, str(HERE / "failing_writer.py"), str(tmp_path), call]
    done = subprocess.run(command, env={**os.environ, "LD_PRELOAD": str(shim)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = {path.with_suffix(".db"): path.read_text().splitlines() for path in tmp_path.glob("*.told")}
    assert len(told) > least, "the last has no call to fail"
    clean = tmp_path / f"{len(told)}.db"
    for path, lines in told.items():
        stored = {int(line.split()[1]) for line in lines if line.startswith("stored")}
        reported = [line for line in lines if line.startswith("Ledger")]
        assert len(reported) <= 1 and len(stored) == 3, lines
        assert not reported or path != clean
        assert {line.split(":")[0] for line in reported} <= REPORTED
        sound(path)
        with open_ledger(path) as ledger:
            run = ledger.open_run("/data", FocusParams(), layout="auto", endpoint="local")
            assert {row.tile_id for row in ledger.rows(run.run_id, states=["scored"])} == stored
