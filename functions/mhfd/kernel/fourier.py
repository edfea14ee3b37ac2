"""The float32 array path: NumPy and SciPy everywhere, or CuPy and cuFFT by the same code.

A Gaussian with symmetric boundary is a product in the cosine domain, so one forward transform serves all
scales and each difference of Gaussians is one inverse transform. Larger scales leave only low
frequencies: the inverse transform is fed just those, exactly.

Planes stay where `Arrays` puts them; only functions that CuPy has are called on them, with CuPy's arguments. NumPy
does the short work on the host: tables, and the peaks once they are found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

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
from mhfd.kernel.pixels import Pixels
from mhfd.kernel.power import tile_spectrum
from mhfd.robust import NORMAL_MEDIAN

Array = Any
"""An array of `Arrays.xp`: a NumPy array, or one on the device."""

NEGLIGIBLE = 1e-9
"""Transfer below this is left out: two orders below what float32 resolves."""


@dataclass(frozen=True)
class Arrays:
    """The library that holds the planes and works on them.

    Attributes
    ----------
    xp : `numpy`, or `cupy`
    fft : `scipy.fft`, or `cupyx.scipy.fft`
    strip_rows : rows that are worked on at a time, few enough to stay in a processor's cache; None: whole planes
    """

    xp: Any
    fft: Any
    strip_rows: int | None = None

    def strips(self, rows: int) -> Iterator[slice]:
        step = self.strip_rows or rows
        return (slice(top, min(rows, top + step)) for top in range(0, rows, step))

    def to_host(self, array: Array) -> NDArray[Any]:
        """Copy to the host; waits for the device."""
        return array if isinstance(array, np.ndarray) else np.asarray(array.get())


NUMPY = Arrays(np, fft, strip_rows=128)


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


class _Transfers(NamedTuple):
    """The Gaussians of all scales along one axis, in the frequencies of a transform, on the host.

    smooth : (n_scales + 1, length) float32 response of Gaussian(t_i)
    step : (n_scales, length) float32, t_i times the difference to the next
    kept : number of lowest frequencies that Gaussian(t_i) leaves
    """

    smooth: NDArray[np.float32]
    step: NDArray[np.float32]
    kept: list[int]


@lru_cache(maxsize=32)
def _transfers(scales: tuple[float, ...], length: int, circular: bool) -> _Transfers:
    smooth = np.stack([_transfer(t, length, circular) for t in scales])
    step = np.array(scales[:-1])[:, None] * np.diff(smooth, axis=0)
    kept = [length if circular else int(np.count_nonzero(response > NEGLIGIBLE)) for response in smooth]
    return _Transfers(smooth.astype(np.float32), step.astype(np.float32), kept)


def _transfer(t: float, length: int, circular: bool) -> NDArray[np.float64]:
    """(length,) response of `gaussian(t)` at the frequencies of a transform of `length` samples."""
    kernel = gaussian(t)
    radius = len(kernel) // 2
    period = length if circular else 2 * length
    wrapped = np.zeros(period)
    np.add.at(wrapped, np.arange(-radius, radius + 1) % period, kernel)  # it may be longer than the tile
    return np.asarray(fft.fft(wrapped).real[:length])


def _dogs(images: Array, params: FocusParams, arrays: Arrays) -> Iterator[tuple[int, Any, Array]]:
    """D_i = t_i (L_{i+1} - L_i) for i = 1 .. n, strip by strip: (i - 1, index of the strip, its pixels)."""
    xp, fft = arrays.xp, arrays.fft
    rows, cols = images.shape[-2:]
    circular = params.mode == "paper"
    centred = images - images.mean(axis=(-2, -1), dtype=np.float64, keepdims=True).astype(np.float32)
    spectra = fft.rfft2(centred) if circular else fft.dctn(centred, axes=(-2, -1), norm="ortho")
    down, along = (_transfers(tuple(params.scales), length, circular) for length in (rows, cols))
    down_smooth, down_step = xp.asarray(down.smooth), xp.asarray(down.step)
    along_smooth, along_step = xp.asarray(along.smooth), xp.asarray(along.step)
    for i in range(params.n_scales):
        v, u = slice(down.kept[i]), slice(min(along.kept[i], spectra.shape[-1]))
        # G(u) - G(t) over both axes, arranged so that no two nearly equal float32 are subtracted.
        transfer = down_step[i, v, None] * along_smooth[i + 1, u]
        transfer += down_smooth[i, v, None] * along_step[i, u]
        product = spectra[..., v, u] * transfer
        if circular:
            yield i, np.s_[...], fft.irfft2(product, s=(rows, cols))
            continue
        partial = fft.idct(product, n=rows, axis=-2, norm="ortho", overwrite_x=True)
        for strip in arrays.strips(rows):
            yield i, np.s_[..., strip, :], fft.idct(partial[..., strip, :], n=cols, axis=-1, norm="ortho")


def maximum_over_scale(images: Array, params: FocusParams, arrays: Arrays = NUMPY) -> tuple[Array, Array]:
    """M = max_i D_i (float32) and A = argmax_i D_i (uint16), the first of equals.

    Parameters
    ----------
    images : (rows, cols) or (n, rows, cols) float32, as are M and A
    """
    xp = arrays.xp
    strength = xp.full(images.shape, -np.inf, np.float32)
    scale = xp.zeros(images.shape, np.uint16)
    for i, strip, dog in _dogs(images, params, arrays):
        if params.polarity == "bright":
            xp.negative(dog, out=dog)
        elif params.polarity == "both":
            xp.abs(dog, out=dog)
        # i only grows, so a maximum does the work of a masked copy, which mispredicts at every other pixel.
        xp.maximum(scale[strip], (dog > strength[strip]) * np.uint16(i), out=scale[strip])
        xp.maximum(strength[strip], dog, out=strength[strip])
    return strength, scale


def find_features(
    strength: Array, scale: Array, grey: Array, noise: NoiseModel, params: FocusParams, arrays: Arrays = NUMPY
) -> FeatureList:
    """Local maxima of M over 3 x 3 pixels that rise above the noise at their scale and grey level."""
    peak = strength > MIN_RESPONSE
    for dy, dx in ((-1, -1), (-1, 0), (-1, 1), (0, -1)):  # before in raster order; the other four mirror them
        here, there = _overlap(strength.shape, dy, dx)
        peak[here] &= strength[here] > strength[there]
        peak[there] &= strength[there] >= strength[here]
    place = arrays.xp.flatnonzero(peak)  # waits for the device, as do the four copies of what is there
    index = arrays.to_host(scale.ravel()[place]).astype(np.int64)
    height, ground = arrays.to_host(strength.ravel()[place]), arrays.to_host(grey.ravel()[place])
    y, x = np.divmod(arrays.to_host(place), strength.shape[1])
    if params.mode == "robust":
        loud = height > params.k_noise * noise_gains(params.scales)[index] * noise.at(ground)
        y, x, index, height = y[loud], x[loud], index[loud], height[loud]
    return FeatureList(y, x, index, np.array(params.scales)[index], height.astype(np.float64))


def _overlap(shape: tuple[int, ...], dy: int, dx: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Indices of pixels and of their neighbours at (dy, dx), where both exist."""
    rows, cols = shape
    here = np.s_[max(0, -dy) : rows - max(0, dy), max(0, -dx) : max(0, cols - max(0, dx))]
    there = np.s_[max(0, dy) : rows - max(0, -dy), max(0, dx) : max(0, cols - max(0, -dx))]
    return here, there


def _framed_strips(image: Array, arrays: Arrays) -> Iterator[tuple[slice, Array]]:
    """Rows of the image, and those rows with two more pixels on all sides, symmetric boundary."""
    framed = arrays.xp.pad(image, 2, mode="symmetric")
    for strip in arrays.strips(image.shape[0]):
        yield strip, framed[strip.start : strip.stop + 4]


def _taps(plane: Array, axis: int, width: int) -> Iterator[Array]:
    """The plane shifted by 0 .. width - 1 along an axis, as far as all of them reach."""
    length = plane.shape[axis] - width + 1
    for k in range(width):
        yield plane[k : k + length] if axis == 0 else plane[:, k : k + length]


def _fourth(plane: Array, axis: int) -> Array:
    """Fourth difference (1, -4, 6, -4, 1) along an axis, four samples shorter; white noise grows by sqrt(70)."""
    a, b, c, d, e = _taps(plane, axis, 5)
    return (a + e) - 4 * (b + d) + 6 * c


def _binomial(plane: Array, axis: int) -> Array:
    """(1, 2, 1) along an axis, two samples shorter; white noise grows by sqrt(6)."""
    a, b, c = _taps(plane, axis, 3)
    return (a + c) + 2 * b


def local_mean(image: Array, arrays: Arrays = NUMPY) -> Array:
    """Mean over 5 x 5 pixels, symmetric boundary."""
    mean = arrays.xp.empty_like(image)
    for strip, framed in _framed_strips(image, arrays):
        a, b, c, d, e = _taps(framed, 0, 5)
        a, b, c, d, e = _taps(a + b + c + d + e, 1, 5)
        arrays.xp.multiply(a + b + c + d + e, 1 / 25, out=mean[strip])
    return mean


def estimate_noise(image: Array, grey: Array, arrays: Arrays = NUMPY) -> NoiseModel:
    """Noise from fourth differences; see `reference.estimate_noise`.

    Parameters
    ----------
    grey : (rows, cols) local mean of `image`
    """
    xp = arrays.xp
    corner, slow_down, slow_along = (xp.empty_like(image) for _ in range(3))
    for strip, framed in _framed_strips(image, arrays):
        down, along = _fourth(framed, 0), _fourth(framed, 1)
        xp.abs(_fourth(down, 1), out=corner[strip])
        xp.abs(_binomial(down[:, 1:-1], 1), out=slow_down[strip])
        xp.abs(_binomial(along[1:-1], 0), out=slow_along[strip])
    factor = row_noise_factor(
        _robust_variance(corner.flatten(), image.size) / (70 * 70),
        _robust_variance(slow_down.ravel(), image.size) / (70 * 6),
        _robust_variance(slow_along.ravel(), image.size) / (70 * 6),
    )
    dark = grey <= grey.mean(dtype=np.float64) + MEAN_MARGIN
    shades = []
    for half in (dark, ~dark):
        if count := int(xp.count_nonzero(half)):  # waits for the device
            mean = float(xp.where(half, grey, 0).sum(dtype=np.float64)) / count  # waits for the device
            variance = _robust_variance(xp.where(half, corner, np.inf).ravel(), count) / (70 * 70)
            shades.append(Shade(count / grey.size, mean, variance))
    return noise_model(shades, factor)


def _robust_variance(magnitude: Array, count: int) -> float:
    """Variance of normal noise from the median of the `count` lowest of its absolute values.

    The median is the element of rank (count - 1) // 2. Reorders the array.
    """
    rank = (count - 1) // 2
    magnitude.partition(rank)
    return (float(magnitude[rank]) / NORMAL_MEDIAN) ** 2  # waits for the device


def autocovariances(image: Array, arrays: Arrays = NUMPY) -> Covariances:
    """Mean products of the centred image with itself, shifted."""
    z = image - image.mean(dtype=np.float64).astype(np.float32)

    def at(dy: int, dx: int) -> float:
        here, there = _overlap(z.shape, dy, dx)
        a, b = z[here], z[there]
        if not a.size or a.shape != b.shape:  # the lag is longer than the tile
            return 0.0
        rows = arrays.xp.einsum("ij,ij->i", a, b)  # rows in float32, their sum in float64
        return float(rows.sum(dtype=np.float64)) / int(a.size)  # waits for the device

    a, b, c, d = LINE_LAGS
    return Covariances(
        down=(at(a, 0), at(b, 0), at(c, 0), at(d, 0)),
        along=(at(0, a), at(0, b), at(0, c), at(0, d)),
        falling=(at(1, 1), at(2, 2)),
        rising=(at(1, -1), at(2, -2)),
    )
