"""`mhfd.best_focus` on frames whose focus is known."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import mhfd
from mhfd.contract import ParamsError, TileError
from phantoms import EmTile, as_uint8, blurred, texture


@cache
def field() -> NDArray[np.float64]:
    """Soft structure of many sizes."""
    rng = np.random.default_rng(11)
    shape = (384, 384)
    return sum(texture(shape, rng, finest=each, coarsest=16 * each) for each in (3.0, 6.0, 12.0)) * 0.07 + 0.5


def frames(best: float, distances: tuple[float, ...], k: float = 1.5, seed: int = 1) -> list[NDArray[np.uint8]]:
    """One field at these distances, with noise."""
    rng = np.random.default_rng(seed)
    noise = [rng.normal(0, 0.04, field().shape) for _ in distances]
    return [
        as_uint8(blurred(field(), float(np.hypot(0.4, k * (z - best)))) + each)
        for z, each in zip(distances, noise, strict=True)
    ]


@pytest.mark.parametrize("best", [-0.6, 0.1, 0.8])
def test_three_frames_give_best_focus_within_a_tenth_of_a_step(best: float) -> None:
    z = (-1.0, 0.0, 1.0)
    found = mhfd.best_focus(frames(best, z), z)
    assert found.bracketed
    assert found.value is not None
    assert found.interval is not None
    assert abs(found.value - best) < 0.1
    assert found.interval[0] < best < found.interval[1]
    assert (found.reason, found.declined, found.sharper) == (None, None, 0)


@pytest.mark.parametrize(("best", "sharper"), [(-3.0, -1), (3.0, 1)])
def test_a_series_beside_the_focus_says_on_which_side_it_lies(best: float, sharper: int) -> None:
    z = (-1.0, 0.0, 1.0)
    found = mhfd.best_focus(frames(best, z), z)
    assert (found.value, found.interval, found.bracketed) == (None, None, False)
    assert (found.reason, found.sharper) == ("not_bracketed", sharper)


def test_files_are_read_and_their_order_does_not_matter(tmp_path: Path) -> None:
    z = (1.0, -1.0, 0.0)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, pixels in zip(paths, frames(0.2, z), strict=True):
        Image.fromarray(pixels).save(path)
    found = mhfd.best_focus(paths, z)
    assert found.value is not None
    assert abs(found.value - 0.2) < 0.1


def test_noise_alone_is_declined() -> None:
    rng = np.random.default_rng(1)
    found = mhfd.best_focus([as_uint8(rng.normal(0.5, 0.1, (256, 256))) for _ in range(3)], [0, 1, 2])
    assert (found.value, found.reason) == (None, "no_content")


@pytest.mark.parametrize("distances", [[0.0, 1.0], [0.0, 1.0, float("nan")]])
def test_each_frame_needs_a_distance(distances: list[float]) -> None:
    pictures: list[Any] = [np.zeros((64, 64), np.uint8)] * 3
    with pytest.raises(ParamsError):
        mhfd.best_focus(pictures, distances)


def test_a_missing_frame_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TileError, match="not_found"):
        mhfd.best_focus([tmp_path / f"{i}.png" for i in range(3)], [0, 1, 2])


def test_the_real_series_does_not_bracket_its_focus(em_tile: EmTile) -> None:
    folder = em_tile("sem-focus-series")
    distances = {"pert-5000": -18.324, "base": -13.324, "pert5000": -8.324}
    files = [next(folder.glob(f"*_{name}.png")) for name in distances]
    found = mhfd.best_focus(files, list(distances.values()))
    assert (found.value, found.reason, found.sharper) == (None, "not_bracketed", 1)
    assert found.slope is not None
    assert found.slope.low < found.slope.value < found.slope.high < 0
    assert found.k is not None
    assert 0 <= found.k.low < found.k.value < found.k.high < 2
