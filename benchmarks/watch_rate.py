"""How many tiles a second go through a watch whose device computes nothing: scan, gate, tasks, ledger and judge.

    python benchmarks/watch_rate.py [--tiles 20000] [--per-s 2000] [--out watch_rate.csv]

Another process writes small tiles into a folder, so many a second, 91 to a section, each with pixels of its own. The
watch is that of `mhfd watch`, with ledger, judge and alerts; only its device is not: a worker process reads and hashes
each tile, as a real one does, and answers with numbers that are there. Each line of the table is a moment: how many
tiles were written, are in the ledger, are stored and are judged by then, and the memory of the watch. The last line
is the rate from the row at 10 % to the row at 90 % of the tiles. Linux only.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
import tifffile

from feed import backend_of  # the benchmarks beside this one
from mhfd import FocusParams
from mhfd.backends import Backend
from mhfd.images import read_only_tile, read_tile
from mhfd.scoring.stream import in_batches
from mhfd.scoring.tile import Scorer, file_job
from mhfd_client.cli.watch import SWITCH_S
from mhfd_client.compute.local import LocalCompute
from mhfd_client.config import parse_config, resolve
from mhfd_client.judge.alerts import Alerts
from mhfd_client.pipeline import Pipeline
from mhfd_client.pipeline.assembly import open_watch
from mhfd_client.simulate import RunPlan, simulate_run
from service import write_csv

BEAMS = 91
SIDE_PX = 128
LOOK_S = 1.0
END_S = 300.0
MIB = 2**20


@dataclass(frozen=True)
class Moment:
    """How far a watch has come; `judged` counts the tiles that the judge has taken up."""

    seconds: float
    written: int
    seen: int
    stored: int
    judged: int
    watch_mib: float
    cpu_s: float


class NothingCompute(LocalCompute):
    """This machine as an endpoint whose device computes nothing: one worker process reads and hashes tiles."""

    def __init__(self, sample: Path) -> None:
        super().__init__(1)
        self._sample = str(sample)
        self._worker = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))

    def submit(self, function: str, arguments: dict[str, Any]) -> Future[dict[str, Any]]:
        return self._worker.submit(rows_of_nothing, self._sample, arguments["paths"], arguments["params"])

    def close(self) -> None:
        self._worker.shutdown(wait=False, cancel_futures=True)
        super().close()


def rows_of_nothing(sample: str, paths: list[dict[str, Any]], params: dict[str, Any]) -> dict[str, Any]:
    scorer = Scorer(FocusParams.from_dict(params), known(sample))
    jobs = [
        file_job(each["name"], partial(read_only_tile, each["path"]), partial(read_tile, each["path"]))
        for each in paths
    ]
    rows = [row.to_dict() for row in in_batches(scorer, jobs, 1)]
    return {"schema": 1, "rows": rows, "rows_file": None, "count": len(rows), "worker": {}}


@cache
def known(sample: str) -> Backend:
    return backend_of(Path(sample))


def make_sample(work: Path) -> Path:
    """A tile of simulated tissue."""
    simulate_run(work / "simulated", RunPlan(sections=1, rows=1, cols=1, tile_px=SIDE_PX))
    return next((work / "simulated").rglob("*.tif"))


def write_tiles(sample: Path, run: Path, count: int, per_s: float, written: Any) -> None:
    """Write tiles that differ in eight pixels, named by section and beam, in time; `written` says how many."""
    with tifffile.TiffFile(sample) as opened:
        start = opened.pages.first.dataoffsets[0]
    content = bytearray(sample.read_bytes())
    begun_s = time.monotonic()
    for number in range(count):
        ahead_s = number / per_s - (time.monotonic() - begun_s)
        if ahead_s > 0:
            time.sleep(ahead_s)
        content[start : start + 8] = number.to_bytes(8, "little")
        (run / f"s{number // BEAMS:05d}_r0_c{number % BEAMS}.tif").write_bytes(content)
        written.value = number + 1


@contextmanager
def watching(run: Path, ledger: Path, sample: Path) -> Iterator[tuple[Pipeline, Counter[str]]]:
    """A watch of the folder, and how many rows it has stored and judged."""
    config = parse_config({"profile": "p", "profiles": {"p": {}}, "endpoints": {"local": {"workers": 1}}})
    settings = resolve(config, None, {"ledger": str(ledger)}, environ={})
    done = Counter[str]()
    add = Alerts.add

    def count_stored(results: Any) -> None:
        done["stored"] += len(results)

    def count_judged(alerts: Alerts, results: Any) -> Any:
        said = add(alerts, results)
        done["judged"] += len(results)
        return said

    with (
        patch("mhfd_client.client.open_compute", lambda name, entry: NothingCompute(sample)),
        patch.object(Alerts, "add", count_judged),
        open_watch(
            run, config, settings, once=False, tell=lambda _: None, announce=lambda _: None, on_results=count_stored
        ) as pipeline,
    ):
        thread = threading.Thread(target=pipeline.run)
        thread.start()
        try:
            yield pipeline, done
        finally:
            pipeline.leave()
            thread.join()


def measure(work: Path, count: int, per_s: float) -> tuple[list[Moment], float]:
    """Moments of one run, and the rate of its middle."""
    run = work / "run"
    run.mkdir()
    sample = make_sample(work)
    context = multiprocessing.get_context("spawn")
    written = context.Value("i", 0)
    microscope = context.Process(target=write_tiles, args=(sample, run, count, per_s, written), daemon=True)
    me, moments = psutil.Process(), []
    with watching(run, work / "ledger.db", sample) as (pipeline, done):
        time.sleep(1.0)  # let the worker start
        microscope.start()
        begun_s, begun_cpu_s = time.monotonic(), sum(me.cpu_times()[:2])
        while True:
            time.sleep(LOOK_S)
            summary = pipeline.ledger.summary(pipeline.run_id)
            moments.append(
                Moment(
                    time.monotonic() - begun_s, written.value, sum(summary.counts.values()), done["stored"],
                    done["judged"], me.memory_info().rss / MIB,
                    sum(me.cpu_times()[:2]) - begun_cpu_s,
                )
            )  # fmt: skip
            if moments[-1].judged >= count or moments[-1].seconds > END_S:
                break
        times = sorted(row.scored_at for row in pipeline.ledger.rows(pipeline.run_id) if row.scored_at is not None)
    first, last = len(times) // 10, len(times) * 9 // 10
    return moments, (last - first) / max(times[last] - times[first], 1e-9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=20_000, help="number of them, 128 x 128 px")
    parser.add_argument("--per-s", type=float, default=2000.0)
    parser.add_argument("--out", type=Path, help="CSV of every moment")
    given = parser.parse_args()
    sys.setswitchinterval(SWITCH_S)  # as the command does
    with tempfile.TemporaryDirectory(prefix="mhfd-rate-") as name:
        moments, rate = measure(Path(name), given.tiles, given.per_s)
    print_table(moments, given.per_s, rate)
    if given.out:
        write_csv(given.out, moments)


def print_table(moments: list[Moment], per_s: float, rate: float) -> None:
    print("| s | written | in the ledger | stored | judged | watch, MiB | its CPU, s |\n|---|---|---|---|---|---|---|")
    step = max(1, len(moments) // 10)
    for each in [*moments[step - 1 :: step], *moments[-1:]]:
        print(
            f"| {each.seconds:.0f} | {each.written} | {each.seen} | {each.stored} | {each.judged} "
            f"| {each.watch_mib:.0f} | {each.cpu_s:.1f} |"
        )
    print(
        f"\n{rate:.0f} tiles/s stored, of {per_s:.0f} written each second; "
        f"{1e3 * moments[-1].cpu_s / max(moments[-1].judged, 1):.2f} ms of the watch's processor time a tile"
    )


if __name__ == "__main__":
    main()
