"""Which noise estimator lets the feature count separate focus best, and which is nearest the true noise?

    python benchmarks/noise_estimators.py TRUTH_FOLDER [TRUTH_FOLDER ...] [--out FILE.csv]

A TRUTH_FOLDER holds 8-bit tiles of known focus and `truth.csv` with the columns file, regime, bad, blur_px and
dose, as `degrade.py regimes` writes it. All folders are pooled. Two Markdown tables are printed: how well the
features above 5 sigma of each estimate separate good tiles from bad, and each estimate over the true noise.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from mhfd.contract import FocusParams
from mhfd.kernel import fourier
from mhfd.kernel.measures import MIN_NOISE, NoiseModel, noise_gains, row_noise_factor
from mhfd.robust import NORMAL_MEDIAN

Plane = NDArray[np.float32]

K_NOISE = FocusParams().k_noise
ALL_PEAKS = FocusParams(k_noise=0)
DETECTOR = 0.006  # standard deviation in fractions of 255 that degrade.py adds to every exposure
STATE = {"0": "good", "1": "bad", "": "blank"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One estimator on one tile; noise in fractions of the tile's saturated range."""

    folder: str
    file: str
    regime: str
    state: str
    blur_px: str
    dose: float
    true_noise: float
    estimator: str
    noise: float
    features_per_mpx: float


# The estimators ---------------------------------------------------------------------------------------------------


def estimates(image: Plane, grey: Plane) -> dict[str, NoiseModel]:
    """Each estimator's noise model of one tile.

    Parameters
    ----------
    image, grey : (rows, cols) normalised tile and its local mean
    """
    diagonal = difference(image, 1, 0, 1)
    corner = max(mad_variance(difference(image, 4, 0, 1)), MIN_NOISE**2)
    down = mad_variance(smooth(difference(image, 4, 0), 1))
    along = mad_variance(smooth(difference(image, 4, 1), 0))
    factor = row_noise_factor(corner, down, along)
    # All row-to-row differences beyond column-to-column ones count as noise, none as texture.
    more = (1 + max(0.0, down - along) / corner) / factor
    ours = fourier.estimate_noise(image, grey)
    scalars = {
        "2x2 diagonal": mad_variance(diagonal),
        "Immerkaer": mad_variance(difference(image, 2, 0, 1)),
        "4th, both axes": corner,
        "4th, down": mad_variance(difference(image, 4, 0)),
        "flattest 1/5, 16 px": flattest_variance(diagonal, 16, 1 / 5),
        "flattest 1/10, 8 px": flattest_variance(diagonal, 8, 1 / 10),
        "4th, row factor": corner * factor,
    }
    return {
        **{name: NoiseModel(variance=variance, slope=0.0, grey=0.0) for name, variance in scalars.items()},
        "ours": ours,
        "ours, no allowance": NoiseModel(variance=ours.variance * more, slope=ours.slope * more, grey=ours.grey),
    }


def difference(image: Plane, order: int, *axes: int) -> Plane:
    """Differences along each of `axes`, scaled so that white noise keeps its deviation; `order` samples shorter."""
    for axis in axes:
        image = np.diff(image, n=order, axis=axis) / np.float32(math.sqrt(math.comb(2 * order, order)))
    return image


def smooth(plane: Plane, axis: int) -> Plane:
    """(1, 2, 1) smoothing that keeps the deviation of white noise."""
    weights = np.array([1, 2, 1], np.float32) / np.float32(math.sqrt(6))
    return np.asarray(ndimage.correlate1d(plane, weights, axis=axis, mode="reflect"))


def mad_variance(plane: Plane) -> float:
    """Variance of normal noise about zero from the median of its absolute values."""
    return (float(np.median(np.abs(plane))) / NORMAL_MEDIAN) ** 2


def flattest_variance(plane: Plane, side: int, share: float) -> float:
    """Mean square over the `share` of the blocks of `side` px where it is smallest."""
    rows, cols = plane.shape[0] // side, plane.shape[1] // side
    blocks = np.square(plane[: rows * side, : cols * side]).reshape(rows, side, cols, side).mean(axis=(1, 3))
    return float(np.sort(blocks, axis=None)[: max(1, int(share * blocks.size))].mean())


# One tile ---------------------------------------------------------------------------------------------------------


def true_noise(tile: NDArray[np.uint8], dose: float) -> float:
    """Standard deviation of the noise by degrade.py's model, in fractions of the tile's saturated range.

    Shot noise at the tile's mean grey level, detector and quantisation. In the "detector" condition the shot noise
    is correlated along the rows: this is then its strength at the scales of features, wider than the correlation;
    offsets of whole rows are not included.
    """
    variance = float(tile.mean()) / 255 / (2 * dose) + DETECTOR**2 + 1 / (12 * 255**2)
    rank = math.floor(ALL_PEAKS.saturate * tile.size)
    ends = np.partition(tile, (rank, tile.size - 1 - rank), axis=None)
    return math.sqrt(variance) * 255 / max(1, int(ends[-1 - rank]) - int(ends[rank]))


def rows_of_tile(folder: Path, truth: dict[str, str]) -> Iterator[Row]:
    """One row per estimator; the peaks are the same for all, only the threshold differs."""
    tile = tifffile.imread(folder / truth["file"])
    if tile.dtype != np.uint8:
        raise SystemExit(f"{folder / truth['file']} is {tile.dtype}: the exposure model needs 8-bit tiles.")
    image, _ = fourier.normalise(tile, ALL_PEAKS.saturate)
    grey = fourier.local_mean(image)
    silence = NoiseModel(variance=0.0, slope=0.0, grey=0.0)
    peaks = fourier.find_features(*fourier.maximum_over_scale(image, ALL_PEAKS), grey, silence, ALL_PEAKS)
    strength = peaks.strengths / noise_gains(ALL_PEAKS.scales)[peaks.scale_index]
    grey_at_peaks = grey[peaks.rows, peaks.cols].astype(np.float64)
    for name, noise in estimates(image, grey).items():
        count = np.count_nonzero(strength > K_NOISE * noise.at(grey_at_peaks))
        yield Row(
            folder=str(folder),
            file=truth["file"],
            regime=truth["regime"],
            state=STATE[truth["bad"]],
            blur_px=truth["blur_px"],
            dose=float(truth["dose"]),
            true_noise=true_noise(tile, float(truth["dose"])),
            estimator=name,
            noise=noise.sigma,
            features_per_mpx=count / tile.size * 1e6,
        )


# The tables -------------------------------------------------------------------------------------------------------


def auc(good: list[float], bad: list[float]) -> float:
    """Area under the ROC curve: the probability that a good tile has more than a bad one, ties counted half."""
    g, b = np.array(good)[:, None], np.array(bad)[None, :]
    return float(((g > b) + 0.5 * (g == b)).mean())


def print_separation(rows: list[Row]) -> None:
    """Area under the ROC curve of the features per Mpx; blank tiles against the good ones of dose-mix."""
    names = list(dict.fromkeys(row.estimator for row in rows))

    def density(regime: str, state: str, name: str) -> list[float]:
        return [r.features_per_mpx for r in rows if (r.regime, r.state, r.estimator) == (regime, state, name)]

    areas: dict[str, list[float]] = {}
    for regime in dict.fromkeys(row.regime for row in rows):
        pair = (("dose-mix", "good"), ("blank", "blank")) if regime == "blank" else ((regime, "good"), (regime, "bad"))
        groups = [[density(*group, name) for group in pair] for name in names]
        if all(good and bad for good, bad in groups):
            areas[regime] = [auc(good, bad) for good, bad in groups]
    lines = [[regime, *(f"{area:.3f}" for area in line)] for regime, line in areas.items()]
    if areas:
        lines.append(["**worst**", *(f"**{min(column):.3f}**" for column in zip(*areas.values(), strict=True))])
    if blanks := [density("blank", "blank", name) for name in names if density("blank", "blank", name)]:
        lines.append(["most on a blank tile, features/Mpx", *(f"{max(column):.0f}" for column in blanks)])
    print("Area under the ROC curve of features_per_mpx, good against bad\n")
    print_markdown(["condition", *names], lines)


def print_bias(rows: list[Row]) -> None:
    """Mean and deviation over the tiles of estimate / true noise."""
    names = list(dict.fromkeys(row.estimator for row in rows))
    lines = []
    for regime, state in dict.fromkeys((row.regime, row.state) for row in rows):
        line = [regime, state]
        for name in names:
            ratio = [r.noise / r.true_noise for r in rows if (r.regime, r.state, r.estimator) == (regime, state, name)]
            line.append(f"{np.mean(ratio):.2f} ± {np.std(ratio):.2f}")
        lines.append(line)
    print("\nEstimate / true noise, mean ± deviation\n")
    print_markdown(["condition", "tiles", *names], lines)


def print_markdown(header: list[str], lines: Iterable[list[str]]) -> None:
    for line in (header, ["---"] * len(header), *lines):
        print("| " + " | ".join(line) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="TRUTH_FOLDER")
    parser.add_argument("--out", type=Path, help="write one row per tile and estimator to this CSV file")
    args = parser.parse_args()
    rows = []
    for folder in args.folders:
        if not (folder / "truth.csv").is_file():
            parser.error(f"{folder} holds no truth.csv: give a folder that `degrade.py regimes` made.")
        with (folder / "truth.csv").open(newline="", encoding="utf-8") as file:
            rows += [row for truth in csv.DictReader(file) for row in rows_of_tile(folder, truth)]
    print_separation(rows)
    print_bias(rows)
    if args.out:
        with args.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)


if __name__ == "__main__":
    main()
