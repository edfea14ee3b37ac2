"""Bytes that a tile takes in an archive's files: manifest, parts, spectra, verdicts; beside them, as JSON lines.

    python benchmarks/archive_size.py [--tiles 4096] [--planned 1000000] [--out raw.csv]

Different tiles of 256 px are scored as one shard and judged. The manifest's rows are names as a microscope gives them,
with times in their order, of files that there are not; they are written as a plan of a real run is.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from mhfd._version import __version__
from mhfd.contract import FocusParams
from mhfd.worker import finish_run, plan_run, rows_of, score_shard
from mhfd.worker.archive.manifest import Plan, Tile, Writer
from rescore import tissue

COLUMNS = ("what", "rows", "bytes", "bytes_a_row")
PARAMS = FocusParams()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=4096, help="(default: %(default)s)")
    parser.add_argument("--planned", type=int, default=1_000_000, help="names in the manifest (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write every figure to this CSV file")
    parser.add_argument("--columns", action="store_true", help="also print what each column of a part takes")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        seconds, size = planned(Path(temporary), given.planned)
        found = [("manifest", given.planned, size), *results(Path(temporary) / "run", given.tiles, given.columns)]
    print("| what | bytes a tile |")
    print("| --- | --- |")
    for what, rows, size in found:
        print(f"| {what} | {size / rows:.1f} |")
    print(f"a manifest of {given.planned} made names is written in {seconds:.1f} s, without looking at files")
    if given.out:
        with given.out.open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows((what, rows, size, round(size / rows, 2)) for what, rows, size in found)


def planned(folder: Path, count: int) -> tuple[float, int]:
    """Seconds and bytes of a manifest of made names."""
    about = Plan(
        sha256="", folder="/run", collection=None, params=PARAMS.to_dict(), mhfd=__version__, shard_tiles=2**16,
        spectra=True,
    )  # fmt: skip
    start = time.perf_counter()
    writer = Writer(folder, about)
    writer.write(names(count), [])
    writer.keep(folder / "manifest.parquet")
    return time.perf_counter() - start, (folder / "manifest.parquet").stat().st_size


def names(count: int) -> Iterator[Tile]:
    """Tiles of sections of 1,000, written one every third of a second, a few milliseconds early or late."""
    rng = np.random.default_rng(1)
    at = 1_700_000_000_000_000_000
    for first in range(0, count, 1000):
        for number, late in enumerate(rng.integers(0, 2**22, min(1000, count - first)), first):
            section, tile = divmod(number, 1000)
            name = f"s{section:06}/s{section:06}_r{tile // 40:02}_c{tile % 40:02}.tif"
            yield Tile(name, -1, 65_836, at + number * 333_000_000 + int(late))


def results(run: Path, count: int, columns: bool) -> list[tuple[str, int, int]]:
    """Bytes of each file of a job of different tiles, and of its rows as JSON lines."""
    run.mkdir()
    for number in range(count):
        tifffile.imwrite(run / f"s000001_r{number // 64:03}_c{number % 64:02}.tif", tissue(number))
    plan = plan_run(str(run), None, PARAMS.to_dict(), {"shard_tiles": count})
    answer = score_shard(plan["manifest"], 0, count)
    assert answer["scored"] == count, answer
    job = Path(finish_run(plan["manifest"])["dataset"])
    part, spectra = job / "part-00000.parquet", job / "spectra-00000.parquet"
    lines = [json.dumps(row) for row in rows_of(part, spectra)]
    short = [json.dumps({**row, "spectrum": None}) for row in rows_of(part)]
    if columns:
        tell_columns(part)
    sizes = {"part": part, "spectra": spectra, "verdicts": job / "verdicts-00000.parquet"}
    return [
        *((what, count, file.stat().st_size) for what, file in sizes.items()),
        ("JSON lines without spectra", count, sum(len(line) + 1 for line in short)),
        ("JSON lines", count, sum(len(line) + 1 for line in lines)),
    ]


def tell_columns(part: Path) -> None:
    import pyarrow.parquet  # type: ignore[import-untyped]

    about = pyarrow.parquet.read_metadata(part)
    sizes: dict[str, int] = {}
    for group in range(about.num_row_groups):
        for number in range(about.num_columns):
            column = about.row_group(group).column(number)
            sizes[column.path_in_schema] = sizes.get(column.path_in_schema, 0) + column.total_compressed_size
    for name, size in sorted(sizes.items(), key=lambda each: -each[1]):
        print(f"{name}: {size / about.num_rows:.2f}")


if __name__ == "__main__":
    main()
