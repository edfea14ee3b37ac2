"""Medians of the noise magnitudes of a tile, exact to the bit: between bounds where it can be, by digits elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.kernel.loops.noise import (
    BINS,
    FLOOR,
    KINDS,
    SAMPLE_ROWS,
    SHIFT,
    bins_near_medians,
    count_noise,
    count_noise_within,
    gather_noise,
)
from mhfd.kernel.threads import Share

MARGIN = 0.02
"""The bounds of a median are the sample's quantiles so far below and above 1/2."""

Plane = NDArray[np.float32]
Window = Callable[[range], tuple[Plane, range, int]]
Run = Callable[..., list[Any]]

_MADE_OF = ((0, 1), (0,), (1,), (2,), (3,))
"""The kinds of `noise` whose medians are wanted; the first is the corner of all pixels."""

_SUMS = np.array([[kind in kinds for kind in range(KINDS)] for kinds in _MADE_OF])


def noise_medians(
    window: Window,
    strips: Sequence[range],
    margin: np.float32,
    grey: NDArray[np.float64],
    run: Run,
    sample: Sequence[NDArray[np.int32]],
    room: Plane,
) -> tuple[list[int], list[float]]:
    """How many magnitudes there are, and their medians: corner of all pixels, darker, lighter, slow down, slow along.

    Parameters
    ----------
    window : makes, for a strip, a window of the centred image, the rows of the strip in it, and the strip's first row
    strips : rows of the tile
    margin : as in `noise.gather_noise`
    grey : (rows, 3) results: number of darker pixels, sum of their grey, sum of the others' grey
    run : shares rows among threads
    sample : what `sample_of_noise` counted of a tile in one strip; empty for several
    room : scratch memory, as much as a plane; not used without a sample
    """
    found = _between_bounds(*window(strips[0])[:2], margin, grey, run, sample, room) if sample else None
    return found or _by_digits(window, strips, margin, grey, run)


def sample_of_noise(pixels: Plane, rows: range, margin: np.float32, grey: NDArray[np.float64]) -> Share:
    """Counts the magnitudes of every SAMPLE_ROWS-th row of a tile; for parameters see `noise_medians`."""
    sampled = range(-(-len(rows) // SAMPLE_ROWS))
    return Share(count_noise, sampled, pixels, margin, grey, rows.start, SAMPLE_ROWS)


def _between_bounds(
    pixels: Plane,
    rows: range,
    margin: np.float32,
    grey: NDArray[np.float64],
    run: Run,
    sample: Sequence[NDArray[np.int32]],
    room: Plane,
) -> tuple[list[int], list[float]] | None:
    """`noise_medians` of a tile in one strip; None if a median is not between its bounds, or too much is."""
    bounds = _bounds(sum(sample[1:], sample[0]))
    # The median of all corners is found among the darker and the lighter.
    wider = np.stack([np.minimum(bounds[0, 0], bounds[1:3, 0]), np.maximum(bounds[0, 1], bounds[1:3, 1])], axis=1)
    bounds_of_kinds, gathered = np.concatenate([wider, bounds[3:]]), room.reshape(KINDS, -1)
    tallies = run(gather_noise, rows, pixels, margin, bounds_of_kinds, gathered, grey, rows.start)
    if min(tally[:, 1].min() for tally in tallies) < 0:
        return None
    below = [int(sum(tally[kind, 2] for tally in tallies)) for kind in range(KINDS)]
    darker = int(grey[:, 0].sum())
    sizes = [grey.shape[0] * pixels.shape[1] for _ in _MADE_OF]
    sizes[1:3] = darker, sizes[0] - darker
    medians = []
    for kinds, size, (least, limit) in zip(_MADE_OF, sizes, bounds.tolist(), strict=True):
        among = np.concatenate([gathered[kind, slice(*tally[kind, :2])] for kind in kinds for tally in tallies])
        rank = (size - 1) // 2 - sum(below[kind] for kind in kinds)
        if size and not 0 <= rank < len(among):
            return None
        median = float(np.partition(among, rank)[rank]) if size else 0.0
        if size and not least <= median < limit:
            return None
        medians.append(median if median >= _lower_end(1) else 0.0)
    return sizes, medians


def _bounds(sample: NDArray[np.int32]) -> NDArray[np.float32]:
    """(5, 2) what each median is not below, and what it is below, if it is near that of the sample."""
    bins = bins_near_medians(sample, _SUMS, MARGIN)
    bounds = [
        (_lower_end(first), _lower_end(last + 1)) if first >= 0 else (np.inf, 0.0) for first, last in bins.tolist()
    ]
    return np.array(bounds, np.float32)


def _lower_end(place: int) -> float:
    """The least magnitude of a bin."""
    return float(np.int32((place + FLOOR) << SHIFT).view(np.float32)) if place else 0.0


def _by_digits(
    window: Window, strips: Sequence[range], margin: np.float32, grey: NDArray[np.float64], run: Run
) -> tuple[list[int], list[float]]:
    """`noise_medians` in two passes."""
    coarse = np.zeros((KINDS, BINS), np.int64)
    for strip in strips:
        pixels, rows, top = window(strip)
        coarse += sum(run(count_noise, range(len(rows)), pixels, margin, grey[top:], rows.start, 1))
        del pixels
    histograms = [sum(coarse[kind] for kind in kinds) for kinds in _MADE_OF]
    sizes = [int(histogram.sum()) for histogram in histograms]
    found = [bin_of((size - 1) // 2, each) if size else (-1, 0) for size, each in zip(sizes, histograms, strict=True)]
    chosen = np.array([place for place, _ in found], np.int32)
    fine: Any = np.zeros(1, np.int64)  # each strip counts in 32 bits
    for strip in strips:
        pixels, rows, _ = window(strip)
        fine = fine + sum(run(count_noise_within, rows, pixels, margin, chosen))
        del pixels
    medians = []
    for (place, rank), histogram in zip(found, fine, strict=True):
        digit, _ = bin_of(rank, histogram)
        bits = np.array((place + FLOOR) << SHIFT | digit, np.int32)
        medians.append(float(bits.view(np.float32)) if place else 0.0)  # the first bin counts as zero
    return sizes, medians


def bin_of(rank: int, histogram: NDArray[np.int64]) -> tuple[int, int]:
    """The bin of the element of a rank, and its rank in that bin; the number of bins is a multiple of 256."""
    group, left = _first_beyond(rank, histogram.reshape(-1, 256).sum(axis=1))
    place, left = _first_beyond(left, histogram[256 * group : 256 * (group + 1)])
    return 256 * group + place, left


def _first_beyond(rank: int, counts: NDArray[np.int64]) -> tuple[int, int]:
    below = np.cumsum(counts)
    place = int(np.searchsorted(below, rank, side="right"))
    return place, rank - (int(below[place - 1]) if place else 0)
