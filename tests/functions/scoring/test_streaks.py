"""Bright streaks of a specimen that charges."""

from __future__ import annotations

import numpy as np
import pytest

from mhfd.scoring.rows import look
from mhfd.scoring.streaks import charging
from phantoms import Plane, texture

SHAPE = (512, 512)


def tile(rng: np.random.Generator) -> Plane:
    return np.asarray(128 + 25 * texture(SHAPE, rng) + rng.normal(0, 8, SHAPE))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_streaks_are_told(dtype: type, rng: np.random.Generator) -> None:
    pixels = tile(rng)
    for row in (40, 150, 290, 400):
        pixels[row : row + 2, 60:400] += 110
    remark = charging(look(np.clip(pixels, 0, 255).astype(dtype)).stretches)
    assert remark is not None
    assert remark.code == "charging"
    assert remark.message.startswith("4 bright streaks")


def test_tissue_resin_dark_streaks_and_a_drawn_line_are_none(rng: np.random.Generator) -> None:
    dark, line = tile(rng), tile(rng)
    for row in (40, 150, 290, 400):
        dark[row : row + 2, 60:400] -= 110
    line[255] = 255
    for pixels in (tile(rng), rng.normal(128, 10, SHAPE), dark, line, tile(rng) + rng.normal(0, 3, (512, 1))):
        assert charging(look(pixels).stretches) is None


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (40, 5), (9, 128), (30, 100)])
def test_a_small_tile_is_no_error(shape: tuple[int, int]) -> None:
    assert charging(look(np.zeros(shape, np.uint8)).stretches) is None


def test_the_mean_of_the_stretches_is_that_of_the_tile(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 255, SHAPE, np.uint8)
    assert look(pixels).stretches.mean() == pytest.approx(pixels.mean(), rel=0.01)
