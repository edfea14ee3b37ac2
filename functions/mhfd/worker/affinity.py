"""The cores next to a GPU, as Linux tells in /sys; this process keeps to them.

A list of cores in the endpoint's configuration is right for one model of machine; where it does not fit, workers die as
they start. The machine itself knows which cores are near which GPU.
"""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

SETTING = "MHFD_CPU_AFFINITY"
DEVICES = Path("/sys/bus/pci/devices")
NVIDIA, DISPLAY = "0x10de", "0x03"  # the vendor; classes of devices that begin so are GPUs


@dataclass(frozen=True)
class Near:
    """Cores near a GPU, and how many GPUs of this machine they are near to."""

    cores: frozenset[int]
    gpus: int


def keep_near(bus_id: str, *, devices: Path = DEVICES) -> Near | None:
    """Keep this process, with all its threads, to the cores next to a GPU that it may use. Never fails.

    Parameters
    ----------
    bus_id : of the GPU on the PCI bus, "0000:07:00.0"
    devices : where Linux describes PCI devices

    Returns
    -------
    What this process keeps to; None where it stays as it was: MHFD_CPU_AFFINITY is "none", the system is not Linux, or
    tells nothing of the GPU's cores (a virtual machine), or this process may use none of them.
    """
    if os.environ.get(SETTING) == "none" or not hasattr(os, "sched_setaffinity"):
        return None
    try:
        near = _near(bus_id.lower(), devices)
        cores = near.cores & os.sched_getaffinity(0)
        if not cores:
            return None
        for thread in os.listdir("/proc/self/task"):  # noqa: PTH208
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.sched_setaffinity(int(thread), cores)
    except (OSError, ValueError) as error:
        log.info("the cores next to the GPU %s are unknown: %s", bus_id, error)
        return None
    return Near(frozenset(cores), near.gpus)


def _near(bus_id: str, devices: Path) -> Near:
    text = _told(devices / bus_id, "local_cpulist")
    gpus = [device for device in devices.iterdir() if _is_gpu(device) and _told(device, "local_cpulist") == text]
    return Near(parse_cores(text), max(1, len(gpus)))


def _is_gpu(device: Path) -> bool:
    return _told(device, "vendor") == NVIDIA and _told(device, "class").startswith(DISPLAY)


def _told(device: Path, name: str) -> str:
    return (device / name).read_text(encoding="ascii").strip()


def parse_cores(text: str) -> frozenset[int]:
    """Numbers in a list as Linux writes it: "0-1,8" -> {0, 1, 8}; ValueError where it is none."""
    ends = [part.split("-") for part in text.split(",") if part]
    return frozenset(core for each in ends for core in range(int(each[0]), int(each[-1]) + 1))


def cores_text() -> str | None:
    """The cores that this process may use, as Linux writes a list: "48-63,176-191"; None on other systems."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    runs: list[list[int]] = []
    for core in sorted(os.sched_getaffinity(0)):
        if runs and core == runs[-1][1] + 1:
            runs[-1][1] = core
        else:
            runs.append([core, core])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
