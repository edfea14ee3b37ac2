"""The noise of a tile, and its local mean (docs/measure.md, step 5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mhfd.kernel.fourier.arrays import NUMPY, Array, Arrays
from mhfd.kernel.measures import MEAN_MARGIN, NoiseModel, Shade, noise_model, row_noise_factor
from mhfd.robust import NORMAL_MEDIAN


def local_mean(image: Array, arrays: Arrays = NUMPY) -> Array:
    """Mean over 5 x 5 pixels, symmetric boundary."""
    mean = arrays.xp.empty_like(image)
    five = arrays.fused(_sum_of_five)
    for strip, framed in _framed_strips(image, arrays):
        arrays.xp.multiply(five(*_taps(five(*_taps(framed, 0, 5)), 1, 5)), 1 / 25, out=mean[strip])
    return mean


def estimate_noise(image: Array, grey: Array, arrays: Arrays = NUMPY) -> NoiseModel:
    """Noise from fourth differences; see `reference.estimate_noise`.

    Parameters
    ----------
    grey : (rows, cols) local mean of `image`
    """
    xp = arrays.xp
    fourth, fourth_size, binomial_size = (arrays.fused(each) for each in (_fourth, _fourth_size, _binomial_size))
    corner, slow_down, slow_along = (xp.empty_like(image) for _ in range(3))
    for strip, framed in _framed_strips(image, arrays):
        down, along = fourth(*_taps(framed, 0, 5)), fourth(*_taps(framed, 1, 5))
        corner[strip] = fourth_size(*_taps(down, 1, 5))
        slow_down[strip] = binomial_size(*_taps(down[:, 1:-1], 1, 3))
        slow_along[strip] = binomial_size(*_taps(along[1:-1], 0, 3))
    dark = grey <= grey.mean(dtype=np.float64) + MEAN_MARGIN
    grey_of_dark = xp.where(dark, grey, 0).sum(dtype=np.float64)
    numbers = xp.stack([grey.sum(dtype=np.float64), grey_of_dark, dark.sum(dtype=np.float64)])
    grey_sum, dark_sum, dark_count = arrays.to_host(numbers).tolist()  # waits for the device
    halves = [
        (int(count), total / count, half)
        for count, total, half in (
            (dark_count, dark_sum, dark),
            (image.size - dark_count, grey_sum - dark_sum, ~dark),
        )
        if count
    ]
    medians = [_lower_median(xp.where(half, corner, np.inf), count) for count, _, half in halves]
    medians += [_lower_median(each, image.size) for each in (corner, slow_down, slow_along)]
    sizes = arrays.to_host(xp.stack(medians)).tolist()  # waits for the device
    *of_halves, all_corners, all_down, all_along = [(size / NORMAL_MEDIAN) ** 2 for size in sizes]
    factor = row_noise_factor(all_corners / (70 * 70), all_down / (70 * 6), all_along / (70 * 6))
    shades = [
        Shade(count / image.size, mean, variance / (70 * 70))
        for (count, mean, _), variance in zip(halves, of_halves, strict=True)
    ]
    return noise_model(shades, factor)


def _lower_median(sizes: Array, count: int) -> Array:
    """() element of rank (count - 1) // 2 of planes that are not negative. Reorders them."""
    keys = sizes.ravel().view(np.int32)  # in the same order; CuPy sorts integers by their digits, floats by comparing
    rank = (count - 1) // 2
    keys.partition(rank)
    return keys.view(np.float32)[rank]


def _framed_strips(image: Array, arrays: Arrays) -> Iterator[tuple[slice, Array]]:
    """Rows of the image, and those rows with two more pixels on all sides, symmetric boundary."""
    framed = arrays.framed(image, 2)
    for strip in arrays.strips(image.shape[0]):
        yield strip, framed[strip.start : strip.stop + 4]


def _taps(plane: Array, axis: int, width: int) -> Iterator[Array]:
    """The plane shifted by 0 .. width - 1 along an axis, as far as all of them reach."""
    length = plane.shape[axis] - width + 1
    for k in range(width):
        yield plane[k : k + length] if axis == 0 else plane[:, k : k + length]


def _sum_of_five(xp: Any, a: Array, b: Array, c: Array, d: Array, e: Array) -> Array:
    return a + b + c + d + e


def _fourth(xp: Any, a: Array, b: Array, c: Array, d: Array, e: Array) -> Array:
    """Fourth difference (1, -4, 6, -4, 1); white noise grows by sqrt(70)."""
    return (a + e) - 4 * (b + d) + 6 * c


def _fourth_size(xp: Any, a: Array, b: Array, c: Array, d: Array, e: Array) -> Array:
    return xp.abs(_fourth(xp, a, b, c, d, e))


def _binomial_size(xp: Any, a: Array, b: Array, c: Array) -> Array:
    """Absolute value of (1, 2, 1); white noise grows by sqrt(6)."""
    return xp.abs((a + c) + 2 * b)
