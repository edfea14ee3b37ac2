"""Mode "paper" against the paper, transcribed in the most literal way."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mhfd.contract import FocusParams
from mhfd.kernel import fourier
from phantoms import Kernel, Plane, discs, texture


def as_published(tile: Plane, *, n: int, min_t: float, max_t: float, saturate: float) -> list[tuple[int, int, int]]:
    """Row, column and scale index of each feature, by Fourier transforms, hence of a periodic tile."""
    rows, cols = tile.shape
    grey = sorted(tile.ravel().tolist())
    clipped = math.floor(saturate * len(grey))
    low, high = grey[clipped], grey[len(grey) - 1 - clipped]
    image = (np.minimum(np.maximum(tile, low), high) - low) / (high - low)

    def wrapped_gaussian(t: float, length: int) -> Plane:
        turns = math.ceil(10 * t / length)
        kernel = np.zeros(length)
        for x in range(length):
            for turn in range(-turns, turns + 1):
                kernel[x] += math.exp(-((x + turn * length) ** 2) / (2 * t**2))
        return np.asarray(kernel / kernel.sum())

    def smoothed(t: float) -> Plane:
        kernel = np.outer(wrapped_gaussian(t, rows), wrapped_gaussian(t, cols))
        return np.asarray(np.fft.ifft2(np.fft.fft2(image) * np.fft.fft2(kernel)).real)

    delta = (max_t - min_t) / n
    t = [min_t + i * delta for i in range(n + 1)]
    dog = [t[i] * (smoothed(t[i + 1]) - smoothed(t[i])) for i in range(n)]

    found = []
    for y in range(rows):
        for x in range(cols):
            response = [float(d[y, x]) for d in dog]
            strongest = max(response)
            neighbours = [
                max(float(d[y + dy, x + dx]) for d in dog)
                for dy in (-1, 0, 1)
                for dx in (-1, 0, 1)
                if 0 <= y + dy < rows and 0 <= x + dx < cols
            ]
            if strongest == max(neighbours) and strongest > 0:
                found.append((y, x, response.index(strongest)))
    return found


@pytest.mark.parametrize("shape", [(24, 31), (17, 17), (1, 40), (36, 23)])
@pytest.mark.parametrize(("n", "min_t", "max_t"), [(16, 1.0, 17.0), (4, 1.0, 5.0), (7, 0.8, 3.3), (1, 2.0, 3.0)])
def test_paper_mode_is_the_paper_to_the_letter(
    measure: Kernel, shape: tuple[int, int], n: int, min_t: float, max_t: float, rng: np.random.Generator
) -> None:
    tile = rng.standard_normal(shape)
    params = FocusParams(mode="paper", n_scales=n, min_t=min_t, max_t=max_t, saturate=0.01)
    _, features = measure(tile, params)
    found = list(zip(features.rows.tolist(), features.cols.tolist(), features.scale_index.tolist(), strict=True))
    assert found == as_published(tile, n=n, min_t=min_t, max_t=max_t, saturate=0.01)


def test_bright_features_are_the_dark_ones_of_the_negative(measure: Kernel, rng: np.random.Generator) -> None:
    tile = rng.standard_normal((24, 31))
    params = FocusParams(mode="paper", n_scales=4, max_t=5, polarity="bright")
    _, features = measure(tile, params)
    found = list(zip(features.rows.tolist(), features.cols.tolist(), features.scale_index.tolist(), strict=True))
    assert found == as_published(-tile, n=4, min_t=1, max_t=5, saturate=params.saturate)


def test_only_in_paper_mode_a_tile_goes_on_at_its_opposite_edge(measure: Kernel) -> None:
    whole = discs((64, 80), [(32, 40)], 6)
    cut = np.roll(whole, 36, axis=1)  # its centre is 4 px from the right edge
    for mode, same in (("paper", True), ("robust", False)):
        params = FocusParams(mode=mode)  # type: ignore[arg-type]
        strongest = [measure(tile, params)[1].strengths.max() for tile in (cut, whole)]
        assert (strongest[0] == pytest.approx(strongest[1], rel=1e-5)) == same


def test_paper_mode_is_not_the_default(rng: np.random.Generator) -> None:
    tile = rng.standard_normal((256, 256))
    assert fourier.measure(tile, FocusParams())[0].features < 3
    assert fourier.measure(tile, FocusParams(mode="paper"))[0].features > 500


def test_in_paper_mode_noise_has_more_features_than_structure(rng: np.random.Generator) -> None:
    # Why it is not the default: it counts the noise.
    tile = texture((256, 256), rng, finest=12)
    noise = rng.standard_normal(tile.shape)
    paper = FocusParams(mode="paper")
    tissue, empty = (fourier.measure(each, paper)[0].features for each in (2 * tile + noise, noise))
    assert empty > tissue
