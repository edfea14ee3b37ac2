"""Speed of a long ledger: status, the first page of an export, and each step.

    python benchmarks/ledger_size.py [--rows 10000000] [--folder DIR] [--keep] [--out raw.csv]

A ledger file is filled with one run of --rows tiles, a thousand per folder, nearly all of them scored, with a
result and an attempt each. Then, with the file out of the system's cache ("cold") and in it ("warm"): `mhfd status`
and the first thousand lines of `mhfd export`, in this process and as commands of their own, and the steps of the
pipeline in batches of 1, 64 and 512 tiles, each a transaction that is synchronised with the disk. Linux only; ten
million rows take about 43 GiB and some minutes.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from mhfd._version import __version__
from mhfd.contract import FocusParams, FocusResult, Provenance
from mhfd.spectrum import BINS, CELLS, HALF, SLOW_BINS, Spectrum
from mhfd_client.ledger import Ledger, Run, SeenFile, open_ledger
from mhfd_client.naming.position import Position
from mhfd_client.views.export import judged_rows
from mhfd_client.views.status import read_status

IN_A_FOLDER = 1000
PAGE = 1000
CHUNK = 100_000
BATCHES = (1, 64, 512)
REPEATS = 7
SPECTRUM = Spectrum(
    by_direction=np.full((4, BINS), 1e-4), by_cell=np.full((CELLS, CELLS, BINS), 1e-4), along_rows=np.full(HALF, 1e-5),
    along_cols=np.full(HALF, 1e-5), blocks=np.full((CELLS, CELLS), 16.0), share=1.0, slow=np.full(SLOW_BINS, 1e-2),
    skewness=0.1,
).pack()  # fmt: skip
COLUMNS = ("rows", "what", "how", "seconds", "peak_mib")

# Row n is in folder n / 1000; every 2000th failed, the last 4000 are in progress.
TILES = """
WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :beyond)
INSERT INTO tile (tile_id, run_id, folder_id, name, state, reason, stalled_at, size, mtime_ns, tile_sha256, height,
                  width, section, grid_row, grid_col, seen_at, changed_at, state_at, attempts)
SELECT i + 1, :run, i / 1000 + 1, printf('s%05d_r%d_c%d.tif', i / 1000, i % 1000 / 32, i % 1000 % 32),
    CASE WHEN i < :rows - 4000 THEN iif(i % 2000 = 7, 'failed', 'scored')
         WHEN i < :rows - 3000 THEN 'submitted' WHEN i < :rows - 2000 THEN 'staged'
         WHEN i < :rows - 1000 THEN 'ready' ELSE 'seen' END,
    iif(i >= :rows - 50, 'truncated', NULL), iif(i >= :rows - 50, :begin + i, NULL), 1048576, i, printf('%064x', i),
    1024, 1024, i / 1000, i % 1000 / 32, i % 1000 % 32, :begin + i, :begin + i, :begin + i, i < :rows - 3000
FROM n"""
RESULTS = """
INSERT INTO result (tile_id, run_id, scored_at, status, features, features_per_mpx, focus_score, noise, content,
                    anisotropy, mhfd, device, json)
SELECT tile_id, run_id, seen_at + 5, state, 3000 + tile_id % 500, 2900.0, 7.0 + tile_id % 100 / 50.0, 0.02, 0.97,
    0.08, :version, 'cpu',
    replace(replace(:json, 'HASH', tile_sha256), 'NAME', printf('s%05d/%s', section, name))
FROM tile WHERE tile_id > :first AND tile_id <= :beyond AND state IN ('scored', 'failed')"""
ATTEMPTS = """
INSERT INTO attempt SELECT tile_id, 1, 'local', NULL, seen_at + 1, iif(state = 'submitted', NULL, seen_at + 5),
    iif(state = 'submitted', NULL, state), 'cpu'
FROM tile WHERE tile_id > :first AND tile_id <= :beyond AND attempts = 1"""

COMMAND = """
import atexit, sys
from pathlib import Path

def tell_peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    print(next(line.split()[1] for line in lines if line.startswith("VmHWM")), file=sys.stderr)

atexit.register(tell_peak)
from mhfd_client.cli import main
main()
"""


def template() -> FocusResult:
    """A result with as many digits as real ones."""
    about = Provenance(
        mhfd=__version__, params_sha256=FocusParams().sha256, backend="numba", device="cpu", tile_sha256="HASH"
    )
    return FocusResult(
        path="NAME", status="scored", provenance=about, shape=(1024, 1024), dtype="uint8", pixel_size_nm=4.6,
        features=3127, features_per_mpx=2982.1395874, features_by_scale=tuple(range(812, 300, -32)),
        scales_px=tuple(FocusParams().scales[:-1]), focus_score=7.31294812, characteristic_scale_px=3.2184791,
        noise=0.0213874, content=0.9712345, anisotropy=0.0812938, saturated=0.0035123, vollath_f4=0.0042198,
        spectrum=SPECTRUM,
    )  # fmt: skip


def build(path: Path, rows: int) -> None:
    with open_ledger(path) as ledger:
        run = ledger.open_run("/data/long", FocusParams(), layout="plain", endpoint="local")
        connection = ledger._database._connection  # type: ignore[attr-defined]
        connection.execute("PRAGMA synchronous = OFF")  # a ledger that takes years is made in minutes
        connection.execute("PRAGMA cache_size = -500000")
        connection.executemany(
            "INSERT INTO folder VALUES (?, ?, ?)",
            ((k + 1, run.run_id, f"s{k:05d}") for k in range(-(-rows // IN_A_FOLDER))),
        )
        text = json.dumps(template().to_dict(), separators=(",", ":"))
        for first in range(0, rows, CHUNK):
            values = {
                "first": first, "beyond": min(first + CHUNK, rows), "rows": rows, "run": run.run_id,
                "begin": time.time() - rows, "version": __version__, "json": text,
            }  # fmt: skip
            with ledger.transaction():
                for statement in (TILES, RESULTS, ATTEMPTS):
                    connection.execute(statement, values)
            print(f"\r{min(first + CHUNK, rows)} rows", end="", file=sys.stderr)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    print(file=sys.stderr)


def forget(path: Path) -> None:
    """Drop the file from the system's cache."""
    fd = os.open(path, os.O_RDWR)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def status(ledger: Ledger, run: Run) -> None:
    read_status(ledger, run, time.time())


def first_page(ledger: Ledger, run: Run) -> None:
    page = judged_rows(ledger, run, ledger.rows(run.run_id, states=("scored", "failed")))
    for _, result in itertools.islice(page, PAGE):
        assert result is not None
        json.dumps(result)


def in_process(path: Path, act: Callable[[Ledger, Run], None]) -> float:
    """Seconds, opening included."""
    start = time.perf_counter()
    with open_ledger(path, readonly=True) as ledger:
        act(ledger, ledger.find_run())
    return time.perf_counter() - start


def command(path: Path, *arguments: str, lines: int) -> tuple[float, float]:
    """Seconds until `lines` lines were printed, and peak memory in MiB."""
    start = time.perf_counter()
    whole = [sys.executable, "-c", COMMAND, *arguments, "--ledger", str(path)]
    with subprocess.Popen(whole, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in itertools.islice(process.stdout, lines):
            pass
        seconds = time.perf_counter() - start
        process.stdout.close()  # as `head` would
        return seconds, int(process.stderr.read().split()[-1]) / 1024


def steps(ledger: Ledger, run: Run, n: int) -> Iterator[tuple[str, float]]:
    """Time each pipeline step for n new tiles of a section of their own."""
    now = time.time()
    where = Position(section=0, row=0, col=0)
    files = [(SeenFile(f"new/{now}-{k}.tif", 1, 1), where) for k in range(n)]
    with timed() as spent:
        ledger.see(run.run_id, files, now)
    yield "see", spent[0]
    with timed() as spent:
        rows = ledger.take(run.run_id, "seen", n, order="newest", now=now)
    yield "take", spent[0]
    ids = [row.tile_id for row in rows]
    about = template()
    results = [(i, replace(about, provenance=replace(about.provenance, tile_sha256=f"{i:064x}"))) for i in ids]
    with timed() as spent, ledger.transaction():
        for i in ids:
            ledger.finish(i, [(f"{i:064x}", (1024, 1024))], now)
    yield "finish", spent[0]
    for name, act in (
        ("sending", lambda: ledger.sending(ids, "ticket", now)),
        ("stage", lambda: ledger.stage([(i, None) for i in ids], now)),
        ("submit", lambda: ledger.submit(ids, "local", now)),
        ("store", lambda: ledger.store(results, now)),
        ("heartbeat", lambda: ledger.heartbeat(run.run_id, {"pid": 1}, now)),
        ("folder", lambda: ledger.folder(run.run_id, "s00000")),
        ("summary", lambda: ledger.summary(run.run_id)),
    ):
        with timed() as spent:
            act()
        yield name, spent[0]


@contextmanager
def timed() -> Iterator[list[float]]:
    spent = [0.0]
    start = time.perf_counter()
    yield spent
    spent[0] = time.perf_counter() - start


def measure(path: Path, rows: int) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for what, act, arguments, lines in (
        ("status", status, ("status", "--json"), 1),
        ("first page of export", first_page, ("export", "--format", "jsonl"), PAGE),
    ):
        for how in ("cold", "warm"):
            seconds, peaks = [], []
            for _ in range(REPEATS):
                if how == "cold":
                    forget(path)
                seconds.append(in_process(path, act))
            found.append((rows, what, f"in process, {how}", median(seconds), ""))
            seconds = []
            for _ in range(REPEATS):
                if how == "cold":
                    forget(path)
                spent, peak = command(path, *arguments, lines=lines)
                seconds.append(spent)
                peaks.append(peak)
            found.append((rows, what, f"command, {how}", median(seconds), round(max(peaks), 1)))
    with open_ledger(path) as ledger:
        run = ledger.find_run()
        for n in BATCHES:
            by_step: dict[str, list[float]] = {}
            for _ in range(REPEATS):
                for name, seconds_spent in steps(ledger, run, n):
                    by_step.setdefault(name, []).append(seconds_spent)
            found += [(rows, name, f"batch of {n}", median(spent), "") for name, spent in by_step.items()]
    return found


def tables(found: list[tuple[Any, ...]], path: Path) -> str:
    whole = [each for each in found if not each[2].startswith("batch")]
    batches = {(what, how): seconds for _, what, how, seconds, _ in found if how.startswith("batch")}
    heads = " | ".join(f"{n} tiles, ms" for n in BATCHES)
    text = [f"{found[0][0]} rows, {path.stat().st_size / 2**30:.2f} GiB", ""]
    text += ["| what | how | ms | peak memory, MiB |", "| --- | --- | --- | --- |"]
    text += [f"| {what} | {how} | {1000 * seconds:.0f} | {peak} |" for _, what, how, seconds, peak in whole]
    text += ["", f"| step | {heads} |", f"| --- |{' --- |' * len(BATCHES)}"]
    for name in dict.fromkeys(what for what, _ in batches):
        cells = " | ".join(f"{1000 * batches[name, f'batch of {n}']:.2f}" for n in BATCHES)
        text.append(f"| {name} | {cells} |")
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, help="(default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where the ledger is made (default: the temporary folder)")
    parser.add_argument("--keep", action="store_true", help="keep the ledger there")
    parser.add_argument("--out", type=Path, help="write every figure to this CSV file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as temporary:
        path = Path(args.folder or temporary if args.keep else temporary) / f"ledger{args.rows}.db"
        start = time.perf_counter()
        if not path.exists():
            build(path, args.rows)
            print(f"built in {time.perf_counter() - start:.0f} s", file=sys.stderr)
        found = measure(path, args.rows)
        print(tables(found, path))
    if args.out:
        with args.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(found)


if __name__ == "__main__":
    main()
