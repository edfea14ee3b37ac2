"""Does the list of tiles to take again empty itself? And what does it cost to ask for it?

    python benchmarks/retakes.py --tiles ../shared/em/vnc-ssTEM --seeds 1-3 --out retakes.csv

`degrade.py run` makes runs with bad tiles out of in-focus tiles. Each is watched (`mhfd watch --once`). Then the tiles
that `mhfd retakes` lists are taken again under their names, two thirds of them sharp and the others still blurred, and
the run is watched again; then these are taken again sharp. Each step is a process of its own.

--cost N also measures `mhfd status` and `mhfd retakes` on a run of N tiles (of the last run's results, repeated): the
CPU time of the process, with the word of a watch in the ledger, and without. Linux only.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from itertools import cycle
from pathlib import Path
from typing import Any

from long_run import fill
from measured import measured
from mhfd.contract import FocusParams, FocusResult
from mhfd_client.judge.alerts import Alerts
from mhfd_client.ledger import open_ledger

DEGRADE = Path(__file__).parents[2] / "shared" / "eval" / "degrade.py"
KINDS = ("std", "half", "most")
STILL_BAD = 3
"""Every third tile is still blurred when it is taken again for the first time."""

OTHER_SEED = 1000
"""Retakes are of a run with another seed, so that no pixels come twice."""

CONFIG = "[profiles.default]\nsettle_s = 0.5\n"


@dataclass(frozen=True)
class Line:
    """One run, and its list after each watch: how many are open, closed."""

    kind: str
    seed: int
    tiles: int
    bad: int
    listed: int
    listed_bad: int
    still_bad: int
    open_after_first: int
    told_again: int
    open_after_second: int
    closed: int


@dataclass(frozen=True)
class Cost:
    """A command on a large run; `to_look_at`: None where it did not say."""

    command: str
    word_of_watch: str
    tiles: int
    to_look_at: int | None
    cpu_s: float
    peak_mib: float


class Watched:
    """A folder, its ledger, and the commands on it."""

    def __init__(self, folder: Path, run: Path) -> None:
        self.run, self.ledger = run, folder / "ledger.db"
        self._config = folder / "config.toml"
        self._config.write_text(CONFIG)

    def mhfd(self, *args: str) -> str:
        environ = {**os.environ, "MHFD_CONFIG": str(self._config), "MHFD_LEDGER": str(self.ledger)}
        command = [sys.executable, "-m", "mhfd_client", *args]
        done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def watch(self) -> None:
        self.mhfd("watch", str(self.run), "--once")

    def retakes(self) -> dict[str, dict[str, Any]]:
        told = json.loads(self.mhfd("retakes", str(self.run), "--json", "--all"))
        return {each["tile"]: each for each in told["tiles"]}


def main() -> None:
    options = _options()
    lines = []
    costs: list[Cost] = []
    with tempfile.TemporaryDirectory() as folder:
        watched = None
        for kind in options.kinds:
            for seed in options.seeds:
                watched, line = measure(Path(folder), kind, seed, options)
                lines.append(line)
                print("." if line.open_after_second == 0 else "!", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        if options.cost and watched is not None:
            costs = list(measure_cost(Path(folder), watched, options.cost))
    print(_table(lines))
    if costs:
        print(f"\n{_table(costs)}")
    if options.out:
        with options.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, [each.name for each in fields(Line)])
            writer.writeheader()
            writer.writerows(map(asdict, lines))


def measure(folder: Path, kind: str, seed: int, options: argparse.Namespace) -> tuple[Watched, Line]:
    here = folder / f"{kind}{seed}"
    truth = _degraded(here / "run", kind, seed, options)
    sharp = _pictures(here / "sharp", "none", "good", seed + OTHER_SEED, options)
    blurred = _pictures(here / "blurred", kind, "bad", seed + OTHER_SEED, options)
    watched = Watched(here, here / "run")
    watched.watch()
    first = _open(watched)
    still_bad = first[::STILL_BAD]
    _take_again(watched, [tile for tile in first if tile not in still_bad], sharp)
    _take_again(watched, still_bad, blurred)
    watched.watch()
    second = watched.retakes()
    left = [tile for tile, each in second.items() if each["state"] == "open"]
    _take_again(watched, left, sharp)
    watched.watch()
    end = watched.retakes()
    return watched, Line(
        kind=kind, seed=seed, tiles=len(truth), bad=sum(each == "bad" for each in truth.values()), listed=len(first),
        listed_bad=sum(truth[tile] == "bad" for tile in first), still_bad=len(still_bad), open_after_first=len(left),
        told_again=sum(second[tile]["taken_again"] == 1 for tile in left),
        open_after_second=sum(each["state"] == "open" for each in end.values()),
        closed=sum(each["state"] == "closed" for each in end.values()),
    )  # fmt: skip


def _open(watched: Watched) -> list[str]:
    return [tile for tile, each in watched.retakes().items() if each["state"] == "open"]


def _take_again(watched: Watched, tiles: Iterable[str], pictures: dict[str, Path]) -> None:
    """Replace tiles by pictures of the same place, or of another where there is none."""
    others = cycle(pictures.values())
    for tile in tiles:
        shutil.copyfile(pictures.get(tile) or next(others), watched.run / tile)


def _pictures(folder: Path, kind: str, truth: str, seed: int, options: argparse.Namespace) -> dict[str, Path]:
    """The tiles of a run that are of this truth, by name."""
    return {name: folder / name for name, each in _degraded(folder, kind, seed, options).items() if each == truth}


def _degraded(folder: Path, kind: str, seed: int, options: argparse.Namespace) -> dict[str, str]:
    """Make a run; each tile's truth."""
    command = [sys.executable, options.degrade, "run", folder, "--tiles", options.tiles, "--kind", kind, "--seed", seed]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    with (folder / "truth.csv").open(newline="") as file:
        return {row["file"]: row["kind"] for row in csv.DictReader(file)}


# --- What it costs ------------------------------------------------------------------------------------------------


def measure_cost(folder: Path, small: Watched, tiles: int) -> Iterator[Cost]:
    """Time the commands on a large run."""
    large = Watched(folder, folder / "large")
    with open_ledger(small.ledger, readonly=True) as ledger:
        results = [
            FocusResult.from_dict(row.result)
            for row in ledger.rows(ledger.find_run().run_id, states=("scored",), generations=True)
        ]
    with open_ledger(large.ledger) as ledger:
        run = ledger.open_run(str(large.run), FocusParams(), layout="plain", endpoint="local")
        fill(ledger, run, results, tiles)
        ledger.set_rule(run.run_id, {"max_blur_px": 1.1, "min_content": 0.05, "instrument": "cost"}, time.time())
        Alerts(ledger, run.run_id).start()
    for command in ("status", "retakes"):
        yield _timed(large, command, "yes", tiles)
    with open_ledger(large.ledger) as ledger:
        ledger.set_rule(run.run_id, {"max_blur_px": 1.2, "min_content": 0.05, "instrument": "cost"}, time.time())
    for command in ("status", "retakes"):
        yield _timed(large, command, "no", tiles)


def _timed(large: Watched, command: str, word: str, tiles: int) -> Cost:
    done = measured([command, "--json", "--ledger", str(large.ledger)])
    told = json.loads(done.stdout)
    listed = told["to_look_at"] if command == "status" else len(told["tiles"])
    return Cost(command, word, tiles, listed, round(done.cpu_s, 2), done.peak_mib)


def _table(lines: Iterable[Line | Cost]) -> str:
    rows = [asdict(each) for each in lines]
    head = [f"| {' | '.join(rows[0]).replace('_', ' ')} |", f"| {' | '.join('---' for _ in rows[0])} |"]
    return "\n".join([*head, *(f"| {' | '.join(map(str, each.values()))} |" for each in rows)])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=Path, required=True, help="folder of in-focus tiles")
    parser.add_argument("--degrade", type=Path, default=DEGRADE)
    parser.add_argument("--kinds", nargs="+", default=KINDS)
    parser.add_argument("--seeds", type=_seeds, default=range(1, 2), help="like 1-3")
    parser.add_argument("--cost", type=int, default=0, metavar="N", help="tiles of the run that commands are timed on")
    parser.add_argument("--out", type=Path, help="a line a run, as CSV")
    return parser.parse_args()


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


if __name__ == "__main__":
    main()
