"""Describe this worker, and check that it scores correctly."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mhfd import cuda
from mhfd._version import __version__
from mhfd.contract import FocusParams
from mhfd.images.inline import available_codecs
from mhfd.kernel import machine_code
from mhfd.scoring.tile import job, ms_since
from mhfd.worker import affinity, device
from mhfd.worker.limits import max_pixels, unusable_limit
from mhfd.worker.places import READ_ROOTS, WRITE_ROOTS, roots, unusable_roots
from mhfd.worker.tasks import SCHEMA, Answer, answered, results

log = logging.getLogger(__name__)

T = TypeVar("T")

PACKAGES = {
    "numpy": ("numpy",),
    "scipy": ("scipy",),
    "tifffile": ("tifffile",),
    "imagecodecs": ("imagecodecs",),
    "numba": ("numba",),
    "cupy": ("cupy-cuda13x", "cupy-cuda12x", "cupy"),
    "dill": ("dill",),
    "globus_compute_sdk": ("globus-compute-sdk",),
    "globus_compute_endpoint": ("globus-compute-endpoint",),
}
"""Key in `describe` -> distributions that may provide it."""

NVIDIA_SMI = ("nvidia-smi", "--query-gpu=index,name,uuid,memory.free,memory.total", "--format=csv,noheader,nounits")

PROBE_SIZE, PROBE_CELL = 1024, 64
PROBE_FEATURES = (PROBE_SIZE // PROBE_CELL) ** 2
"""By construction: one blob per cell."""

WARM_REPEATS = 3


def describe() -> Answer:
    """Versions, GPUs, memory, scratch space of this worker. Never raises, and reads no secrets.

    Returns
    -------
    {"schema", "mhfd", "python", "executable", "platform", "host", "pid", "cpu_count", a version or null for each of
    `PACKAGES`, "codecs", "gpus": [{"number", "name", "uuid", "free_bytes", "total_bytes"}], "scratch": {"path",
    "free_bytes"}, "roots": {"read", "write"}, "max_pixels", "env": {"backend", "device", "device_uuid", "threads",
    "cores", "cuda_visible_devices", "worker_rank", "worker_count"}, "problems": [sentence]}. `gpus` lists all GPUs of
    the node; this worker's is `env["device_uuid"]`. `roots` are lists of folders, null where nothing is refused.
    """
    problems: list[str] = []

    def told(what: str, ask: Callable[[], T]) -> T | None:
        try:
            return ask()
        except Exception as error:  # a description with a gap still helps to find the cause
            problems.append(f"{what}: {type(error).__name__}: {error}")
            return None

    chosen = told("backend", device.backend)
    return {
        "schema": SCHEMA,
        "mhfd": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": told("platform", platform.platform),
        "host": told("host", platform.node),
        "pid": os.getpid(),
        "cpu_count": os.cpu_count(),
        **{key: told(key, partial(_version, names)) for key, names in PACKAGES.items()},
        "codecs": list(told("codecs", available_codecs) or ()),
        "gpus": told("gpus", _gpus) or [],
        "scratch": told("scratch", _scratch),
        "roots": {
            "read": told("roots", partial(_roots, READ_ROOTS)),
            "write": told("roots", partial(_roots, WRITE_ROOTS)),
        },
        "max_pixels": max_pixels(),
        "env": {
            "backend": chosen and chosen.name,
            "device": chosen and chosen.device,
            "device_uuid": chosen and told("device_uuid", device.gpu_uuid),
            "threads": told("threads", device.threads_here),
            "cores": told("cores", affinity.cores_text),
            "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "worker_rank": os.environ.get("PARSL_WORKER_RANK"),
            "worker_count": os.environ.get("PARSL_WORKER_COUNT"),
        },
        "problems": problems + (told("gpu driver", _unused_gpu) or []) + (told("settings", _unusable_settings) or []),
    }


def warmup() -> Answer:
    """Score a probe tile with a known count: compiles the kernels, and checks that they count right.

    Returns
    -------
    {"schema", "ok", "features", "expected", "row", "first_ms", "warm_ms", "worker"}: the probe's row, the time of the
    first tile of each pixel type, compiling included, and the best of a few more; or {"schema", "error"}
    """
    return answered(_warmup)


def _warmup() -> Answer:
    probe = probe_tile()
    start = perf_counter()
    if device.backend().standin:  # the compiled kernel is to be checked, not NumPy
        machine_code.make()
    # Kernels are compiled for each pixel type: these two are what microscopes write.
    row, wide = results(FocusParams(), [job(probe), job(probe.astype(np.uint16) * 257)])
    first_ms = ms_since(start)
    times = []
    for _ in range(WARM_REPEATS):
        start = perf_counter()
        (row,) = results(FocusParams(), [job(probe, name="probe")], 1)
        times.append(ms_since(start))
    return {
        "schema": SCHEMA,
        "ok": (row.features, wide.features) == (PROBE_FEATURES, PROBE_FEATURES),
        "features": row.features,
        "expected": PROBE_FEATURES,
        "row": row.to_dict(),
        "first_ms": round(first_ms, 3),
        "warm_ms": round(min(times), 3),
        "worker": device.worker(),
    }


def probe_tile() -> NDArray[np.uint8]:
    """Dark blobs of one size on a grid, and some noise: the same pixels with every NumPy.

    Returns
    -------
    (1024, 1024) uint8, with `PROBE_FEATURES` features at the default parameters
    """
    along = np.arange(PROBE_CELL) - (PROBE_CELL - 1) / 2
    blob = np.exp(-(along[:, None] ** 2 + along**2) / (2 * 4.0**2))
    blobs = np.tile(blob, (PROBE_SIZE // PROBE_CELL,) * 2)
    y, x = np.mgrid[:PROBE_SIZE, :PROBE_SIZE].astype(np.uint32)
    bits = (x * np.uint32(73856093)) ^ (y * np.uint32(19349663))  # a hash of the position, for noise without a library
    bits ^= bits >> 13
    bits *= np.uint32(1274126177)
    bits ^= bits >> 16
    tile: NDArray[np.uint8] = np.rint(180 - 110 * blobs + (bits % 17) - 8.0).astype(np.uint8)
    return tile


def _version(names: tuple[str, ...]) -> str | None:
    found = (each for name in names for each in importlib.metadata.distributions(name=name))
    return next((each.version for each in found), None)


def _gpus() -> list[dict[str, Any]]:
    """All GPUs of the node, from the driver's own tool: asking CUDA would take memory on each."""
    if not cuda.has_driver() or shutil.which(NVIDIA_SMI[0]) is None:
        return []
    told = subprocess.run(NVIDIA_SMI, capture_output=True, text=True, timeout=30, check=True)
    return parse_gpus(told.stdout)


def parse_gpus(text: str) -> list[dict[str, Any]]:
    """GPUs in the output of `NVIDIA_SMI` (MiB); null where memory is not reported (unified memory)."""
    gpus = []
    for line in text.splitlines():
        if not line.strip():
            continue
        number, name, uuid, free, total = (part.strip() for part in line.split(","))
        gpus.append(
            {
                "number": int(number),
                "name": name,
                "uuid": uuid.removeprefix("GPU-"),
                "free_bytes": int(free) * 2**20 if free.isdecimal() else None,
                "total_bytes": int(total) * 2**20 if total.isdecimal() else None,
            }
        )
    return gpus


def _unused_gpu() -> list[str]:
    return [f"a GPU driver is installed, but {why}"] if cuda.has_driver() and (why := cuda.unavailable()) else []


def _roots(variable: str) -> list[str] | None:
    here = roots(variable)
    return None if here is None else [str(folder) for folder in here.folders]


def _unusable_settings() -> list[str]:
    limit = unusable_limit()
    return [*unusable_roots(), *([limit] if limit else [])]


def _scratch() -> dict[str, Any]:
    path = os.environ.get("MHFD_RESULT_DIR") or tempfile.gettempdir()
    return {"path": path, "free_bytes": shutil.disk_usage(path).free}
