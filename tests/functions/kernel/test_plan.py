"""The plan of the cascade: in the frequency domain its steps are the Gaussians they stand for."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from mhfd.contract import FocusParams
from mhfd.kernel.plan import (
    CLOSE,
    HALF_WIDTH,
    LEVEL_T,
    TOLERANCE,
    CascadePlan,
    Decimate,
    Smooth,
    interpolators,
    plan,
    transfer,
)

SHAPE = (1024, 1024)
OMEGA = np.linspace(0, np.pi, 4001)

PARAMS = [
    FocusParams(),
    FocusParams(n_scales=1, min_t=2, max_t=5),
    FocusParams(n_scales=64),
    FocusParams(n_scales=1024),
    FocusParams(min_t=0.1),
    FocusParams(n_scales=12, min_t=0.5, max_t=3),
    FocusParams(n_scales=1000, min_t=0.1, max_t=0.3),
    FocusParams(n_scales=4, min_t=10, max_t=150),
    FocusParams(n_scales=5, min_t=100, max_t=400),
    FocusParams(n_scales=20, min_t=16),
]


def name(params: FocusParams) -> str:
    return f"{params.n_scales} scales {params.min_t:g} to {params.max_t:g}"


def responses(made: CascadePlan) -> dict[int, NDArray[np.float64]]:
    """Response of each D_i to waves along one axis, by frequency, from the steps of the plan."""
    smoothed = np.ones_like(OMEGA)
    found = {}
    for step in made.steps:
        if isinstance(step, Smooth):
            source = np.ones_like(OMEGA) if step.from_image else smoothed
            lags = step.step * 2**step.level * np.arange(1, len(step.taps) + 1)
            target = source + source * (2 * (np.cos(np.outer(OMEGA, lags)) - 1) @ np.array(step.taps))
            if step.scale_index is not None:
                found[step.scale_index] = step.t * (target - smoothed)
            smoothed = target
    return found


@pytest.mark.parametrize("close", [False, True], ids=["", "close"])
@pytest.mark.parametrize("params", PARAMS, ids=name)
def test_each_response_is_the_difference_of_its_gaussians(params: FocusParams, close: bool) -> None:
    made = responses(plan(params, SHAPE, close=close))
    assert list(made) == list(range(params.n_scales))
    for i, (t, u) in enumerate(pairwise(params.scales)):
        exact = t * (transfer(u, OMEGA) - transfer(t, OMEGA))
        # Errors of the steps before add up, each smoothed by those that follow.
        assert np.abs(made[i] - exact).max() < 5 * TOLERANCE


def test_a_range_of_scales_starts_by_way_of_larger_steps() -> None:
    whole, part = plan(FocusParams(), SHAPE), plan(FocusParams(), SHAPE, 10, 14)
    assert list(responses(part)) == [10, 11, 12, 13]
    assert len(part.steps) < len(whole.steps)
    for i, response in responses(part).items():
        assert np.allclose(response, responses(whole)[i], atol=10 * TOLERANCE)


@pytest.mark.parametrize("params", PARAMS, ids=name)
def test_pixels_are_left_out_only_where_the_gaussian_left_nothing_finer(params: FocusParams) -> None:
    t, level = 0.0, 0
    for step in plan(params, SHAPE).steps:
        if isinstance(step, Decimate):
            level += 1
            assert step.level == level
            assert t >= LEVEL_T * 2**level
        else:
            assert step.level == level
            t = step.u


def test_default_scales_take_few_taps() -> None:
    """Sampled Gaussians from scale to scale, cut at six deviations, take 404 pairs at full resolution."""
    taps = sum(len(step.taps) / 4**step.level for step in plan(FocusParams(), SHAPE).steps if isinstance(step, Smooth))
    assert taps < 55


def gain(step: Smooth) -> float:
    """Of the frequency that a step magnifies most."""
    lags = step.step * np.arange(1, len(step.taps) + 1)
    return float(np.abs(1 + 2 * (np.cos(np.outer(OMEGA, lags)) - 1) @ np.array(step.taps)).max())


@pytest.mark.parametrize("shape", [SHAPE, (97, 120)])
@pytest.mark.parametrize("params", [*PARAMS, FocusParams(n_scales=40)], ids=name)
def test_close_taps_magnify_nothing_where_they_take_the_place_of_wide_ones(
    params: FocusParams, shape: tuple[int, int]
) -> None:
    wide, close = (plan(params, shape, close=close).steps for close in (False, True))
    for before, after in zip(wide, close, strict=True):
        if isinstance(before, Smooth) and isinstance(after, Smooth) and before != after:
            assert before.step > CLOSE[0] >= after.step and len(after.taps) <= CLOSE[1]
            assert gain(after) < 1 + 1e-5


def test_the_default_scales_come_in_close_taps() -> None:
    made = plan(FocusParams(), SHAPE, close=True)
    assert all(step.step <= CLOSE[0] for step in made.steps if isinstance(step, Smooth))


def test_a_tile_smaller_than_the_widest_gaussian_stays_at_full_resolution() -> None:
    made = plan(FocusParams(), (90, 2000))
    assert (made.levels, made.margin) == (1, 0)


@pytest.mark.parametrize("params", PARAMS, ids=name)
def test_the_halo_is_a_multiple_of_the_coarsest_spacing(params: FocusParams) -> None:
    made = plan(params, SHAPE)
    assert made.halo % made.spacing == 0
    assert made.margin % made.spacing == 0


@pytest.mark.parametrize("level", [1, 2, 3])
def test_interpolation_brings_back_what_was_between_the_samples(level: int) -> None:
    spacing = 2**level
    samples = spacing * np.arange(1 - HALF_WIDTH, HALF_WIDTH + 1)
    for omega in np.linspace(0, np.pi / spacing, 50):
        left = float(transfer(LEVEL_T * spacing, np.array([omega]))[0])
        for place, weights in enumerate(interpolators(level)):
            for phase in (0.0, 1.0):
                error = weights @ np.cos(omega * samples + phase) - np.cos(omega * place + phase)
                assert abs(error) * left < TOLERANCE


@pytest.mark.parametrize("level", [1, 2, 3])
def test_interpolation_takes_a_sample_as_it_is_and_keeps_flat_ground(level: int) -> None:
    weights = interpolators(level)
    assert np.array_equal(weights[0] != 0, np.arange(2 * HALF_WIDTH) == HALF_WIDTH - 1)
    assert np.allclose(weights.sum(axis=1), 1, atol=2e-7)
