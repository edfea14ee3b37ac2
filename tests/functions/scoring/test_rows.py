"""One look at rows finds the same, compiled or not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mhfd.images import blocks, picture
from mhfd.scoring import rows
from phantoms import as_uint8, texture

Loop = Any


@pytest.fixture(scope="module")
def loops() -> dict[str, Loop]:
    pytest.importorskip("numba")
    modules = {"rows": rows, "blocks": blocks, "picture": picture}
    return {name: module._compiled() for name, module in modules.items()}


def page(dtype: str, shape: tuple[int, int]) -> Any:
    tile = as_uint8(0.5 + 0.2 * texture(shape, np.random.default_rng(3))).astype(dtype)
    tile[5] = tile[4]
    tile[7] = 100
    return tile


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", [(12, 64), (12, 65), (40, 200), (9, 1025)])
def test_a_look_is_the_same_compiled_or_not(
    dtype: str, shape: tuple[int, int], loops: dict[str, Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    tile = page(dtype, shape)
    monkeypatch.setattr(rows._COMPILED, "made", None)
    expected = rows.look(tile)
    monkeypatch.setattr(rows._COMPILED, "made", loops["rows"])
    found = rows.look(tile)
    assert np.array_equal(found.constant, expected.constant)
    assert list(np.flatnonzero(found.constant)) == [7]
    assert np.array_equal(found.stretches, expected.stretches)
    for numbers in (found.numbers, expected.numbers):
        assert list(np.flatnonzero(rows.shared(numbers))) == [4, 5]


def test_a_part_of_a_page_is_looked_at_as_a_copy_of_it(loops: dict[str, Loop], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows._COMPILED, "made", loops["rows"])
    part = page("uint8", (20, 200))[2:15, 30:130]
    found, expected = rows.look(part), rows.look(part.copy())
    assert np.array_equal(found.numbers, expected.numbers)
    assert np.array_equal(found.stretches, expected.stretches)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("step", [0, 3, 40])
def test_traces_of_jpeg_are_the_same_compiled_or_not(
    dtype: str, step: int, loops: dict[str, Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(4)
    tile = (
        100 + step * rng.integers(0, 2, (25, 25)).repeat(8, 0).repeat(8, 1) + rng.integers(0, 9, (200, 200))
    ).astype(dtype)
    assert loops["blocks"] is not None
    monkeypatch.setattr(blocks._COMPILED, "made", None)
    expected = blocks.shows_jpeg(tile)
    monkeypatch.setattr(blocks._COMPILED, "made", loops["blocks"])
    assert blocks.shows_jpeg(tile) == expected == (step > 0)


def test_a_bar_of_one_level_is_found_compiled_or_not(loops: dict[str, Loop], monkeypatch: pytest.MonkeyPatch) -> None:
    last = np.random.default_rng(5).integers(0, 255, (14, 200), np.uint8)
    for few, expected in ((4, None), (5, 17.0)):
        bar = last.copy()
        bar[-few:, 10:] = 17
        for compiled in (None, loops["picture"]):
            monkeypatch.setattr(picture._COMPILED, "made", compiled)
            assert picture._ground_level(bar) == expected
