"""Does the measure rise with sharpness on the real SEM focal series?

    python benchmarks/focus_series.py --em ../shared/em

The series is one field of brain tissue at three focus settings, blurriest first: pert-5000, base, pert5000. It is
measured on the whole frame and on its four corners. Prints a Markdown table; the exit code is 1 if `features` or
`focus_score` does not strictly rise somewhere. The paper's plain count is printed too: it falls.
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mhfd.contract import FocusParams
from mhfd.images import read_tile
from mhfd.scoring import score

SETTINGS = ("pert-5000", "base", "pert5000")  # blurriest first
JUDGED = ("features", "focus_score")
Pixels = NDArray[Any]


def read_series(folder: Path) -> list[Pixels]:
    """The three frames, (rows, cols) each, blurriest first."""
    frames = []
    for setting in SETTINGS:
        files = sorted(folder.glob(f"*_{setting}.*"))
        if len(files) != 1:
            raise SystemExit(f"{folder} must hold one file named *_{setting}.*, not {len(files)}; is --em right?")
        frames.append(read_tile(files[0]).pixels)
    return frames


def fields_of(frame: Pixels, side: int) -> dict[str, Pixels]:
    """The whole frame and its four corners of side x side pixels."""
    return {
        "whole frame": frame,
        "top left": frame[:side, :side],
        "top right": frame[:side, -side:],
        "bottom left": frame[-side:, :side],
        "bottom right": frame[-side:, -side:],
    }


def measures_of(pixels: Pixels) -> dict[str, float]:
    result, paper = score(pixels), score(pixels, FocusParams(mode="paper"))
    values = {
        "features": result.features,
        "focus_score": result.focus_score,
        "vollath_f4": result.vollath_f4,
        'features, mode="paper"': paper.features,
    }
    return {name: float(value or 0) for name, value in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--em", type=Path, required=True, help="folder of real tiles, with sem-focus-series in it")
    parser.add_argument("--side", type=int, default=512, help="side of the corners in px (default: %(default)s)")
    args = parser.parse_args()
    frames = [fields_of(frame, args.side) for frame in read_series(args.em / "sem-focus-series")]
    print("| field | measure | " + " | ".join(SETTINGS) + " | strictly rising |")
    print("| --- | --- | " + "--- | " * len(SETTINGS) + "--- |")
    failed = False
    for field in frames[0]:
        series = [measures_of(frame[field]) for frame in frames]
        for name in series[0]:
            values = [measures[name] for measures in series]
            rising = all(a < b for a, b in pairwise(values))
            failed |= name in JUDGED and not rising
            print(
                f"| {field} | {name} | " + " | ".join(f"{v:.5g}" for v in values) + f" | {'yes' if rising else 'no'} |"
            )
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
