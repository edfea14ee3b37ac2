"""A trend is told soon, once, and not of single tiles; it ends with the refocus."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mhfd.contract import FocusResult, Verdict
from mhfd.judge.trend import BACK_TILES, LIMIT, MOST, SLACK, Share, Trend, counts, followed
from spectra import row
from spectra import spectrum as spectrum_of


def worse_at(d: Iterable[float]) -> list[bool]:
    """After each tile whether focus is getting worse."""
    trend, found = Trend(), []
    for each in d:
        trend = trend.after(each)
        found.append(trend.worse)
    return found


SHARP = [0.05] * 20


def test_sharp_tiles_are_no_trend() -> None:
    assert not any(worse_at(SHARP * 100))


def test_tiles_at_one_pixel_are_told_within_eight() -> None:
    assert worse_at([*SHARP, *[1.0] * 8])[len(SHARP) :].index(True) < 8


def test_a_slow_drift_is_told_before_it_reaches_one_and_a_half_pixels() -> None:
    drift = list(np.linspace(0, 2.5, 200) ** 2)
    assert drift[worse_at([*SHARP, *drift]).index(True) - len(SHARP)] < 1.5**2


@pytest.mark.parametrize("blur_px", [3.0, 30.0])
def test_a_single_bad_tile_is_no_trend(blur_px: float) -> None:
    assert not any(worse_at([*SHARP, blur_px**2, *SHARP] * 20))


def test_the_rise_is_dated_from_its_first_tile() -> None:
    trend = Trend()
    for each in [*SHARP, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]:
        trend = trend.after(each)
    assert (trend.worse, trend.since) == (True, len(SHARP) + 2)


def test_a_refocus_ends_it_and_the_same_drift_is_not_told_again() -> None:
    drift = list(np.linspace(0, 2, 60) ** 2)
    found = worse_at([*SHARP, *drift, *SHARP * 10])
    after = len(SHARP) + len(drift)
    assert found[after - 1] and found[after : after + BACK_TILES - 1] == [True] * (BACK_TILES - 1)
    assert not any(found[after + BACK_TILES :])


def test_one_sharp_tile_is_no_refocus() -> None:
    assert worse_at([*SHARP, *[2.0] * 10, 0.0, *[2.0] * 10])[-1]


def test_a_second_drift_after_a_refocus_is_told() -> None:
    found = worse_at([*SHARP, *[2.0] * 10, *SHARP, *[2.0] * 10])
    assert [found[k] and not found[k - 1] for k in range(1, len(found))].count(True) == 2


def test_after_a_refocus_the_level_is_that_of_the_tiles_since() -> None:
    trend = Trend()
    for each in [*SHARP, *[2.0] * 10, *[0.2] * 20]:
        trend = trend.after(each)
    assert (trend.worse, trend.level) == (False, pytest.approx(0.2))


def test_a_start_in_the_middle_of_a_drift_is_no_level() -> None:
    assert worse_at([1.0] * 8)[-1]


@given(st.lists(st.floats(0, 50, allow_nan=False), max_size=80))
def test_the_alarm_is_that_of_the_sum(d: list[float]) -> None:
    trend = Trend()
    for each in d:
        before, trend = trend, trend.after(each)
        assert 0 <= trend.total <= LIMIT + MOST - SLACK
        assert trend.worse or trend.total <= LIMIT
        assert trend.tiles == before.tiles + 1


# --- k of n -------------------------------------------------------------------------------------------------------


def test_many_begins_with_k_of_n_and_ends_below_half_of_k() -> None:
    share = Share(4, 10)
    said = []
    for bad in [True] * 4 + [False] * 10:
        share = share.after(bad)
        said.append(share.many)
    assert said == [False] * 3 + [True] + [True] * 8 + [False] * 2
    assert share.bad == 0


def test_bad_tiles_further_apart_than_n_are_not_many() -> None:
    share = Share(2, 5)
    for bad in ([True] + [False] * 4) * 10:
        share = share.after(bad)
        assert not share.many


# --- Results ------------------------------------------------------------------------------------------------------


def judged(verdict: Verdict, blur_px: float | None) -> FocusResult:
    return replace(row(spectrum_of(None), "t.tif"), verdict=verdict, blur_px=blur_px)


@pytest.mark.parametrize("verdict", ["no_content", "cannot_tell", "failed"])
def test_tiles_that_tell_nothing_of_focus_do_not_count(verdict: Verdict) -> None:
    tiles = [judged(verdict, 3.0)] * 50
    assert not any(map(counts, tiles))
    assert followed(tiles, Trend(), Share(2, 5)) == (Trend(), Share(2, 5))


def test_results_are_followed_tile_by_tile() -> None:
    tiles = [judged("in_focus", 0.2)] * 10 + [judged("out_of_focus", 2.0)] * 6
    trend, share = followed(tiles, Trend(), Share(5, 20))
    assert (trend.worse, share.many, share.bad, trend.tiles) == (True, True, 6, 16)
    half = followed(tiles[:9], Trend(), Share(5, 20))
    assert followed(tiles[9:], *half) == (trend, share)
