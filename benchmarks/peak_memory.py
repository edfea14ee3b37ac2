"""Peak memory and time of scoring one large tile within several memory limits, and whether its features stay the same.

    python benchmarks/peak_memory.py [--side 16384] [--n-scales 64] [--limits-mib 512 2048 8192] [--dtype uint8]
                                     [--layout plain deflate] [--backend numba] [--out raw.csv]

A simulated tile is repeated to the size asked for, with noise, and written to a TIFF file. For each limit a fresh
process scores a small tile, then the large one from its file; the growth of its peak resident size between the
two is the tile's share, including what is kept of the file. The exit code is 1 if any count of features
differs from another. Linux only.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

CHILD = """
import json, sys, time
import numpy
import mhfd
path, backend, n_scales, limit = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
params = mhfd.FocusParams(n_scales=n_scales, max_host_bytes=limit)

def resident(what):
    lines = open("/proc/self/status").read().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(what))

mhfd.score(numpy.random.default_rng(0).integers(0, 255, (256, 256), numpy.uint8), params, backend)
before = resident("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # the peak counts from here: compiling the kernel took more
start = time.perf_counter()
result = mhfd.score(path, params, backend)
print(json.dumps({"bytes": resident("VmHWM") - before, "seconds": time.perf_counter() - start,
                  "features": result.features, "by_scale": result.features_by_scale}))
"""

COLUMNS = ("side", "dtype", "layout", "n_scales", "limit_mib", "peak_bytes", "seconds", "features")

BLOCK = 1024


def rows_of_blocks(side: int, dtype: str) -> Iterator[NDArray[Any]]:
    """The tile, BLOCK rows at a time."""
    from mhfd_client.simulate import RunPlan, simulate_run

    with tempfile.TemporaryDirectory() as folder:
        simulate_run(Path(folder), RunPlan(sections=1, rows=1, cols=1, tile_px=BLOCK, bad_fraction=0, blank_fraction=0))
        (file,) = Path(folder).rglob("*.tif")
        tissue = tifffile.imread(file).astype(np.float32)
    line = np.tile(np.concatenate([tissue, tissue[:, ::-1]], axis=1), (1, -(-side // (2 * BLOCK))))[:, :side]
    for k, top in enumerate(range(0, side, BLOCK)):
        rng = np.random.default_rng(k)
        rows = (line if k % 2 == 0 else line[::-1])[: side - top]
        noisy = rows + rng.normal(0, 3, rows.shape).astype(np.float32)
        yield np.clip(noisy, 0, 255).astype(dtype)


def write_tile(path: Path, side: int, dtype: str, layout: str) -> None:
    """Write it uncompressed, or in compressed tiles of 256 px."""
    if layout == "plain":
        tile = tifffile.memmap(path, shape=(side, side), dtype=dtype, photometric="minisblack")
        for k, rows in enumerate(rows_of_blocks(side, dtype)):
            tile[k * BLOCK : k * BLOCK + len(rows)] = rows
        tile.flush()
        return
    px = 256
    chunks = (
        rows[y : y + px, x : x + px]
        for rows in rows_of_blocks(side, dtype)
        for y in range(0, len(rows), px)
        for x in range(0, side, px)
    )
    tifffile.imwrite(path, chunks, shape=(side, side), dtype=dtype, tile=(px, px), compression="deflate")


def measure(path: Path, backend: str, n_scales: int, limit_mib: int) -> dict[str, Any]:
    command = [sys.executable, "-c", CHILD, str(path), backend, str(n_scales), str(limit_mib << 20)]
    run: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096, help="side of the tile, in px (default: %(default)s)")
    parser.add_argument("--n-scales", type=int, default=16, help="(default: %(default)s)")
    parser.add_argument("--limits-mib", type=int, nargs="+", default=[256, 2048], help="max_host_bytes, in MiB")
    parser.add_argument("--dtype", nargs="+", default=["uint8"], help="pixel types to try")
    parser.add_argument("--layout", nargs="+", default=["plain"], choices=["plain", "deflate"], help="file layouts")
    parser.add_argument("--backend", default="numba", help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write every run to this CSV file")
    args = parser.parse_args()
    rows, differ = [], False
    print("| tile | pixels | file | scales | limit, MiB | peak growth, MiB | bytes/px | seconds | features |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tile.tif"
        for dtype in args.dtype:
            counts = set()
            for layout in args.layout:
                write_tile(path, args.side, dtype, layout)
                for limit in args.limits_mib:
                    run = measure(path, args.backend, args.n_scales, limit)
                    mib, per_px = run["bytes"] / 2**20, run["bytes"] / args.side**2
                    print(
                        f"| {args.side} x {args.side} | {dtype} | {layout} | {args.n_scales} | {limit} | {mib:.0f} | "
                        f"{per_px:.1f} | {run['seconds']:.1f} | {run['features']} |",
                        flush=True,
                    )
                    counts.add(tuple(run["by_scale"]))
                    values = (args.side, dtype, layout, args.n_scales, limit, run["bytes"], run["seconds"])
                    rows.append((*values, run["features"]))
            differ |= len(counts) > 1
    if args.out:
        with args.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(rows)
    if differ:
        sys.exit("The features depend on the memory limit or on the file's layout: that is a bug.")


if __name__ == "__main__":
    main()
