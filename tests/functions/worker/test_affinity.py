"""A worker keeps to the cores that Linux lists for its GPU, on any machine; where nothing is told, to all it has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mhfd.worker.affinity import cores_text, keep_near, parse_cores

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are chosen on Linux only")

GPU = "0000:07:00.0"
VGA, ACCELERATOR, NETWORK = "0x030000", "0x030200", "0x020000"

# In a process of its own, with a thread that was there before.
KEEP = """
import json, os, sys, threading
from pathlib import Path
from mhfd.worker.affinity import cores_text, keep_near
asked, told, answer = threading.Event(), threading.Event(), []
def look():
    asked.wait()
    answer.append(sorted(os.sched_getaffinity(0)))
    told.set()
threading.Thread(target=look, daemon=True).start()
near = keep_near(sys.argv[1], devices=Path(sys.argv[2]))
asked.set()
told.wait()
print(json.dumps({"gpus": near and near.gpus, "mine": sorted(os.sched_getaffinity(0)), "thread": answer[0],
                  "text": cores_text()}))
"""

Device = Callable[..., None]


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """Describe a PCI device as Linux does, below `tmp_path`."""

    def make(bus_id: str, cores: str, *, vendor: str = "0x10de", kind: str = ACCELERATOR) -> None:
        folder = tmp_path / bus_id
        folder.mkdir()
        for name, text in {"local_cpulist": cores, "vendor": vendor, "class": kind}.items():
            (folder / name).write_text(f"{text}\n")

    return make


def kept(devices: Path, bus_id: str = GPU, **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", KEEP, bus_id, str(devices)],
        env={**os.environ, **environment},
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_process_and_its_threads_keep_to_the_cores_of_the_gpu(device: Device, tmp_path: Path) -> None:
    mine = sorted(os.sched_getaffinity(0))
    device(GPU, f"{mine[-1]},4000-4095")  # beyond what this process may use
    found = kept(tmp_path)
    assert found == {"gpus": 1, "mine": mine[-1:], "thread": mine[-1:], "text": str(mine[-1])}


def test_gpus_next_to_the_same_cores_are_counted(device: Device, tmp_path: Path) -> None:
    everywhere = "0-4095"
    device(GPU, everywhere)
    device("0000:0f:00.0", everywhere, kind=VGA)
    device("0000:47:00.0", "4000")  # next to other cores
    device("0000:0a:00.0", everywhere, kind=NETWORK)
    device("0000:0b:00.0", everywhere, vendor="0x8086")
    assert kept(tmp_path)["gpus"] == 2


def test_the_bus_may_be_written_in_capitals(device: Device, tmp_path: Path) -> None:
    device("0000:c1:00.0", "0-4095")
    assert kept(tmp_path, "0000:C1:00.0")["gpus"] == 1


@pytest.mark.parametrize("cores", ["4000-4095", "", "no list", "3-"])
def test_cores_that_cannot_be_used_change_nothing(cores: str, device: Device, tmp_path: Path) -> None:
    device(GPU, cores)
    found = kept(tmp_path)
    assert (found["gpus"], found["mine"]) == (None, sorted(os.sched_getaffinity(0)))


def test_an_unknown_gpu_changes_nothing(tmp_path: Path) -> None:
    for devices in (tmp_path, tmp_path / "no such folder"):
        assert keep_near(GPU, devices=devices) is None


def test_it_can_be_switched_off(device: Device, tmp_path: Path) -> None:
    device(GPU, "0-4095")
    assert kept(tmp_path, MHFD_CPU_AFFINITY="none")["gpus"] is None


@pytest.mark.parametrize(
    ("text", "cores"),
    [("0-1,8", {0, 1, 8}), ("48-50,176-177", {48, 49, 50, 176, 177}), ("5", {5}), ("", set())],
)
def test_a_list_of_cores_is_read(text: str, cores: set[int]) -> None:
    assert parse_cores(text) == cores


def test_cores_are_told_as_linux_lists_them() -> None:
    told = cores_text()
    assert told is not None
    assert parse_cores(told) == os.sched_getaffinity(0)
    allowed = next(line for line in Path("/proc/self/status").read_text().splitlines() if "Cpus_allowed_list" in line)
    assert allowed.split()[1] == told
