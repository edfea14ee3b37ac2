"""Responses between the samples of a level, against the same sums in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("numba")
from mhfd.kernel.loops.interpolation import WIDTH, interpolate
from mhfd.kernel.plan import HALF_WIDTH, interpolators

MARGIN = HALF_WIDTH + 1


def along(samples: NDArray[np.float64], weights: NDArray[np.float32], pixels: int) -> NDArray[np.float64]:
    """(pixels, ..) from the samples along the first axis."""
    spacing = len(weights)
    first = MARGIN - (HALF_WIDTH - 1)
    return np.stack(
        [
            np.tensordot(weights[x % spacing], samples[first + x // spacing :][: 2 * HALF_WIDTH], 1)
            for x in range(pixels)
        ]
    )


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(70, WIDTH + 77), (9, WIDTH), (130, 128), (65, 1), (1, 63)])
@pytest.mark.parametrize("level", range(1, 7))
def test_every_pixel_has_the_largest_response(level: int, shape: tuple[int, int], dtype: type, both: bool) -> None:
    weights = interpolators(level)
    rng = np.random.default_rng(level)
    at_level = [-(-side // 2**level) + 2 * MARGIN for side in shape]
    responses = rng.normal(size=(3, *at_level)).astype(np.float32)
    indices = np.array([2, 5, 250], dtype)
    strength = rng.normal(size=shape).astype(np.float32)  # of finer scales
    scale = np.ones(shape, dtype)

    fine = [along(along(plane.astype(float), weights, shape[0]).T, weights, shape[1]).T for plane in responses]
    every = np.stack([strength, *(np.abs(fine) if both else fine)])
    ordered = np.sort(every, axis=0)
    clear = ordered[-1] - ordered[-2] > 1e-4  # rounding decides between the others
    for first, last in ((0, shape[0] // 3), (shape[0] // 3, shape[0])):
        if first < last:
            interpolate(responses, indices, MARGIN, weights, both, strength, scale, first, last)
    assert np.allclose(strength, every.max(axis=0), atol=1e-5)
    assert np.array_equal(scale[clear], np.array([1, *indices])[every.argmax(axis=0)][clear])
