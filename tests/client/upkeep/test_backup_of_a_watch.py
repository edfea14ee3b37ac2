"""The ledger of a watch that runs, in its own process: backed up meanwhile, not restored before it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from mhfd_client.cli import main
from mhfd_client.ledger import LedgerError, open_ledger

TILES = 12
DEADLINE_S = 60.0


def scored() -> int:
    try:
        with open_ledger("ledger.db", readonly=True) as ledger:
            return ledger.summary(ledger.find_run().run_id).counts["scored"]
    except LedgerError:  # not yet there
        return 0


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def add(first: int) -> None:
    for k in range(first, first + TILES):
        tile = np.random.default_rng(k).integers(0, 255, (64, 64), np.uint8)
        tifffile.imwrite(f"run/s{k:04}_r0_c0.tif", tile)


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent otherwise there")
def test_a_watch_goes_on_while_it_is_backed_up_and_keeps_its_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (
        ("MHFD_CONFIG", "config.toml"), ("MHFD_LEDGER", "ledger.db"), ("MHFD_SETTLE_S", "0.1"),
        ("MHFD_POLL_S", "0.2"), ("MHFD_BACKEND", "numpy"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    Path("config.toml").touch()
    Path("run").mkdir()
    add(0)

    def ledger(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["ledger", *arguments])
        return done.exit_code, done.output

    watch = subprocess.Popen([sys.executable, "-m", "mhfd_client", "watch", "run"], env=os.environ)
    try:
        until(lambda: scored() > 0)
        assert ledger("backup", "early.db")[0] == 0
        until(lambda: scored() == TILES)
        add(TILES)
        assert ledger("backup", "late.db")[0] == 0
        code, said = ledger("restore", "early.db")
        assert code == 75 and "watch of run 1" in said
        until(lambda: scored() == 2 * TILES)
    finally:
        watch.send_signal(signal.SIGINT)
        assert watch.wait(DEADLINE_S) in (0, 130)
    for backup in ("early.db", "late.db"):
        assert ledger("restore", backup)[0] == 0
        assert CliRunner().invoke(main, ["watch", "run", "--once"]).exit_code == 0
        assert scored() == 2 * TILES
