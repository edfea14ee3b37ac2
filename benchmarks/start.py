"""How long does `mhfd` take to start, to score one tile, and to score a few at its very first run?

    python benchmarks/start.py --out start.csv

Commands in processes of their own, turn by turn: `--version`; `score` of one tile as it comes, and with the compiled
kernel, whose machine code is there; and, once a repeat, `score` of a few tiles where no machine code is, until it ends
and until another process has compiled. CPU time is the command's own. Then, for `score` of one tile, what importing
costs, by package. Linux and macOS only.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tifffile

from mhfd_client.bench import tile

SIDE_PX = 1024
FEW = 4
"""Tiles of the first run: more bytes than those for which nothing is compiled."""

LONGEST_S = 600.0
MHFD = "from mhfd_client.cli import main; main()"


def main() -> None:
    given = arguments()
    with tempfile.TemporaryDirectory() as work:
        one, few = make_tiles(Path(work), given.side)
        commands = {
            "mhfd --version": ["--version"],
            "mhfd score ONE": ["score", str(one)],
            "mhfd score ONE --backend numba": ["score", str(one), "--backend", "numba"],
        }
        rows = list(warm(commands, given.repeats))
        for repeat in range(given.cold):
            rows += first_run(["score", str(few)], Path(work) / f"cache {repeat}", repeat)
        parts = imports(commands["mhfd score ONE"])
    print("| what | wall time, s | CPU time, s |\n| --- | --- | --- |")
    for what in dict.fromkeys(row["what"] for row in rows):
        same = [row for row in rows if row["what"] == what]
        wall, cpu = (statistics.median(float(row[name] or 0) for row in same) for name in ("wall_s", "cpu_s"))
        print(f"| {what} | {wall:.2f} | {f'{cpu:.2f}' if cpu else ''} |")
    print("\nImports of `mhfd score ONE`, ms: " + ", ".join(f"{name} {us / 1e3:.0f}" for name, us in parts))
    if given.out:
        with given.out.open("w", newline="") as out:
            writer = csv.DictWriter(out, ["what", "repeat", "wall_s", "cpu_s"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=SIDE_PX)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--cold", type=int, default=1, help="first runs, each of which compiles")
    parser.add_argument("--out", type=Path, help="every repeat, as CSV")
    return parser.parse_args()


def make_tiles(work: Path, side: int) -> tuple[Path, Path]:
    """One simulated tile, and a folder of few."""
    pixels, few = tile.cut(tile.picture(None, side), side), work / "few"
    few.mkdir()
    for number in range(FEW):
        tifffile.imwrite(few / f"{number}.tif", np.roll(pixels, number, axis=0), photometric="minisblack")
    return few / "0.tif", few


def timed(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Wall and CPU seconds of `mhfd COMMAND`."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", MHFD, *command], stdout=subprocess.DEVNULL, env={**os.environ, **environment}, check=True
    )
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def row(what: str, repeat: int, wall_s: float, cpu_s: float | None = None) -> dict[str, str]:
    return {
        "what": what, "repeat": str(repeat), "wall_s": f"{wall_s:.3f}", "cpu_s": "" if cpu_s is None else f"{cpu_s:.3f}"
    }  # fmt: skip


def warm(commands: Mapping[str, Sequence[str]], repeats: int) -> Iterator[dict[str, str]]:
    """Each command in turn; the first turn, which may compile, does not count."""
    for repeat in range(repeats + 1):
        for what, command in commands.items():
            wall_s, cpu_s = timed(command, {})
            if repeat:
                yield row(what, repeat, wall_s, cpu_s)


def first_run(command: Sequence[str], cache: Path, repeat: int) -> Iterator[dict[str, str]]:
    """With an empty cache of machine code: until the command ends, and until the machine code is made."""
    start = time.perf_counter()
    wall_s, cpu_s = timed(command, {"NUMBA_CACHE_DIR": str(cache)})
    yield row(f"mhfd score FOLDER of {FEW}, first run", repeat, wall_s, cpu_s)
    while not list(cache.glob("*/*.made")):
        if time.perf_counter() - start > LONGEST_S:
            sys.exit(f"no machine code after {LONGEST_S:.0f} s")
        time.sleep(0.1)
    yield row("... until the kernel is compiled", repeat, time.perf_counter() - start)


def imports(command: Sequence[str]) -> list[tuple[str, int]]:
    """Microseconds that modules take themselves, by package, the dearest first."""
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", MHFD, *command], capture_output=True, text=True, check=True
    ).stderr
    spent: Counter[str] = Counter()
    for own_us, module in re.findall(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", told, flags=re.MULTILINE):
        spent[module.partition(".")[0]] += int(own_us)
    return [(name, us) for name, us in spent.most_common(8) if us >= 1000]


if __name__ == "__main__":
    main()
