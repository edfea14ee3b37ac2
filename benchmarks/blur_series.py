"""Is `blur_px` the true blur? Made focal series, each against its own sharp tile.

    python ../shared/eval/degrade.py series /tmp/series --tiles ../shared/em/vnc-ssTEM --psf gauss
    python benchmarks/blur_series.py /tmp/series

Prints Pearson's r of `blur_px` with the true blur and the median of D over true blur^2, by dose, and the same of
ln(features). Several folders, one a point-spread function, give a table each.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mhfd.judge.blur import Spectra, tile_blur
from mhfd.scoring import score_many
from mhfd.spectrum import Spectrum


class Point(NamedTuple):
    """A tile of a series: its true blur in px, its features and D in px^2, NaN where nothing can be said."""

    blur_px: float
    features: int
    d: float


def read(folder: Path) -> dict[tuple[str, str], list[Point]]:
    """Tile and dose -> the points of its series, by blur."""
    with (folder / "truth.csv").open(newline="", encoding="utf-8") as file:
        truth = list(csv.DictReader(file))
    rows = score_many([folder / line["file"] for line in truth])
    series = defaultdict(list)
    for line, row in zip(truth, rows, strict=True):
        if row.spectrum is not None:
            series[line["tile"], line["dose"]].append((float(line["blur_px"]), row.features or 0, row.spectrum))
    found = {}
    for key, members in series.items():
        members.sort()
        spectra = Spectra([Spectrum.unpack(spectrum) for _, _, spectrum in members])
        d, _ = tile_blur(spectra, np.arange(len(members)), spectra.whole.ln[0], spectra.slow[0])
        found[key] = [Point(blur, count, float(each)) for (blur, count, _), each in zip(members, d, strict=True)]
    return found


def correlation(pairs: list[tuple[float, float]]) -> float:
    return float(np.corrcoef(np.array(pairs).T)[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="made by `degrade.py series`")
    for folder in parser.parse_args().folders:
        series = read(folder)
        print(f"{folder.name}: {len(series)} series\n")
        print("| dose | r of blur_px, worst | r of ln(features), worst | D / blur^2, 1.5 to 4 px: median | quartiles |")
        print("| --- | --- | --- | --- | --- |")
        for dose in sorted({dose for _, dose in series}, key=float, reverse=True):
            here = [points for (_, each), points in series.items() if each == dose]
            known = [[(p.blur_px, math.sqrt(max(p.d, 0))) for p in points if math.isfinite(p.d)] for points in here]
            counts = [[(p.blur_px, math.log(p.features)) for p in points if p.features] for points in here]
            ratios = [
                p.d / p.blur_px**2 for points in here for p in points if 1.5 <= p.blur_px <= 4 and math.isfinite(p.d)
            ]
            low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
            worst, count = min(map(correlation, known)), max(map(correlation, counts))
            print(f"| {dose} | {worst:.4f} | {count:.4f} | {middle:.2f} | {low:.2f} to {high:.2f} |")
        print()


if __name__ == "__main__":
    main()
