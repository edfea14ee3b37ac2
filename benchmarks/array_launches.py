"""What a GPU would do for a tile: launches, bytes and waits of `cupy-fft` and of the paper's method, without a GPU.

    python benchmarks/array_launches.py [--sides 1024] [--out array_launches.csv]

Runs the array code on the stand-in of tests/array_device.py, and counts when it runs a second time, with its tables
there. To count another version of mhfd, put its folders `functions` and `client` on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mhfd.contract import FocusParams
from mhfd.kernel import fourier
from mhfd_client.bench import paper

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # where the stand-in is

from array_device import FFT_STANDIN, XP_STANDIN, Counts, as_cupy, counted, fuse

PARAMS = FocusParams()


def ours() -> Callable[[NDArray[Any]], object]:
    """`cupy-fft`: all measures, from an array on the host."""
    known = {field.name for field in fields(fourier.Arrays)}
    arrays = fourier.Arrays(XP_STANDIN, FFT_STANDIN, **({"fuse": fuse} if "fuse" in known else {}))
    return lambda tile: fourier.measure(tile, PARAMS, arrays)


def papers() -> Callable[[NDArray[Any]], object]:
    """The paper's method as `mhfd bench` has it for CuPy: the count alone."""

    def irfft2(spectrum: Any, shape: tuple[int, int]) -> Any:
        return FFT_STANDIN.irfft2(spectrum, s=shape)

    maximum_filter = as_cupy(ndimage.maximum_filter, "input size")
    arrays = paper.Arrays(
        XP_STANDIN, FFT_STANDIN.rfft2, irfft2, maximum_filter, lambda _: nullcontext(), lambda: None, math.inf
    )
    method = paper.Method(arrays)
    return lambda tile: method.count(XP_STANDIN.asarray(tile), PARAMS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[1024])
    parser.add_argument("--out", type=Path, help="write every figure to this CSV file")
    args = parser.parse_args()
    found = []
    print("| side, px | what | launches | kernels to compile | MB read and written | waits | uploads |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for side in args.sides:
        tile = np.random.default_rng(1).integers(0, 256, (side, side), np.uint8)
        for name, make in (("cupy-fft", ours), ("the paper's method in CuPy", papers)):
            run = make()
            run(tile)
            counts: Counts = counted(lambda run=run, tile=tile: run(tile))  # type: ignore[misc]
            found.append({"side": side, "what": name, **asdict(counts), "kernels": len(counts.kernels)})
            print(
                f"| {side} | {name} | {counts.launches} | {len(counts.kernels)} | {counts.bytes / 1e6:.0f} | "
                f"{counts.waits} | {counts.uploads} |"
            )
    if args.out:
        with args.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(found[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(found)


if __name__ == "__main__":
    main()
