"""How long after a microscope closes a file is there a verdict on it?

    python benchmarks/watch_wait.py [--tiles FOLDER] [--n 60] [--every-ms 1000] [--loopback] [--out watch_wait.csv]

`mhfd watch` runs as a command. A microscope, this process, writes a tile every so many milliseconds, 1 MiB each:

one go     opened, written in eight parts within 100 ms, closed
renamed    the same under another name, then renamed
in parts   opened and closed for each of the eight parts

Every third tile is blurred, and the verdict on it is an alert. The ledger says when a tile was seen, submitted, stored,
and when the verdict on a blurred one was: that of the others follows from the same judgement. Tiles at the beginning,
until all workers have scored and the judge has sharp tiles to compare with, do not count.

With --loopback, tiles are scored by a real Globus Compute endpoint with low latency, over the tests' loopback
(benchmarks/service.py), which reads the same disk. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from scipy import ndimage

from mhfd_client.simulate import RunPlan, simulate_run
from service import ROOT, staged, write_csv  # the benchmark beside this one

PARTS, WRITE_S = 8, 0.1
BLUR_PX = 3.0
BEGINNING = 24  # tiles
AT_MOST_S = 300.0
STEPS = ("seen", "submitted", "stored", "judged")


@dataclass(frozen=True)
class Wait:
    """One tile's way, in ms since its file was closed; `measured` is the part for reading and measuring it."""

    where: str
    style: str
    number: int
    seen: float
    submitted: float
    stored: float
    measured: float
    judged: float | None


def write_in_one_go(file: Path, data: bytes) -> None:
    with file.open("wb", buffering=0) as out:
        for part in parts(data):
            out.write(part)
            time.sleep(WRITE_S / PARTS)


def write_renamed(file: Path, data: bytes) -> None:
    unnamed = file.with_name(f"{file.name}.tmp")
    write_in_one_go(unnamed, data)
    unnamed.rename(file)


def write_in_parts(file: Path, data: bytes) -> None:
    for part in parts(data):
        with file.open("ab", buffering=0) as out:
            out.write(part)
        time.sleep(WRITE_S / PARTS)


def parts(data: bytes) -> list[bytes]:
    size = -(-len(data) // PARTS)
    return [data[start : start + size] for start in range(0, len(data), size)]


STYLES: dict[str, Callable[[Path, bytes], None]] = {
    "one go": write_in_one_go, "renamed": write_renamed, "in parts": write_in_parts,
}  # fmt: skip


def tiles_of(source: Path | None, work: Path, side: int) -> list[bytes]:
    """TIFF files: two sharp ones, one blurred, and so on, all different."""
    if source is None:
        source = work / "simulated"
        simulate_run(source, RunPlan(sections=2, rows=2, cols=3, tile_px=side))
    given = [tifffile.imread(path) for path in sorted(source.rglob("*.tif"))[:12]]
    found = []
    for number in range(4 * len(given)):
        pixels = np.roll(given[number % len(given)], number, axis=1)
        if is_blurred(number):
            pixels = ndimage.gaussian_filter(pixels.astype(np.float32), BLUR_PX).round().astype(pixels.dtype)
        tifffile.imwrite(work / "tile.tif", pixels)
        found.append((work / "tile.tif").read_bytes())
    return found


def is_blurred(number: int) -> bool:
    return number % 3 == 2


@contextlib.contextmanager
def watching(run: Path, ledger: Path, *more: str) -> Iterator[None]:
    command = [sys.executable, "-m", "mhfd_client", "watch", str(run), "--ledger", str(ledger), *more]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def measure(
    work: Path, where: str, style: str, tiles: Sequence[bytes], n: int, every_s: float, *more: str
) -> list[Wait]:
    """The waits of `n` tiles after the first ones."""
    run, ledger = work / f"{where} {style}", work / f"{where} {style}.db"
    run.mkdir()
    closed: dict[str, float] = {}
    with watching(run, ledger, *more):
        for number in range(BEGINNING + n):
            if number == BEGINNING:
                wait_for(ledger, BEGINNING, AT_MOST_S)
            begun_s = time.monotonic()
            name = f"s{number // 9:04d}_r{number // 3 % 3}_c{number % 3}.tif"
            write = write_renamed if number < BEGINNING else STYLES[style]
            write(run / name, tiles[number % len(tiles)])
            closed[name] = time.time()
            time.sleep(max(0.0, begun_s + every_s - time.monotonic()) if number >= BEGINNING else 0.0)
        wait_for(ledger, BEGINNING + n, AT_MOST_S)
    return [Wait(where, style, *each) for each in waits(ledger, list(closed.items())[BEGINNING:])]


def waits(
    ledger: Path, closed: Sequence[tuple[str, float]]
) -> Iterator[tuple[int, float, float, float, float, float | None]]:
    with contextlib.closing(sqlite3.connect(ledger)) as opened:
        found = {
            name: times
            for name, *times in opened.execute(
                "SELECT t.name, t.changed_at, a.submitted_at, r.scored_at, r.json, s.said_at FROM tile AS t "
                "JOIN attempt AS a ON a.tile_id = t.tile_id AND a.attempt = t.attempts "
                "JOIN result AS r ON r.tile_id = t.tile_id LEFT JOIN said AS s ON s.tile_id = t.tile_id "
                "WHERE t.superseded_by IS NULL"
            )
        }
    for number, (name, at) in enumerate(closed):
        if name not in found:
            raise RuntimeError(f"{name} has no result")
        seen, submitted, stored, row, judged = found[name]
        times = [1e3 * (each - at) for each in (seen, submitted, stored)]
        measured = json.loads(row)["timing_ms"]["total"]
        yield number, *times, measured, None if judged is None else 1e3 * (judged - at)


def wait_for(ledger: Path, count: int, at_most_s: float) -> None:
    """Until so many tiles are scored, and the judge has had a moment for the last."""
    end_s = time.monotonic() + at_most_s
    while time.monotonic() < end_s:
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as opened,
        ):
            if opened.execute("SELECT COUNT(*) FROM result").fetchone()[0] >= count:
                break
        time.sleep(0.1)
    time.sleep(1.0)


def measure_loopback(work: Path, tiles: Sequence[bytes], n: int, every_s: float) -> list[Wait]:
    """The same with a real endpoint and broker."""
    from loopback.fixtures import missing
    from loopback.stack import Loopback

    if lack := missing():
        raise SystemExit(lack)
    loopback = Loopback(work / "loopback")
    os.environ.update(loopback.environment)
    place = work / "stage"
    place.mkdir()
    try:
        with staged(loopback, "low latency", ROOT / "endpoint_configs" / "cpu", work, place, 1) as stage:
            more = ("--endpoint", "paths", "--config", str(stage.config))
            return measure(work, "loopback", "one go", tiles, n, every_s, *more)
    finally:
        loopback.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=Path, help="folder with TIFF tiles; simulated ones otherwise")
    parser.add_argument("--side", type=int, default=1024, help="side of simulated tiles")
    parser.add_argument("--n", type=int, default=60, help="tiles of each kind")
    parser.add_argument("--every-ms", type=float, default=1000.0)
    parser.add_argument("--styles", nargs="*", choices=list(STYLES), default=list(STYLES))
    parser.add_argument("--loopback", action="store_true", help="also on a real endpoint over the loopback")
    parser.add_argument("--out", type=Path, help="CSV of every tile")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mhfd-wait-", ignore_cleanup_errors=True) as name:
        work = Path(name)
        tiles, every_s = tiles_of(given.tiles, work, given.side), given.every_ms / 1e3
        found = [wait for style in given.styles for wait in measure(work, "local", style, tiles, given.n, every_s)]
        if given.loopback:
            found += measure_loopback(work, tiles, given.n, every_s)
    print_table(found)
    if given.out:
        write_csv(given.out, found)


def print_table(found: Sequence[Wait]) -> None:
    print("Milliseconds after the file was closed, p50 / p95.\n")
    print(
        f"| where | written | tiles | {' | '.join(STEPS)} | reading and measuring |\n|---|---|---|---|---|---|---|---|"
    )
    for where, style in dict.fromkeys((each.where, each.style) for each in found):
        own = [each for each in found if (each.where, each.style) == (where, style)]
        columns = [
            [value for each in own if (value := getattr(each, step)) is not None] for step in (*STEPS, "measured")
        ]
        print(f"| {where} | {style} | {len(own)} | {' | '.join(map(middle_and_late, columns))} |")


def middle_and_late(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "-"
    return f"{statistics.median(values):.0f} / {statistics.quantiles(values, n=20, method='inclusive')[-1]:.0f}"


if __name__ == "__main__":
    main()
