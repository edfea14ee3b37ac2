"""Bytes that the spectrum and the keys beside it add to a row, in JSON, ledger and Parquet.

    python benchmarks/row_size.py [--tiles 300] [--out raw.csv]

A run of simulated tiles is watched once. JSON: mean length of the stored results. Ledger: size of the SQLite file
a tile, all its tables and indices counted, as it is and with those keys taken out. Parquet: size a row of what
`mhfd export` writes, as it is and without the spectrum; the blur's columns stay.
"""

from __future__ import annotations

import argparse
import csv
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pyarrow.parquet  # type: ignore[import-untyped]

from mhfd_client.simulate import RunPlan, simulate_run

NEW_KEYS = (
    "spectrum", "blur_px", "blur_nm", "blur_error_px", "blur_by_direction_px", "blur_map_px", "worst_block",
    "flag_px", "reference", "doubts",
)  # fmt: skip
COLUMNS = ("where", "without_bytes", "with_bytes")
IN_A_SECTION = 100


def mhfd(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "mhfd_client", *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command} ended with {done.returncode}: {done.stderr}")


def in_ledger(path: Path) -> tuple[float, float]:
    """Bytes of a row's JSON, and of the file for each tile."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (text,) = connection.execute("SELECT avg(length(json)) FROM result").fetchone()
        (tiles,) = connection.execute("SELECT count(*) FROM result").fetchone()
    return text, path.stat().st_size / tiles


def without_keys(path: Path) -> None:
    """Take the new keys out of every row."""
    paths = ", ".join(f"'$.{key}'" for key in NEW_KEYS)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"UPDATE result SET json = json_remove(json, {paths})")


def in_parquet(path: Path) -> tuple[float, float]:
    """Bytes a row without the spectrum, and with it."""
    table = pyarrow.parquet.read_table(path)
    shorter = path.with_name("shorter.parquet")
    pyarrow.parquet.write_table(table.drop_columns(["spectrum"]), shorter)
    return shorter.stat().st_size / len(table), path.stat().st_size / len(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=300, help="(default: %(default)s)")
    parser.add_argument("--tile-px", type=int, default=192, help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write every figure to this CSV file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, ledger, exported = (Path(temporary) / name for name in ("run", "ledger.db", "run.parquet"))
        sections = -(-args.tiles // IN_A_SECTION)
        simulate_run(folder, RunPlan(sections=sections, rows=10, cols=10, tile_px=args.tile_px))
        mhfd("watch", folder, "--once", "--quiet", "--ledger", ledger)
        mhfd("export", "--ledger", ledger, "--format", "parquet", "--out", exported)
        text, file = in_ledger(ledger)
        parquet = in_parquet(exported)
        without_keys(ledger)
        shorter_text, shorter_file = in_ledger(ledger)
    found = [("JSON", shorter_text, text), ("ledger", shorter_file, file), ("Parquet", *parquet)]
    print("| where | without, bytes a row | with | added |")
    print("| --- | --- | --- | --- |")
    for where, less, more in found:
        print(f"| {where} | {less:.0f} | {more:.0f} | {more - less:.0f} |")
    if args.out:
        with args.out.open("w", newline="", encoding="utf-8") as file_out:
            writer = csv.writer(file_out, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(found)


if __name__ == "__main__":
    main()
