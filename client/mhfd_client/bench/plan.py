"""The plan of a benchmark; the command line reads its options from here, so nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from mhfd.contract import BackendName, ParamsError

Figure = Literal["3a", "3b", "4", "rivals", "files"]
FIGURES: tuple[Figure, ...] = get_args(Figure)
BACKENDS: tuple[BackendName, ...] = ("numba", "numpy", "cupy", "cupy-fft")

FILES_LAPS = ("files", "kernel", "readers")
"""What is timed from files to numbers: the whole, and its parts alone."""

MIN_SIDE, MAX_SIDE = 64, 32768


@dataclass(frozen=True, kw_only=True)
class BenchPlan:
    """The plan of a benchmark.

    Attributes
    ----------
    figures : of the paper: "3a" time against scales, "3b" against the side, "4" phases of devices; "rivals"; and
        "files" to numbers
    backends : of mhfd; empty for all that work here
    repeats : rounds, in each of which every contestant has a turn; the first does not count
    settle_s : seconds for which a contestant runs in its turn, at least twice, and the last run counts; 0: one run, as
        from files to numbers, where a run takes many tiles
    side, n_scales : of the tile, where they are not varied
    sides, scale_counts : the values in figures 3b and 3a
    batch : tiles sent to a GPU at once, to measure throughput
    devices : GPUs that share a tile, also the same one twice, on the processor so many shares; empty: all GPUs
    files : that are scored at most, to measure the way from files to numbers
    tile : picture to use instead of a simulated one, cropped, or extended by its mirror images
    """

    figures: tuple[Figure, ...] = FIGURES
    backends: tuple[BackendName, ...] = ()
    repeats: int = 21
    settle_s: float = 0.1
    side: int = 1024
    n_scales: int = 16
    sides: tuple[int, ...] = (256, 512, 1024, 2048, 4096)
    scale_counts: tuple[int, ...] = (1, 2, 4, 8, 12, 16, 20, 32, 48, 64)
    batch: int = 32
    devices: tuple[int, ...] = ()
    files: int = 1280
    tile: Path | None = None

    def __post_init__(self) -> None:
        if self.repeats < 2:
            raise ParamsError(f"repeats must be at least 2, since the first does not count, not {self.repeats}")
        for side in (self.side, *self.sides):
            if not MIN_SIDE <= side <= MAX_SIDE:
                raise ParamsError(f"a side must be {MIN_SIDE} to {MAX_SIDE} px, not {side}")


QUICK = BenchPlan(repeats=3, settle_s=0, side=256, n_scales=4, sides=(128, 256), scale_counts=(1, 4), batch=4, files=8)
"""Runs everything in seconds; its times mean nothing."""


def make_plan(*, quick: bool = False, max_side: int | None = None, **given: Any) -> BenchPlan:
    """The usual plan, or the quick one, changed by `given` (None or empty: unchanged).

    Parameters
    ----------
    max_side : figure 3b doubles the side up to this

    Raises
    ------
    ParamsError
        too few repeats, or a side out of range.
    """
    plan = QUICK if quick else BenchPlan()
    if max_side is not None:
        steps = [plan.sides[0] << k for k in range(MAX_SIDE.bit_length()) if plan.sides[0] << k <= max_side]
        given["sides"] = tuple(steps) or (max_side,)
    return replace(plan, **{name: value for name, value in given.items() if value not in (None, ())})
