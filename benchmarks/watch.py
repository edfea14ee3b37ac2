"""Speed of a watch beside plain scoring, and memory of a backlog.

    python benchmarks/watch.py [--tiles FOLDER] [--n 400] [--backlog 10000 100000] [--out watch.csv] [--quick]

plain     `mhfd.iter_scores`: each file decoded and measured, on every core, nothing kept
watch     `mhfd watch --once` on the same files: scan, finished-file gate, tasks, a worker process per core, ledger

The rate of a watch is that of its middle: from the row at 10 % to the row at 90 % of the tiles, by the ledger's times,
so that starting up and waiting for files to settle (2 s) do not count. Both run in turn; medians.

backlog   the same with an endpoint that is out of reach, until all tiles wait in the ledger: peak memory of the
          process, and the time until then

The kernels are compiled beforehand. Linux only. How long one tile waits: watch_wait.py; how many a second go through
where the device computes nothing: watch_rate.py.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import psutil
import tifffile

import mhfd
from mhfd_client.ledger import open_ledger
from mhfd_client.simulate import RunPlan, simulate_run
from service import write_csv  # the benchmark beside this one

MIB = 2**20
SMALL_PX = 64
END_S = 1800.0


@dataclass(frozen=True)
class Sample:
    """One measurement; values that do not apply are 0."""

    what: str
    number: int
    tiles: int
    seconds: float
    tiles_per_s: float
    peak_mib: float = 0.0


def measure_plain(files: list[str], number: int) -> Sample:
    begun_s = time.perf_counter()
    count = sum(row.status == "scored" for row in mhfd.iter_scores(files))
    seconds = time.perf_counter() - begun_s
    return Sample("plain", number, count, seconds, count / seconds)


def measure_watch(folder: Path, work: Path, number: int) -> Sample:
    ledger = work / f"ledger{number}.db"
    begun_s = time.perf_counter()
    subprocess.run(watch_command(folder, ledger, "--once"), check=True, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - begun_s
    with open_ledger(ledger, readonly=True) as opened:
        rows = opened.rows(opened.find_run().run_id)
        times = sorted(row.scored_at for row in rows if row.state == "scored" and row.scored_at is not None)
    first, last = len(times) // 10, len(times) * 9 // 10
    return Sample("watch", number, len(times), seconds, (last - first) / (times[last] - times[first]))


def watch_command(folder: Path, ledger: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "mhfd_client", "watch", str(folder), "--ledger", str(ledger), "--quiet", *more]


def measure_backlog(folder: Path, work: Path, count: int) -> Sample:
    """Peak memory of a watch whose endpoint is out of reach, when all tiles are staged."""
    make_small(folder, count)
    config, ledger = work / "config.toml", work / f"backlog{count}.db"
    functions = json.dumps(str(uuid4()))
    config.write_text(
        f"[endpoints.away]\nuuid = '{uuid4()}'\nfunctions = {{score_inline = {functions}, score_paths = {functions}}}\n"
    )
    away = {
        "https_proxy": "http://127.0.0.1:9",  # nothing listens there
        "GLOBUS_COMPUTE_CLIENT_ID": str(uuid4()),
        "GLOBUS_COMPUTE_CLIENT_SECRET": "none",
        "GLOBUS_COMPUTE_USER_DIR": str(work / "globus"),
    }
    command = watch_command(folder, ledger, "--config", str(config), "--endpoint", "away")
    begun_s = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, **away}, stderr=subprocess.DEVNULL)
    try:
        peak = 0
        while staged(ledger) < count:
            peak = max(peak, psutil.Process(process.pid).memory_info().rss)
            if time.perf_counter() - begun_s > END_S or process.poll() is not None:
                raise RuntimeError(f"only {staged(ledger)} of {count} tiles were staged")
            time.sleep(0.2)
        seconds = time.perf_counter() - begun_s
        time.sleep(10)  # a scan with nothing new, more tries to reach the endpoint
        peak = max(peak, psutil.Process(process.pid).memory_info().rss)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return Sample("backlog", 0, count, seconds, count / seconds, peak / MIB)


def staged(ledger: Path) -> int:
    if not ledger.exists():
        return 0
    try:
        with open_ledger(ledger, readonly=True) as opened:
            return opened.summary(opened.find_run().run_id).counts.get("staged", 0)
    except mhfd.MhfdError:  # it is being created
        return 0


def make_small(folder: Path, count: int) -> None:
    """Write small tiles of different pixels, 1000 per folder."""
    rng = np.random.default_rng(1)
    for k in range(count):
        file = folder / f"{k // 1000:04d}" / f"t{k:06d}.tif"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(file, rng.integers(0, 256, (SMALL_PX, SMALL_PX), np.uint8))


def gather(folder: Path, source: Path | None, count: int, side: int) -> list[str]:
    """Make `count` files from the given or simulated tiles, repeated."""
    folder.mkdir()
    if source is None:
        made = folder.with_name("simulated")
        simulate_run(made, RunPlan(sections=2, rows=2, cols=3, tile_px=side))
        source = made
    given = sorted(path for path in source.rglob("*.tif"))
    for k in range(count):
        shutil.copyfile(given[k % len(given)], folder / f"t{k:05d}.tif")
    return sorted(str(path) for path in folder.iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiles", type=Path, help="folder with TIFF tiles; simulated ones otherwise")
    parser.add_argument("--n", type=int, default=400, help="tiles of a run")
    parser.add_argument("--side", type=int, default=1024, help="side of simulated tiles")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--backlog", type=int, nargs="*", default=[10_000, 100_000], help="numbers of small tiles")
    parser.add_argument("--out", type=Path, help="CSV of every measurement")
    parser.add_argument("--quick", action="store_true", help="a check that it works, not how fast")
    given = parser.parse_args()
    if given.quick:
        given.n, given.side, given.repeats, given.backlog = 40, 128, 1, [200, 400]
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory(prefix="mhfd-watch-") as name:
        work = Path(name)
        files = gather(work / "run", given.tiles, given.n, given.side)
        measure_plain(files[:4], 0)
        for number in range(given.repeats):
            samples += [measure_plain(files, number), measure_watch(work / "run", work, number)]
        samples += [measure_backlog(work / "small", work, count) for count in sorted(given.backlog)]
    print_tables(samples)
    if given.out:
        write_csv(given.out, samples)


def print_tables(samples: list[Sample]) -> None:
    def middle(what: str) -> float:
        return statistics.median(sample.tiles_per_s for sample in samples if sample.what == what)

    print("| | tiles | tiles/s | of plain | whole command, s |\n|---|---|---|---|---|")
    for what in ("plain", "watch"):
        own = [sample for sample in samples if sample.what == what]
        seconds = statistics.median(sample.seconds for sample in own)
        print(
            f"| {what} | {own[0].tiles} | {middle(what):.1f} | {middle(what) / middle('plain'):.0%} | {seconds:.1f} |"
        )
    print("\n| tiles waiting | until all wait, s | tiles/s | peak memory, MiB |\n|---|---|---|---|")
    for sample in samples:
        if sample.what == "backlog":
            print(f"| {sample.tiles} | {sample.seconds:.0f} | {sample.tiles_per_s:.0f} | {sample.peak_mib:.0f} |")


if __name__ == "__main__":
    main()
