"""The machine that was timed."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mhfd._version import __version__
from mhfd.backends import available_cores

PACKAGES = ("numpy", "scipy", "numba", "opencv-python-headless", "scikit-image")


def describe() -> dict[str, str]:
    """Processor, system and versions, for people."""
    return {
        "processor": f"{_processor()}, {available_cores()} cores",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": ", ".join([f"mhfd {__version__}", *filter(None, map(_version, PACKAGES))]),
    }


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    """The model's name, which Python itself does not know on Linux."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
