"""How fast is an archived run scored, against reading and the kernel alone, and is its memory flat?

    python benchmarks/rescore.py --tiles 100000 --out rescore.csv
    python benchmarks/rescore.py --tiles 100000 --loopback 10 --out rescore_loopback.csv

Makes tiles of 256 px in a temporary folder, --distinct of them and hard links to these, and plans the run. Then, shard
by shard and in this one process: a pool of as many threads reads the shard's tiles and runs the kernel, and keeps
nothing; and `score_shard` makes its part, the first of the two in every other shard. The ratio is that of their times.
Peak memory is that of the process after each shard. The parts must hold a scored row for each tile. Linux only.

With --loopback the tiles are so many runs, and the command `mhfd rescore` takes the place of `score_shard`, from its
start to its end: plan, shards, verdicts. SDK, endpoint, engine, broker and the one worker are real, Compute's service
is the tests' loopback. Peak memory is that of the worker. A quarter of the tiles is read and measured alone, half of it
before the command and half of it after.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from mhfd.contract import FocusParams
from mhfd.images import read_tile
from mhfd.worker import device, finish_run, plan_run, score_shard, warmup
from mhfd.worker.archive.manifest import Manifest

if TYPE_CHECKING:
    from soak import Stage

SIDE_PX = 256
IN_A_FOLDER = 1000
PARAMS = FocusParams()

Row = dict[str, Any]


def main() -> None:
    given = arguments()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=given.on) as temporary:
        warmup()
        print(f"{device.worker()['backend']}, {device.threads_here()} threads, {given.tiles} tiles of {SIDE_PX} px")
        for row in through_loopback(Path(temporary), given) if given.loopback else by_shard(Path(temporary), given):
            rows.append(row)
            if given.out:
                write(given.out, rows)
    report(rows)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=2000, help="(default: %(default)s)")
    parser.add_argument("--distinct", type=int, default=200, help="different ones (default: %(default)s)")
    parser.add_argument("--shard-tiles", type=int, default=1000, help="(default: %(default)s)")
    parser.add_argument("--loopback", type=int, metavar="RUNS", help="mhfd rescore, of so many runs")
    parser.add_argument("--on", type=Path, help="where the temporary folder is made")
    parser.add_argument("--out", type=Path, help="write every shard's or run's figures to this CSV file")
    return parser.parse_args()


def tissue(number: int) -> NDArray[np.uint8]:
    """A tile of blurred noise, different for each number, under noise."""
    rng = np.random.default_rng(number)
    noise = rng.normal(size=(SIDE_PX, SIDE_PX))
    smooth = sum(np.roll(noise, (dy, dx), (0, 1)) for dy in range(5) for dx in range(5))
    return np.clip(128 + 8 * smooth + rng.normal(0, 8, noise.shape), 0, 255).astype(np.uint8)


def make_run(run: Path, tiles: int, distinct: int) -> Path:
    """Folders of a thousand tiles each; a tile's first name is the file, the others are hard links."""
    for number in range(tiles):
        file = run / f"s{number // IN_A_FOLDER:05}" / f"t{number:09}.tif"
        file.parent.mkdir(parents=True, exist_ok=True)
        if number < distinct:
            tifffile.imwrite(file, tissue(number), photometric="minisblack")
        else:
            first = number % distinct
            os.link(run / f"s{first // IN_A_FOLDER:05}" / f"t{first:09}.tif", file)
    return run


# ------------------------------------------------------------------------------------------------------ in this process


def by_shard(run: Path, given: argparse.Namespace) -> Iterator[Row]:
    make_run(run, given.tiles, given.distinct)
    begun_s = time.perf_counter()
    plan = plan_run(str(run), None, PARAMS.to_dict(), {"shard_tiles": given.shard_tiles})
    print(f"plan_run: {given.tiles / (time.perf_counter() - begun_s):.0f} tiles/s")
    for shard in range(plan["shards"]):
        first = shard * plan["shard_tiles"]
        count = min(plan["shard_tiles"], plan["tiles"] - first)
        files = [Path(plan["folder"], tile.name) for tile in Manifest.open(plan["manifest"]).tiles(first, count)]
        ways = {"alone_s": partial(alone, files), "shard_s": partial(score, plan, first, count)}
        seconds = {way: round(timed(ways[way]), 4) for way in sorted(ways, reverse=bool(shard % 2))}
        yield {
            "shard": shard,
            "tiles": count,
            "alone_tiles": count,
            "alone_s": seconds["alone_s"],
            "shard_s": seconds["shard_s"],
            "peak_mib": peak_mib("self"),
        }
    begun_s = time.perf_counter()
    finished = finish_run(plan["manifest"])
    print(f"finish_run: {given.tiles / (time.perf_counter() - begun_s):.0f} tiles/s, peak {peak_mib('self')} MiB")
    assert (finished["complete"], finished["scored"]) == (True, given.tiles), finished


def score(plan: dict[str, Any], first: int, count: int) -> None:
    answer = score_shard(plan["manifest"], first, count)
    assert answer.get("scored") == count, answer


def alone(files: list[Path]) -> None:
    """Read and measure; what is measured goes."""
    backend, threads = device.backend(), device.threads_here()
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda file: backend.measure(read_tile(file).pixels, PARAMS)[0].features, files):
            pass


# ------------------------------------------------------------------------------------------------- through the loopback


def through_loopback(folder: Path, given: argparse.Namespace) -> Iterator[Row]:
    from soak import staged

    os.environ["XDG_DATA_HOME"] = str(folder / "data")
    with staged(folder) as stage:
        rescored(stage, make_run(folder / "first", 2 * given.distinct, given.distinct))  # starts the worker
        for number in range(given.loopback):
            run = make_run(folder / f"run{number}", given.tiles // given.loopback, given.distinct)
            files = sorted(run.rglob("*.tif"))
            before, after = files[::8], files[4::8]
            ways = (partial(alone, before), partial(rescored, stage, run), partial(alone, after))
            seconds = [timed(way) for way in ways]
            yield {
                "run": number,
                "tiles": len(files),
                "alone_tiles": len(before) + len(after),
                "alone_s": round(seconds[0] + seconds[2], 4),
                "rescore_s": round(seconds[1], 4),
                "peak_mib": max(peak_mib(worker.pid) for worker in stage.endpoint.processes("worker")),
            }


def rescored(stage: Stage, run: Path) -> None:
    code = stage.command("rescore", run, "--endpoint", "soak", "--config", stage.config, "--priority", "normal").wait()
    if code:
        stage.tell()
        raise RuntimeError(f"mhfd rescore ended with {code}")
    (summary,) = run.glob(".mhfd/*/summary.json")
    assert json.loads(summary.read_text("utf-8"))["scored"] == sum(1 for _ in run.rglob("*.tif"))


# -------------------------------------------------------------------------------------------------------------- figures


def timed(way: Callable[[], None]) -> float:
    """Its seconds."""
    begun_s = time.perf_counter()
    way()
    return time.perf_counter() - begun_s


def peak_mib(process: int | str) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return round(int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024)


def write(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def report(rows: list[Row]) -> None:
    ours, name = ("shard_s", "score_shard") if "shard_s" in rows[0] else ("rescore_s", "mhfd rescore")
    for what, tiles, seconds in (("reading and kernel alone", "alone_tiles", "alone_s"), (name, "tiles", ours)):
        print(f"{what}: {sum(row[tiles] for row in rows) / sum(row[seconds] for row in rows):.0f} tiles/s")
    ratio = statistics.median(row["tiles"] / row[ours] / (row["alone_tiles"] / row["alone_s"]) for row in rows)
    early = max(row["peak_mib"] for row in rows[: max(1, len(rows) // 10)])
    print(f"peak memory: {early} MiB after a tenth of the tiles, {rows[-1]['peak_mib']} after all")
    print(f"against reading and kernel alone: {ratio:.0%} (median of {len(rows)} pairs)")


if __name__ == "__main__":
    main()
