"""The float32 NumPy/SciPy path that runs everywhere.

A Gaussian with symmetric boundary is a product in the cosine domain, so one forward transform serves all
scales and each difference of Gaussians is one inverse transform. Larger scales leave only low
frequencies: the inverse transform is fed just those, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

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

Plane = NDArray[np.float32]

STRIP_ROWS = 128
"""Rows that are transformed and compared at a time: few enough to stay in the processor's cache."""

NEGLIGIBLE = 1e-9
"""Transfer below this is left out: two orders below what float32 resolves."""


def measure(tile: NDArray[Any], params: FocusParams) -> tuple[Measures, FeatureList]:
    """Every number of one tile; see `reference.measure`, to which this agrees.

    Parameters
    ----------
    tile : (rows, cols) of any real type, finite, not empty
    params : scales in pixels
    """
    image, saturated = normalise(tile, params.saturate)
    grey = local_mean(image)
    noise = estimate_noise(image, grey)
    strength, scale = maximum_over_scale(image, params)
    features = find_features(strength, scale, grey, noise, params)
    covariances = autocovariances(image)
    by_scale = features.by_scale(params.n_scales)
    measures = summarise(image.size, by_scale, noise, covariances, block_means(image), saturated, params)
    return measures, features


def normalise(tile: NDArray[Any], saturate: float) -> tuple[Plane, float]:
    """Saturated, rescaled tile in [0, 1], and the fraction of pixels at the tile's own grey limits."""
    rank = math.floor(saturate * tile.size)
    if tile.dtype.kind in "iu" and tile.dtype.itemsize <= 2:
        return _normalise_by_histogram(tile, rank)
    lowest, highest = tile.min(), tile.max()
    low, high = lowest, highest
    if rank:
        ends = np.partition(tile, (rank, tile.size - 1 - rank), axis=None)
        low, high = ends[rank], ends[-1 - rank]
    if low == high:
        low, high = lowest, highest
    if low == high:
        return np.zeros(tile.shape, np.float32), 1.0
    at_limits = int(np.count_nonzero((tile == lowest) | (tile == highest))) / tile.size
    # In float64: a large offset must not cost the tile its digits.
    image = (tile.astype(np.float64) - float(low)) / (float(high) - float(low))
    return np.clip(image, 0, 1).astype(np.float32), at_limits


def _normalise_by_histogram(tile: NDArray[Any], rank: int) -> tuple[Plane, float]:
    """The same for integers of up to 16 bits: exact limits from the histogram, pixels by table."""
    first = int(np.iinfo(tile.dtype).min)
    levels = tile if first == 0 else (tile.astype(np.int32) - first)
    histogram = np.bincount(levels.ravel())
    below = np.cumsum(histogram)
    lowest, highest = int(np.argmax(histogram > 0)), len(histogram) - 1
    low = int(np.searchsorted(below, rank, side="right"))
    high = int(np.searchsorted(below, tile.size - 1 - rank, side="right"))
    if low == high:
        low, high = lowest, highest
    if low == high:
        return np.zeros(tile.shape, np.float32), 1.0
    table = np.clip((np.arange(len(histogram)) - low) / (high - low), 0, 1).astype(np.float32)
    return table[levels], float(histogram[lowest] + histogram[highest]) / tile.size


@lru_cache(maxsize=1024)
def _transfer(t: float, length: int, circular: bool) -> NDArray[np.float64]:
    """(length,) response of `gaussian(t)` at the frequencies of a transform of `length` samples."""
    kernel = gaussian(t)
    radius = len(kernel) // 2
    period = length if circular else 2 * length
    wrapped = np.zeros(period)
    np.add.at(wrapped, np.arange(-radius, radius + 1) % period, kernel)  # it may be longer than the tile
    return np.asarray(fft.fft(wrapped).real[:length])


def _product(rows: NDArray[np.float64], cols: NDArray[np.float64]) -> Plane:
    return np.outer(rows.astype(np.float32), cols.astype(np.float32))


def _dogs(image: Plane, params: FocusParams) -> Iterator[tuple[int, slice, Plane]]:
    """D_i = t_i (L_{i+1} - L_i) for i = 1 .. n, strip by strip: (i - 1, rows of the strip, its pixels)."""
    circular = params.mode == "paper"
    centred = image - image.mean(dtype=np.float64).astype(np.float32)
    spectrum = fft.rfft2(centred) if circular else fft.dctn(centred, norm="ortho")
    down = [_transfer(t, image.shape[0], circular)[: spectrum.shape[0]] for t in params.scales]
    along = [_transfer(t, image.shape[1], circular)[: spectrum.shape[1]] for t in params.scales]
    for i, t in enumerate(params.scales[:-1]):
        # G(u) - G(t) over both axes, arranged so that no two nearly equal float32 are subtracted.
        step_down, step_along = t * (down[i + 1] - down[i]), t * (along[i + 1] - along[i])
        if circular:
            transfer = _product(step_down, along[i + 1]) + _product(down[i], step_along)
            yield i, np.s_[:], fft.irfft2(spectrum * transfer, s=image.shape)
            continue
        kept_down = np.count_nonzero(down[i] > NEGLIGIBLE)
        kept_along = np.count_nonzero(along[i] > NEGLIGIBLE)
        low = np.s_[:kept_down], np.s_[:kept_along]
        transfer = _product(step_down[low[0]], along[i + 1][low[1]])
        transfer += _product(down[i][low[0]], step_along[low[1]])
        transfer *= spectrum[low]
        partial = fft.idct(transfer, n=image.shape[0], axis=0, norm="ortho", overwrite_x=True)
        for top in range(0, image.shape[0], STRIP_ROWS):
            strip = np.s_[top : top + STRIP_ROWS]
            yield i, strip, fft.idct(partial[strip], n=image.shape[1], axis=1, norm="ortho")


def maximum_over_scale(image: Plane, params: FocusParams) -> tuple[Plane, NDArray[np.uint16]]:
    """M = max_i D_i and A = argmax_i D_i, each (rows, cols); the first of equals."""
    strength = np.full(image.shape, -np.inf, np.float32)
    scale = np.zeros(image.shape, np.uint16)
    for i, strip, dog in _dogs(image, params):
        if params.polarity == "bright":
            np.negative(dog, out=dog)
        elif params.polarity == "both":
            np.abs(dog, out=dog)
        # i only grows, so a maximum does the work of a masked copy, which mispredicts at every other pixel.
        np.maximum(scale[strip], (dog > strength[strip]) * np.uint16(i), out=scale[strip])
        np.maximum(strength[strip], dog, out=strength[strip])
    return strength, scale


def find_features(
    strength: Plane, scale: NDArray[np.uint16], grey: Plane, noise: NoiseModel, params: FocusParams
) -> FeatureList:
    """Local maxima of M over 3 x 3 pixels that rise above the noise at their scale and grey level."""
    peak = strength > MIN_RESPONSE
    for dy, dx in ((-1, -1), (-1, 0), (-1, 1), (0, -1)):  # before in raster order; the other four mirror them
        here, there = _overlap(strength.shape, dy, dx)
        peak[here] &= strength[here] > strength[there]
        peak[there] &= strength[there] >= strength[here]
    y, x = np.nonzero(peak)
    index = scale[y, x].astype(np.int64)
    if params.mode == "robust":
        threshold = params.k_noise * noise_gains(params.scales)[index] * noise.at(grey[y, x])
        loud = strength[y, x] > threshold
        y, x, index = y[loud], x[loud], index[loud]
    return FeatureList(y, x, index, np.array(params.scales)[index], strength[y, x].astype(np.float64))


def _overlap(shape: tuple[int, ...], dy: int, dx: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a plane and the plane shifted by (dy, dx) both exist: indices of a pixel and its neighbour."""
    rows, cols = shape
    here = np.s_[max(0, -dy) : rows - max(0, dy), max(0, -dx) : max(0, cols - max(0, dx))]
    there = np.s_[max(0, dy) : rows - max(0, -dy), max(0, dx) : max(0, cols - max(0, -dx))]
    return here, there


def _strips(image: Plane) -> Iterator[tuple[slice, Plane]]:
    """Rows of the image, and those rows with two more pixels on all sides, symmetric boundary."""
    framed = np.pad(image, 2, mode="symmetric")
    for top in range(0, image.shape[0], STRIP_ROWS):
        yield np.s_[top : top + STRIP_ROWS], framed[top : top + STRIP_ROWS + 4]


def _taps(plane: Plane, axis: int, width: int) -> Iterator[Plane]:
    """The plane shifted by 0 .. width - 1 along an axis, as far as all of them reach."""
    length = plane.shape[axis] - width + 1
    for k in range(width):
        yield plane[k : k + length] if axis == 0 else plane[:, k : k + length]


def _fourth(plane: Plane, axis: int) -> Plane:
    """Fourth difference (1, -4, 6, -4, 1) along an axis, four samples shorter; white noise grows by sqrt(70)."""
    a, b, c, d, e = _taps(plane, axis, 5)
    return np.asarray((a + e) - 4 * (b + d) + 6 * c)


def _binomial(plane: Plane, axis: int) -> Plane:
    """(1, 2, 1) along an axis, two samples shorter; white noise grows by sqrt(6)."""
    a, b, c = _taps(plane, axis, 3)
    return np.asarray((a + c) + 2 * b)


def local_mean(image: Plane) -> Plane:
    """Mean over 5 x 5 pixels, symmetric boundary."""
    mean = np.empty_like(image)
    for strip, framed in _strips(image):
        a, b, c, d, e = _taps(framed, 0, 5)
        a, b, c, d, e = _taps(a + b + c + d + e, 1, 5)
        np.multiply(a + b + c + d + e, np.float32(1 / 25), out=mean[strip])
    return mean


def estimate_noise(image: Plane, grey: Plane) -> NoiseModel:
    """Noise from fourth differences; see `reference.estimate_noise`.

    Parameters
    ----------
    grey : (rows, cols) local mean of `image`
    """
    corner, slow_down, slow_along = (np.empty_like(image) for _ in range(3))
    for strip, framed in _strips(image):
        down, along = _fourth(framed, 0), _fourth(framed, 1)
        np.abs(_fourth(down, 1), out=corner[strip])
        np.abs(_binomial(down[:, 1:-1], 1), out=slow_down[strip])
        np.abs(_binomial(along[1:-1], 0), out=slow_along[strip])
    factor = row_noise_factor(
        _robust_variance(corner) / (70 * 70),
        _robust_variance(slow_down) / (70 * 6),
        _robust_variance(slow_along) / (70 * 6),
    )
    dark = grey <= grey.mean(dtype=np.float64) + MEAN_MARGIN
    shades = []
    for half in (dark, ~dark):
        if count := int(np.count_nonzero(half)):
            mean = float(grey.sum(dtype=np.float64, where=half)) / count
            shades.append(Shade(count / grey.size, mean, _robust_variance(corner, half) / (70 * 70)))
    return noise_model(shades, factor)


def _robust_variance(magnitude: Plane, where: NDArray[np.bool_] | None = None) -> float:
    """Variance of normal noise from the median of its absolute values, or of those `where` is true.

    The median is the element of rank (n - 1) // 2.
    """
    if where is None:
        count, values = magnitude.size, magnitude.flatten()
    else:
        count, values = int(np.count_nonzero(where)), np.where(where, magnitude, np.float32(np.inf)).ravel()
    rank = (count - 1) // 2
    values.partition(rank)  # in place: the values are a copy already
    return (float(values[rank]) / 0.6744897501960817) ** 2


def autocovariances(image: Plane) -> Covariances:
    """Mean products of the centred image with itself, shifted."""
    z = image - image.mean(dtype=np.float64).astype(np.float32)

    def at(dy: int, dx: int) -> float:
        here, there = _overlap(z.shape, dy, dx)
        a, b = z[here], z[there]
        if not a.size or a.shape != b.shape:  # the lag is longer than the tile
            return 0.0
        return float(np.einsum("ij,ij->i", a, b).sum(dtype=np.float64) / a.size)  # rows in float32, sum in float64

    near, far, beyond = LINE_LAGS
    return Covariances(
        down=(at(near, 0), at(far, 0), at(beyond, 0)),
        along=(at(0, near), at(0, far), at(0, beyond)),
        falling=(at(1, 1), at(2, 2)),
        rising=(at(1, -1), at(2, -2)),
    )
