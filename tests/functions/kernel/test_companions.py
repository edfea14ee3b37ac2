"""The numbers beside the count: content, anisotropy, saturation, Vollath's F4, and the score made of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from mhfd.contract import FocusParams
from mhfd.images import read_tile
from mhfd.kernel import fourier
from mhfd.kernel.measures import Measures, block_differences
from phantoms import EmTile, Kernel, Plane, blurred, row_correlated, texture

DEFAULT = FocusParams()
SHAPE = (256, 256)
CONTRAST = 8.0
"""Deviation of the texture, in deviations of the noise."""


def measures_of(tile: Plane) -> Measures:
    return fourier.measure(tile, DEFAULT)[0]


# --- Saturation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_saturated_is_the_share_of_pixels_at_the_darkest_and_the_lightest_level(
    measure: Kernel, dtype: type[np.generic], rng: np.random.Generator
) -> None:
    grey = rng.permutation(np.r_[np.zeros(70), np.full(30, 255), rng.integers(1, 255, 1900)])
    assert measure(grey.reshape(40, 50).astype(dtype), DEFAULT)[0].saturated == 100 / 2000


def test_a_tile_of_two_levels_is_all_saturated(measure: Kernel, rng: np.random.Generator) -> None:
    assert measure(rng.integers(0, 2, (30, 30), np.uint8), DEFAULT)[0].saturated == 1


# --- Content ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 3), (4, 7), (64, 65)])
def test_blocks_are_compared_beside_the_medians_of_rows_and_columns(
    shape: tuple[int, int], rng: np.random.Generator
) -> None:
    blocks = rng.normal(size=shape)
    found = block_differences(blocks)
    plane = blocks - np.median(blocks, axis=1, keepdims=True)
    plane -= np.median(plane, axis=0, keepdims=True)
    beside = np.array([[1, 0, 1]]) / 2
    assert found is not None
    for differences, weights in zip(found, (beside, beside.T), strict=True):
        expected = np.abs(plane - ndimage.correlate(plane, weights))
        inner = np.s_[:, 1:-1] if weights is beside else np.s_[1:-1]
        assert np.allclose(differences[inner], expected[inner], rtol=0, atol=1e-12)


def test_noise_has_no_content(measure: Kernel, rng: np.random.Generator) -> None:
    assert measure(rng.standard_normal(SHAPE), DEFAULT)[0].content == 0


@pytest.mark.parametrize("kind", ["correlated along the rows", "offset by rows", "shaded"])
def test_a_detectors_faults_are_no_content(kind: str, rng: np.random.Generator) -> None:
    white = rng.standard_normal((512, 512))
    tile = {
        "correlated along the rows": row_correlated(white),
        "offset by rows": white + rng.normal(0, 2, (512, 1)),
        "shaded": white + np.linspace(0, 40, 512),
    }[kind]
    content = measures_of(tile).content
    assert content is not None
    assert content < 0.02


def test_texture_everywhere_is_content_everywhere(measure: Kernel, rng: np.random.Generator) -> None:
    tile = CONTRAST * texture(SHAPE, rng) + rng.standard_normal(SHAPE)
    content = measure(tile, DEFAULT)[0].content
    assert content is not None
    assert content > 0.9


@pytest.mark.parametrize("axis", [0, 1], ids=["upper half", "left half"])
def test_texture_on_half_the_tile_is_about_half_the_content(
    measure: Kernel, axis: int, rng: np.random.Generator
) -> None:
    half = np.moveaxis(np.ones(SHAPE) * (np.arange(256) < 128), 1, axis)
    tile = CONTRAST * half * texture(SHAPE, rng) + rng.standard_normal(SHAPE)
    content = measure(tile, DEFAULT)[0].content
    assert content is not None
    assert 0.4 < content < 0.65  # blocks beside structure count as well


@pytest.mark.parametrize("part", [3, 4])
def test_a_tile_that_is_resin_but_for_one_corner_keeps_the_share_of_that_corner(
    measure: Kernel, part: int, rng: np.random.Generator
) -> None:
    tile, side = rng.standard_normal(SHAPE), SHAPE[0] // part
    tile[:side, :side] += CONTRAST * blurred(texture(SHAPE, rng), 2)[:side, :side]
    content = measure(tile, DEFAULT)[0].content
    assert content is not None
    assert 0.05 < content < 1.7 / part**2


def scale_bar(tile: Plane, _: np.random.Generator) -> None:
    tile[230:238, 30:110] = 12


def line_of_text(tile: Plane, rng: np.random.Generator) -> None:
    tile[230:240, 20:80][rng.random((10, 60)) < 0.4] = 12


def streak(tile: Plane, _: np.random.Generator) -> None:
    tile[100:102, 40:200] += 12


def curtains(tile: Plane, rng: np.random.Generator) -> None:
    tile += 4 * ndimage.gaussian_filter1d(rng.standard_normal(256), 3)


def brighter_lines(tile: Plane, rng: np.random.Generator) -> None:
    tile += np.cumsum(rng.normal(0, 0.5, 256))[:, None]


@pytest.mark.parametrize("draw", [scale_bar, line_of_text, streak, curtains, brighter_lines])
def test_what_a_program_a_detector_or_a_knife_draws_on_resin_is_no_content(
    measure: Kernel, draw: Callable[[Plane, np.random.Generator], None], rng: np.random.Generator
) -> None:
    tile = rng.standard_normal(SHAPE)
    draw(tile, rng)
    assert measure(tile, DEFAULT)[0].content == 0


@pytest.mark.parametrize("sigma", [1, 2, 4])
def test_defocus_leaves_the_content(sigma: float, rng: np.random.Generator) -> None:
    content = measures_of(CONTRAST * blurred(texture(SHAPE, rng), sigma) + rng.standard_normal(SHAPE)).content
    assert content is not None
    assert content > 0.9


@pytest.mark.parametrize(("shape", "known"), [((47, 100), False), ((100, 47), False), ((48, 48), True)])
def test_content_of_a_tile_too_small_for_blocks_is_unknown(
    measure: Kernel, shape: tuple[int, int], known: bool, rng: np.random.Generator
) -> None:
    assert (measure(rng.standard_normal(shape), DEFAULT)[0].content is not None) == known


# --- Anisotropy -------------------------------------------------------------------------------------------------


def test_isotropic_texture_has_hardly_any_anisotropy(measure: Kernel, rng: np.random.Generator) -> None:
    anisotropy = measure(CONTRAST * texture(SHAPE, rng) + rng.standard_normal(SHAPE), DEFAULT)[0].anisotropy
    assert anisotropy is not None
    assert anisotropy < 0.05


@pytest.mark.parametrize("sigma", [1, 2, 3])
def test_round_defocus_is_not_anisotropy(sigma: float, rng: np.random.Generator) -> None:
    tile = CONTRAST * blurred(texture((512, 512), rng), sigma) + rng.standard_normal((512, 512))
    anisotropy = measures_of(tile).anisotropy
    assert anisotropy is not None
    assert anisotropy < 0.1


@pytest.mark.parametrize("degrees", [0, 45, 90, 135])
def test_blur_along_one_axis_is_anisotropy(measure: Kernel, degrees: float, rng: np.random.Generator) -> None:
    smeared = ndimage.gaussian_filter1d(texture((512, 512), rng), 2, axis=1, mode="wrap")
    turned = ndimage.rotate(smeared, degrees, reshape=False, mode="wrap")[128:384, 128:384]
    anisotropy = measure(2 * CONTRAST * turned + rng.standard_normal(SHAPE), DEFAULT)[0].anisotropy
    assert anisotropy is not None
    assert anisotropy > 0.3


def test_more_blur_along_one_axis_is_more_anisotropy(rng: np.random.Generator) -> None:
    sharp, noise = CONTRAST * texture(SHAPE, rng), rng.standard_normal(SHAPE)
    found = [
        measures_of(ndimage.gaussian_filter1d(sharp, sigma, axis=0, mode="wrap") + noise).anisotropy or 0.0
        for sigma in (0.01, 0.7, 1, 1.5, 2)
    ]
    assert found == sorted(found)


# --- Vollath's F4 -----------------------------------------------------------------------------------------------


def test_vollath_f4_is_the_difference_of_two_autocovariances_over_both_axes(
    measure: Kernel, rng: np.random.Generator
) -> None:
    tile = texture((60, 83), rng) + 0.2 * rng.standard_normal((60, 83))
    z = (tile - tile.min()) / (tile.max() - tile.min())
    z -= z.mean()
    down = (z[1:] * z[:-1]).mean() - (z[2:] * z[:-2]).mean()
    along = (z[:, 1:] * z[:, :-1]).mean() - (z[:, 2:] * z[:, :-2]).mean()
    assert measure(tile, FocusParams(saturate=0))[0].vollath_f4 == pytest.approx(down + along, rel=1e-5)


def test_vollath_f4_falls_with_blur(rng: np.random.Generator) -> None:
    sharp, noise = CONTRAST * texture(SHAPE, rng), rng.standard_normal(SHAPE)
    found = [measures_of(blurred(sharp, sigma) + noise).vollath_f4 for sigma in (0, 1, 2, 3)]
    assert found == sorted(found, reverse=True)


# --- Focus score ------------------------------------------------------------------------------------------------

BLURS = (0, 0.7, 1, 1.5, 2, 3)


def strictly_falls(numbers: list[float]) -> bool:
    return all(after < before for before, after in pairwise(numbers))


def test_focus_score_falls_with_blur(measure: Kernel, rng: np.random.Generator) -> None:
    sharp, noise = CONTRAST * texture((160, 160), rng), rng.standard_normal((160, 160))
    assert strictly_falls([measure(blurred(sharp, sigma) + noise, DEFAULT)[0].focus_score for sigma in BLURS])


@pytest.mark.parametrize("noise", [3, 10])
def test_focus_score_of_a_real_tile_falls_with_blur(em_tile: EmTile, noise: float, rng: np.random.Generator) -> None:
    sharp = read_tile(em_tile("vnc-ssTEM/05.tif")).pixels[:512, :512].astype(float)
    grain = rng.normal(0, noise, sharp.shape)
    assert strictly_falls([measures_of(blurred(sharp, sigma) + grain).focus_score for sigma in BLURS])


def test_focus_score_hardly_depends_on_the_contrast_of_a_low_noise_tile(
    measure: Kernel, rng: np.random.Generator
) -> None:
    tissue, noise = 40 * texture((160, 160), rng), rng.standard_normal((160, 160))
    full, half = (measure(contrast * tissue + noise, DEFAULT)[0].focus_score for contrast in (1, 0.5))
    assert half == pytest.approx(full, rel=0.1)


@pytest.mark.parametrize("correlated", [False, True], ids=["white", "row-correlated"])
def test_focus_score_of_noise_is_next_to_nothing(correlated: bool, rng: np.random.Generator) -> None:
    white = rng.standard_normal((512, 512))
    tile = row_correlated(white) if correlated else white
    tissue = blurred(CONTRAST * texture(SHAPE, rng), 3) + rng.standard_normal(SHAPE)
    assert measures_of(tile).focus_score < 0.05 * measures_of(tissue).focus_score


def test_focus_score_counts_the_blurrier_axis(rng: np.random.Generator) -> None:
    sharp, noise = CONTRAST * texture(SHAPE, rng), rng.standard_normal(SHAPE)
    smeared = ndimage.gaussian_filter1d(sharp, 2, axis=1, mode="wrap")
    assert measures_of(smeared + noise).focus_score < 0.5 * measures_of(sharp + noise).focus_score


@pytest.mark.parametrize("fault", ["lines", "curtains"])
def test_focus_score_falls_with_blur_whatever_a_scan_or_a_knife_adds(
    measure: Kernel, fault: str, rng: np.random.Generator
) -> None:
    sharp, white = 2 * texture((160, 160), rng), rng.standard_normal((160, 160))
    added = {
        "lines": row_correlated(row_correlated(2 * white)) + rng.normal(0, 0.5, (160, 1)),
        "curtains": white + ndimage.gaussian_filter1d(rng.normal(0, 8, 160), 3, mode="wrap"),
    }[fault]
    scores = [measure(blurred(sharp, sigma) + added, DEFAULT)[0].focus_score for sigma in (0, 1, 1.5)]
    assert strictly_falls([*scores, 0])


def test_noise_has_no_direction(measure: Kernel, rng: np.random.Generator) -> None:
    assert measure(rng.normal(0, 1, (200, 200)), FocusParams())[0].anisotropy is None
