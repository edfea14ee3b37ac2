"""Focal series whose best focus is known: found with its interval, or declined for the right reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from mhfd.contract import FocusResult
from mhfd.judge.focal import FocalFit, fit_series, measure_series
from mhfd.judge.spread import Spreads
from spectra import row, spectrum

Z = np.linspace(-2, 2, 5)


def widths(d: ArrayLike, error: float = 0.05) -> Spreads:
    """D by frame, alike in all directions, or (n, 4), with independent errors; a common constant is unknown."""
    values = np.asarray(d, dtype=np.float64)
    values = values if values.ndim == 2 else np.repeat(values[:, None], 4, axis=1)
    n = values.size
    return Spreads(values, 4 * error**2 * np.eye(n) + 1e4, misfit=1.0)


def parabola(best: float, k: float = 1.5, z: NDArray[np.float64] = Z) -> NDArray[np.float64]:
    return (k * (z - best)) ** 2 + 0.7


def series(blurs_px: ArrayLike) -> list[FocusResult]:
    return [row(spectrum(None, float(sigma)), f"{i}.tif") for i, sigma in enumerate(np.atleast_1d(blurs_px))]


def fit(d: ArrayLike, z: NDArray[np.float64] = Z, error: float = 0.05) -> FocalFit:
    return fit_series(z, widths(d, error))


# --- A parabola -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("best", [-1.4, 0.0, 0.3, 1.9])
def test_best_focus_is_where_the_parabola_is_least(best: float) -> None:
    found = fit(parabola(best))
    assert found.declined is None
    assert found.best and found.k
    assert found.best.value == pytest.approx(best, abs=1e-6)
    assert found.k.value == pytest.approx(1.5, abs=1e-6)
    assert found.best.low < best < found.best.high
    assert found.k.low < 1.5 < found.k.high
    assert all(each and each.value == pytest.approx(best, abs=1e-6) for each in found.by_direction)


def test_the_floor_is_counted_from_the_sharpest_frame() -> None:
    assert fit(parabola(0.4)).floor == pytest.approx(-((1.5 * 0.4) ** 2), abs=1e-6)


def test_distances_of_any_size_and_order_give_the_same() -> None:
    z = 5200 + 3 * Z[::-1]
    found = fit(parabola(5201.0, 0.5, z), z)
    assert found.best and found.best.value == pytest.approx(5201.0, abs=1e-4)
    assert found.k and found.k.value == pytest.approx(0.5)


def test_frames_may_share_a_distance() -> None:
    z = np.array([-1.0, -1.0, 0.0, 0.0, 1.0])
    found = fit(parabola(0.2, z=z), z)
    assert found.best and found.best.value == pytest.approx(0.2, abs=1e-6)


def test_astigmatism_is_the_difference_of_the_axes() -> None:
    d = np.stack([parabola(each) for each in (0.5, 0.1, -0.3, 0.1)], axis=1)
    found = fit(d)
    assert found.best and found.best.value == pytest.approx(0.1, abs=1e-6)
    rows, diagonal = found.astigmatism
    assert rows and diagonal
    assert rows.value == pytest.approx(0.8, abs=1e-6)
    assert rows.low > 0
    assert diagonal.low < 0 < diagonal.high


def test_intervals_hold_as_often_as_they_say() -> None:
    rng = np.random.default_rng(11)
    for n in (3, 5, 9):
        z = np.linspace(-1.5, 1.5, n)
        held = []
        for _ in range(300):
            best = rng.uniform(-1, 1)
            found = fit(parabola(best, z=z) + rng.normal(0, 0.2, n), z, error=0.2)
            if found.best:
                held.append(found.best.low <= best <= found.best.high)
        assert len(held) > 200
        assert 0.93 <= np.mean(held) <= 1.0


def test_larger_errors_give_longer_intervals() -> None:
    one, other = (fit(parabola(0.2), error=error).best for error in (0.05, 0.5))
    assert one and other
    assert one.high - one.low < other.high - other.low


# --- What is declined -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("best", "side"), [(-4.0, "lowest"), (5.0, "highest")])
def test_a_series_on_one_side_has_a_slope_and_no_best_focus(best: float, side: str) -> None:
    found = fit(parabola(best))
    assert (found.reason, found.best) == ("not_bracketed", None)
    assert found.declined and f"sharpest at the {side} distance" in found.declined
    assert found.slope and found.slope.low < (parabola(best)[-1] - parabola(best)[0]) / 4 < found.slope.high
    assert found.k and found.k.low < 1.5 < found.k.high


def test_a_straight_line_has_a_k_that_may_be_zero() -> None:
    found = fit(3 * Z + 10, error=0.3)
    assert found.reason == "not_bracketed"
    assert found.k is None or found.k.low == 0


def test_blur_that_does_not_change_is_flat() -> None:
    assert fit([2.01, 1.98, 2.0, 2.02, 1.99]).reason == "flat"


def test_zigzag_is_no_parabola() -> None:
    z = np.linspace(-2, 2, 7)
    assert fit([9.0, 0.0, 9.0, 1.0, 8.0, 0.0, 12.0], z).reason == "not_a_parabola"


def test_the_most_blurred_in_the_middle_is_no_parabola() -> None:
    assert fit(10 - parabola(0.0)).reason == "not_a_parabola"


# --- From rows ------------------------------------------------------------------------------------------------------


def test_rows_are_fitted() -> None:
    found = measure_series(series(np.hypot(0.4, 1.2 * (Z - 0.3))), Z.tolist())
    assert found.used == (0, 1, 2, 3, 4)
    assert found.fit.best and found.fit.best.low < 0.3 < found.fit.best.high
    assert found.fit.best.value == pytest.approx(0.3, abs=0.05)
    assert found.d is not None
    assert found.d.argmin() == 2
    assert found.d[2] == 0
    scale = found.verdict_k()
    assert scale and scale.low < 1.2 < scale.high


def test_two_distances_are_too_few() -> None:
    found = measure_series(series([1.0, 0.0, 1.0]), [1.0, 2.0, 2.0])
    assert found.fit.reason == "too_few_distances"


def test_frames_without_content_are_left_out_or_too_many() -> None:
    rows = series(np.hypot(0.4, Z))
    rows[0] = row(None)
    assert measure_series(rows, Z.tolist()).used == (1, 2, 3, 4)
    rows[1] = rows[4] = row(None)
    found = measure_series(rows, Z.tolist()).fit
    assert found.reason == "no_content"
    assert found.declined and "3 frames" in found.declined


def test_frames_of_two_settings_are_no_series() -> None:
    rows = series(np.hypot(0.4, Z))
    rows[2] = replace(rows[2], pixel_size_nm=8.0)
    found = measure_series(rows, Z.tolist()).fit
    assert found.reason == "different_settings"
    assert found.declined and "8 nm/px" in found.declined
