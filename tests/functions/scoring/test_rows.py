"""One look at rows finds the same, compiled or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mhfd.images import blocks, picture
from mhfd.scoring import remarks, rows
from phantoms import as_uint8, texture

Loop = Any


@pytest.fixture(scope="module")
def loops() -> dict[str, Loop]:
    pytest.importorskip("numba")
    modules = {"rows": rows, "blocks": blocks, "picture": picture, "remarks": remarks}
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


def _as_it_is(tile: Any) -> None:
    """Leave a page as it is."""


def _repeated(tile: Any) -> None:
    tile[70] = tile[31]


def _streaks(tile: Any) -> None:
    for row in (40, 120, 200):
        tile[row : row + 2, 30:290] = 250


def _broken_off(tile: Any) -> None:
    tile[240:] = 7


@pytest.mark.parametrize("fault", [_as_it_is, _repeated, _streaks, _broken_off])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_remarks_are_the_same_compiled_or_not(
    dtype: str, fault: Callable[[Any], None], loops: dict[str, Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    tile = (0.6 * as_uint8(0.5 + 0.2 * texture((260, 320), np.random.default_rng(5)))).astype(dtype)
    fault(tile)
    found = []
    for module in (rows, remarks):
        monkeypatch.setattr(module._COMPILED, "made", None)
    found.append(remarks.examine(tile).remarks)
    for name, module in (("rows", rows), ("remarks", remarks)):
        monkeypatch.setattr(module._COMPILED, "made", loops[name])
    found.append(remarks.examine(tile).remarks)
    assert found[0] == found[1] and len(found[0]) == (fault is not _as_it_is)
    assert not (found[0] and loops["remarks"](rows.look(tile)))


def test_a_tile_that_differs_from_row_to_row_needs_no_second_look(loops: dict[str, Loop]) -> None:
    slope = np.add.outer(np.arange(200), np.arange(300)).astype(np.uint16)
    assert loops["remarks"](rows.look(slope))


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
