"""The spectrum of a tile whose spectrum is known."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from agreement import FAST_KERNELS, assert_same_spectrum
from host_device import HostDevice
from mhfd.contract import FocusParams, ParamsError
from mhfd.kernel import fourier, power, reference
from mhfd.kernel.fused import Fused
from mhfd.spectrum import BINS, BLOCK_PX, CELLS, DIRECTIONS_DEG, FREQUENCIES, FREQUENCY_EDGES, Spectrum, bin_sizes
from phantoms import Kernel, Plane, as_uint8, blurred, row_correlated, texture

PLAIN = FocusParams(n_scales=1, max_t=2, saturate=0)
FINE = FREQUENCIES > 0.15
"""Bins above what `ground` varies with."""


def spectrum_of(measure: Kernel, tile: NDArray[Any]) -> Spectrum:
    found = measure(tile, PLAIN)[0].spectrum
    assert found is not None
    return found


def ground(shape: tuple[int, int], rng: np.random.Generator) -> Plane:
    """Slow structure, so that blocks count, and none above 0.1 cycles a pixel."""
    return texture(shape, rng, finest=12, coarsest=40)


def wave(shape: tuple[int, int], down: float, along: float) -> Plane:
    """A wave of so many cycles a block."""
    y, x = np.indices(shape)
    return np.asarray(np.cos(2 * np.pi * (down * y + along * x) / BLOCK_PX))


# --- Noise ----------------------------------------------------------------------------------------------------------


def test_white_noise_is_flat_and_taken_off(measure: Kernel, rng: np.random.Generator) -> None:
    tile = 10 * ground((320, 400), rng) + rng.standard_normal((320, 400))
    found, variance = spectrum_of(measure, tile), 1 / np.ptp(tile) ** 2
    assert found.by_direction[:, FINE] / variance == pytest.approx(1, abs=0.2)
    assert found.by_direction[:, FINE].mean() == pytest.approx(variance, rel=0.03)
    assert found.by_cell[:, :, FINE].mean((0, 1)) / variance == pytest.approx(1, abs=0.1)
    assert found.along_rows.mean() == pytest.approx(variance, rel=0.05)
    assert found.along_cols.mean() == pytest.approx(variance, rel=0.05)
    assert found.noise()[:, FINE] / variance == pytest.approx(1, abs=0.15)


def test_noise_correlated_along_the_rows_is_taken_off(rng: np.random.Generator) -> None:
    noise = row_correlated(rng.standard_normal((1024, 1024)))
    found = spectrum_of(fourier.measure, 10 * ground((1024, 1024), rng) + noise)
    assert np.nanmax(found.by_direction[:, FINE]) > 5 * np.nanmin(found.by_direction[:, FINE])
    assert found.noise()[:, FINE] / found.by_direction[:, FINE] == pytest.approx(1, abs=0.15)


def test_noise_has_no_spectrum(measure: Kernel, rng: np.random.Generator) -> None:
    assert measure(rng.standard_normal((200, 200)), PLAIN)[0].spectrum is None


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_flat_tile_has_no_spectrum(measure: Kernel, dtype: Any) -> None:
    tile = np.full((200, 200), 7, dtype)
    tile[0, 0] = 9
    assert measure(tile, PLAIN)[0].spectrum is None


# --- Structure ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("down", "along", "degrees"), [(7, 23, 0), (17, 17, 45), (-17, 17, 135), (23, 7, 90), (-7, 23, 0), (23, -7, 90)]
)
def test_the_power_of_a_wave_lies_in_its_bin_and_direction(
    measure: Kernel, down: float, along: float, degrees: int
) -> None:
    shape, amplitude = (160, 160), 0.25
    tile = wave(shape, 3, 3) + amplitude * wave(shape, down, along)
    found = spectrum_of(measure, tile)
    power = np.where(bin_sizes() > 0, found.by_direction * bin_sizes(), 0)
    frequency = np.hypot(down, along) / BLOCK_PX
    own = DIRECTIONS_DEG.index(degrees), int(np.digitize(frequency, FREQUENCY_EDGES)) - 1
    total = BLOCK_PX**2 * (amplitude / np.ptp(tile)) ** 2 / 2
    assert power[own] == pytest.approx(total, rel=0.05)
    assert power[:, FINE].sum() < 1.05 * total


@pytest.mark.parametrize("sigma", [0.7, 1.0, 1.5])
def test_blur_multiplies_power_by_the_square_of_its_transfer(
    measure: Kernel, sigma: float, rng: np.random.Generator
) -> None:
    tissue = texture((256, 256), rng, finest=2.5)
    sharp, soft = (spectrum_of(measure, blurred(tissue, s)).isotropic for s in (0, sigma))
    seen = FREQUENCIES < 0.3
    slope = np.polyfit(FREQUENCIES[seen] ** 2, np.log(soft / sharp)[seen], 1)[0]
    assert slope == pytest.approx(-4 * np.pi**2 * sigma**2, rel=0.05)


def test_blur_along_the_rows_is_seen_along_the_rows(measure: Kernel, rng: np.random.Generator) -> None:
    tissue = texture((256, 256), rng, finest=2.5)
    smeared = ndimage.gaussian_filter1d(tissue, 1.5, axis=1, mode="wrap")
    sharp, soft = (spectrum_of(measure, tile).by_direction for tile in (tissue, smeared))
    lost = np.log(sharp / soft)[:, np.searchsorted(FREQUENCIES, 0.2)]
    assert lost[0] > lost[1] > lost[2]
    assert lost[0] > lost[3] > lost[2]


def test_what_a_row_or_a_column_is_shifted_by_is_left_out(rng: np.random.Generator) -> None:
    tissue = texture((512, 512), rng, finest=2.5)
    curtained = tissue + rng.normal(0, 0.3, (512, 1)) + rng.normal(0, 0.3, (1, 512))
    plain, striped = (spectrum_of(fourier.measure, tile).isotropic * np.ptp(tile) ** 2 for tile in (tissue, curtained))
    assert striped / plain == pytest.approx(1, abs=0.05)


# --- Where ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1], ids=["upper half", "left half"])
def test_a_half_that_is_blank_has_no_blocks(measure: Kernel, axis: int, rng: np.random.Generator) -> None:
    half = np.moveaxis(np.ones((512, 512)) * (np.arange(512) < 256), 1, axis)
    found = spectrum_of(measure, 5 * half * texture((512, 512), rng) + 0.1 * rng.standard_normal((512, 512)))
    blocks = np.moveaxis(found.blocks, axis, 0)
    assert np.all(blocks[: CELLS // 2] == 4)
    assert np.all(blocks[CELLS // 2 :] == 0)
    assert found.share == 0.5
    by_cell = np.moveaxis(found.by_cell, axis, 0)
    assert np.isfinite(by_cell[: CELLS // 2]).all()
    assert np.isnan(by_cell[CELLS // 2 :]).all()


def test_a_blurred_corner_is_seen_in_its_cell(measure: Kernel, rng: np.random.Generator) -> None:
    tile = texture((512, 512), rng, finest=2.5)
    tile[384:, :128] = blurred(tile, 2)[384:, :128]
    fine = spectrum_of(measure, tile).by_cell[:, :, FINE].sum(2)
    assert np.unravel_index(fine.argmin(), fine.shape) == (3, 0)
    assert fine[3, 0] < 0.3 * np.median(fine)


@pytest.mark.parametrize("shape", [(63, 400), (400, 63), (64, 64), (95, 95), (96, 64)])
def test_a_tile_of_fewer_than_three_blocks_has_no_spectrum(
    measure: Kernel, shape: tuple[int, int], rng: np.random.Generator
) -> None:
    assert measure(texture((400, 400), rng)[: shape[0], : shape[1]], PLAIN)[0].spectrum is None


def test_three_blocks_make_a_spectrum(measure: Kernel, rng: np.random.Generator) -> None:
    found = spectrum_of(measure, texture((400, 400), rng)[:64, :128])
    assert found.blocks.sum() == 3
    assert found.share == 1


@pytest.mark.parametrize(("side", "step"), [(511, 32), (512, 64)])
def test_blocks_of_a_small_tile_overlap(side: int, step: int) -> None:
    grid = power.Grid.of((side, 1000))
    assert grid == power.Grid((side - 64) // step + 1, (1000 - 64) // step + 1, step)


# --- Every kernel ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(64, 128), (130, 97), (511, 70), (530, 600), (64, 700)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_every_kernel_agrees_with_the_reference(
    fast: Kernel, shape: tuple[int, int], dtype: Any, rng: np.random.Generator
) -> None:
    tile = 0.5 + 0.12 * texture(shape, rng) + rng.normal(0, 0.02, shape)
    tile[: shape[0] // 2, : shape[1] // 3] = 0.4
    tile = as_uint8(tile) if dtype is np.uint8 else tile.astype(dtype)
    exact = reference.measure(tile, PLAIN)[0].spectrum
    assert exact is not None
    assert_same_spectrum(fast(tile, PLAIN)[0].spectrum, exact, tile, PLAIN)


@pytest.mark.parametrize("shape", [(700, 520), (300, 200)], ids=["blocks side by side", "blocks that overlap"])
def test_threads_and_strips_change_no_bit(shape: tuple[int, int], rng: np.random.Generator) -> None:
    compiled = pytest.importorskip("mhfd.kernel.compiled", exc_type=ImportError)
    tile = as_uint8(0.5 + 0.12 * texture(shape, rng) + rng.normal(0, 0.02, shape))
    whole = compiled.measure(tile, PLAIN)[0]
    assert whole.spectrum
    for threads, strips in ((2, 1), (1, 3), (3, 7)):
        assert compiled.measure(tile, PLAIN, threads=threads, strips=strips)[0] == whole


def test_strips_on_a_gpu_change_no_bit(rng: np.random.Generator) -> None:
    tile = as_uint8(0.5 + 0.12 * texture((700, 520), rng) + rng.normal(0, 0.02, (700, 520)))
    budget = 7 * 2**20
    device = HostDevice()
    cut = Fused(device, budget).measure(tile, PLAIN)[0]
    assert cut.spectrum
    assert device.peak <= budget
    assert cut == Fused(HostDevice()).measure(tile, PLAIN)[0]


# --- Packing --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known() -> Spectrum:
    """A spectrum with unknown cells."""
    rng = np.random.default_rng(1)
    tile = texture((512, 512), rng, finest=2.5)
    tile[:, :200] = 0.1
    return spectrum_of(fourier.measure, tile)


def test_packing_keeps_half_a_percent_of_what_eight_bits_resolve(known: Spectrum) -> None:
    again = Spectrum.unpack(known.pack())
    assert np.isnan(known.by_cell).any()
    for name in Spectrum.__dataclass_fields__:
        np.testing.assert_allclose(getattr(again, name), getattr(known, name), rtol=0.005, atol=1e-3)
        np.testing.assert_array_equal(np.isnan(getattr(again, name)), np.isnan(getattr(known, name)))
    for name in ("by_direction", "by_cell", "along_rows", "along_cols", "slow"):  # however small
        exact = getattr(known, name)
        error = np.abs(getattr(again, name) / exact - 1)
        assert np.nanmax(error) < 0.008
        assert np.nanmax(error[exact > 1.2e-7]) < 0.004
    assert again == Spectrum.unpack(again.pack())
    assert again != known
    assert len(known.pack()) < 1400


def test_power_of_nothing_and_of_all_is_packed() -> None:
    whole = Spectrum(
        by_direction=np.zeros((4, BINS)), by_cell=np.full((CELLS, CELLS, BINS), 1e4), along_rows=np.zeros(33),
        along_cols=np.full(33, np.inf), blocks=np.full((CELLS, CELLS), 1e6), share=1.0, slow=np.full(8, np.nan),
        skewness=float("nan"),
    )  # fmt: skip
    again = Spectrum.unpack(whole.pack())
    assert np.all(again.by_direction < 1e-29)
    assert np.all(again.along_cols > 1e29)
    assert again.by_cell == pytest.approx(1e4, rel=0.005)
    assert np.isfinite(again.blocks).all()
    assert np.isnan(again.skewness)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:-1],
        lambda text: text[:-4],
        lambda text: text + "AAAA",
        lambda text: text[2:],
        lambda text: "2:" + text[2:],
        lambda text: text[:50] + "\u00e9" + text[51:],
        lambda text: text[:50] + " " + text[51:],
        lambda text: "1:" + base64.b64encode(b"short").decode(),
        lambda text: "1:" + base64.b64encode(b"\x00\x7c" * (len(text) * 3 // 8 - 1)).decode(),
        lambda text: "<script>" * 400,
    ],
)
def test_damaged_text_is_refused(damage: Any, known: Spectrum) -> None:
    with pytest.raises(ParamsError, match="not a spectrum"):
        Spectrum.unpack(damage(known.pack()))


def test_a_row_has_the_packed_spectrum(rng: np.random.Generator) -> None:
    import mhfd

    tile = as_uint8(0.5 + 0.12 * texture((256, 256), rng))
    row = mhfd.score(tile, backend="numpy")
    expected = fourier.measure(tile, FocusParams())[0].spectrum
    assert expected
    assert row.spectrum == expected.pack()
    assert mhfd.score(np.zeros((256, 256), np.uint8), backend="numpy").spectrum is None


def test_every_backend_is_tested() -> None:
    assert set(FAST_KERNELS) == {"fourier", "fourier as on a device", "compiled", "fused"}
