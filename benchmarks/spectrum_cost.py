"""Processor time that the spectrum adds to the kernel, on one core.

    python benchmarks/spectrum_cost.py [--sides 256 512 1024 2048] [--repeats 15] [--out raw.csv]

The same tile is measured with and without its spectrum, in turn, by the compiled kernel and by the array code, one
thread each. Tiles are simulated tissue. Best of the repeats, of which smaller tiles
get more.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")  # before NumPy

import argparse
import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from time import thread_time
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mhfd.contract import FocusParams
from mhfd.kernel import compiled, fourier, power


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Milliseconds of a kernel for a tile of `side` x `side` px."""

    backend: str
    side: int
    without_ms: float
    with_ms: float

    @property
    def added(self) -> float:
        return self.with_ms / self.without_ms - 1


def tissue(side: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(1)
    picture = sum(ndimage.gaussian_filter(rng.standard_normal((side, side)), t) * t for t in (1, 2, 4, 8))
    return np.clip(128 + 60 * picture + rng.normal(0, 8, (side, side)), 0, 255).astype(np.uint8)


@contextmanager
def no_spectrum() -> Iterator[None]:
    """As for a tile too small for blocks."""
    with mock.patch.object(power.Grid, "of", lambda shape: None):
        yield


def milliseconds(measure: Callable[..., Any], tile: NDArray[Any], params: FocusParams) -> float:
    start = thread_time()
    measure(tile, params)
    return (thread_time() - start) * 1e3


def cost(backend: str, measure: Callable[..., Any], side: int, repeats: int) -> Cost:
    tile, params = tissue(side), FocusParams()
    assert measure(tile, params)[0].spectrum is not None
    both, alone = [], []
    for _ in range(repeats * max(1, 1024 // side)):
        both.append(milliseconds(measure, tile, params))
        with no_spectrum():
            alone.append(milliseconds(measure, tile, params))
    return Cost(backend=backend, side=side, without_ms=min(alone), with_ms=min(both))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 512, 1024, 2048])
    parser.add_argument("--repeats", type=int, default=15, help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write every figure to this CSV file")
    args = parser.parse_args()
    costs = []
    print("| backend | tile, px | without, ms | with, ms | added |")
    print("| --- | --- | --- | --- | --- |")
    for backend, measure in (("numba", compiled.measure), ("numpy", fourier.measure)):
        for side in args.sides:
            each = cost(backend, measure, side, args.repeats)
            costs.append(each)
            print(f"| {backend} | {side} | {each.without_ms:.2f} | {each.with_ms:.2f} | {each.added:.1%} |", flush=True)
    if args.out:
        with args.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Cost)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(each) for each in costs)


if __name__ == "__main__":
    main()
