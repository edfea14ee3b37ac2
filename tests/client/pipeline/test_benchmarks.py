"""The benchmarks of a watch run, and say what they are to say."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks are for Linux")


def run(name: str, out: Path, *options: str) -> tuple[str, list[dict[str, str]]]:
    """What a benchmark prints, and the lines of its table."""
    command = [sys.executable, str(BENCHMARKS / name), *options, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    with out.open(encoding="utf-8", newline="") as file:
        return done.stdout, list(csv.DictReader(file))


def test_all_tiles_are_stored_and_judged_where_the_device_computes_nothing(tmp_path: Path) -> None:
    said, moments = run("watch_rate.py", tmp_path / "rate.csv", "--tiles", "60", "--per-s", "200")
    assert [moments[-1][each] for each in ("written", "seen", "stored", "judged")] == ["60"] * 4
    assert "tiles/s stored, of 200 written each second" in said


def test_each_tile_is_seen_then_submitted_then_stored(tmp_path: Path) -> None:
    options = ("--n", "3", "--side", "128", "--every-ms", "200", "--styles", "renamed")
    said, waits = run("watch_wait.py", tmp_path / "wait.csv", *options)
    assert len(waits) == 3
    for each in waits:
        assert float(each["seen"]) <= float(each["submitted"]) <= float(each["stored"])
    assert "| local | renamed | 3 |" in said
