"""A worker on the processor, and tiles for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from mhfd.images.inline import available_codecs
from mhfd.worker import device, finish_run, plan_run, rows_of, score_shard
from phantoms import as_uint8, texture

SHAPE = (48, 64)
QUICK: dict[str, Any] = {"n_scales": 2, "max_t": 4.0}
SETTINGS = (
    "GCS_LOCAL_MAPS", "MHFD_MAX_PIXELS", "MHFD_OUT_ROOTS", "MHFD_RESULT_DIR", "MHFD_ROOTS", "MHFD_SPOOL_DIR",
    "PARSL_WORKER_RANK", "PARSL_WORKER_COUNT",
)  # fmt: skip
COLLECTION = "6C54CADE-BDE5-45C1-BDEA-F4BD71DBA2CC"


@pytest.fixture(autouse=True)
def plain_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test a fresh worker: on the processor, without settings."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MHFD_BACKEND", "numpy")
    device.backend.cache_clear()
    yield
    device.backend.cache_clear()
    device._failed.clear()


def tissue(seed: int = 1, dtype: str = "uint8") -> NDArray[Any]:
    """Make a tile with features in it."""
    rng = np.random.default_rng(seed)
    grey: NDArray[Any] = as_uint8(0.5 + 0.15 * texture(SHAPE, rng) + rng.normal(0, 0.01, SHAPE))
    return grey.astype(dtype) * 200 if np.dtype(dtype).itemsize > 1 else grey.astype(dtype)


def write_run(folder: Path, count: int) -> list[str]:
    """Write `count` files of one tile each, and return their names."""
    folder.mkdir(exist_ok=True)
    names = [f"t{number:02}.tif" for number in range(count)]
    for number, name in enumerate(names):
        tifffile.imwrite(folder / name, tissue(number))
    return names


def write_stack(path: Path, pages: int) -> None:
    """Write one file of `pages` tiles."""
    with tifffile.TiffWriter(path) as writer:
        for seed in range(pages):
            writer.write(tissue(seed), contiguous=False)


def score_shards(plan: dict[str, Any], options: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Score all shards of a plan, and return the answers."""
    size, tiles = plan["shard_tiles"], plan["tiles"]
    firsts = range(0, tiles, size)
    return [score_shard(plan["manifest"], first, min(size, tiles - first), None, options) for first in firsts]


def rescored(folder: Any, pattern: str | None = None, params: Any = None, **options: Any) -> dict[str, Any]:
    """Plan, score and finish a run: the plan's answer and the last one's, with "taken" and the "results"."""
    plan = plan_run(
        str(folder) if isinstance(folder, Path) else folder, pattern, QUICK if params is None else params, options
    )
    if "error" in plan:
        return plan
    shards = score_shards(plan)
    return {**plan, **finish_run(plan["manifest"]), "taken": sum(each["taken"] for each in shards), "results": (
        results_in(Path(plan["manifest"]).parent)
    )}  # fmt: skip


def results_in(job: Path) -> list[dict[str, Any]]:
    """Read the results of a job, with their spectra where it has them."""
    beside = {
        part: part.with_name(part.name.replace("part-", "spectra-")) for part in sorted(job.glob("part-*.parquet"))
    }
    return [row for part, spectra in beside.items() for row in rows_of(part, spectra if spectra.exists() else None)]


def codes(answer: dict[str, Any]) -> list[str | None]:
    """List each row's error code, None for a scored tile."""
    return [row["error"] and row["error"]["code"] for row in answer["rows"]]


def paths_of(answer: dict[str, Any]) -> list[str]:
    """List the rows' names."""
    return [row["path"] for row in answer["rows"]]


def usable(codec: str) -> str:
    """Return the codec, or skip the test where it is not installed."""
    if codec not in available_codecs():
        pytest.skip("no imagecodecs")
    return codec
