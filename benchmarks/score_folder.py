"""How fast is `mhfd score FOLDER` from its start to its end, where the device costs nothing?

    python benchmarks/score_folder.py --tiles 4000 --out score_folder.csv

Makes tiles as `feed.py` does, and runs the command on their folder in a process of its own, with a device that gives
the same numbers for every tile, and its output in pipes. Turn by turn with it: one thread that reads each file
and takes its SHA-256. The time is that of the whole process: imports, files found, read and scored, the run judged, and
the table, CSV or JSON. The last line ends with the ratio of the table's rate to that of the thread. Linux only.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

from feed import SIDE_PX, backend_of, make_tiles, plain_loop, timed

COUNTED = {"table": b"\ns", "csv": b",scored,", "json": b'"status": "scored"'}
"""What each form has once for each scored tile."""

INSIDE = "--inside"
"""The first argument of the process that is the command."""


def main() -> None:
    if sys.argv[1:2] == [INSIDE]:
        command(sys.argv[2:])
    given = arguments()
    with tempfile.TemporaryDirectory(dir=given.on) as on:
        folder = Path(on)
        make_tiles(folder, given.tiles, "none", given.side)
        files = sorted(folder.glob("*.tif"))
        ways: dict[str, Callable[[], int]] = {"plain loop": partial(plain_loop, files)}
        ways |= {f"mhfd score, {form}": partial(score, folder, form) for form in COUNTED}
        rows = list(timed(ways, len(files), given.repeats))
    if given.out:
        with given.out.open("w", newline="") as out:
            writer = csv.DictWriter(out, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
    rates = {way: statistics.median(row["tiles_per_s"] for row in rows if row["way"] == way) for way in ways}
    for way, rate in rates.items():
        print(f"{way}: {rate:.0f} tiles/s")
    print(f"mhfd score against the plain loop: {rates['mhfd score, table'] / rates['plain loop']:.2f} x")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", type=Path, help="where the temporary folder is made")
    parser.add_argument("--tiles", type=int, default=4000)
    parser.add_argument("--side", type=int, default=SIDE_PX, help="of a tile, px")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="every repeat, as CSV")
    return parser.parse_args()


def command(words: list[str]) -> NoReturn:
    """`mhfd` with these words, and with the device that computes nothing; ends the process."""
    import mhfd.scoring.api as api
    from mhfd_client.cli import main as mhfd

    device = backend_of(min(Path(words[-1]).glob("*.tif")))
    api.select_backend = lambda *_, **__: device
    mhfd(words)
    sys.exit("the command has not ended by itself")


def score(folder: Path, form: str) -> int:
    """Run the command; how many tiles it told of as scored."""
    words = [sys.executable, __file__, INSIDE, "score", "--format", form, str(folder)]
    done = subprocess.run(words, capture_output=True, env={**os.environ, "MHFD_CONFIG": os.devnull})
    if done.returncode:
        sys.exit(done.stderr.decode())
    return done.stdout.count(COUNTED[form])


if __name__ == "__main__":
    main()
