"""Cost of watching: scans of a large run, and the gate's check of each tile beside the kernel's time for it.

    python benchmarks/scan_cost.py [--files 100000] [--folders 100] [--tiles 20] [--sides 1024 4096] [--out raw.csv]

Scans: a fresh process makes --files small files in --folders folders, and scans them first with nothing known, then
with nothing changed, then with one tile new; seconds, and the growth of its resident memory by the end (a scan's
result is dropped folder by folder, as in the pipeline). The files lie in the system's folder for temporary files:
on a network share each file may cost a request. Medians of --repeats.

Gate: seconds per tile for reading, decoding, checking and hashing an uncompressed TIFF file of 8 bits with the file in
the system's cache, and for scoring the same tile.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import tifffile

CHILD = """
import json, sys, time
from pathlib import Path
from mhfd_client.watch import Folder, Scanner, compare

root = Path(sys.argv[1])

def resident():
    status = Path("/proc/self/status")
    return int(status.read_text().split("VmHWM:")[1].split()[0]) << 10 if status.exists() else None

def scan():
    start, new = time.perf_counter(), 0
    for each in scanner.scan():
        new += len(compare(each, {}).new)
    return time.perf_counter() - start, new

scanner = Scanner(root, is_tile=lambda path: True)
before = resident()
first, found = scan()
same, none = scan()
(root / "0" / "one more.tif").touch()
one, in_its_folder = scan()
(root / "0" / "one more.tif").unlink()
assert none == 0 and in_its_folder > 0, (none, in_its_folder)
print(json.dumps({"files": found, "first": first, "same": same, "one": one,
                  "bytes": None if before is None else resident() - before}))
"""

COLUMNS = ("what", "seconds", "bytes", "repeat")


def make_files(root: Path, files: int, folders: int) -> None:
    for folder in range(folders):
        (root / str(folder)).mkdir()
        for k in range(folder, files, folders):
            (root / str(folder) / f"tile_{k:07}.tif").touch()


def scan(root: Path) -> dict[str, Any]:
    command = [sys.executable, "-c", CHILD, str(root)]
    told: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return told


def time_each(act: Callable[[Path], object], files: list[Path]) -> list[float]:
    """Seconds for each file but the first, which includes loading and compiling."""
    seconds = []
    for file in files:
        start = perf_counter()
        act(file)
        seconds.append(perf_counter() - start)
    return seconds[1:]


def write_tiles(folder: Path, count: int, side: int) -> list[Path]:
    """Write noise without zero pixels: neither the gate nor the kernel is faster or slower on it."""
    rng = np.random.default_rng(1)
    files = [folder / f"{side}_{k}.tif" for k in range(count + 1)]
    for file in files:
        tifffile.imwrite(file, rng.integers(1, 256, (side, side), dtype=np.uint8))
    return files


def pass_gate(file: Path) -> None:
    from mhfd_client.gate import Finished, Gate, GateRules
    from mhfd_client.ledger.model import SeenFile

    state = file.stat()
    answer = Gate(GateRules(settle_s=0)).examine(file, SeenFile(file.name, state.st_size, state.st_mtime_ns))
    if not isinstance(answer, Finished):
        raise SystemExit(f"the gate does not pass {file} ({answer}): its time would mean nothing")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000, help="files to scan (default: %(default)s)")
    parser.add_argument("--folders", type=int, default=100, help="folders they lie in (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="repeats of the scans (default: %(default)s)")
    parser.add_argument("--tiles", type=int, default=20, help="tiles for the gate (default: %(default)s)")
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 4096], help="sides of these tiles, in px")
    parser.add_argument("--out", type=Path, help="write every run to this CSV file")
    args = parser.parse_args()
    rows: list[tuple[object, ...]] = []

    print("| files | folders | first scan, s | nothing changed, s | one tile new, s | memory, MiB |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        make_files(Path(folder), args.files, args.folders)
        runs = [scan(Path(folder)) for _ in range(args.repeats)]
    if any(run["files"] != args.files for run in runs):
        raise SystemExit("a scan missed files: its time would mean nothing")
    cells = []
    for what in ("first", "same", "one"):
        cells.append(f"{statistics.median(run[what] for run in runs):.3f}")
        rows += [(what, run[what], run["bytes"], repeat) for repeat, run in enumerate(runs)]
    memory = "" if runs[0]["bytes"] is None else f"{max(run['bytes'] for run in runs) / 2**20:.1f}"
    print(f"| {args.files} | {args.folders} | {' | '.join(cells)} | {memory} |\n", flush=True)

    import mhfd

    print("| tile | gate, ms | kernel, ms | gate / kernel | gate, tiles/s |")
    print("| --- | --- | --- | --- | --- |")
    for side in args.sides:
        with tempfile.TemporaryDirectory() as folder:
            files = write_tiles(Path(folder), args.tiles, side)
            gate, kernel = time_each(pass_gate, files), time_each(mhfd.score, files)
        middle, beside = statistics.median(gate), statistics.median(kernel)
        print(
            f"| {side} x {side} | {middle * 1e3:.2f} | {beside * 1e3:.1f} | {middle / beside:.3f} | {1 / middle:.0f} |",
            flush=True,
        )
        rows += [(f"gate {side}", each, None, repeat) for repeat, each in enumerate(gate)]
        rows += [(f"kernel {side}", each, None, repeat) for repeat, each in enumerate(kernel)]
    if args.out:
        with args.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(rows)


if __name__ == "__main__":
    main()
