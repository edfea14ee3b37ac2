"""What bundles are worth: many small tiles through the loopback's Globus Transfer, one by one and in tars.

    python benchmarks/bundles.py [--tiles 5000] [--pixels 256] [--file-ms 0 10 30] [--out bundles.csv]

Each tile costs the service `file-ms` beside its bytes; Globus Transfer's own figure depends on both collections and on
what lies between. Files are copied one after another in each of two tasks; how long a task takes to begin is left out.
A way is timed from the first tile handed over to the last that a worker could read, packing included, and then until
all copies are removed. Linux only, with the extra `loopback`.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import tifffile

from mhfd_client.config import GlobusEndpoint
from mhfd_client.transfer.opening import open_transfer
from mhfd_client.transfer.protocol import Arrived, Json, Outgoing, Transfer

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # where the loopback is

from loopback.transfer import Transfer as Service

AT_ONCE = 2000  # as the pipeline hands them over
POLL_S = 0.1
END_S = 3600.0
WAYS = {"one by one": 0, "bundles": 4_000_000}  # bundle_below_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=5000)
    parser.add_argument("--pixels", type=int, default=256, help="side of a tile, 8 bit")
    parser.add_argument("--file-ms", type=float, nargs="+", default=[0.0, 10.0, 30.0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="every repeat, as CSV")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "run"
        files = write(root, given.tiles, given.pixels)
        service = Service(Path(folder) / "service")
        os.environ |= service.environment
        service.start()
        try:
            for repeat in range(given.repeats):
                for file_ms in given.file_ms:
                    for way in WAYS:
                        about = {"repeat": repeat, "file_ms": file_ms, "way": way, "tiles": len(files)}
                        rows.append(about | measured(service, root, files, way, file_ms / 1e3))
        finally:
            service.kill()
    if given.out:
        with given.out.open("w", newline="") as out:
            writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    show(rows, given.file_ms)


def write(root: Path, tiles: int, pixels: int) -> list[Outgoing]:
    """A run of different tiles."""
    root.mkdir()
    rng = np.random.default_rng(1)
    files = []
    for number in range(tiles):
        name = f"t{number:05}.tif"
        tifffile.imwrite(root / name, rng.integers(0, 256, (pixels, pixels), np.uint8))
        files.append(Outgoing((number,), root / name, name, (root / name).stat().st_size, 0))
    return files


def measured(service: Service, root: Path, files: Sequence[Outgoing], way: str, file_s: float) -> dict[str, Any]:
    destination = root.parent / f"destination-{uuid4()}"
    destination.mkdir()
    service.set(clear=True, forget_tasks=True, file_s=file_s)
    entry = GlobusEndpoint.model_validate({
        "uuid": uuid4(),
        "transfer": {
            "source_collection": service.collection(root.parent), "source_root": "/", "local_root": str(root.parent),
            "destination_collection": service.collection(destination), "destination_root": "/in",
            "bundle_below_bytes": WAYS[way],
        },
    })  # fmt: skip
    transfer = open_transfer(entry, root=root, run="run1")
    transfer.connect(interactive=False)
    began_s, cpu_s = time.monotonic(), time.process_time()
    places = moved(transfer, files)
    moved_s, cpu_s = time.monotonic() - began_s, time.process_time() - cpu_s
    tasks = len(service.requests("submit"))
    began_s = time.monotonic()
    wait(lambda: transfer.clean(places), transfer)
    wait(lambda: (transfer.sweep(list), not any(each.is_file() for each in destination.rglob("*")))[1], transfer)
    transfer.close()
    return {
        "transfers": tasks, "moved_s": round(moved_s, 2), "client_cpu_s": round(cpu_s, 2),
        "removed_s": round(time.monotonic() - began_s, 2),
    }  # fmt: skip


def moved(transfer: Transfer, files: Sequence[Outgoing]) -> list[Json]:
    """Hand over all files as there is room; where they are at the end."""
    waiting, places = list(files), []
    end_s = time.monotonic() + END_S
    while len(places) < len(files):
        assert time.monotonic() < end_s, transfer.notices()
        if waiting and (room := min(transfer.room(), AT_ONCE)):
            transfer.send(transfer.ticket(), waiting[:room])
            del waiting[:room]
        for each in transfer.poll():
            if isinstance(each, Arrived):
                places.append(each.place or {})
            else:
                waiting.append(each.outgoing)
        time.sleep(POLL_S)
    return places


def wait(fact: Callable[[], object], transfer: Transfer) -> None:
    end_s = time.monotonic() + END_S
    while not fact():
        assert time.monotonic() < end_s, transfer.notices()
        transfer.poll()
        time.sleep(POLL_S)


def show(rows: Sequence[dict[str, Any]], all_file_ms: Sequence[float]) -> None:
    print("| ms a file | one by one, s | bundles, s | ratio | removed, one by one, s | bundles, s |")
    print("|---|---|---|---|---|---|")
    for file_ms in all_file_ms:

        def median(way: str, key: str, file_ms: float = file_ms) -> float:
            return statistics.median(row[key] for row in rows if (row["file_ms"], row["way"]) == (file_ms, way))

        alone, bundles = (median(way, "moved_s") for way in WAYS)
        removed = " | ".join(f"{median(way, 'removed_s'):.1f}" for way in WAYS)
        print(f"| {file_ms:g} | {alone:.1f} | {bundles:.1f} | {alone / bundles:.1f} | {removed} |")


if __name__ == "__main__":
    main()
