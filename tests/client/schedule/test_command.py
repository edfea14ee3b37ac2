"""The command that every scheduler of this machine starts, run for real, twice."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mhfd_client.schedule.protocol import Schedule
from mhfd_client.schedule.when import When
from mhfd_client.simulate import RunPlan, simulate_run


def test_a_second_time_it_does_nothing_again(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="results of archives are Parquet files")
    simulate_run(tmp_path / "run", RunPlan(sections=1, rows=1, cols=3, tile_px=128))
    command = Schedule((str(tmp_path / "run"),), When.parse("1d", "02:00")).command
    own = {name: str(tmp_path / "home") for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME")}
    environment = {**os.environ, **own, "MHFD_BACKEND": "numpy"}
    told = []
    for _ in range(2):
        ran = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
        assert ran.returncode == 0, ran.stderr
        parts = list((tmp_path / "run" / ".mhfd").glob("*/part-*.parquet"))
        told.append([(path.name, path.stat().st_mtime_ns) for path in parts])
    assert len(told[0]) == 1 and told[0] == told[1]
