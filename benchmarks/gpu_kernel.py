"""How long does the fused kernel take on a GPU: batches, types, sides, scales, and a stream from the host's memory?

    python benchmarks/gpu_kernel.py --tiles ../shared/em/vnc-ssTEM --out gpu_kernel.csv
    python benchmarks/gpu_kernel.py --cucim
    ncu --csv --metrics gpu__time_duration.sum,dram__bytes.sum \\
        python benchmarks/gpu_kernel.py --only batch-32 --repeats 1

Times are the device's own, a tile's share of its batch, medians of the repeats; the first batch of a kind, which
records its graph, does not count. `host_ms` is from arrays in the host's memory to numbers, one batch at a time.
Without --tiles, tiles are simulated. The last makes Nsight Compute tell of every launch.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.backends import Lane, select_backend
from mhfd.contract import BackendError, FocusParams
from mhfd.images import read_tile
from mhfd_client.bench import machine, rivals, tile
from mhfd_client.bench.feeding import keep_busy

PLAIN = FocusParams()
SIDE = 1024
STREAMED = 640
"""Tiles of a stream, two batches of which are under way at a time."""


@dataclass(frozen=True)
class Case:
    """A batch to time."""

    name: str
    batch: int
    side: int = SIDE
    dtype: str = "u1"
    params: FocusParams = PLAIN


CASES = (
    *(Case(f"batch-{n}", n) for n in (1, 4, 16, 32, 64, 128)),
    Case("uint16", 32, dtype="u2"),
    Case("float32", 32, dtype="f4"),
    Case("scales-64", 32, params=replace(PLAIN, n_scales=64)),
    Case("scales-8", 32, params=replace(PLAIN, n_scales=8)),
    Case("paper", 32, params=replace(PLAIN, mode="paper")),
    Case("side-256", 128, 256),
    *(Case(f"side-{side}", 1, side) for side in (2048, 4096, 8192)),
    Case("side-4096-batch-4", 4, 4096),
    Case("side-4096-scales-64", 1, 4096, params=replace(PLAIN, n_scales=64)),
)


@dataclass(frozen=True)
class Row:
    """Milliseconds a tile, or tiles a second; None for what was not timed."""

    name: str
    side: int
    dtype: str
    n_scales: int
    batch: int
    kernel_ms: float | None = None
    copy_ms: float | None = None
    host_ms: float | None = None
    tiles_per_s: float | None = None
    features: int | None = None


def main() -> None:
    given = arguments()
    try:
        backend = select_backend("cupy")
    except BackendError as error:
        sys.exit(str(error))
    source = picture(given.tiles)
    lane = backend.lanes[0]
    cases = [case for case in CASES if given.only in (None, case.name)]
    print("; ".join([lane.device, *machine.describe().values()]))
    rows = [timed(lane, case, source, given.repeats) for case in cases]
    if given.only is None:
        rows.append(one_tile(backend.measure, source, given.repeats))
        rows += [streamed(lane, source, batch) for batch in (16, 32, 64)]
    if given.cucim:
        rows += list(cucim(source, given.repeats))
    print_table(rows)
    if given.out:
        with given.out.open("w", newline="") as out:
            writer = csv.DictWriter(out, [field.name for field in fields(Row)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(map(asdict, rows))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=Path, help="folder of grey tiles to use instead of simulated ones")
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--only", choices=[case.name for case in CASES], help="time this alone")
    parser.add_argument("--cucim", action="store_true", help="time cuCIM's blob_dog too, with and without pruning")
    parser.add_argument("--out", type=Path, help="the table, as CSV")
    return parser.parse_args()


def picture(folder: Path | None) -> NDArray[Any]:
    """A square of tiles of 1024 px, 8 bit, as many as the folder's; a simulated tile without one."""
    if folder is None:
        return tile.picture(None, SIDE)
    tiles = [read_tile(file).pixels[:SIDE][:, :SIDE] for file in sorted(folder.glob("*.tif"))]
    side = int(len(tiles) ** 0.5)
    return np.block([tiles[row * side : (row + 1) * side] for row in range(side)])


def batch_of(case: Case, source: NDArray[Any]) -> list[NDArray[Any]]:
    """Different tiles: a picture, shifted."""
    whole = tile.cut(source, case.side).astype(case.dtype)
    if case.dtype == "u2":
        whole *= 257
    return [np.roll(whole, 61 * k, axis=0) for k in range(case.batch)]


def timed(lane: Lane, case: Case, source: NDArray[Any], repeats: int) -> Row:
    tiles = batch_of(case, source)
    times: list[tuple[float, float, float]] = []
    for repeat in range(repeats + 2):  # a lane keeps two programs of a kind
        start = time.perf_counter()
        pending = lane.submit(tiles, case.params)
        features = pending.result()[0].features
        if repeat > 1:
            times.append((pending.kernel_ms, pending.copy_ms, 1e3 * (time.perf_counter() - start)))
    kernel, copy, host = (statistics.median(each) / case.batch for each in zip(*times, strict=True))
    return replace(row_of(case), kernel_ms=kernel, copy_ms=copy, host_ms=host, features=features)


def row_of(case: Case) -> Row:
    return Row(case.name, case.side, case.dtype, case.params.n_scales, case.batch)


def one_tile(measure: Callable[..., Any], source: NDArray[Any], repeats: int) -> Row:
    """From an array in the host's memory to the numbers and the list of features."""
    case = Case("measure-with-features", 1)
    (pixels,) = batch_of(case, source)
    times = list(milliseconds(lambda: measure(pixels, PLAIN)[0].features, repeats))
    return replace(row_of(case), host_ms=statistics.median(ms for ms, _ in times), features=times[0][1])


def milliseconds(do: Callable[[], int], repeats: int) -> Iterator[tuple[float, int]]:
    """Each time but the first, and what came of it."""
    for repeat in range(repeats + 1):
        start = time.perf_counter()
        found = do()
        if repeat:
            yield 1e3 * (time.perf_counter() - start), found


def streamed(lane: Lane, source: NDArray[Any], batch: int) -> Row:
    """Batches from the host's memory, each submitted before the numbers of the last are there."""
    case = Case(f"stream-{batch}", batch)
    tiles = batch_of(case, source)

    batches = -(-STREAMED // batch)
    keep_busy(lane, tiles, PLAIN, 3)
    start = time.perf_counter()
    keep_busy(lane, tiles, PLAIN, batches)
    return replace(row_of(case), tiles_per_s=batches * batch / (time.perf_counter() - start))


def cucim(source: NDArray[Any], repeats: int) -> Iterator[Row]:
    """The same tile by cuCIM, with as many scales over the same range."""
    blob, cupy = import_module("cucim.skimage.feature.blob"), import_module("cupy")
    case = Case("", 1)
    on_device = cupy.asarray(batch_of(case, source)[0])
    for name, pruned in (("cucim", False), ("cucim-as-it-ships", True)):

        def count(pruned: bool = pruned) -> int:
            found = rivals.blob_dog(blob, cupy, on_device, PLAIN, pruned=pruned)
            cupy.cuda.Device().synchronize()
            return found

        times = list(milliseconds(count, repeats))
        kernel = statistics.median(ms for ms, _ in times)
        yield replace(row_of(case), name=name, kernel_ms=kernel, features=times[0][1])


def print_table(rows: Sequence[Row]) -> None:
    names = [field.name for field in fields(Row)]
    print(f"| {' | '.join(names)} |\n| {' | '.join(['---'] * len(names))} |")
    for row in rows:
        values = asdict(row).values()
        cells = [
            "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value) for value in values
        ]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
