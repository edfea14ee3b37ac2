"""The noise estimate against noise of known strength, in the tile's own grey levels."""

from __future__ import annotations

import numpy as np
import pytest

from mhfd.contract import FocusParams
from mhfd.images import read_tile
from mhfd.kernel import fourier, reference
from mhfd.kernel.measures import MIN_NOISE, NoiseModel, noise_gains
from phantoms import EmTile, Kernel, Plane, as_uint8, blurred, discs, grey_range, row_correlated, texture

SHAPE = (256, 256)


def noise_of(tile: Plane) -> float:
    """The estimate in the grey levels of `tile`."""
    return fourier.measure(tile, FocusParams())[0].noise * grey_range(tile)


@pytest.mark.parametrize("sigma", [0.5, 3, 20])
def test_on_flat_ground_the_estimate_is_the_noise(sigma: float, rng: np.random.Generator) -> None:
    assert noise_of(rng.normal(100, sigma, (512, 512))) == pytest.approx(sigma, rel=0.03)


def test_the_noise_is_a_fraction_of_the_saturated_range(measure: Kernel, rng: np.random.Generator) -> None:
    tile = discs((120, 150), [(60, 30), (60, 80), (60, 120)], 12, ground=200, disc=100) + rng.normal(0, 4, (120, 150))
    measures, _ = measure(tile, FocusParams())
    assert measures.noise == pytest.approx(4 / grey_range(tile), rel=0.06)


@pytest.mark.parametrize("contrast", [2, 5, 20])
def test_coarse_texture_does_not_inflate_the_estimate(contrast: float, rng: np.random.Generator) -> None:
    # No wavelength below 4 px, so nothing above half the Nyquist frequency.
    tile = contrast * texture(SHAPE, rng, finest=4) + rng.standard_normal(SHAPE)
    assert noise_of(tile) == pytest.approx(1, rel=0.15)


def test_shading_does_not_inflate_the_estimate(rng: np.random.Generator) -> None:
    shading = np.add.outer(np.linspace(0, 60, SHAPE[0]), np.linspace(0, 30, SHAPE[1]))
    assert noise_of(shading + rng.standard_normal(SHAPE)) == pytest.approx(1, rel=0.05)


def test_of_noise_correlated_along_the_rows_the_white_part_it_came_from_is_found(rng: np.random.Generator) -> None:
    # What large Gaussians see is the noise at low frequencies, and there the correlated noise is as strong as
    # the white noise before it; its own deviation is a third less.
    tile = row_correlated(rng.standard_normal((512, 512)))
    assert noise_of(tile) == pytest.approx(1, rel=0.15)


@pytest.mark.parametrize("sigma", [0.002, 0.01, 0.05])
def test_sharp_and_blurred_tissue_of_equal_noise_have_equal_estimates(sigma: float, rng: np.random.Generator) -> None:
    tissue, noise = 0.1 * texture(SHAPE, rng, finest=4), rng.normal(0, sigma, SHAPE)
    assert noise_of(tissue + noise) == pytest.approx(noise_of(blurred(tissue, 1) + noise), rel=0.15)


@pytest.mark.parametrize("file", ["00.tif", "07.tif", "13.tif"])
def test_a_real_tile_sharp_and_blurred_with_equal_noise_has_equal_estimates(
    em_tile: EmTile, file: str, rng: np.random.Generator
) -> None:
    tissue = read_tile(em_tile(f"vnc-ssTEM/{file}")).pixels[:512, :512].astype(float)
    noise = rng.normal(0, 10, tissue.shape)
    assert noise_of(tissue + noise) == pytest.approx(noise_of(blurred(tissue, 1) + noise), rel=0.2)


# --- Shot noise -------------------------------------------------------------------------------------------------


def estimates(image: Plane) -> list[NoiseModel]:
    single = image.astype(np.float32)
    return [reference.estimate_noise(image), fourier.estimate_noise(single, fourier.local_mean(single))]


def test_the_slope_of_shot_noise_is_found(rng: np.random.Generator) -> None:
    # The variance of g electrons is g; as fractions of a range of R electrons it rises by 1 / R.
    tile = rng.poisson(np.repeat([100.0, 400.0], 128) * np.ones((256, 1)))
    for noise in estimates(reference.normalise(tile, 0)[0]):
        assert noise.slope == pytest.approx(1 / np.ptp(tile), rel=0.1)


def test_shot_noise_follows_the_grey_level(rng: np.random.Generator) -> None:
    electrons = np.linspace(100, 400, 256) * np.ones((256, 1))
    tile = rng.poisson(electrons)
    image = reference.normalise(tile, 0)[0]
    estimated = estimates(image)[0].at(reference.local_mean(image)) * np.ptp(tile)
    assert estimated.mean(axis=0) == pytest.approx(np.sqrt(electrons[0]), rel=0.2)


@pytest.mark.parametrize("bright_share", [0.3, 0.5, 0.53, 0.7])
def test_shot_noise_of_a_bright_part_is_not_taken_for_features(bright_share: float, rng: np.random.Generator) -> None:
    step = round(512 * (1 - bright_share))
    tile = rng.poisson(np.where(np.arange(512) < step, 40.0, 800.0) * np.ones((512, 1)))
    cols = fourier.measure(tile, FocusParams())[1].cols
    away_from_the_step = np.abs(cols - step) > 70  # four times the widest Gaussian
    assert np.count_nonzero(away_from_the_step) < 30 * tile.size / 1e6


def test_noise_that_does_not_depend_on_the_grey_level_has_hardly_a_slope(rng: np.random.Generator) -> None:
    image = reference.normalise(np.repeat([0.0, 20.0], 128) + rng.standard_normal(SHAPE), 0)[0]
    for noise in estimates(image):
        assert noise.slope < 0.1 * noise.variance / 0.5  # over the whole range: a tenth of the variance


# --- Floor and gains --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tile",
    [
        np.zeros((40, 40)),
        discs((60, 60), [(30, 30)], 8),
        as_uint8(discs((60, 60), [(30, 30)], 8)),
        np.arange(2500.0).reshape(50, 50),
    ],
    ids=["constant", "disc", "8-bit disc", "shading"],
)
def test_no_tile_is_taken_for_noiseless(measure: Kernel, tile: Plane) -> None:
    assert measure(tile, FocusParams())[0].noise >= MIN_NOISE


def test_noise_gains_are_the_deviation_of_each_dog_of_white_noise(rng: np.random.Generator) -> None:
    params = FocusParams(n_scales=5, min_t=1.5, max_t=6.5, mode="paper")
    measured = reference.dog_stack(rng.standard_normal((400, 400)), params).std(axis=(1, 2))
    assert measured == pytest.approx(noise_gains(params.scales), rel=0.05)
