"""How fast do files become rows where the device costs nothing? Beside it, a loop that only reads and hashes them.

    python benchmarks/feed.py --readers 2 --out feed.csv

Makes tiles of 1024 x 1024 px, 8 bit, in a temporary folder (--folder takes some that are there), reads them once so
that they are in the page cache, and then times, turn by turn: one thread that reads each file and takes its SHA-256;
and the way of `mhfd score` and of a worker, from files to rows as JSON objects, with a device that gives the same
numbers for every tile. The last line ends with the ratio of their medians. Linux only: it asks for CPU time by thread.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from mhfd import FocusParams, ahead
from mhfd.backends import Backend, select_backend
from mhfd.images import read_tile
from mhfd.images.plain import READ_KNOWN
from mhfd_client.bench.feeding import nothing, scored

SIDE_PX = 1024
PARAMS = FocusParams()
COMPRESSIONS = ("none", "lzw", "zlib", "zstd")


def main() -> None:
    given = arguments()
    with ExitStack() as parts:
        folder = given.folder or Path(parts.enter_context(tempfile.TemporaryDirectory(dir=given.on)))
        if given.folder is None:
            make_tiles(folder, given.tiles, given.compression, given.side)
        files = sorted(folder.glob("*.tif"))
        backend = backend_of(files[0])
        ways: dict[str, Callable[[], int]] = {
            "plain loop": partial(plain_loop, files),
            "files to rows": partial(files_to_rows, backend, files, given.readers),
        }
        if given.by_python:
            if compiling := ahead.prepare():
                compiling.join()
            ways["files to rows, read by Python"] = partial(read_by_python, ways["files to rows"])
        rows = list(timed(ways, len(files), given.repeats))
    if given.out:
        with given.out.open("w", newline="") as out:
            writer = csv.DictWriter(out, ["repeat", "way", "tiles", "seconds", "cpu_seconds", "tiles_per_s"])
            writer.writeheader()
            writer.writerows(rows)
    rates = {way: statistics.median(row["tiles_per_s"] for row in rows if row["way"] == way) for way in ways}
    for way, rate in rates.items():
        cpu_ms = statistics.median(row["cpu_seconds"] / row["tiles"] * 1e3 for row in rows if row["way"] == way)
        print(f"{way}: {rate:.0f} tiles/s, {cpu_ms:.2f} ms of processor time a tile")
    plain, ours = rates["plain loop"], rates["files to rows"]
    print(f"files to rows with {given.readers} readers against the plain loop: {ours / plain:.2f} x")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="tiles to read; by default some are made")
    parser.add_argument("--on", type=Path, help="where the temporary folder is made")
    parser.add_argument("--tiles", type=int, default=400)
    parser.add_argument("--side", type=int, default=SIDE_PX, help="of a tile that is made, px")
    parser.add_argument("--compression", choices=COMPRESSIONS, default="none")
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--by-python", action="store_true", help="also without reading a file in one call")
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--out", type=Path, help="every repeat, as CSV")
    return parser.parse_args()


def make_tiles(folder: Path, count: int, compression: str, side_px: int = SIDE_PX) -> None:
    """Different tiles of blurred noise, as a microscope writes them: 64 a section."""
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(side_px, side_px))
    smooth = sum(np.roll(noise, (dy, dx), (0, 1)) for dy in range(5) for dx in range(5))
    grey = np.clip(128 + 8 * smooth + rng.normal(0, 8, noise.shape), 0, 255).astype(np.uint8)
    for number in range(count):
        tifffile.imwrite(
            folder / f"s{number // 64:04d}_r{number // 8 % 8}_c{number % 8}.tif",
            np.roll(grey, divmod(number, side_px), (1, 0)), photometric="minisblack",
            compression=None if compression == "none" else compression,
        )  # fmt: skip


def backend_of(file: Path) -> Backend:
    """A device that computes nothing: it has the numbers of one tile for all."""
    return nothing(select_backend("numpy").measure(read_tile(file).pixels, PARAMS)[0], in_lanes=True)


def plain_loop(files: Sequence[Path]) -> int:
    return len([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])


def files_to_rows(backend: Backend, files: Sequence[Path], readers: int) -> int:
    rows = [json.dumps(result.to_dict()) for result in scored(backend, files, PARAMS, readers)]
    failed = [row for row in rows if '"status": "scored"' not in row]
    if failed:
        sys.exit(f"not scored: {failed[0]}")
    return len(rows)


def read_by_python(way: Callable[[], int]) -> int:
    """The same without `images.compiled_read`, as where there is none."""
    made, READ_KNOWN.made = READ_KNOWN.made, None
    try:
        return way()
    finally:
        READ_KNOWN.made = made


def timed(ways: dict[str, Callable[[], int]], count: int, repeats: int) -> Iterator[dict[str, Any]]:
    """Each way in turn; the first turn is discarded."""
    for repeat in range(repeats + 1):
        for way, run in ways.items():
            start_s, start_cpu_s = time.perf_counter(), processor_time_s()
            done = run()
            seconds, cpu_s = time.perf_counter() - start_s, processor_time_s() - start_cpu_s
            if done != count:
                sys.exit(f"{way}: {done} of {count} tiles")
            if repeat:
                yield {
                    "repeat": repeat, "way": way, "tiles": count, "seconds": round(seconds, 4),
                    "cpu_seconds": round(cpu_s, 4), "tiles_per_s": round(count / seconds, 1),
                }  # fmt: skip


def processor_time_s() -> float:
    """Of this process, and of those that it has waited for."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in spent)


if __name__ == "__main__":
    main()
