"""How fast is an archived run scored, against reading and the kernel alone, and is its memory flat?

    python benchmarks/rescore.py --tiles 100000 --out rescore.csv

Makes tiles of 256 px in a temporary folder, --distinct of them and hard links to these, and plans the run. Then, shard
by shard and in this one process: a pool of as many threads reads the shard's tiles and runs the kernel, and keeps
nothing; and `score_shard` makes its part, the first of the two in every other shard. The ratio is that of their times.
Peak memory is that of the process after each shard. The parts must hold a scored row for each tile. Linux only.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from mhfd.contract import FocusParams
from mhfd.images import read_tile
from mhfd.worker import device, finish_run, plan_run, score_shard, warmup
from mhfd.worker.archive.manifest import Manifest

SIDE_PX = 256
IN_A_FOLDER = 1000
PARAMS = FocusParams()
COLUMNS = ("shard", "tiles", "alone_s", "shard_s", "peak_mib")


def main() -> None:
    given = arguments()
    with tempfile.TemporaryDirectory(dir=given.on) as temporary:
        run = Path(temporary)
        make_run(run, given.tiles, given.distinct)
        warmup()
        start = time.perf_counter()
        plan = plan_run(str(run), None, PARAMS.to_dict(), {"shard_tiles": given.shard_tiles})
        plan_s = time.perf_counter() - start
        rows = [measured(plan, shard) for shard in range(plan["shards"])]
        start = time.perf_counter()
        finished = finish_run(plan["manifest"])
        finish_s = time.perf_counter() - start
        peak = peak_mib()
    assert (finished["complete"], finished["scored"]) == (True, given.tiles), finished
    if given.out:
        with given.out.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    report(rows, given.tiles, plan_s, finish_s, peak)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=2000, help="(default: %(default)s)")
    parser.add_argument("--distinct", type=int, default=200, help="different ones (default: %(default)s)")
    parser.add_argument("--shard-tiles", type=int, default=1000, help="(default: %(default)s)")
    parser.add_argument("--on", type=Path, help="where the temporary folder is made")
    parser.add_argument("--out", type=Path, help="write every shard's figures to this CSV file")
    return parser.parse_args()


def tissue(number: int) -> NDArray[np.uint8]:
    """A tile of blurred noise, different for each number, under noise."""
    rng = np.random.default_rng(number)
    noise = rng.normal(size=(SIDE_PX, SIDE_PX))
    smooth = sum(np.roll(noise, (dy, dx), (0, 1)) for dy in range(5) for dx in range(5))
    return np.clip(128 + 8 * smooth + rng.normal(0, 8, noise.shape), 0, 255).astype(np.uint8)


def make_run(run: Path, tiles: int, distinct: int) -> None:
    """Folders of a thousand tiles each; a tile's first name is the file, the others are hard links."""
    for number in range(tiles):
        file = run / f"s{number // IN_A_FOLDER:05}" / f"t{number:09}.tif"
        file.parent.mkdir(exist_ok=True)
        if number < distinct:
            tifffile.imwrite(file, tissue(number), photometric="minisblack")
        else:
            first = number % distinct
            os.link(run / f"s{first // IN_A_FOLDER:05}" / f"t{first:09}.tif", file)


def measured(plan: dict[str, Any], shard: int) -> dict[str, Any]:
    """A row of the table."""
    first = shard * plan["shard_tiles"]
    count = min(plan["shard_tiles"], plan["tiles"] - first)
    names = [tile.name for tile in Manifest.open(plan["manifest"]).tiles(first, count)]

    def score() -> None:
        answer = score_shard(plan["manifest"], first, count)
        assert answer.get("scored") == count, answer

    ways: dict[str, Callable[[], None]] = {
        "alone_s": lambda: alone([Path(plan["folder"], name) for name in names]), "shard_s": score,
    }  # fmt: skip
    seconds = {}
    for way in sorted(ways, reverse=bool(shard % 2)):
        start = time.perf_counter()
        ways[way]()
        seconds[way] = round(time.perf_counter() - start, 4)
    return {"shard": shard, "tiles": count, **seconds, "peak_mib": peak_mib()}


def alone(files: list[Path]) -> None:
    """Read and measure; what is measured goes."""
    backend, threads = device.backend(), device.threads_here()
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda file: backend.measure(read_tile(file).pixels, PARAMS)[0].features, files):
            pass


def peak_mib() -> int:
    status = Path("/proc/self/status").read_text()
    return round(int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024)


def report(rows: list[dict[str, Any]], tiles: int, plan_s: float, finish_s: float, peak: int) -> None:
    ratios = [row["alone_s"] / row["shard_s"] for row in rows]
    total = {way: sum(row[way] for row in rows) for way in ("alone_s", "shard_s")}
    early = max(row["peak_mib"] for row in rows[: max(1, len(rows) // 10)])
    print(f"{device.worker()['backend']}, {device.threads_here()} threads, {tiles} tiles of {SIDE_PX} px")
    print("| what | tiles/s |")
    print("| --- | --- |")
    print(f"| plan_run | {tiles / plan_s:.0f} |")
    print(f"| reading and kernel alone | {tiles / total['alone_s']:.0f} |")
    print(f"| score_shard | {tiles / total['shard_s']:.0f} |")
    print(f"| finish_run | {tiles / finish_s:.0f} |")
    print(
        f"score_shard against reading and kernel alone: {statistics.median(ratios):.0%} (median of {len(rows)} shards)"
    )
    print(f"peak memory: {early} MiB after a tenth of the tiles, {rows[-1]['peak_mib']} after all, {peak} when judged")


if __name__ == "__main__":
    main()
