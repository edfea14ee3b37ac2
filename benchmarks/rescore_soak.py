"""Rescore a run while client, worker and endpoint are killed, again and again; the dataset must be as if nothing was.

    python benchmarks/rescore_soak.py [--tiles 2000] [--seeds 10] [--kills 6] [--out rescore_soak.csv] [--quick]

`mhfd rescore` scores a folder that the endpoint sees. SDK, endpoint, engine and broker are real, Compute's service is
the tests' loopback, as in soak.py. At random moments one of client, worker and endpoint is ended with kill -9 and
started again.

Seed 0 is left alone. Each other dataset must have its rows, in its order: equal but for times and device. If not, the
exit code is 1. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mhfd.worker.archive.parts import rows_of
from rescore_plan import print_table
from service import write_csv
from soak import Stage, harms_of, kill_group, make_run, staged

VICTIMS = ("client", "worker", "endpoint")
END_S = 1200.0


@dataclass(frozen=True)
class Row:
    """The outcome of one seed.

    Attributes
    ----------
    client, worker, endpoint : how often each was killed
    missing, different : rows, against those of seed 0
    """

    seed: int
    tiles: int
    seconds: float
    client: int
    worker: int
    endpoint: int
    missing: int
    different: int

    @property
    def good(self) -> bool:
        return not (self.missing or self.different)


class Rescoring:
    """`mhfd rescore` in a process of its own, which can be killed and started again."""

    def __init__(self, stage: Stage, run: Path, seed: int, shard_tiles: int) -> None:
        self._start = lambda: stage.command(
            "rescore", run, "--endpoint", "soak", "--config", stage.config, "--priority", "normal",
            "--shard-tiles", shard_tiles, "--job", f"seed{seed}",
        )  # fmt: skip
        self._process: subprocess.Popen[bytes] = self._start()

    def kill(self) -> None:
        kill_group(self._process)

    def start(self) -> None:
        self._process = self._start()

    def running(self) -> bool:
        return self._process.poll() is None

    def finish(self) -> int:
        """Wait for its end; its exit code."""
        try:
            return self._process.wait(END_S)
        finally:
            self.kill()


def run_seed(stage: Stage, run: Path, given: argparse.Namespace, seed: int) -> tuple[Counter[str], float]:
    """Rescore and kill; how often each was killed, and the seconds."""
    chance, harmed = random.Random(seed), Counter[str]()
    begun_s = time.monotonic()
    job = Rescoring(stage, run, seed, given.shard_tiles)
    harms: Any = harms_of(stage, job)  # type: ignore[arg-type] - it is killed and started as a watch is
    victims = given.victims
    plan = [*victims, *chance.choices(victims, k=max(0, given.kills - len(victims)))][: given.kills if seed else 0]
    chance.shuffle(plan)
    try:
        for victim in plan:
            time.sleep(chance.uniform(0.2, 1.8) * given.spread_s / len(plan))
            if not job.running():  # it was quicker
                break
            harmed[victim] += harms[victim](chance)
        if code := job.finish():
            raise RuntimeError(f"mhfd rescore ended with {code}: see {stage.folder / 'commands.log'}")
    finally:
        job.kill()
    return harmed, time.monotonic() - begun_s


def rows_in(run: Path, seed: int) -> list[dict[str, Any]]:
    """The rows of a seed's dataset, without what may differ."""
    (success,) = run.glob(f".mhfd/seed{seed}-*/_SUCCESS.json")
    rows = []
    for part in sorted(success.parent.glob("part-*.parquet")):
        for row in rows_of(part, part.with_name(part.name.replace("part-", "spectra-"))):
            provenance = {key: value for key, value in row["provenance"].items() if key not in ("backend", "device")}
            rows.append({**row, "timing_ms": None, "provenance": provenance})
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiles", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--kills", type=int, default=6, help="kills per seed; three or more include every kind")
    parser.add_argument("--shard-tiles", type=int, default=100)
    parser.add_argument("--out", type=Path, help="CSV of all seeds")
    parser.add_argument("--keep", type=Path, help="work in this folder and keep it")
    parser.add_argument("--quick", action="store_true", help="one seed of 200 tiles; the endpoint is left alone")
    given = parser.parse_args()
    given.victims = VICTIMS
    if given.quick:
        given.tiles, given.seeds, given.kills, given.shard_tiles, given.victims = 200, 1, 2, 40, VICTIMS[:2]
    given.spread_s = given.tiles / given.shard_tiles * 2.5  # two shards go in each five seconds
    rows: list[Row] = []
    with contextlib.ExitStack() as undo:
        folder = given.keep or Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="mhfd-rescore-")))
        run = folder / "run"
        make_run(run, given.tiles)
        os.environ["XDG_DATA_HOME"] = str(folder / "data")
        stage = undo.enter_context(staged(folder))
        truth: list[dict[str, Any]] = []
        for seed in range(given.seeds + 1):
            harmed, seconds = run_seed(stage, run, given, seed)
            found = rows_in(run, seed)
            truth = truth or found
            different = sum(a != b for a, b in zip(found, truth, strict=False))
            kills = {victim: harmed[victim] for victim in VICTIMS}
            missing = given.tiles - len({row["path"] for row in found})
            rows.append(Row(seed, len(found), round(seconds, 1), **kills, missing=missing, different=different))
            print_table(rows[-1:])
            if given.out:
                write_csv(given.out, rows)
    bad = sum(not row.good or row.tiles != given.tiles for row in rows)
    print(f"{len(rows) - bad} of {len(rows)} datasets are correct.")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
