"""Tiles that are much darker than their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from mhfd.contract import FocusResult, Provenance
from mhfd_client.judge.darker import darker_than_neighbours, with_darker_tiles

ALIKE = [120.0, 124.0, 118.0, 121.0, 119.0]


@pytest.mark.parametrize("grey", [0.0, 40.0, 85.0])
def test_a_much_darker_tile_is_told(grey: float) -> None:
    remark = darker_than_neighbours(grey, ALIKE)
    assert remark is not None
    assert remark.code == "darker_than_neighbours"
    assert "120" in remark.message


@pytest.mark.parametrize("grey", [95.0, 120.0, 250.0])
def test_a_little_darker_or_brighter_is_not(grey: float) -> None:
    assert darker_than_neighbours(grey, ALIKE) is None


def test_neighbours_that_differ_among_themselves_tell_nothing() -> None:
    assert darker_than_neighbours(60, [40, 120, 200, 90, 150]) is None


@pytest.mark.parametrize("neighbours", [[], [120.0, 120.0], [0.0, 0.0, 0.0]])
def test_too_few_or_black_neighbours_tell_nothing(neighbours: list[float]) -> None:
    assert darker_than_neighbours(0, neighbours) is None


def tile(grey: float | None, **keys: Any) -> FocusResult:
    about = Provenance(mhfd="0", params_sha256="0", backend="numpy", device="cpu")
    return FocusResult(
        path="t.tif", status="scored", provenance=about, shape=(64, 64), dtype="uint8", grey=grey, **keys
    )


def told(results: Sequence[FocusResult], sections: Sequence[int | None]) -> list[int]:
    return [i for i, row in enumerate(with_darker_tiles(results, sections)) if row.remarks]


def test_a_tile_is_compared_with_those_of_its_section() -> None:
    rows = [tile(grey) for grey in (*ALIKE, 40.0, 42.0, 41.0, 43.0, 40.5)]
    assert told([*rows[:5], tile(41.0)], [1] * 6) == [5]
    assert told(rows, [1] * 5 + [2] * 5) == []


def test_resin_and_tiles_of_unknown_section_or_grey_are_left_alone() -> None:
    bright = [tile(250.0, verdict="no_content") for _ in range(5)]
    assert told([*bright, *map(tile, ALIKE)], [1] * 10) == []
    assert told([*map(tile, ALIKE), tile(None)], [1] * 6) == []
    assert told([*map(tile, ALIKE), tile(40.0)], [None] * 6) == []
