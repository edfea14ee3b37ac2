"""One look at rows finds the same, compiled or not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mhfd.scoring import rows
from phantoms import as_uint8, texture

Loop = Any


@pytest.fixture(scope="module")
def compiled() -> Loop:
    pytest.importorskip("numba")
    return rows._compiled()


def page(dtype: str, shape: tuple[int, int]) -> Any:
    tile = as_uint8(0.5 + 0.2 * texture(shape, np.random.default_rng(3))).astype(dtype)
    tile[5] = tile[4]
    tile[7] = 100
    return tile


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", [(12, 64), (12, 65), (40, 200), (9, 1025)])
def test_a_look_is_the_same_compiled_or_not(
    dtype: str, shape: tuple[int, int], compiled: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    tile = page(dtype, shape)
    monkeypatch.setattr(rows._COMPILED, "made", None)
    expected = rows.look(tile)
    monkeypatch.setattr(rows._COMPILED, "made", compiled)
    found = rows.look(tile)
    assert np.array_equal(found.constant, expected.constant)
    assert list(np.flatnonzero(found.constant)) == [7]
    assert np.array_equal(found.stretches, expected.stretches)
    for numbers in (found.numbers, expected.numbers):
        assert list(np.flatnonzero(rows.shared(numbers))) == [4, 5]


def test_a_part_of_a_page_is_looked_at_as_a_copy_of_it(compiled: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows._COMPILED, "made", compiled)
    part = page("uint8", (20, 200))[2:15, 30:130]
    found, expected = rows.look(part), rows.look(part.copy())
    assert np.array_equal(found.numbers, expected.numbers)
    assert np.array_equal(found.stretches, expected.stretches)
