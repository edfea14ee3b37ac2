"""The report of a long run: its size, the CPU time it takes, and the memory.

    python benchmarks/report.py [--sections 1000] [--positions 42] [--bad 0.01] [--out raw.csv]

Simulated tiles are scored, and stand for those of a made-up run under names of their own; --bad is the share of blurred
tiles among them, and so of tiles to take again. Each report is written by a process of its own. Linux only.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np

from measured import measured
from mhfd import score_many
from mhfd.contract import FocusParams, FocusResult
from mhfd_client.ledger import Ledger, Run, SeenFile, open_ledger
from mhfd_client.naming.position import Position
from mhfd_client.simulate import RunPlan, simulate_run

COLUMNS = 7
PLAN = RunPlan(sections=12, rows=2, cols=3, bad_fraction=0.25)
Pool = list[tuple[Path, FocusResult]]


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        truth = simulate_run(folder / "pool", PLAN)
        files = [folder / "pool" / tile.file for tile in truth]
        scored = list(zip(files, score_many([str(file) for file in files]), strict=True))
        kinds = [tile.kind for tile in truth]
        good: Pool = [each for each, kind in zip(scored, kinds, strict=True) if kind == "good"]
        bad: Pool = [each for each, kind in zip(scored, kinds, strict=True) if kind == "bad"]
        with open_ledger(folder / "ledger.db") as ledger:
            run = ledger.open_run(str(folder / "run"), FocusParams(), layout="auto", endpoint="local")
            fill(ledger, run, good, bad, options)
        page = folder / "report.html"
        done = measured(["report", str(folder / "ledger.db"), "--out", str(page)])
        line = {
            "tiles": options.sections * options.positions,
            "bad": options.bad,
            "cpu_s": round(done.cpu_s, 1),
            "peak_mib": done.peak_mib,
            "megabytes": round(page.stat().st_size / 1e6, 2),
        }
        if options.keep:
            options.keep.write_bytes(page.read_bytes())
    print("  ".join(f"{key} {value}" for key, value in line.items()))
    if options.out:
        with options.out.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, line.keys())
            writer.writeheader()
            writer.writerow(line)


def fill(ledger: Ledger, run: Run, good: Pool, bad: Pool, options: argparse.Namespace) -> None:
    """A run of links to the tiles of the pools, with their results."""
    rng = np.random.default_rng(1)
    root = Path(run.root)
    root.mkdir()
    numbers = count()
    for section in range(1, options.sections + 1):
        chosen: dict[str, FocusResult] = {}
        seen = []
        for place in range(options.positions):
            pool = bad if rng.random() < options.bad else good
            source, result = pool[int(rng.integers(len(pool)))]
            row, col = divmod(place, COLUMNS)
            name = f"s{section:04}_r{row}_c{col}.tif"
            (root / name).hardlink_to(source)
            state = source.stat()
            seen.append((SeenFile(name, state.st_size, state.st_mtime_ns), Position(section=section, row=row, col=col)))
            chosen[name] = result
        now = time.time()
        with ledger.transaction():
            ledger.see(run.run_id, seen, now)
            stored = []
            for tile in ledger.take(run.run_id, "seen", options.positions, now=0.0, order="oldest"):
                pixels, result = f"{next(numbers)}", chosen[tile.path]
                ledger.finish(tile.tile_id, [(pixels, result.shape or (1, 1))], now)
                about = replace(result.provenance, tile_sha256=pixels)
                stored.append((tile.tile_id, replace(result, path=tile.path, provenance=about)))
            ledger.store(stored, now)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", type=int, default=1000)
    parser.add_argument("--positions", type=int, default=42, help="tiles of a section")
    parser.add_argument("--bad", type=float, default=0.01, help="share of blurred tiles")
    parser.add_argument("--folder", type=Path, help="where the run is made up")
    parser.add_argument("--keep", type=Path, help="keep the report as this file")
    parser.add_argument("--out", type=Path, help="the line as CSV")
    return parser.parse_args()


if __name__ == "__main__":
    main()
