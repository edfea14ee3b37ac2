"""The measure, formula by formula, in float64: slow, plain, and the judge of every other kernel.

Step numbers are those of docs/measure.md. Nothing here is shared with the fast kernels except the
small formulas of `measures.py` and the values of `mhfd.spectrum`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mhfd.contract import FocusParams
from mhfd.kernel.measures import (
    LINE_LAGS,
    MEAN_MARGIN,
    MIN_RESPONSE,
    Covariances,
    FeatureList,
    Measures,
    NoiseModel,
    Shade,
    block_means,
    gaussian,
    noise_gains,
    noise_model,
    row_noise_factor,
    summarise,
)
from mhfd.robust import NORMAL_MEDIAN
from mhfd.spectrum import (
    BINS,
    BLOCK_PX,
    CELLS,
    EDGE,
    FREQUENCY_EDGES,
    HALF,
    LEAST_BLOCKS,
    OVERLAP_BELOW_PX,
    SLOW_BINS,
    SLOW_EDGES,
    Spectrum,
)

Plane = NDArray[np.float64]


def measure(tile: NDArray[Any], params: FocusParams) -> tuple[Measures, FeatureList]:
    """Every number of one tile.

    Parameters
    ----------
    tile : (rows, cols) of any real type, finite, not empty
    params : scales in pixels
    """
    image, saturated = normalise(tile, params.saturate)
    noise = estimate_noise(image)
    strength, scale = maximum_over_scale(dog_stack(image, params), params)
    features = find_features(strength, scale, image, noise, params)
    covariances = autocovariances(image)
    by_scale = features.by_scale(params.n_scales)
    means = block_means(image)
    measures = summarise(image.size, by_scale, noise, covariances, means, saturated, params, spectrum(image, means))
    return measures, features


def normalise(tile: NDArray[Any], saturate: float) -> tuple[Plane, float]:
    """Step 1: clip `saturate` of the pixels at each end, map the rest to [0, 1].

    Returns
    -------
    (rows, cols) image, and the fraction of pixels at the tile's own lowest and highest grey level
    """
    grey = np.sort(tile, axis=None).astype(np.float64)
    rank = math.floor(saturate * grey.size)
    low, high = grey[rank], grey[-1 - rank]
    if low == high:  # almost all pixels are equal: the few others span the range
        low, high = grey[0], grey[-1]
    if low == high:
        return np.zeros(tile.shape), 1.0
    at_limits = float(((grey == grey[0]) | (grey == grey[-1])).mean())
    return np.clip((tile.astype(np.float64) - low) / (high - low), 0.0, 1.0), at_limits


def smooth(image: Plane, t: float, mode: str) -> Plane:
    """Step 2: L = Gaussian(t) * I, half-sample symmetric ("robust") or circular ("paper") boundary."""
    boundary: Literal["wrap", "reflect"] = "wrap" if mode == "paper" else "reflect"
    down = ndimage.correlate1d(image, gaussian(t), axis=0, mode=boundary)
    return np.asarray(ndimage.correlate1d(down, gaussian(t), axis=1, mode=boundary))


def dog_stack(image: Plane, params: FocusParams) -> Plane:
    """Step 3: D_i = t_i (L_{i+1} - L_i), (n_scales, rows, cols)."""
    t = params.scales
    smoothed = [smooth(image, t_i, params.mode) for t_i in t]
    return np.stack([t[i] * (smoothed[i + 1] - smoothed[i]) for i in range(params.n_scales)])


def maximum_over_scale(dog: Plane, params: FocusParams) -> tuple[Plane, NDArray[np.int64]]:
    """Step 4a: M = max_i D_i and A = argmax_i D_i, each (rows, cols); the first of equals."""
    response = {"dark": dog, "bright": -dog, "both": np.abs(dog)}[params.polarity]
    return response.max(axis=0), response.argmax(axis=0)


def find_features(
    strength: Plane, scale: NDArray[np.int64], image: Plane, noise: NoiseModel, params: FocusParams
) -> FeatureList:
    """Steps 4b and 5: local maxima of M over 3 x 3 pixels that rise above the noise at their scale."""
    framed = np.pad(strength, 1, constant_values=-np.inf)
    rows, cols = strength.shape
    peak = np.ones(strength.shape, dtype=bool)
    for dy, dx in np.ndindex(3, 3):
        neighbour = framed[dy : dy + rows, dx : dx + cols]
        if (dy, dx) < (1, 1):  # before in raster order
            peak &= strength > neighbour
        elif (dy, dx) > (1, 1):
            peak &= strength >= neighbour
    peak &= strength > MIN_RESPONSE
    if params.mode == "robust":
        peak &= strength > params.k_noise * noise_gains(params.scales)[scale] * noise.at(local_mean(image))
    y, x = np.nonzero(peak)
    index = scale[y, x]
    return FeatureList(y, x, index, np.array(params.scales)[index], strength[y, x])


def local_mean(image: Plane) -> Plane:
    """Mean over 5 x 5 pixels, symmetric boundary."""
    return np.asarray(ndimage.uniform_filter(image, 5, mode="reflect"))


def estimate_noise(image: Plane) -> NoiseModel:
    """Noise from fourth differences, robust against structure (docs/noise.md compares others)."""
    fourth = np.array([1.0, -4.0, 6.0, -4.0, 1.0]) / math.sqrt(70)
    across = np.array([1.0, 2.0, 1.0]) / math.sqrt(6)

    def along_axis(plane: Plane, weights: Plane, axis: int) -> Plane:
        return np.asarray(ndimage.correlate1d(plane, weights, axis=axis, mode="reflect"))

    down, along = along_axis(image, fourth, 0), along_axis(image, fourth, 1)
    corner = np.abs(along_axis(down, fourth, 1))
    factor = row_noise_factor(
        robust_variance(corner),
        robust_variance(np.abs(along_axis(down, across, 1))),
        robust_variance(np.abs(along_axis(along, across, 0))),
    )
    grey = local_mean(image)
    dark = grey <= grey.mean() + MEAN_MARGIN
    halves = [half for half in (dark, ~dark) if half.any()]
    shades = [Shade(half.mean(), grey[half].mean(), robust_variance(corner[half])) for half in halves]
    return noise_model(shades, factor)


def lower_median(values: Plane) -> float:
    """The element of rank (n - 1) // 2: unlike the mean of two, the same in every implementation."""
    return float(np.sort(values, axis=None)[(values.size - 1) // 2])


def robust_variance(magnitude: Plane) -> float:
    """Variance of normal noise from the median of its absolute values."""
    return (lower_median(magnitude) / NORMAL_MEDIAN) ** 2


def autocovariances(image: Plane) -> Covariances:
    """Mean products of the centred image with itself, shifted."""
    z = image - image.mean()
    rows, cols = z.shape

    def at(dy: int, dx: int) -> float:
        a = z[: max(0, rows - dy), max(0, -dx) : max(0, cols - max(0, dx))]
        b = z[dy:, max(0, dx) : max(0, cols + min(0, dx))]
        return float((a * b).mean()) if a.size and a.shape == b.shape else 0.0

    a, b, c, d = LINE_LAGS
    return Covariances(
        down=(at(a, 0), at(b, 0), at(c, 0), at(d, 0)),
        along=(at(0, a), at(0, b), at(0, c), at(0, d)),
        falling=(at(1, 1), at(2, 2)),
        rising=(at(1, -1), at(2, -2)),
    )


# --- Step 6: the spectrum -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A block of a tile in the frequency plane.

    Attributes
    ----------
    cell : (row, col) in the map
    power : (BLOCK_PX, BLOCK_PX), as `fft2` orders it
    slow, fine : mean power of its slow variation, and of the finest
    """

    cell: tuple[int, int]
    power: Plane
    slow: float
    fine: float

    @property
    def has_content(self) -> bool:
        return self.slow > 3 * self.fine and self.slow > 1e-9


def blocks(image: Plane) -> Iterator[Block]:
    """The blocks of a tile, row by row, under a Hann window of unit energy; none where it is smaller than one."""
    step = BLOCK_PX // 2 if min(image.shape) < OVERLAP_BELOW_PX else BLOCK_PX
    tops, lefts = (range(0, side - BLOCK_PX + 1, step) for side in image.shape)
    hann = np.sin(np.pi * np.arange(BLOCK_PX) / BLOCK_PX) ** 2
    window = np.outer(hann, hann)
    window /= np.sqrt((window**2).sum())
    fy, fx = np.abs(np.fft.fftfreq(BLOCK_PX))[:, None], np.arange(BLOCK_PX)[None] / BLOCK_PX
    is_slow = (np.hypot(fy, fx) < 0.08) & (fx > 0.02) & (fy > 0.02)
    is_fine = (fy >= EDGE) & (fx >= 0.1) & (fx <= 0.5)
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):
            pixels = image[top : top + BLOCK_PX, left : left + BLOCK_PX]
            power = np.abs(np.fft.fft2((pixels - pixels.mean()) * window)) ** 2
            cell = i * CELLS // len(tops), j * CELLS // len(lefts)
            yield Block(cell, power, power[is_slow].mean(), power[is_fine].mean())


def spectrum(image: Plane, means: Plane) -> Spectrum | None:
    """Mean power of the blocks with content by frequency, direction and part of the tile.

    Parameters
    ----------
    means : of blocks of 16 px
    """
    everything = list(blocks(image))
    chosen = [block for block in everything if block.has_content]
    if len(chosen) < LEAST_BLOCKS:
        return None
    frequency = np.fft.fftfreq(BLOCK_PX)
    f = np.hypot(frequency[:, None], frequency[None])
    angle = np.degrees(np.arctan2(frequency[:, None], frequency[None])) % 180
    off_axes = (np.abs(frequency) * BLOCK_PX >= 1.6)[:, None] & (np.abs(frequency) * BLOCK_PX >= 1.6)[None]
    edges = FREQUENCY_EDGES * (1 - 1e-9)  # some frequencies lie on an edge

    def by_bin(power: Plane, where: NDArray[np.bool_]) -> Plane:
        inside = [where & (f >= low) & (f < high) for low, high in pairwise(edges)]
        return np.array([power[each].mean() if each.any() else np.nan for each in inside])

    power = np.mean([block.power for block in chosen], axis=0)
    by_direction = []
    for degrees in (0, 45, 90, 135):
        apart = np.abs(angle - degrees)
        # The borders between directions: an angle of 22.5 degrees has no frequency of a block.
        by_direction.append(by_bin(power, off_axes & (np.minimum(apart, 180 - apart) < 22.5)))
    by_cell, count = np.full((CELLS, CELLS, BINS), np.nan), np.zeros((CELLS, CELLS))
    for cell in np.ndindex(CELLS, CELLS):
        own = [block.power for block in chosen if block.cell == cell]
        count[cell] = len(own)
        if own:
            by_cell[cell] = by_bin(np.mean(own, axis=0), off_axes)
    high = np.abs(frequency) >= EDGE
    slow, skewness = slow_spectrum(means)
    return Spectrum(
        by_direction=np.array(by_direction),
        by_cell=by_cell,
        along_rows=np.array([power[high, x].mean() for x in range(HALF)]),
        # Frequencies along the rows from 0 to 1/2, not their negatives.
        along_cols=np.array([power[[y, -y]][:, :HALF][:, high[:HALF]].mean() for y in range(HALF)]),
        blocks=count,
        share=len(chosen) / len(everything),
        slow=slow,
        skewness=skewness,
    )


def slow_spectrum(means: Plane) -> tuple[Plane, float]:
    """Power of the means of 16 px by frequency, and their skewness; NaN below eight means along an axis."""
    rows, cols = means.shape
    if min(rows, cols) < 8:
        return np.full(SLOW_BINS, np.nan), math.nan
    z = means - means.mean()
    window = np.outer(np.sin(np.pi * np.arange(rows) / rows) ** 2, np.sin(np.pi * np.arange(cols) / cols) ** 2)
    power = np.abs(np.fft.fft2(z * window)) ** 2 / (window**2).sum()
    fy, fx = np.abs(np.fft.fftfreq(rows))[:, None], np.abs(np.fft.fftfreq(cols))[None]
    off_axes = (fy * rows >= 1.6) & (fx * cols >= 1.6)
    f = np.where(off_axes, np.hypot(fy, fx) / 16, np.inf)  # in cycles a pixel of the tile
    inside = [(f >= low) & (f < high) for low, high in pairwise(SLOW_EDGES)]
    found = np.array([power[each].mean() if each.any() else np.nan for each in inside])
    variance = (z**2).mean()
    return found, float((z**3).mean() / variance**1.5) if variance > 1e-12 else 0.0
