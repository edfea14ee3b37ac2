"""Does the measure rise with sharpness on the real SEM focal series?

    python benchmarks/focus_series.py --em ../shared/em

The series is one field of brain tissue at three focus settings, blurriest first: pert-5000, base, pert5000. It is
measured on the whole frame and on its four corners. Prints a Markdown table; the exit code is 1 if `features` or
`focus_score` does not strictly rise somewhere, or if the blur against the sharpest frame does not fall, of the frames
as they are or binned; where it cannot be told, the fields are too small. The paper's plain count, printed too, falls.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import FocusParams
from mhfd.images import read_tile
from mhfd.judge.blur import Spectra, tile_blur
from mhfd.scoring import score
from mhfd.spectrum import Spectrum

SETTINGS = ("pert-5000", "base", "pert5000")  # blurriest first
JUDGED = ("features", "focus_score", "blur")
BINNED = (1, 2, 4)
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


def blur_of(frames: Sequence[Pixels], by: int) -> list[float]:
    """D of each frame against the last, in px^2 of the frames as they are, NaN where nothing can be said.

    Parameters
    ----------
    by : pixels that are averaged along each axis first
    """
    spectra = [score(_binned(frame, by)).spectrum for frame in frames]
    if any(each is None for each in spectra):
        return [float("nan")] * len(frames)
    found = Spectra([Spectrum.unpack(each) for each in spectra if each is not None])
    d, _ = tile_blur(found, np.arange(len(found)), found.whole.ln[-1], found.slow[-1])
    return [float(each) * by**2 for each in d]


def _binned(frame: Pixels, by: int) -> Pixels:
    rows, cols = (side // by for side in frame.shape)
    means: Pixels = frame[: rows * by, : cols * by].reshape(rows, by, cols, by).mean((1, 3)).astype(np.float32)
    return means


def lines_of(frames: Sequence[Pixels]) -> Iterator[tuple[str, list[float], bool]]:
    """Name, values and whether these are in order, of each measure of one field."""
    series = [measures_of(frame) for frame in frames]
    for name in series[0]:
        values = [measures[name] for measures in series]
        yield name, values, all(a < b for a, b in pairwise(values))
    for by in BINNED:
        values = blur_of(frames, by)
        name = "blur against the last, px^2" + (f", binned by {by}" if by > 1 else "")
        known = [value for value in values if not np.isnan(value)]
        yield name, values, all(a > b for a, b in pairwise(known))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--em", type=Path, required=True, help="folder of real tiles, with sem-focus-series in it")
    parser.add_argument("--side", type=int, default=512, help="side of the corners in px (default: %(default)s)")
    args = parser.parse_args()
    frames = [fields_of(frame, args.side) for frame in read_series(args.em / "sem-focus-series")]
    print("| field | measure | " + " | ".join(SETTINGS) + " | in order |")
    print("| --- | --- | " + "--- | " * len(SETTINGS) + "--- |")
    failed = False
    for field in frames[0]:
        for name, values, in_order in lines_of([frame[field] for frame in frames]):
            failed |= name.partition(" ")[0] in JUDGED and not in_order
            told = " | ".join(f"{value:.5g}" for value in values)
            print(f"| {field} | {name} | {told} | {'yes' if in_order else 'no'} |")
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
