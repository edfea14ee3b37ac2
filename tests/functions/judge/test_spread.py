"""Widths of point-spread functions of frames of one field, from spectra by formula."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mhfd.judge.spread import spreads
from mhfd.spectrum import Spectrum
from spectra import SIDE, Smear, spectrum

SHAPE = (SIDE, SIDE)


def brighter(one: Spectrum, factor: float) -> Spectrum:
    """The same frame at so many times the contrast, its noise too."""
    names = ("by_direction", "by_cell", "along_rows", "along_cols", "slow")
    return replace(one, **{name: getattr(one, name) * factor for name in names})


def test_d_is_the_difference_of_the_variances() -> None:
    sigmas = np.array([0.5, 1.0, 2.0, 3.0])
    d, _ = spreads([spectrum(None, sigma) for sigma in sigmas], SHAPE).mean()
    assert d - d.min() == pytest.approx(sigmas**2 - 0.25, rel=0.05, abs=0.02)


def test_wide_blur_that_leaves_the_blocks_only_noise_is_read_from_the_means() -> None:
    sigmas = np.array([0.0, 4.0, 10.0])
    d, covariance = spreads([spectrum(None, sigma) for sigma in sigmas], SHAPE).mean()
    assert d - d.min() == pytest.approx(sigmas**2, rel=0.1)
    assert covariance[2, 2] + covariance[0, 0] - 2 * covariance[0, 2] < (0.2 * 100) ** 2


def test_the_order_of_the_frames_does_not_matter() -> None:
    frames = [spectrum(None, sigma) for sigma in (2.0, 0.0, 1.0)]
    d, _ = spreads(frames, SHAPE).mean()
    turned, _ = spreads(frames[::-1], SHAPE).mean()
    assert d - d.min() == pytest.approx((turned - turned.min())[::-1], abs=1e-3)


def test_contrast_is_not_blur() -> None:
    frames = [spectrum(None, 1.0), brighter(spectrum(None, 1.0), 1.5), brighter(spectrum(None, 1.0), 0.7)]
    d, _ = spreads(frames, SHAPE).mean()
    assert d - d.min() == pytest.approx(np.zeros(3), abs=0.02)


def test_a_lower_dose_is_not_blur() -> None:
    d, _ = spreads([spectrum(None, 1.0, white=white) for white in (5e-5, 2e-4, 1e-3)], SHAPE).mean()
    assert d - d.min() == pytest.approx(np.zeros(3), abs=0.05)


@pytest.mark.parametrize("k", range(4))
def test_blur_of_one_axis_is_found_in_its_direction(k: int) -> None:
    found = spreads([spectrum(None, 0.5), spectrum(None, 0.5, smear=Smear(2.0, 45.0 * k))], SHAPE)
    across = (k + 2) % 4
    assert found.d[1, k] - found.d[0, k] == pytest.approx(4.0, rel=0.1)
    assert found.d[1, across] - found.d[0, across] == pytest.approx(0.0, abs=0.25)


def test_frames_that_differ_by_chance_alone_differ_by_no_more_than_their_errors() -> None:
    rng = np.random.default_rng(11)
    found = []
    for _ in range(40):
        d, covariance = spreads([spectrum(rng, 1.0) for _ in range(3)], SHAPE).mean()
        error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
        found.append((d[0] - d[1]) / error)
    assert 0.2 < np.std(found) < 3  # each a field of its own: their tissue differs more than that of one field
