"""D of spectra that are blurred by formula."""

from __future__ import annotations

import numpy as np
import pytest

from mhfd.judge.blur import Array, Spectra, excess_blur, own_blur, tile_blur
from mhfd.scoring import score
from mhfd.spectrum import CELLS, Spectrum
from spectra import PLAIN, Smear, Tissue, spectrum

SHARP = Spectra([spectrum(None)])
FIRST = np.array([0])


def d_of(*found: Spectrum, sharp: Spectra = SHARP) -> tuple[Array, Array]:
    """D of whole tiles against tissue in focus, and its error."""
    return excess_blur(Spectra(found).whole, sharp.whole.ln[0])[:2]


def by_direction(found: Spectrum) -> Array:
    return excess_blur(Spectra([found]).directions, SHARP.directions.ln[0])[0][0]


@pytest.mark.parametrize("sigma", [0.5, 0.7, 1.0, 1.5, 2.0, 2.5, 3.0])
def test_d_is_the_variance_of_the_blur(sigma: float) -> None:
    d, _ = d_of(spectrum(None, sigma))
    assert d[0] == pytest.approx(sigma**2, rel=0.06, abs=0.05)


@pytest.mark.parametrize("tissue", [Tissue(slope=2.0), Tissue(slope=3.0, strength=5e-6), Tissue(strength=1e-4)])
def test_d_is_the_same_on_every_tissue(tissue: Tissue) -> None:
    d, _ = d_of(spectrum(None, 1.5, tissue), sharp=Spectra([spectrum(None, 0, tissue)]))
    assert d[0] == pytest.approx(1.5**2, rel=0.08)


def test_contrast_is_no_blur() -> None:
    half, twice = Tissue(strength=PLAIN.strength / 4), Tissue(strength=PLAIN.strength * 4)
    d, _ = d_of(spectrum(None, 0, half), spectrum(None, 0, twice))
    assert d == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("noise", [{"white": 1e-3}, {"white": 4e-3}, {"in_rows": 1e-3}, {"in_rows": 4e-3}])
def test_noise_is_neither_blur_nor_sharpness(noise: dict[str, float], rng: np.random.Generator) -> None:
    """Twenty times the power of noise, white or correlated along the rows as a scan's is."""
    tiles = [
        spectrum(rng, sigma, white=noise.get("white", 2e-4), in_rows=noise.get("in_rows", 0)) for sigma in (0, 1.5)
    ]
    d, error = d_of(*tiles)
    assert np.all(np.abs(d - [0, 1.5**2]) < 3 * error + 0.1)


@pytest.mark.parametrize("blocks", [4, 16])
def test_the_error_is_honest(blocks: int, rng: np.random.Generator) -> None:
    """Of 300 tiles more than six in seven lie within two errors; and errors are not much too large."""
    sigmas = np.tile([0.0, 1.0, 2.0], 100)
    d, error = d_of(*(spectrum(rng, float(sigma), blocks=blocks) for sigma in sigmas))
    off = np.abs(d - sigmas**2) / error
    assert np.mean(off < 2) > 6 / 7
    assert np.median(off) > 0.3


def test_the_error_grows_as_content_and_signal_shrink() -> None:
    _, usual = d_of(spectrum(None, 1.0))
    _, few = d_of(spectrum(None, 1.0, blocks=1))
    _, noisy = d_of(spectrum(None, 1.0, white=4e-3))
    assert few > 1.5 * usual
    assert noisy > 1.5 * usual


@pytest.mark.parametrize("sigma", [4.0, 6.0, 10.0])
def test_a_tile_of_which_little_is_left_is_at_least_three_px_wide(sigma: float, rng: np.random.Generator) -> None:
    d, _ = d_of(*(spectrum(rng, sigma) for _ in range(10)))
    assert np.median(d) >= 9
    assert np.all(d >= 5)


@pytest.mark.parametrize("seed", [0, 1])
def test_wide_blur_of_soft_tissue_under_noise_is_read_as_wide(seed: int) -> None:
    """Of a block's bins noise leaves two or three, which the window's tail lifts: 6 px read like 3.5 by those alone."""
    rng, side = np.random.default_rng(seed), 512
    f = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    amplitude = np.maximum(f, 1 / 128) ** -1.5 * (f > 0)
    tissue = np.fft.rfft2(rng.standard_normal((side, side))) * amplitude
    tissue /= np.fft.irfft2(tissue).std()
    packed = []
    for sigma in (0, 3, 6):
        blurred = np.fft.irfft2(tissue * np.exp(-2 * (np.pi * f * sigma) ** 2))
        noisy = 128 + 20 * (blurred + 0.65 * rng.standard_normal((side, side)))
        packed.append(score(np.clip(noisy, 0, 255).astype(np.uint8), backend="numpy").spectrum or "")
    spectra = Spectra([Spectrum.unpack(each) for each in packed])
    d, _ = tile_blur(spectra, np.arange(3), spectra.whole.ln[0], spectra.slow[0])
    assert np.sqrt(np.maximum(d, 0)) == pytest.approx([0, 3, 6], abs=0.4)


def test_noise_that_drowns_a_sharp_tile_is_no_blur(rng: np.random.Generator) -> None:
    """Below 1/100 of the dose little can be seen; it is not called blurred for that."""
    d, error = d_of(*(spectrum(rng, white=2e-2) for _ in range(20)))
    assert np.all(np.isnan(d) | (d < 3 * error + 0.1))


@pytest.mark.parametrize("deg", [0, 45, 90, 135])
def test_blur_in_one_direction_is_found_there(deg: int) -> None:
    d = by_direction(spectrum(None, smear=Smear(2.0, deg)))
    along = deg // 45
    assert d[along] == d.max()
    assert d[along] == pytest.approx(4, rel=0.25)
    assert d[(along + 2) % 4] < 0.5


def test_blur_in_all_directions_is_alike_in_each() -> None:
    assert by_direction(spectrum(None, 1.5)) == pytest.approx(1.5**2, rel=0.12)


def test_each_cell_and_quarter_has_its_own_d() -> None:
    sigmas = np.zeros((CELLS, CELLS))
    sigmas[:2, 2:] = 2.0
    found = Spectra([spectrum(None, sigmas)])
    cells = excess_blur(found.cells(FIRST), SHARP.cells(FIRST).ln[0, 0, 0])[0][0]
    quarters = excess_blur(found.quarters, SHARP.quarters.ln[0, 0, 0])[0][0]
    assert cells == pytest.approx(sigmas**2, abs=0.6)
    assert quarters == pytest.approx(np.array([[0, 4], [0, 0]]), abs=0.6)


def test_a_cell_without_content_has_no_d() -> None:
    found = spectrum(None)
    found.blocks[:, 2:], found.by_cell[:, 2:] = 0, np.nan
    spectra = Spectra([found])
    cells = excess_blur(spectra.cells(FIRST), SHARP.cells(FIRST).ln[0, 0, 0])[0][0]
    quarters = excess_blur(spectra.quarters, SHARP.quarters.ln[0, 0, 0])[0][0]
    assert np.isnan(cells[:, 2:]).all()
    assert np.isfinite(cells[:, :2]).all()
    assert np.isnan(quarters[:, 1]).all()


def test_a_power_law_does_not_bend_and_a_blurred_one_does() -> None:
    assert own_blur(SHARP.whole.ln[0]) == pytest.approx(0, abs=0.15)
    assert own_blur(Spectra([spectrum(None, 1.5)]).whole.ln[0]) == pytest.approx(1.5**2, abs=0.4)
