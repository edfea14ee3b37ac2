"""Medians of the noise magnitudes: between bounds and by digits they are the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("numba")
from mhfd.kernel.loops.medians import noise_medians, sample_of_noise
from mhfd.kernel.loops.noise import (
    KINDS,
    SAMPLE_ROWS,
    bins_near_medians,
    count_noise,
    count_noise_within,
    gather_noise,
)
from mhfd.kernel.threads import Workers

Plane = NDArray[np.float32]


def noise(shape: tuple[int, int]) -> Plane:
    return np.random.default_rng(1).normal(0, 0.1, shape).astype(np.float32)


def quiet_where_sampled() -> Plane:
    """The sample sees hardly any noise, so its bounds hold no median."""
    plane = noise((256, 130))
    plane[np.arange(256) % SAMPLE_ROWS < 3] *= np.float32(0.01)
    plane[np.arange(256) % SAMPLE_ROWS > SAMPLE_ROWS - 3] *= np.float32(0.01)
    return plane


TILES = {
    "noise": noise((200, 131)),
    "darker is quieter": noise((200, 160)) * np.where(noise((200, 160)) < 0, 1, 3).astype(np.float32),
    "few grey levels": np.round(noise((200, 131)) * 10) / np.float32(10),
    "much": noise((640, 512)),
    "much, darker is quieter": noise((640, 512)) * np.where(noise((640, 512)) < 0, 1, 3).astype(np.float32),
    "flat": np.zeros((64, 64), np.float32),
    "all lighter": np.ones((64, 64), np.float32),
    "quiet where sampled": quiet_where_sampled(),
    "one row": noise((1, 300)),
    "narrow": noise((300, 3)),
}


class Found:
    """The medians of a plane, by a sample or without, and the loops that were run for them."""

    def __init__(self, plane: Plane, threads: int, *, by_sample: bool) -> None:
        rows, workers, margin = range(len(plane)), Workers(threads), np.float32(1e-3)
        self.grey = np.empty((len(plane), 3))
        self.loops: list[Any] = []

        def run(loop: Any, *arguments: Any) -> list[Any]:
            self.loops.append(loop)
            return workers.run(loop, *arguments)

        (sample,) = workers.run_all(sample_of_noise(plane, rows, margin, self.grey)) if by_sample else ([],)
        room = np.empty((KINDS, plane.size // KINDS), np.float32)
        self.medians = noise_medians(lambda strip: (plane, strip, 0), [rows], margin, self.grey, run, sample, room)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", TILES)
def test_between_bounds_and_by_digits_they_are_the_same(name: str, threads: int) -> None:
    once, twice = (Found(TILES[name], threads, by_sample=by_sample) for by_sample in (True, False))
    assert once.medians == twice.medians
    assert np.array_equal(once.grey, twice.grey)


@pytest.mark.parametrize("threads", [1, 3])
def test_much_noise_is_passed_over_once(threads: int) -> None:
    assert Found(TILES["much"], threads, by_sample=True).loops == [gather_noise]
    assert Found(TILES["much"], threads, by_sample=False).loops == [count_noise, count_noise_within]


def test_bins_near_medians_are_those_of_the_sorted_elements() -> None:
    histograms = np.random.default_rng(2).integers(0, 3, (KINDS, 512)).astype(np.int32)
    histograms[3] = 0
    sums = np.array([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]], bool)
    found: Any = bins_near_medians(histograms, sums, 0.1)
    for chosen, bins in zip(sums[:2], found, strict=False):
        elements = np.repeat(np.arange(512), histograms[chosen].sum(axis=0))
        assert bins.tolist() == [elements[int(share * len(elements))] for share in (0.4, 0.6)]
    assert found[2].tolist() == [-1, -1]
