"""The compiled kernel: any cut of a tile and any number of threads give the same result."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agreement import assert_agree
from mhfd.contract import FocusParams, TileError
from mhfd.kernel.measures import FeatureList, Measures

pytest.importorskip("numba")
from mhfd.kernel import compiled

Result = tuple[Measures, FeatureList]
DEFAULT = FocusParams()


def spots(shape: tuple[int, int], dtype: Any = np.uint8, seed: int = 1) -> NDArray[Any]:
    """Structure of all sizes in noise."""
    rng = np.random.default_rng(seed)
    picture = rng.normal(0, 12, shape)
    for side in (2, 5, 12, 40):
        coarse = rng.normal(0, 20, (-(-shape[0] // side), -(-shape[1] // side)))
        picture += np.kron(coarse, np.ones((side, side)))[: shape[0], : shape[1]]
    grey = np.clip(picture + 128, 0, 255)
    return np.asarray((grey * (200 if np.dtype(dtype).itemsize == 2 else 1)).astype(dtype))


def same(ours: Result, theirs: Result) -> bool:
    """True if two results are equal to the last bit."""
    return ours[0] == theirs[0] and all(
        np.array_equal(a, b) for a, b in zip(astuple(ours[1]), astuple(theirs[1]), strict=True)
    )


def least_bytes(tile: NDArray[Any], params: FocusParams) -> int:
    """The bytes that the error of a hopeless budget names."""
    with pytest.raises(TileError) as caught:
        compiled.measure(tile, params, max_bytes=1)
    return next(int(word) for word in str(caught.value).split() if word.isdigit() and int(word) > 10**5)


# --- Strips -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "params"),
    [
        ((1500, 130), DEFAULT),
        ((1501, 131), FocusParams(polarity="both")),
        ((1333, 70), FocusParams(n_scales=5, max_t=9, polarity="bright")),
        ((1100, 90), FocusParams(mode="paper", n_scales=6, max_t=13)),
        ((1101, 91), FocusParams(mode="paper", n_scales=4, max_t=3)),
    ],
    ids=["default", "both", "few scales", "paper", "paper, small scales"],
)
@pytest.mark.parametrize("share", [1.0, 1.2])
def test_strips_give_exactly_the_features_of_one_piece(
    shape: tuple[int, int], params: FocusParams, share: float
) -> None:
    tile = spots(shape)
    budget = int(share * least_bytes(tile, params))
    assert same(compiled.measure(tile, params, max_bytes=budget), compiled.measure(tile, params))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64, np.int32, ">u2", np.float16])
def test_strips_give_exactly_the_numbers_of_one_piece_for_every_type(dtype: Any) -> None:
    tile, params = spots((900, 60), dtype), FocusParams(n_scales=4, max_t=5)
    budget = least_bytes(tile, params)
    assert same(compiled.measure(tile, params, max_bytes=budget), compiled.measure(tile, params))


def test_strips_on_levels_above_the_first_agree_with_the_reference() -> None:
    tile, params = spots((900, 300)), FocusParams(n_scales=6, max_t=20)
    budget = least_bytes(tile, params)
    assert_agree(lambda t, p: compiled.measure(t, p, max_bytes=budget), tile, params)


def test_of_several_strips_one_image_is_there_at_a_time() -> None:
    tile, params, budget = spots((3176, 8000)), FocusParams(n_scales=1, max_t=2), 91 * 2**20
    most: dict[str, int] = {}

    def lap(phase: str) -> None:
        most.setdefault(phase, tracemalloc.get_traced_memory()[1])

    tracemalloc.start()
    compiled.measure(tile, params, max_bytes=budget, threads=2, lap=lap)
    tracemalloc.stop()
    assert most["normalise and noise"] < budget / 2  # an image and what it is made of, no maximum over scale


def test_memory_stays_within_the_budget() -> None:
    tile, budget = spots((3000, 3000)), 80 * 2**20
    compiled.measure(tile[:300], DEFAULT)
    tracemalloc.start()
    compiled.measure(tile, DEFAULT, max_bytes=budget)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak <= budget


def test_a_budget_too_small_for_a_strip_is_told_with_what_is_needed() -> None:
    tile = spots((2000, 100))
    needed = least_bytes(tile, DEFAULT)
    with pytest.raises(TileError, match=f"needs {needed} bytes.*max_host_bytes is {needed - 1}") as caught:
        compiled.measure(tile, DEFAULT, max_bytes=needed - 1)
    assert caught.value.code == "out_of_memory"
    compiled.measure(tile, DEFAULT, max_bytes=needed)


class Rows:
    """A tile that only gives its rows, like a file that is read as needed."""

    def __init__(self, tile: NDArray[Any]) -> None:
        self._tile = tile
        self.shape, self.dtype, self.size = tile.shape, tile.dtype, tile.size
        self.most = 0

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        part = self._tile[rows]
        self.most = max(self.most, len(part))
        return part.copy()


@pytest.mark.parametrize("mode", ["robust", "paper"])
def test_a_tile_may_offer_its_rows_only(mode: Any) -> None:
    tile, params = spots((300, 140)), FocusParams(mode=mode, max_t=5)
    assert same(compiled.measure(Rows(tile), params), compiled.measure(tile, params))


def test_a_large_tile_is_never_asked_for_as_a_whole() -> None:
    tile = Rows(np.zeros((40_000, 64), np.uint8))
    compiled.measure(tile, FocusParams(n_scales=1, max_t=2))
    assert tile.most < 20_000


# --- Threads ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(600, 500), (301, 260), (50, 400), (3, 90), (1, 1)])
@pytest.mark.parametrize("mode", ["robust", "paper"])
def test_the_number_of_threads_changes_nothing(shape: tuple[int, int], mode: Any) -> None:
    tile, params = spots(shape), FocusParams(mode=mode)
    alone = compiled.measure(tile, params)
    assert all(same(compiled.measure(tile, params, threads=threads), alone) for threads in (2, 3, 8))


def test_threads_and_strips_together_change_nothing() -> None:
    tile = spots((1000, 300), np.float32)
    strips = compiled.measure(tile, DEFAULT, threads=2, max_bytes=least_bytes(tile, DEFAULT) * 3)
    assert same(strips, compiled.measure(tile, DEFAULT))


def test_many_callers_at_a_time_do_not_disturb_each_other() -> None:
    tiles = [spots((300, 280), seed=seed) for seed in range(4)]
    alone = [compiled.measure(tile, DEFAULT) for tile in tiles]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda tile: compiled.measure(tile, DEFAULT, threads=2), tiles * 4))
    assert all(same(ours, theirs) for ours, theirs in zip(together, alone * 4, strict=True))


# --- Scales -----------------------------------------------------------------------------------------------------


def scale_sets(*edges: int) -> list[tuple[int, int]]:
    return list(pairwise(edges))


@pytest.mark.parametrize("sets", [scale_sets(0, 8, 16), scale_sets(0, 1, 5, 16), scale_sets(*range(17))], ids=len)
@pytest.mark.parametrize("mode", ["robust", "paper"])
def test_scales_shared_out_agree_with_the_reference(sets: list[tuple[int, int]], mode: Any) -> None:
    tile = spots((280, 270))
    assert_agree(lambda t, p: compiled.measure(t, p, scale_sets=sets), tile, FocusParams(mode=mode))


def test_scales_shared_out_in_strips_give_exactly_the_features_of_one_piece() -> None:
    tile, sets = spots((1300, 128)), [(0, 7), (7, 12), (12, 16)]
    budget = 3 * least_bytes(tile, DEFAULT)
    whole = compiled.measure(tile, DEFAULT, scale_sets=sets)
    assert same(compiled.measure(tile, DEFAULT, scale_sets=sets, max_bytes=budget), whole)


@pytest.mark.parametrize(
    ("shape", "params"),
    [
        ((300, 280), FocusParams(n_scales=64)),
        ((64, 60), FocusParams(n_scales=260, max_t=5)),
        ((130, 90), FocusParams(max_t=150, n_scales=8)),
        ((310, 300), FocusParams(min_t=20, max_t=40, n_scales=3)),
        ((290, 301), FocusParams(mode="paper", max_t=40, n_scales=5)),
    ],
    ids=["64 scales", "more scales than a byte counts", "wider than the tile", "large ones only", "paper, large ones"],
)
def test_any_scales_agree_with_the_reference(shape: tuple[int, int], params: FocusParams) -> None:
    assert_agree(compiled.measure, spots(shape), params)


def test_very_large_scales_on_a_large_tile_agree_with_the_transforms() -> None:
    from mhfd.kernel import fourier  # the reference would take minutes

    tile, params = spots((1000, 1000)), FocusParams(max_t=150, n_scales=12)
    ours, theirs = compiled.measure(tile, params)[0], fourier.measure(tile, params)[0]
    assert abs(ours.features - theirs.features) <= max(2, 0.001 * theirs.features)
    assert ours.focus_score == pytest.approx(theirs.focus_score, rel=1e-3)
