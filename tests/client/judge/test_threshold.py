"""The threshold that tells sorted tiles apart, and what it does to a run."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from mhfd_client.judge.run import Tile
from mhfd_client.judge.threshold import changed, choose, flag_of
from spectra import row


def tile(k: int, flag_px: float | None, blur_px: float | None = 1.0) -> Tile:
    return Tile(k, f"{k}.tif", None, 0.0, (0, 0, k), None, row(None, flag_px=flag_px, blur_px=blur_px))


def test_tiles_that_do_not_overlap_are_told_apart_between_them() -> None:
    found = choose([0.0, 0.3, 0.5, 0.6], [1.5, 2.0, 3.0])
    assert found.auc == 1.0
    assert found.chosen is not None
    assert 0.6 < found.chosen.max_blur_px < 1.5
    assert (found.chosen.caught, found.chosen.false) == (1.0, 0.0)


def test_of_overlapping_tiles_most_are_told_apart() -> None:
    good, bad = [0.3, 0.4, 0.5, 0.6, 0.7, 1.3], [0.55, 1.0, 1.2, 1.4, 1.6, 2.0]
    found = choose(good, bad)
    assert found.auc == pytest.approx(sum((b > g) + 0.5 * (b == g) for b in bad for g in good) / 36)
    assert found.chosen is not None
    assert 0.7 < found.chosen.max_blur_px < 1.0
    assert (found.chosen.caught, found.chosen.false) == pytest.approx((5 / 6, 1 / 6))


def test_the_curve_runs_from_all_flagged_to_none() -> None:
    curve = choose([0.3, 0.5], [1.5, 2.0]).curve
    assert (curve[0].caught, curve[0].false) == (1.0, 1.0)
    assert (curve[-1].caught, curve[-1].false) == (0.0, 0.0)
    limits = [point.max_blur_px for point in curve]
    assert limits == sorted(limits)
    assert all(one.caught >= two.caught and one.false >= two.false for one, two in pairwise(curve))


def test_tiles_that_are_alike_cannot_be_told_apart() -> None:
    rng = np.random.default_rng(1)
    found = choose(rng.uniform(0.2, 2, 30).tolist(), rng.uniform(0.2, 2, 30).tolist())
    assert found.chosen is None
    assert 0.3 < found.auc < 0.7


def test_sorted_the_wrong_way_round_nothing_is_chosen() -> None:
    found = choose([2.0, 3.0, 2.5, 2.2], [0.2, 0.3, 0.4, 0.1])
    assert (found.chosen, found.auc) == (None, 0.0)


def test_one_tile_of_each_kind_is_too_little() -> None:
    assert choose([0.3], [2.0]).chosen is None


def test_a_tile_that_nothing_flags_counts_as_sharp_and_one_without_blur_not_at_all() -> None:
    assert flag_of(tile(0, 1.2)) == 1.2
    assert flag_of(tile(0, None)) == 0.0
    assert flag_of(tile(0, None, None)) is None


def test_what_another_threshold_does_to_a_run() -> None:
    tiles = [tile(0, None), tile(1, 0.9), tile(2, 1.05), tile(3, 1.2), tile(4, 3.0), tile(5, None, None)]
    assert changed(tiles, 1.1, 1.0) == (5, 2, 1, 0)
    assert changed(tiles, 1.1, 1.5) == (5, 2, 0, 1)
    assert changed(tiles, 1.1, 1.1) == (5, 2, 0, 0)
