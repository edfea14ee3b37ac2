"""The measure of one tile, or of a batch of them, step by step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mhfd.contract import FocusParams
from mhfd.kernel.fourier.arrays import NUMPY, Array, Arrays
from mhfd.kernel.fourier.noise import estimate_noise, local_mean
from mhfd.kernel.fourier.responses import maximum_over_scale
from mhfd.kernel.measures import (
    LINE_LAGS,
    MIN_RESPONSE,
    Covariances,
    FeatureList,
    Measures,
    NoiseModel,
    block_means,
    noise_gains,
    summarise,
)
from mhfd.kernel.pixels import Pixels
from mhfd.kernel.power import tile_spectrum


def measure(tile: Pixels, params: FocusParams, arrays: Arrays = NUMPY) -> tuple[Measures, FeatureList]:
    """Every number of one tile; agrees with `reference.measure`.

    Parameters
    ----------
    tile : (rows, cols) of any real type, finite, not empty; an array may be on the device already
    params : scales in pixels
    """
    image, saturated = normalise(arrays.xp.asarray(tile[0 : tile.shape[0]]), params.saturate, arrays)
    strength, scale = maximum_over_scale(image, params, arrays)
    return _conclude(image, saturated, strength, scale, params, arrays)


def measure_batch(tiles: Array, params: FocusParams, arrays: Arrays = NUMPY) -> list[tuple[Measures, FeatureList]]:
    """`measure` for several tiles of one shape, which pass through the scales together on a device.

    Parameters
    ----------
    tiles : (n, rows, cols) of any real type, finite, not empty, on the device or not
    params : scales in pixels
    """
    tiles = arrays.xp.asarray(tiles)
    if arrays.strip_rows:  # a batch would only push the strips out of the cache
        return [measure(tile, params, arrays) for tile in tiles]
    normalised = [normalise(tile, params.saturate, arrays) for tile in tiles]
    images = arrays.xp.stack([image for image, _ in normalised])
    strengths, scales = maximum_over_scale(images, params, arrays)
    return [
        _conclude(images[k], saturated, strengths[k], scales[k], params, arrays)
        for k, (_, saturated) in enumerate(normalised)
    ]


def _conclude(
    image: Array, saturated: float, strength: Array, scale: Array, params: FocusParams, arrays: Arrays
) -> tuple[Measures, FeatureList]:
    """The numbers of one tile from its image and its maximum over scale, all (rows, cols)."""
    grey = local_mean(image, arrays)
    noise = estimate_noise(image, grey, arrays)
    features = find_features(strength, scale, grey, noise, params, arrays)
    by_scale = features.by_scale(params.n_scales)
    blocks, covariances = arrays.to_host(block_means(image)), autocovariances(image, arrays)
    spectrum = tile_spectrum(image, blocks, arrays.xp, arrays.fft)
    return summarise(image.size, by_scale, noise, covariances, blocks, saturated, params, spectrum), features


def normalise(tile: Array, saturate: float, arrays: Arrays = NUMPY) -> tuple[Array, float]:
    """Saturated, rescaled tile in [0, 1] (float32), and the fraction of pixels at the tile's own grey limits."""
    xp, rank = arrays.xp, math.floor(saturate * tile.size)
    if tile.dtype.kind in "iu" and tile.dtype.itemsize <= 2:
        return _normalise_by_histogram(tile, rank, arrays)
    ends = [tile.min(), tile.max()]
    if rank:
        ordered = xp.partition(tile, (rank, tile.size - 1 - rank), axis=None)
        ends += [ordered[rank], ordered[-1 - rank]]
    lowest, highest, *limits = arrays.to_host(xp.stack(ends)).tolist()  # waits for the device
    low, high = limits or (lowest, highest)
    if low == high:
        low, high = lowest, highest
    if low == high:
        return xp.zeros(tile.shape, np.float32), 1.0
    at_limits = int(xp.count_nonzero((tile == lowest) | (tile == highest))) / tile.size  # waits for the device
    # In float64: a large offset must not cost the tile its digits.
    image = (tile.astype(np.float64) - float(low)) / (float(high) - float(low))
    return xp.clip(image, 0, 1).astype(np.float32), at_limits


def _normalise_by_histogram(tile: Array, rank: int, arrays: Arrays) -> tuple[Array, float]:
    """`normalise` integers of up to 16 bits: exact limits from the histogram, pixels by table."""
    xp, first = arrays.xp, int(np.iinfo(tile.dtype).min)
    levels = tile if first == 0 else (tile.astype(np.int32) - first)
    histogram = arrays.to_host(xp.bincount(levels.ravel()))  # waits for the device, within bincount twice more
    below = np.cumsum(histogram)
    lowest, highest = int(np.argmax(histogram > 0)), len(histogram) - 1
    low = int(np.searchsorted(below, rank, side="right"))
    high = int(np.searchsorted(below, tile.size - 1 - rank, side="right"))
    if low == high:
        low, high = lowest, highest
    if low == high:
        return xp.zeros(tile.shape, np.float32), 1.0
    table = np.clip((np.arange(len(histogram)) - low) / (high - low), 0, 1).astype(np.float32)
    return xp.take(xp.asarray(table), levels), float(histogram[lowest] + histogram[highest]) / tile.size


def find_features(
    strength: Array, scale: Array, grey: Array, noise: NoiseModel, params: FocusParams, arrays: Arrays = NUMPY
) -> FeatureList:
    """Local maxima of M over 3 x 3 pixels that rise above the noise at their scale and grey level."""
    xp, (rows, cols) = arrays.xp, strength.shape
    framed = xp.full((rows + 2, cols + 2), -np.inf, np.float32)
    framed[1:-1, 1:-1] = strength
    peak, is_peak = xp.empty(strength.shape, bool), arrays.fused(_is_peak)
    for strip in arrays.strips(rows):
        around = framed[strip.start : strip.stop + 2]
        peak[strip] = is_peak(
            *(around[dy : dy + len(around) - 2, dx : dx + cols] for dy in range(3) for dx in range(3))
        )
    place = xp.flatnonzero(peak)  # waits for the device, as do the two copies of what is there
    planes = (strength, grey, scale.astype(np.float32))
    height, ground, index = arrays.to_host(xp.stack([plane.ravel()[place] for plane in planes]))
    index = index.astype(np.int64)
    y, x = np.divmod(arrays.to_host(place), cols)
    if params.mode == "robust":
        loud = height > params.k_noise * noise_gains(params.scales)[index] * noise.at(ground)
        y, x, index, height = y[loud], x[loud], index[loud], height[loud]
    return FeatureList(y, x, index, np.array(params.scales)[index], height.astype(np.float64))


def _is_peak(
    xp: Any, a: Array, b: Array, c: Array, d: Array, m: Array, e: Array, f: Array, g: Array, h: Array
) -> Array:
    """M is greater than its neighbours before it in raster order, and not less than those after it."""
    after = (m >= e) & (m >= f) & (m >= g) & (m >= h)
    return (m > MIN_RESPONSE) & (m > a) & (m > b) & (m > c) & (m > d) & after


def autocovariances(image: Array, arrays: Arrays = NUMPY) -> Covariances:
    """Mean products of the centred image with itself, shifted."""
    (rows, cols), farthest = image.shape, max(LINE_LAGS)
    # Zeros around it: what a shift takes beyond the tile adds nothing.
    framed = arrays.xp.zeros((rows + farthest, cols + 2 * farthest), np.float32)
    framed[:rows, farthest:-farthest] = image - image.mean(dtype=np.float64).astype(np.float32)

    def shifted(dy: int, dx: int) -> Array:
        return framed[dy : dy + rows, farthest + dx : farthest + dx + cols]

    lines = [(lag, 0) for lag in LINE_LAGS] + [(0, lag) for lag in LINE_LAGS]
    lags = [*lines, (1, 1), (2, 2), (1, -1), (2, -2)]
    # Rows in float32, their sum in float64.
    by_row = arrays.xp.stack([arrays.row_products(shifted(0, 0), shifted(*lag)) for lag in lags])
    sums = arrays.to_host(by_row.sum(axis=1, dtype=np.float64)).tolist()  # waits for the device
    pairs = [max(0, rows - dy) * max(0, cols - abs(dx)) for dy, dx in lags]
    return Covariances.of([total / max(1, count) for total, count in zip(sums, pairs, strict=True)])
