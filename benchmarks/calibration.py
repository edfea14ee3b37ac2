"""Is the best focus of a focal series within its stated interval? Simulated series of known focus, and a real one.

    python benchmarks/calibration.py --tiles ../shared/em/vnc-ssTEM --seeds 1-2 --out calibration.csv

A series is one crop of 512 x 512 px of an in-focus tile, exposed by `degrade.py` at several distances: blur
sqrt(s0^2 + (k (f - f'))^2) px along each axis, s0 from 0.2 to 0.8 px. With astigmatism the two axes have an f' each.
All distances are in steps from frame to frame. "grid": every dose, step, number of frames and point-spread function.
"three": best_focus from three frames, f' uniformly between the outer frames, or 0.25 to 2 steps beyond them. With --em
the real SEM series too. Prints Markdown tables; --out has one line a series.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mhfd
from mhfd.judge.focal import Interval, measure_series
from mhfd.scoring import score_many
from verdicts import DEGRADE, load_degrade, print_table

SIDE_PX = 512
DOSES = (1000, 200, 50, 20)
STEPS_PX = (0.5, 1.0, 2.0, 3.0)
FRAMES = (3, 5, 9)
SHAPES = ("gauss", "disc", "astigmatic")
ASTIGMATISM = 0.5
"""Steps between the f' of the two axes."""

CASES = 200
"""Of each kind in "three"."""

Pixels = NDArray[Any]


@dataclass(frozen=True)
class Truth:
    """A series to make. Distances in steps, from 0.

    Attributes
    ----------
    step_px : k, px a step
    """

    part: str
    seed: int
    dose: float
    step_px: float
    frames: int
    shape: str
    best: float
    s0_px: float


@dataclass(frozen=True)
class Line:
    """A series and what was said of it: values with the ends of their 95 % intervals."""

    truth: Truth
    reason: str | None
    best: Interval | None
    k: Interval | None
    astigmatism: Interval | None

    @property
    def bracketed(self) -> bool:
        return 0 <= self.truth.best <= self.truth.frames - 1

    @property
    def error(self) -> float:
        return abs(self.best.value - self.truth.best) if self.best else float("nan")


def grid(seed: int, doses: Sequence[float] = DOSES, frames: Sequence[int] = FRAMES) -> Iterator[Truth]:
    rng = np.random.default_rng((seed, 1))
    for dose in doses:
        for step in STEPS_PX:
            for n in frames:
                for shape in SHAPES:
                    best, s0 = float(rng.uniform(0, n - 1)), float(rng.uniform(0.2, 0.8))
                    yield Truth("grid", seed, dose, step, n, shape, best, s0)


def three(seed: int, cases: int) -> Iterator[Truth]:
    rng = np.random.default_rng((seed, 2))
    for i in range(2 * cases):
        inside = float(rng.uniform(0, 2))
        beyond = float(rng.uniform(0.25, 2))
        best = inside if i % 2 == 0 else 2 + beyond if i % 4 == 1 else -beyond
        dose, step = float(np.exp(rng.uniform(*np.log((20, 1000))))), float(rng.uniform(0.7, 3))
        yield Truth(
            "three", seed, round(dose, 1), round(step, 2), 3, SHAPES[i // 2 % 2], best, float(rng.uniform(0.2, 0.8))
        )


def expose(truth: Truth, tile: Pixels, degrade: Any, rng: np.random.Generator) -> list[Pixels]:
    """The frames of a series."""
    apart = ASTIGMATISM / 2 if truth.shape == "astigmatic" else 0.0
    frames = []
    for at in range(truth.frames):
        down, along = (  # an axis each: down the columns, along the rows
            float(np.hypot(truth.s0_px, truth.step_px * (at - truth.best + side * apart))) for side in (1, -1)
        )
        blur = (down, along) if apart else down
        psf = "disc" if truth.shape == "disc" else "gauss"
        frames.append(degrade.expose(tile, rng, blur_px=blur, psf=psf, dose=truth.dose))
    return frames


def measure(truth: Truth, tiles: Sequence[tuple[str, Pixels]], degrade: Any) -> Line:
    rng = np.random.default_rng((truth.seed, round(1e6 * truth.best) % 2**32, truth.frames))
    tile = degrade.crop(tiles[int(rng.integers(len(tiles)))][1], SIDE_PX, rng)
    frames = expose(truth, tile, degrade, rng)
    distances = [float(at) for at in range(truth.frames)]
    if truth.part == "three":
        found = mhfd.best_focus(frames, distances)
        best = None if found.value is None or found.interval is None else Interval(found.value, *found.interval)
        return Line(truth, found.reason, best, found.k, found.astigmatism[0])
    fit = measure_series(score_many(frames), distances).fit
    return Line(truth, fit.reason, fit.best, fit.k, fit.astigmatism[0])


def holds(told: Interval | None, truth: float) -> bool | None:
    return None if told is None else told.low <= truth <= told.high


def share(answers: Iterable[bool | None]) -> str:
    known = [each for each in answers if each is not None]
    return f"{np.mean(known):.1%}" if known else ""


GRID_COLUMNS = (
    "series", "n", "f' told", "declined: not bracketed", "other reasons", "median error, steps", "90 % of errors below",
    "median half width", "f' in interval", "k in interval", "astigmatism in interval",
)  # fmt: skip


def grid_rows(lines: Sequence[Line]) -> Iterator[tuple[object, ...]]:
    ways: list[tuple[str, Callable[[Truth], object]]] = [
        ("all", lambda truth: ""),
        ("dose", lambda truth: truth.dose),
        ("px a step", lambda truth: truth.step_px),
        ("frames", lambda truth: truth.frames),
        ("", lambda truth: truth.shape),
    ]
    for name, key in ways:
        for value in dict.fromkeys(key(each.truth) for each in lines):
            here = [each for each in lines if key(each.truth) == value]
            errors = [each.error for each in here if each.best]
            widths = [(each.best.high - each.best.low) / 2 for each in here if each.best]
            apart = [ASTIGMATISM if each.truth.shape == "astigmatic" else 0.0 for each in here]
            yield (
                f"{name} {value}".strip(), len(here), len(errors),
                sum(each.reason == "not_bracketed" for each in here),
                sum(each.reason not in (None, "not_bracketed") for each in here),
                *(f"{np.quantile(errors, q):.3f}" if errors else "" for q in (0.5, 0.9)),
                f"{np.median(widths):.3f}" if widths else "",
                share(holds(each.best, each.truth.best) for each in here),
                share(holds(each.k, each.truth.step_px) for each in here),
                share(holds(each.astigmatism, true) for each, true in zip(here, apart, strict=True)),
            )  # fmt: skip


THREE_COLUMNS = (
    "dose",
    "bracketed",
    "within 10 %",
    "of those told",
    "wrongly declined",
    "in interval",
    "beyond",
    "declined",
    "told, within 10 %",
)


def three_rows(lines: Sequence[Line]) -> Iterator[tuple[object, ...]]:
    for low, high in ((20, 1001), (20, 50), (50, 200), (200, 1001)):
        here = [each for each in lines if low <= each.truth.dose < high]
        inside, beyond = ([each for each in here if each.bracketed == side] for side in (True, False))
        told = [each for each in inside if each.best]
        right = sum(each.error <= 0.1 for each in told)
        wrong = [each for each in beyond if each.best]
        yield (
            f"{low} to {min(high, 1000)}", len(inside), right, f"{right}/{len(told)}", len(inside) - len(told),
            share(holds(each.best, each.truth.best) for each in told), len(beyond), len(beyond) - len(wrong),
            f"{sum(each.error <= 0.1 for each in wrong)}/{len(wrong)}",
        )  # fmt: skip


def real(em: Path) -> None:
    """The real SEM series: three frames on one side of focus, working distances in um by their names."""
    offsets = {"pert-5000": -18.324, "base": -13.324, "pert5000": -8.324}
    files = {name: sorted((em / "sem-focus-series").glob(f"*_{name}.*")) for name in offsets}
    if not all(files.values()):
        raise SystemExit(f"{em} has no sem-focus-series")
    found = mhfd.best_focus([files[name][0] for name in offsets], list(offsets.values()))
    print(f"Real SEM series: {found.declined}; slope {found.slope} px^2/um; k {found.k} px/um\n")


def write(lines: Iterable[Line], out: Path) -> None:
    """One line a series."""
    told = ("best", "k", "astigmatism")
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        names = [each.name if each.name != "best" else "true_best" for each in fields(Truth)]
        writer.writerow((*names, "reason", *(f"{name}{end}" for name in told for end in ("", "_low", "_high"))))
        for each in lines:
            numbers = [f"{x:.4f}" for name in told for x in getattr(each, name) or ()] if each.best else []
            writer.writerow((*_rounded(asdict(each.truth).values()), each.reason, *numbers))


def _rounded(values: Iterable[object]) -> list[object]:
    return [round(each, 4) if isinstance(each, float) else each for each in values]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=Path, required=True, help="folder of in-focus TIFF tiles")
    parser.add_argument("--degrade", type=Path, default=DEGRADE, help="degrade.py")
    parser.add_argument("--seeds", default="1-2", help="of the grid, like 1-2")
    parser.add_argument("--doses", type=float, nargs="+", default=DOSES, help="of the grid")
    parser.add_argument("--frames", type=int, nargs="+", default=FRAMES, help="of the grid")
    parser.add_argument("--three", type=int, default=CASES, help="cases of each kind with three frames")
    parser.add_argument("--em", type=Path, help="folder with sem-focus-series in it")
    parser.add_argument("--out", type=Path, help="CSV with one line a series")
    args = parser.parse_args()
    degrade = load_degrade(args.degrade)
    tiles = degrade.load_tiles(args.tiles)
    first, _, last = args.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    truths = [*(each for seed in seeds for each in grid(seed, args.doses, args.frames)), *three(seeds[0], args.three)]
    lines = []
    for number, truth in enumerate(truths, start=1):
        lines.append(measure(truth, tiles, degrade))
        print(f"\r{number} of {len(truths)} series", end="", file=sys.stderr)
    print(file=sys.stderr)
    if args.out:
        write(lines, args.out)
    print(f"{args.tiles.name}, seeds {args.seeds}\n")
    print_table(GRID_COLUMNS, grid_rows([each for each in lines if each.truth.part == "grid"]))
    print("best_focus from three frames:\n")
    print_table(THREE_COLUMNS, three_rows([each for each in lines if each.truth.part == "three"]))
    if args.em:
        real(args.em)


if __name__ == "__main__":
    main()
