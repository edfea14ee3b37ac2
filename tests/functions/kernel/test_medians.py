"""Medians of the noise magnitudes: between bounds and by digits they are the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("numba")
from mhfd.kernel.loops.medians import noise_medians, sample_of_noise
from mhfd.kernel.loops.noise import KINDS, SAMPLE_ROWS
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
    "flat": np.zeros((64, 64), np.float32),
    "all lighter": np.ones((64, 64), np.float32),
    "quiet where sampled": quiet_where_sampled(),
    "one row": noise((1, 300)),
    "narrow": noise((300, 3)),
}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", TILES)
def test_between_bounds_and_by_digits_they_are_the_same(name: str, threads: int) -> None:
    plane = TILES[name]
    strip = range(len(plane))

    def found(room: Plane | None) -> tuple[Any, NDArray[np.float64]]:
        grey, workers, margin = np.empty((len(plane), 3)), Workers(threads), np.float32(1e-3)
        (sampled,) = workers.run_all(sample_of_noise(plane, strip, margin, grey))
        guided = None if room is None else (sampled, room)
        return noise_medians(lambda strip: (plane, strip, 0), [strip], margin, grey, workers.run, guided), grey

    medians, grey = found(np.empty((KINDS, plane.size // KINDS), np.float32))
    again, same_grey = found(None)
    assert medians == again
    assert np.array_equal(grey, same_grey)
