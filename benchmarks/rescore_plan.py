"""An archive of 10^8 tiles, rescored in no time: tasks, requests, bytes, hours; and two endpoints against one.

    python benchmarks/rescore_plan.py [--tiles 100000000] [--out rescore_plan.csv] [--quick]

The driver of `mhfd rescore` is the real one. Endpoints, archive and clock are those of tests/rescoring.py: workers that
take a shard when they are free and sleep over it as long as one H200 takes for its tiles, 1024 x 1024 px, 8 bit, in
steady batches of 32 from memory (docs/benchmarks.md: 4,976 tiles/s). Reading from disk is not in it, nor are losses.

The second table sleeps for real, with threads and timers, over shards of four seconds; --quick leaves it to the clock
that jumps.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args

from mhfd_client.rescore.driver import Driver
from mhfd_client.rescore.estimate import estimate
from mhfd_client.rescore.job import JobFile
from mhfd_client.rescore.request import Request
from mhfd_client.rescore.share import Priority
from service import write_csv  # the benchmark beside this one

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # where the sleeping endpoints are

from rescoring import RUN, Archive, Simulated, SleepingCompute, Timed, site

H200_TILES_PER_S = 4976.0
PER_TASK_S = 1.0  # opens the manifest, begins and closes a part
SHARES_TILES_PER_S, SHARES_SHARD, SHARES_SHARDS = 100.0, 300, 48  # 4 s a shard
GPUS = (1, 8, 64)


@dataclass(frozen=True)
class Row:
    """One plan, done.

    Attributes
    ----------
    ideal_hours : if no GPU ever waited
    busy : part of the time that the GPUs compute
    result_gb, with_spectra_gb : on disk
    """

    gpus: int
    priority: str
    tiles: int
    shard_tiles: int
    tasks: int
    requests: int
    hours: float
    ideal_hours: float
    busy: float
    result_gb: float
    with_spectra_gb: float


@dataclass(frozen=True)
class Pair:
    """Sleeping work on one endpoint, and on two of the same size."""

    clock: str
    one_s: float
    two_s: float
    ratio: float


def planned(tiles: int, shard_tiles: int, gpus: int, priority: Priority, folder: Path) -> Row:
    events, archive = Simulated(), Archive(tiles, shard_tiles)
    compute = SleepingCompute(
        "h200", archive, events, workers=gpus, tiles_per_s=H200_TILES_PER_S, per_task_s=PER_TASK_S
    )  # fmt: skip
    done(archive, [compute], events, priority, folder)
    ideal_s = tiles / H200_TILES_PER_S / gpus
    without, with_spectra = (
        estimate(tiles, archive.shards, 0, spectra=spectra).result_bytes / 1e9 for spectra in (False, True)
    )
    return Row(
        gpus=gpus,
        priority=priority,
        tiles=tiles,
        shard_tiles=shard_tiles,
        tasks=len(compute.calls),
        requests=compute.requests,
        hours=round(events.now_s() / 3600, 3),
        ideal_hours=round(ideal_s / 3600, 3),
        busy=round(ideal_s / events.now_s(), 3),
        result_gb=round(without, 1),
        with_spectra_gb=round(with_spectra, 1),
    )


def paired(events: type[Timed], folder: Path) -> Pair:
    """The same work on one endpoint of four workers, and on two of them."""
    seconds = []
    for count in (1, 2):
        clock, archive = events(), Archive(SHARES_SHARD * SHARES_SHARDS, SHARES_SHARD)
        computes = [
            SleepingCompute(f"e{k}", archive, clock, workers=4, tiles_per_s=SHARES_TILES_PER_S, per_task_s=PER_TASK_S)
            for k in range(count)
        ]
        begun_s = clock.now_s()
        done(archive, computes, clock, "normal", folder)
        seconds.append(clock.now_s() - begun_s)
    one, two = seconds
    return Pair(events.__name__.lower(), round(one, 1), round(two, 1), round(one / two, 2))


def done(
    archive: Archive, computes: list[SleepingCompute], events: Timed, priority: Priority, folder: Path
) -> None:  # fmt: skip
    file = JobFile(folder / "job.json")
    file.file.unlink(missing_ok=True)
    request = Request(run=RUN, priority=priority)
    outcome = Driver(request, [site(each) for each in computes], file, events=events).run()
    if outcome.state != "complete" or len(archive.done()) != archive.shards:
        raise RuntimeError(f"the job is {outcome.state}: {len(archive.done())} of {archive.shards} shards")


def print_table(rows: list[Any]) -> None:
    names = [field.name for field in fields(rows[0])]
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}")
    for row in rows:
        print(f"| {' | '.join(str(value) for value in asdict(row).values())} |")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiles", type=int, default=10**8)
    parser.add_argument("--shard-tiles", type=int, default=65_536)
    parser.add_argument("--out", type=Path, help="CSV of the first table; the second goes beside it, as -two.csv")
    parser.add_argument("--quick", action="store_true", help="8 GPUs, and nothing sleeps")
    given = parser.parse_args()
    gpus, priorities = ((8,), ("normal",)) if given.quick else (GPUS, get_args(Priority))
    with tempfile.TemporaryDirectory(prefix="mhfd-plan-") as name:
        folder = Path(name)
        rows = [planned(given.tiles, given.shard_tiles, n, each, folder) for n in gpus for each in priorities]
        print_table(rows)
        pairs = [paired(events, folder) for events in ((Simulated,) if given.quick else (Simulated, Timed))]
        print_table(pairs)
    if given.out:
        write_csv(given.out, rows)
        write_csv(given.out.with_name(f"{given.out.stem}-two.csv"), pairs)


if __name__ == "__main__":
    main()
