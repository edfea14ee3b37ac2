"""Launches of the fused CUDA kernels for a batch of tiles, and the bytes that each moves, counted without a GPU.

    python benchmarks/gpu_traffic.py [--side 1024] [--batch 32] [--n-scales 16] [--dtype uint8] [--profile FILE]

A device that computes nothing records the launches that `mhfd.kernel.fused` really makes. The bytes of a launch follow
from its arguments: each plane that it reads or writes once, as if its cache held what neighbouring blocks share and
nothing from one launch to the next. "Apart" are the bytes if blocks of the cascade and of the maximum shared nothing:
each reads what its neighbours read, too. `--profile` sets the bytes beside those that Nsight Compute measured, from a
table with the columns kernel and dram_MB.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import FocusParams
from mhfd.kernel.fused.layout import GROUP, Extent, layout, seam_bytes
from mhfd.kernel.fused.single import Program
from mhfd.kernel.fused.source import (
    COARSE_BINS,
    FINE_BITS,
    MEDIANS,
    MERGE_SIDE,
    PAIR_COLS,
    SMOOTH_COLS,
    SMOOTH_GROUPS,
    SMOOTH_ROWS,
    SUMS,
    source,
)
from mhfd.kernel.plan import HALF_WIDTH

COPY_TB_S = 4.2
"""Reading and writing that an H200's memory was measured to do, TB/s."""

Args = dict[str, Any]
Grid = tuple[int, int, int]


@dataclass(frozen=True)
class Launch:
    """One launch over a whole batch; bytes read and written: `moved`, and `apart` if blocks share nothing."""

    kernel: str
    grid: Grid
    block: Grid
    shared: int
    moved: float
    apart: float


class Recorder:
    """A device and its stream that do nothing but remember the launches."""

    name = "counter"

    def __init__(self, itemsize: int) -> None:
        self.launches: list[Launch] = []
        self.address = 1 << 12  # of all memory
        self._names, self._moved = parameter_names(), bytes_moved(itemsize)

    def empty(self, nbytes: int) -> Recorder:
        return self

    def free_bytes(self) -> int:
        return 1 << 60

    def pinned(self, nbytes: int) -> NDArray[np.uint8]:
        return np.empty(nbytes, np.uint8)

    def is_pinned(self, data: NDArray[Any]) -> bool:
        return False

    def stream(self) -> Recorder:
        return self

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        work()
        return work

    def upload(self, address: int, data: NDArray[Any]) -> None: ...

    def download(self, data: NDArray[Any], address: int) -> None: ...

    def fetch(self, address: int, other: Any, other_address: int, nbytes: int) -> None: ...

    def mark(self) -> None: ...

    def milliseconds(self, earlier: None, later: None) -> float:
        return 0.0

    def synchronize(self) -> None: ...

    def zero(self, address: int, nbytes: int) -> None:
        self.launches.append(Launch("memset", (1, 1, 1), (1, 1, 1), 0, nbytes, nbytes))

    def launch(self, kernel: str, grid: Grid, block: Grid, args: Sequence[Any], shared: int) -> None:
        named = dict(zip(self._names[kernel], (arg.item() for arg in args), strict=True))
        kind = family(kernel)
        moved = _merge(named, grid, numbers(kernel)) if kind == "merge" else self._moved[kind](named, grid)
        again = AGAIN[kind](named, grid, numbers(kernel)) if kind in AGAIN else 0.0
        self.launches.append(Launch(kernel, grid, block, shared, moved * grid[2], (moved + again) * grid[2]))


def family(kernel: str) -> str:
    """Name without the number of taps, the level or the type: smooth_5, pair_5_9, normalise_u1."""
    return re.sub(r"(_\d+)+$|_[uif]\d$", "", kernel)


def numbers(kernel: str) -> list[int]:
    """Its numbers of taps, or its level."""
    return [int(number) for number in re.findall(r"_(\d+)", kernel)]


def parameter_names() -> dict[str, list[str]]:
    """Names of the parameters of each kernel of the CUDA source."""
    text = re.sub(r"\s*\\\n\s*", " ", source())
    endings = {
        macro: [found.replace(", ", "_") for found in re.findall(rf"^{macro}\(([\w, ]+)\)$", text, re.MULTILINE)]
        for macro in ("SMOOTH", "PAIR", "MERGE", "FOR_TYPE")
    }
    names = {}
    for kernel, open_end, parameters in re.findall(r"KERNEL\([^)]*\)\s+(\w+?)(_##[\w#]+)?\(([^)]*)\)", text):
        found = [re.findall(r"\w+", parameter)[-1] for parameter in parameters.split(",")]
        macro = {"smooth": "SMOOTH", "pair": "PAIR", "merge": "MERGE"}.get(kernel, "FOR_TYPE")
        for ending in endings[macro] if open_end else [None]:
            names[kernel if ending is None else f"{kernel}_{ending}"] = found
    return names


# --- Bytes of one tile ------------------------------------------------------------------------------------------------


def _plane(args: Args, rows: str = "rows", cols: str = "cols") -> int:
    return int(args[rows]) * int(args[cols])


def _chunks(args: Args, grid: Grid) -> float:
    """The image once, with the four rows that a chunk shares with its neighbours."""
    return float(4 * (args["last"] - args["first"] + 4 * grid[1]) * args["cols"])


def _kept(args: Args) -> int:
    """The plane that a step leaves for the next one."""
    return bool(args["target"]) * (_plane(args, "kept_rows", "kept_cols") if args["shift"] else _plane(args))


def _wanted(args: Args) -> int:
    """Samples of a response that are written."""
    return int((args["wanted_bottom"] - args["wanted_top"]) * (args["wanted_right"] - args["wanted_left"]))


def _smooth(args: Args, grid: Grid) -> float:
    return 4.0 * (_plane(args) + _kept(args) + bool(args["response"]) * (1 + bool(args["from_image"])) * _wanted(args))


def _pair(args: Args, grid: Grid) -> float:
    written = {args["middle_response"], args["response"]} - {0}  # one plane if both are the same
    return 4.0 * (_plane(args) + _kept(args) + len(written) * _wanted(args))


def _read(args: Args, level: int, rows: str, cols: str) -> int:
    """Samples of a plane of responses that the maximum is made from."""
    around = 2 * HALF_WIDTH
    return int(
        min(args[rows], (args["rows"] - 1 >> level) + around) * min(args[cols], (args["cols"] - 1 >> level) + around)
    )


def _merge(args: Args, grid: Grid, levels: list[int]) -> float:
    samples = args["finest_count"] * _plane(args)
    samples += args["count"] * _read(args, levels[0], "response_rows", "response_cols")
    samples += args["coarser_count"] * _read(args, levels[0] + 1, "coarser_rows", "coarser_cols")
    before = 0 if args["fresh"] else 6 if args["counts"] else 4
    after = 0.0 if args["counts"] else 6.0 * _plane(args)
    if args["counts"] and max(grid[:2]) > 1:
        after = float(seam_bytes((args["rows"], args["cols"])))
    return 4 * samples + before * _plane(args) + after


def _smooth_again(args: Args, grid: Grid, taps: list[int]) -> float:
    """What blocks of `smooth` read of their neighbours' source, in columns and in rows."""
    rows = SMOOTH_ROWS * SMOOTH_GROUPS + 2 * taps[0] * min(args["step"], SMOOTH_GROUPS)
    read = grid[0] * grid[1] * (SMOOTH_COLS + 2 * taps[0] * args["step"]) * rows
    return float(4 * max(0, read - _plane(args)))


def _pair_again(args: Args, grid: Grid, taps: list[int]) -> float:
    halo = 2 * sum(count * args[step] for count, step in zip(taps, ("step", "next_step"), strict=True))
    return float(4 * max(0, grid[0] * (PAIR_COLS + halo) * (args["rows"] + grid[1] * halo) - _plane(args)))


def _merge_again(args: Args, grid: Grid, level: list[int]) -> float:
    again = 0
    for count, part, here in ((args["count"], "response", level[0]), (args["coarser_count"], "coarser", level[0] + 1)):
        side = (MERGE_SIDE >> here) + 2 * HALF_WIDTH - 1
        again += count * max(0, grid[0] * grid[1] * side**2 - _read(args, here, f"{part}_rows", f"{part}_cols"))
    return 4.0 * again


AGAIN = {"smooth": _smooth_again, "pair": _pair_again, "merge": _merge_again}
"""For families of kernels the bytes of one tile that blocks read and their neighbours, too."""


def bytes_moved(itemsize: int) -> dict[str, Callable[[Args, Grid], float]]:
    """For each family of kernels the bytes moved for one tile, from the launch's arguments and grid."""
    return {
        "histogram": lambda a, g: itemsize * a["size"] + 4 * 2 ** a["bits"],
        "limits": lambda a, g: 4 * 4 * 2 ** a["bits"],
        "normalise": lambda a, g: (itemsize + 4) * _plane(a),
        "mean": lambda a, g: 8 * a["count"],
        "noise_coarse": _chunks,
        "noise_fine": _chunks,
        "noise_bins": lambda a, g: 4 * 4 * COARSE_BINS,
        "noise_medians": lambda a, g: 4 * MEDIANS * (2**FINE_BITS // 256 + 256),
        "summary": lambda a, g: 8 * SUMS * a["chunks"],
        "block_power": lambda a, g: 4 * 64 * 64 * 2 * g[0] * g[1],
        "cell_power": lambda a, g: 4 * 124 * a["block_rows"] * a["block_cols"],
        "smooth": _smooth,
        "smooth_down": lambda a, g: 8 * _plane(a),
        "smooth_along": lambda a, g: 4 * _plane(a) + _smooth(a, g),
        "pair": _pair,
        "peaks": lambda a, g: 4 * (a["last"] - a["first"] + 2 * g[1]) * a["cols"],
        "seams": lambda a, g: seam_bytes((a["rows"], a["cols"])),
    }


def launches(side: int, batch: int, params: FocusParams, dtype: np.dtype[Any]) -> list[Launch]:
    """What one batch of whole tiles launches, in order."""
    device = Recorder(dtype.itemsize)
    extent = Extent.of((side, side), dtype, params, batch)
    Program(device, extent, layout(extent, side, GROUP, True, False), False)
    return device.launches


# --- Tables -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """All launches of a family of kernels; megabytes of one tile."""

    kernel: str
    launches: int
    counted_mb: float
    apart_mb: float
    measured_mb: float | None = None


def shares(found: Sequence[Launch], batch: int, measured: dict[str, float]) -> list[Share]:
    """By family, in the order of their first launches."""
    counts = Counter(family(each.kernel) for each in found)

    def megabytes(name: str, bytes_of: Callable[[Launch], float]) -> float:
        return sum(bytes_of(each) for each in found if family(each.kernel) == name) / batch / 1e6

    return [
        Share(
            name,
            count,
            megabytes(name, lambda each: each.moved),
            megabytes(name, lambda each: each.apart),
            measured[name] / batch if name in measured else None,
        )
        for name, count in counts.items()
    ]


def profiled(path: Path) -> dict[str, float]:
    """Megabytes of a batch by family."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        found: dict[str, float] = {}
        for row in rows:
            name = family(row["kernel"])
            found[name] = found.get(name, 0.0) + float(row["dram_MB"])
    return found


def _cell(megabytes: float | None) -> str:
    return "" if megabytes is None else f"{megabytes:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1024, help="of a tile, px (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="tiles (default: %(default)s)")
    parser.add_argument("--n-scales", type=int, default=16, help="(default: %(default)s)")
    parser.add_argument("--dtype", default="uint8", help="(default: %(default)s)")
    parser.add_argument("--profile", type=Path, help="CSV file of a measured batch of the same tiles")
    parser.add_argument("--out", type=Path, help="write the table to this CSV file")
    args = parser.parse_args()
    found = launches(args.side, args.batch, FocusParams(n_scales=args.n_scales), np.dtype(args.dtype))
    rows = shares(found, args.batch, profiled(args.profile) if args.profile else {})
    total = sum(each.counted_mb for each in rows)
    print("| kernel | launches | MB a tile, counted | apart | measured |")
    print("| --- | --- | --- | --- | --- |")
    for each in rows:
        print(
            f"| {each.kernel} | {each.launches} | {each.counted_mb:.1f} | {each.apart_mb:.1f} | "
            f"{_cell(each.measured_mb)} |"
        )
    measured = sum(each.measured_mb or 0.0 for each in rows) if args.profile else None
    apart = sum(each.apart_mb for each in rows)
    print(f"| **all** | {len(found)} | {total:.1f} | {apart:.1f} | {_cell(measured)} |")
    print(f"\nAt {COPY_TB_S} TB/s these bytes take {total / COPY_TB_S / 1e3:.3f} ms a tile.")
    if args.out:
        with args.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Share)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(each) for each in rows)


if __name__ == "__main__":
    main()
