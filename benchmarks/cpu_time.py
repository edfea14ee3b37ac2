"""CPU time of `mhfd score` against scikit-image's `blob_dog`, whole process against whole process.

    python benchmarks/cpu_time.py [--tiles FOLDER] [--n 20] [--repeats 3] [--rival-tiles K] [--pruning] [--out raw.csv]

User plus system time of a fresh process and its children, from start to exit: imports, reading, scoring, printing.
The rival also gets 16 differences of Gaussians between 1 and 17 px, float32 tiles, and only has to detect
blobs. blob_dog spaces its scales geometrically, so sigma_ratio = 17^(1/15.999) makes 16 steps from 1 to 17.003 px.
Its pruning of overlapping blobs, a loop over pairs that grows with the square of their number and at overlap=1 removes
none, is taken out; --pruning times the function as it ships too. Tiles are simulated unless a folder is given.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from time import perf_counter

import tifffile

SCALES, MIN_SIGMA, MAX_SIGMA = 16, 1, 17
RATIO = MAX_SIGMA ** (1 / (SCALES - 0.001))  # a hair above the 16th root: blob_dog rounds the number of steps down
THRESHOLD = 0.05  # of the grey range; detection without pruning takes as long at any

RIVAL = f"""
import sys
import numpy, tifffile
from skimage.feature import blob, blob_dog
if sys.argv[1] == "no pruning":
    assert callable(blob._prune_blobs)
    blob._prune_blobs = lambda blobs, *args, **options: blobs
for path in sys.argv[2:]:
    tile = tifffile.imread(path)
    image = 1 - tile.astype(numpy.float32) / numpy.iinfo(tile.dtype).max  # blob_dog looks for bright blobs
    print(path, len(blob_dog(image, min_sigma={MIN_SIGMA}, max_sigma={MAX_SIGMA}, sigma_ratio={RATIO!r},
                             threshold={THRESHOLD}, overlap=1, exclude_border=False)))
"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Seconds that one program took for `tiles` tiles, `measured` of which were timed."""

    program: str
    repeat: int
    tiles: int
    measured: int
    cpu_s: float
    wall_s: float


def time_process(command: list[str]) -> tuple[float, float, str]:
    """CPU seconds, wall seconds and output of a process, its children included."""
    if sys.platform == "win32":
        raise SystemExit("The CPU time of a child process can be read on Linux and macOS only: run this there.")
    import resource

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    cpu, wall = spent(), perf_counter()
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return spent() - cpu, perf_counter() - wall, output


def time_mhfd(folder: Path, tiles: list[Path]) -> tuple[float, float]:
    cpu, wall, output = time_process([sys.executable, "-m", "mhfd_client", "score", str(folder), "--json"])
    scored = [row for row in json.loads(output) if row["status"] == "scored"]
    if len(scored) != len(tiles):
        raise SystemExit(f"mhfd scored {len(scored)} of {len(tiles)} tiles: the time would mean nothing.")
    return cpu, wall


def time_rival(tiles: list[Path], measured: int, how: str) -> tuple[float, float]:
    """Seconds of the first `measured` tiles, scaled to all: time after the start is linear in the tiles."""
    command = [sys.executable, "-c", RIVAL, how]
    cpu, wall, _ = time_process(command + [str(tile) for tile in tiles[:measured]])
    if measured < len(tiles):
        start_cpu, start_wall, _ = time_process(command)
        share = len(tiles) / measured
        cpu, wall = start_cpu + (cpu - start_cpu) * share, start_wall + (wall - start_wall) * share
    return cpu, wall


def gather_tiles(folder: Path, source: Path | None, n: int, side: int) -> list[Path]:
    """Put `n` tiles into the empty `folder`: the first TIFF files of `source`, or simulated ones."""
    if source is None:
        from mhfd_client.simulate import RunPlan, simulate_run

        simulate_run(folder, RunPlan(sections=n, rows=1, cols=1, tile_px=side))
    else:
        found = sorted(path for path in source.iterdir() if path.suffix.lower() in {".tif", ".tiff"})
        if len(found) < n:
            raise SystemExit(f"{source} holds {len(found)} TIFF tiles, not {n}: give --n {len(found)}, or more tiles.")
        for path in found[:n]:
            shutil.copy(path, folder)
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in {".tif", ".tiff"})


def print_table(runs: list[Run]) -> None:
    """Print medians over the repeats, and CPU time relative to mhfd."""
    print("| program | CPU time, s | wall time, s | CPU time / mhfd |")
    print("| --- | --- | --- | --- |")
    medians = {
        name: [
            statistics.median(getattr(run, what) for run in runs if run.program == name) for what in ("cpu_s", "wall_s")
        ]
        for name in dict.fromkeys(run.program for run in runs)
    }
    ours = medians["mhfd score"][0]
    for name, (cpu, wall) in medians.items():
        print(f"| {name} | {cpu:.2f} | {wall:.2f} | {cpu / ours:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=Path, help="folder of grey TIFF tiles to use instead of simulated ones")
    parser.add_argument("--n", type=int, default=20, help="number of tiles (default: %(default)s)")
    parser.add_argument("--side", type=int, default=1024, help="side of simulated tiles, in px (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="repeats; the median is reported (default: %(default)s)")
    parser.add_argument("--rival-tiles", type=int, help="time blob_dog on this many tiles and scale; 0: not at all")
    parser.add_argument("--pruning", action="store_true", help="time blob_dog with its pruning too: minutes")
    parser.add_argument("--out", type=Path, help="write every run to this CSV file")
    args = parser.parse_args()
    if args.n < 1 or args.repeats < 1 or (args.rival_tiles or 0) < 0:
        parser.error("--n and --repeats must be at least 1, --rival-tiles at least 0.")
    measured = args.n if args.rival_tiles is None else min(args.n, args.rival_tiles)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiles = gather_tiles(folder, args.tiles, args.n, args.side)
        programs: dict[str, tuple[int, Callable[[], tuple[float, float]]]] = {
            "mhfd score": (args.n, partial(time_mhfd, folder, tiles))
        }
        if measured:
            programs["blob_dog, no pruning"] = measured, partial(time_rival, tiles, measured, "no pruning")
            if args.pruning:
                programs["blob_dog as it ships"] = measured, partial(time_rival, tiles, measured, "pruning")
        runs = []
        for repeat in range(args.repeats):  # in turn, so that load affects all alike
            for program, (done, timed) in programs.items():
                cpu, wall = timed()
                runs.append(Run(program=program, repeat=repeat, tiles=args.n, measured=done, cpu_s=cpu, wall_s=wall))
        shapes = sorted({" x ".join(map(str, tifffile.imread(tile).shape)) for tile in tiles})

    print(f"{args.n} tiles of {', '.join(shapes)} px; seconds are medians over {args.repeats} repeat(s).\n")
    print_table(runs)
    if 0 < measured < args.n:
        print(f"\nblob_dog was timed on {measured} tiles and scaled linearly to {args.n}, its start counted once.")
    if args.out:
        with args.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Run)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(run) for run in runs)


if __name__ == "__main__":
    main()
