"""The feature count on pictures whose features are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mhfd.contract import FocusParams
from mhfd.kernel import fourier, reference
from mhfd.kernel.measures import FeatureList, NoiseModel
from phantoms import Kernel, Plane, as_uint8, discs, row_correlated, texture

DEFAULT = FocusParams()
SHAPE = (150, 200)
CENTRES = [(25 + 50 * i + 3 * j % 7, 25 + 50 * j + 5 * i % 8) for i in range(3) for j in range(4)]
"""Twelve places, 40 px and more from each other, 25 px and more from the edge."""


def places(features: FeatureList) -> list[tuple[int, int]]:
    return list(zip(features.rows.tolist(), features.cols.tolist(), strict=True))


def disc_scale(radius: float, params: FocusParams) -> int:
    """Index of the scale with the largest response at the middle of a disc.

    A Gaussian of standard deviation t holds 1 - exp(-r^2 / 2 t^2) of its weight within r, so the middle of a dark
    disc of unit depth has D_i = t_i (exp(-r^2 / 2 t_{i+1}^2) - exp(-r^2 / 2 t_i^2)).
    """
    t = np.array(params.scales)
    outside = np.exp(-(radius**2) / (2 * t**2))
    return int(np.argmax(t[:-1] * (outside[1:] - outside[:-1])))


# --- Discs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [1.5, 2.5, 4, 7, 10, 14, 20])
@pytest.mark.parametrize("centre", [(64, 70), (63.7, 70.4)], ids=["on a pixel", "between pixels"])
def test_a_dark_disc_is_one_feature_at_its_centre_at_the_scale_of_theory(
    measure: Kernel, radius: float, centre: tuple[float, float]
) -> None:
    _, features = measure(discs((129, 141), [centre], radius), DEFAULT)
    assert places(features) == [(64, 70)]
    assert features.scale_index.tolist() == [disc_scale(radius, DEFAULT)]


@pytest.mark.parametrize("radius", [3, 5.2, 8])
def test_the_scale_of_a_disc_follows_theory_for_other_scales_too(measure: Kernel, radius: float) -> None:
    params = FocusParams(n_scales=23, min_t=0.9, max_t=12.3)
    _, features = measure(discs((81, 81), [(40, 40)], radius), params)
    assert features.scale_index.tolist() == [disc_scale(radius, params)]
    assert features.scales_px.tolist() == [params.scales[disc_scale(radius, params)]]


def test_the_strength_of_a_disc_is_the_response_of_theory(measure: Kernel) -> None:
    radius, i = 10.0, disc_scale(10, DEFAULT)
    t, u = DEFAULT.scales[i : i + 2]
    theory = t * (math.exp(-(radius**2) / (2 * u**2)) - math.exp(-(radius**2) / (2 * t**2)))
    _, features = measure(discs((129, 141), [(64, 70)], radius), DEFAULT)
    assert features.strengths.tolist() == pytest.approx([theory], rel=0.01)


def test_a_bright_disc_is_one_feature_of_polarity_bright(measure: Kernel) -> None:
    tile = discs((97, 91), [(48, 40)], 6, ground=0.2, disc=0.8)
    _, features = measure(tile, FocusParams(polarity="bright"))
    assert places(features) == [(48, 40)]
    assert features.scale_index.tolist() == [disc_scale(6, DEFAULT)]


@pytest.mark.parametrize("polarity", ["dark", "both"])
def test_polarity_says_whether_the_bright_disc_beside_a_dark_one_counts(measure: Kernel, polarity: Any) -> None:
    shape, dark, bright = (140, 280), (70, 70), (70, 210)
    tile = discs(shape, [dark], 6, ground=0.5, disc=0.2) + discs(shape, [bright], 6, ground=0.0, disc=0.3)
    _, features = measure(tile, FocusParams(polarity=polarity))
    assert dark in places(features)
    assert (bright in places(features)) == (polarity == "both")


def test_as_many_features_as_discs(measure: Kernel) -> None:
    measures, features = measure(discs(SHAPE, CENTRES, 4), DEFAULT)
    assert places(features) == sorted(CENTRES)
    assert measures.features == len(CENTRES)


def test_features_by_scale_counts_each_feature_at_its_scale(measure: Kernel) -> None:
    tile = np.minimum(discs(SHAPE, CENTRES[:5], 3), discs(SHAPE, CENTRES[5:], 7))
    expected = [0] * DEFAULT.n_scales
    expected[disc_scale(3, DEFAULT)] = 5
    expected[disc_scale(7, DEFAULT)] = 7
    assert list(measure(tile, DEFAULT)[0].features_by_scale) == expected


def test_characteristic_scale_is_the_mean_scale_of_the_features(measure: Kernel) -> None:
    tile = np.minimum(discs(SHAPE, CENTRES[:5], 3), discs(SHAPE, CENTRES[5:], 7))
    t = DEFAULT.scales
    mean = (5 * t[disc_scale(3, DEFAULT)] + 7 * t[disc_scale(7, DEFAULT)]) / 12
    assert measure(tile, DEFAULT)[0].characteristic_scale_px == pytest.approx(mean)


def test_discs_are_found_in_noise(measure: Kernel, rng: np.random.Generator) -> None:
    tile = discs(SHAPE, CENTRES, 4) + rng.normal(0, 0.03, SHAPE)
    _, features = measure(tile, DEFAULT)
    assert len(features) == len(CENTRES)
    assert np.abs(np.array(places(features)) - np.array(sorted(CENTRES))).max() <= 1


# --- Changes that leave the features alone ----------------------------------------------------------------------


@pytest.mark.parametrize("shift", [(1, 0), (0, -3), (7, 5), (-9, 11)])
def test_moving_the_discs_moves_the_features(measure: Kernel, shift: tuple[int, int]) -> None:
    moved = [(row + shift[0], col + shift[1]) for row, col in CENTRES]
    _, features = measure(discs(SHAPE, moved, 4), DEFAULT)
    assert places(features) == sorted(moved)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turning_the_tile_keeps_the_discs(measure: Kernel, turns: int) -> None:
    _, features = measure(np.rot90(discs(SHAPE, CENTRES, 4), turns), DEFAULT)
    assert len(features) == len(CENTRES)


def test_transposing_the_tile_transposes_the_features(measure: Kernel) -> None:
    _, features = measure(discs(SHAPE, CENTRES, 4).T, DEFAULT)
    assert places(features) == sorted((col, row) for row, col in CENTRES)


@pytest.mark.parametrize("change", [np.rot90, np.transpose], ids=["turned", "transposed"])
def test_orientation_hardly_matters_to_noisy_texture(
    measure: Kernel, change: Callable[[Plane], Plane], rng: np.random.Generator
) -> None:
    # Not exactly equal: the noise estimate asks whether rows differ more than columns (row_noise_factor).
    tile = 8 * texture((160, 200), rng) + rng.standard_normal((160, 200))
    before, after = (measure(each, DEFAULT)[0].features for each in (tile, change(tile)))
    assert after == pytest.approx(before, rel=0.005)


@pytest.mark.parametrize(("gain", "offset"), [(0.3, 0.0), (1.0, 5.0), (2500.0, -900.0)])
def test_contrast_and_brightness_leave_the_features_alone(measure: Kernel, gain: float, offset: float) -> None:
    tile = discs(SHAPE, CENTRES, 4)
    _, features = measure(gain * tile + offset, DEFAULT)
    assert places(features) == sorted(CENTRES)


def test_inverting_the_tile_swaps_dark_and_bright(measure: Kernel, rng: np.random.Generator) -> None:
    tile = as_uint8(0.5 + 0.1 * texture((96, 96), rng))
    dark = measure(tile, DEFAULT)[1]
    bright = measure(255 - tile, FocusParams(polarity="bright"))[1]
    assert places(dark) == places(bright)


@pytest.mark.parametrize(
    "convert",
    [
        lambda tile: tile.astype(np.uint16) * np.uint16(257),
        lambda tile: tile.astype(np.uint16) * np.uint16(16),
        lambda tile: tile.astype(np.int16) - np.int16(128),
        lambda tile: tile.astype(np.float32),
        lambda tile: tile.astype(np.float64) / 255,
    ],
    ids=["uint16 x 257", "uint16 x 16", "int16", "float32", "float64"],
)
def test_the_same_tile_in_another_type_has_the_same_features_and_score(
    measure: Kernel, convert: Callable[[NDArray[np.uint8]], NDArray[Any]], rng: np.random.Generator
) -> None:
    tile = as_uint8(0.5 + 0.12 * texture((128, 150), rng) + rng.normal(0, 0.02, (128, 150)))
    measures, features = measure(tile, DEFAULT)
    other_measures, other_features = measure(convert(tile), DEFAULT)
    assert places(other_features) == places(features)
    assert other_measures.focus_score == pytest.approx(measures.focus_score, rel=1e-6)


@pytest.mark.parametrize("arrange", [np.asfortranarray, lambda tile: np.repeat(tile, 2, axis=1)[:, ::2]])
def test_memory_layout_does_not_matter(
    measure: Kernel, arrange: Callable[[Plane], Plane], rng: np.random.Generator
) -> None:
    tile = texture((90, 110), rng)
    measures, features = measure(tile, DEFAULT)
    other_measures, other_features = measure(arrange(tile), DEFAULT)
    assert places(other_features) == places(features)
    assert other_measures.focus_score == pytest.approx(measures.focus_score, rel=1e-6)


def test_the_tile_is_not_changed(measure: Kernel, rng: np.random.Generator) -> None:
    tile = texture((60, 70), rng)
    before = tile.copy()
    measure(tile, DEFAULT)
    assert np.array_equal(tile, before)


# --- Noise and empty tiles --------------------------------------------------------------------------------------

N = (512, 512)
NOISE: dict[str, Callable[[np.random.Generator], NDArray[Any]]] = {
    "gaussian, 2 grey levels": lambda rng: np.round(rng.normal(128, 2, N)).astype(np.uint8),
    "gaussian, 10 grey levels": lambda rng: np.round(rng.normal(128, 10, N)).astype(np.uint8),
    "gaussian, clipped": lambda rng: np.clip(rng.normal(128, 60, N), 0, 255).astype(np.uint8),
    "gaussian, float": lambda rng: rng.standard_normal(N),
    "poisson, 3 electrons": lambda rng: rng.poisson(3, N).astype(np.uint16),
    "poisson, 20 electrons": lambda rng: rng.poisson(20, N).astype(np.uint16),
    "poisson, 200 electrons": lambda rng: rng.poisson(200, N).astype(np.uint16),
    "row-correlated": lambda rng: row_correlated(rng.standard_normal(N)),
    "row offsets": lambda rng: rng.standard_normal(N) + rng.normal(0, 0.5, (N[0], 1)),
    "shading along the rows": lambda rng: rng.standard_normal(N) + np.linspace(0, 4, N[1]),
    "shading down the columns": lambda rng: rng.standard_normal(N) + np.linspace(0, 4, N[0])[:, None],
}


@pytest.mark.parametrize("kind", NOISE)
def test_noise_has_almost_no_features(kind: str, rng: np.random.Generator) -> None:
    measures, _ = fourier.measure(NOISE[kind](rng), DEFAULT)
    assert measures.features < 30 * N[0] * N[1] / 1e6  # in-focus tissue has 10000 to 20000 a megapixel


def test_steep_shading_has_few_features(rng: np.random.Generator) -> None:
    # More than none: mirrored at the tile's dark edge, a steep slope is a valley.
    measures, _ = fourier.measure(rng.standard_normal(N) + np.linspace(0, 40, N[1]), DEFAULT)
    assert measures.features < 100 * N[0] * N[1] / 1e6


def test_noise_has_features_once_the_threshold_is_lowered(rng: np.random.Generator) -> None:
    tile = rng.standard_normal((256, 256))
    counts = [fourier.measure(tile, FocusParams(k_noise=k))[0].features for k in (5, 3, 2, 1)]
    assert counts[0] < 3 < counts[1] < counts[2] < counts[3]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_a_constant_tile_has_no_features_and_is_no_error(measure: Kernel, dtype: type[np.generic]) -> None:
    measures, features = measure(np.full((40, 60), 7, dtype), DEFAULT)
    assert len(features) == measures.features == 0
    assert measures.focus_score == 0


@pytest.mark.parametrize("convert", [as_uint8, np.asarray], ids=["uint8", "float64"])
def test_a_disc_rarer_than_what_saturation_clips_is_still_found(
    measure: Kernel, convert: Callable[[Plane], NDArray[Any]]
) -> None:
    tile = convert(discs(SHAPE, [(70, 81)], 2))
    assert np.count_nonzero(tile != tile[0, 0]) < DEFAULT.saturate * tile.size
    assert places(measure(tile, DEFAULT)[1]) == [(70, 81)]


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 2), (2, 1), (1, 60), (60, 1), (2, 2), (3, 3), (4, 5), (15, 47), (16, 48), (17, 130)]
)
@pytest.mark.parametrize("polarity", ["dark", "bright", "both"])
@pytest.mark.parametrize("mode", ["robust", "paper"])
def test_a_tile_of_any_size_gives_finite_numbers(
    measure: Kernel, shape: tuple[int, int], polarity: Any, mode: Any, rng: np.random.Generator
) -> None:
    params = FocusParams(n_scales=5, polarity=polarity, mode=mode)
    for tile in (np.zeros(shape), rng.standard_normal(shape), rng.integers(0, 2, shape, np.uint8)):
        measures, features = measure(tile, params)
        numbers = [value for value in asdict(measures).values() if isinstance(value, float)]
        assert np.isfinite([*numbers, *features.strengths]).all()
        assert sum(measures.features_by_scale) == len(features)


# --- Local maxima -----------------------------------------------------------------------------------------------


def maxima(kernel: str, strength: Plane) -> list[tuple[int, int]]:
    """Features of a response drawn by hand."""
    params, quiet = FocusParams(mode="paper"), NoiseModel(variance=1e-6, slope=0.0, grey=0.5)
    if kernel == "fourier":
        response = strength.astype(np.float32)
        return places(fourier.find_features(response, np.zeros(strength.shape, np.uint16), response, quiet, params))
    return places(reference.find_features(strength, np.zeros(strength.shape, np.int64), strength, quiet, params))


both = pytest.mark.parametrize("kernel", ["fourier", "reference"])


@both
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 1), (2, 2), (3, 3), (4, 5)])
@pytest.mark.parametrize("corner", [(0, 0), (4, 6), (1, 0)])
def test_a_plateau_is_counted_once_at_its_first_pixel(
    kernel: str, size: tuple[int, int], corner: tuple[int, int]
) -> None:
    strength = np.zeros((12, 14))
    strength[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]] = 0.5
    assert maxima(kernel, strength) == [corner]


@both
def test_every_neighbour_can_overrule_a_pixel(kernel: str) -> None:
    for dy, dx in np.ndindex(3, 3):
        strength = np.zeros((5, 5))
        strength[2, 2] = 0.5
        strength[1 + dy, 1 + dx] = 0.6
        assert maxima(kernel, strength) == [(1 + dy, 1 + dx)]


@both
def test_corners_and_edges_can_be_maxima(kernel: str) -> None:
    strength = np.zeros((7, 9))
    corners = [(0, 0), (0, 8), (3, 0), (6, 4), (6, 8)]
    strength[tuple(np.transpose(corners))] = 0.5
    assert maxima(kernel, strength) == corners


@both
def test_a_flat_response_of_zero_has_no_maximum(kernel: str) -> None:
    assert maxima(kernel, np.zeros((6, 6))) == []
