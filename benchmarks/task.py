"""What does a task cost a worker beside its tiles? Files by path to an answer, against files to rows.

    python benchmarks/task.py --tiles 256 --out task.csv

As benchmarks/feed.py, with its tiles and its device that computes nothing. Turn by turn: its way from files to rows as
JSON, and the same files as one task by path, `mhfd.worker.score_paths` with a spool, and its answer as JSON as the
endpoint sends it. "Feeding" is the processor time of the thread that hands batches to the device, without which a GPU
waits. The last line ends with the median of the ratios.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from feed import backend_of, files_to_rows, make_tiles, timed
from mhfd.worker import device, score_paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=256, help="of a task (default: %(default)s)")
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--out", type=Path, help="every repeat, as CSV")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_tiles(folder, given.tiles, "none")
        files = sorted(folder.glob("*.tif"))
        backend = backend_of(files[0])
        os.environ["MHFD_SPOOL_DIR"] = str(folder / "spool")
        device.backend = lambda: backend
        device.threads_here = lambda: given.readers
        ways: dict[str, Callable[[], int]] = {
            "files to rows": partial(files_to_rows, backend, files, given.readers),
            "task by path": partial(task_by_path, files),
        }
        fed: dict[str, list[float]] = {way: [] for way in ways}
        rows = list(
            timed({way: partial(feeding, run, fed[way]) for way, run in ways.items()}, len(files), given.repeats)
        )
    if given.out:
        with given.out.open("w", newline="") as out:
            writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    for way in ways:
        rate, cpu_ms = (
            statistics.median(each(row) for row in rows if row["way"] == way)
            for each in (lambda row: row["tiles_per_s"], lambda row: row["cpu_seconds"] / row["tiles"] * 1e3)
        )
        feeding_ms = statistics.median(fed[way][1:]) / given.tiles * 1e3
        print(f"{way}: {rate:.0f} tiles/s, {cpu_ms:.2f} ms of processor time a tile, feeding {feeding_ms:.2f} ms")
    alone, task = ([row["tiles_per_s"] for row in rows if row["way"] == way] for way in ways)
    pairs = [theirs / ours for ours, theirs in zip(alone, task, strict=True)]
    print(f"a task by path of {given.tiles} tiles against files to rows: {statistics.median(pairs):.2f} x")


def feeding(run: Callable[[], int], seconds: list[float]) -> int:
    """Run it, and note the processor time of this thread."""
    began_s = time.thread_time()
    done = run()
    seconds.append(time.thread_time() - began_s)
    return done


def task_by_path(files: Sequence[Path]) -> int:
    answer = score_paths([str(file) for file in files])
    if failed := answer.get("error") or [row for row in answer["rows"] if row["status"] != "scored"]:
        sys.exit(f"not scored: {failed}")
    json.dumps(answer)
    return len(answer["rows"])


if __name__ == "__main__":
    main()
