"""The live page's server with a long run: how long until there is data, and what its answers cost.

    python benchmarks/page_start.py [--tiles 100800]

A ledger is filled with the results of a small simulated run, again and again, and judged once, as its watch would. Then
the page's follower reads it. CPU seconds are those of the thread that answers; the judgement of the whole run, which
goes on in a thread of its own meanwhile, is waited for before answers are measured.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from long_run import fill
from mhfd import score_many
from mhfd.contract import FocusParams
from mhfd_client.judge.alerts import Alerts
from mhfd_client.ledger import Ledger, Run, open_ledger
from mhfd_client.simulate import RunPlan, simulate_run
from mhfd_client.views.page.follow import Follower
from mhfd_client.views.page.retakes import listed
from mhfd_client.views.page.tile import tile_facts

ASKED = 20


@contextmanager
def long_run(tiles: int) -> Iterator[tuple[Ledger, Run]]:
    """A ledger with a run of so many tiles, judged."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate_run(folder / "small", RunPlan(tile_px=256), lambda *_: None)
        results = list(score_many(sorted((folder / "small").rglob("*.tif")), FocusParams()))
        with open_ledger(folder / "ledger.db") as ledger:
            run = ledger.open_run(str(folder / "small"), FocusParams(), layout="plain", endpoint="local")
            fill(ledger, run, results, tiles)
            ledger.set_rule(run.run_id, {"max_blur_px": 1.1, "min_content": 0.05, "instrument": "bench"}, time.time())
            Alerts(ledger, run.run_id).start()
            yield ledger, run


def told(what: str, ask: Callable[[int], object], times: int = 1) -> None:
    """Print what it costs."""
    walls_s, cpus_s = [], []
    for k in range(times):
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        ask(k)
        walls_s.append(time.perf_counter() - wall_s)
        cpus_s.append(time.thread_time() - cpu_s)
    print(f"{what:44} {median(cpus_s):8.3f} s CPU {median(walls_s):8.3f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=100_800)
    tiles = parser.parse_args().tiles
    with long_run(tiles) as (ledger, run):
        follower = Follower(ledger, run, readonly=True)
        try:
            told(f"{tiles:,} tiles: the run is read", lambda _: follower.start())
            told("its columns are packed", lambda _: follower.packed())
            wall_s = time.perf_counter()
            while not follower.judge.is_whole:
                time.sleep(0.1)
            print(f"{'the whole run is judged after':44} {'':14} {time.perf_counter() - wall_s:8.1f} s", flush=True)
            numbers = [row.tile_id for row in ledger.rows(run.run_id, after=tiles // 2, limit=ASKED)]

            def facts(k: int) -> object:
                (row,) = ledger.get([numbers[k % len(numbers)]])
                return tile_facts(row, follower.explained(row), follower.place(row), "in_focus")

            told("a tile is explained", facts, ASKED)
            told("the tiles to take again are listed", lambda _: listed(follower))
        finally:
            follower.close()


if __name__ == "__main__":
    sys.exit(main())
