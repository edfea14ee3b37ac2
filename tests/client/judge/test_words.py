"""A judgement in words says how much, and where only if one part stands out."""

from __future__ import annotations

from typing import Any

import pytest

from mhfd.contract import FocusResult, Provenance
from mhfd_client.judge.words import blur_in_words, region

EVEN = ((2.0,) * 4,) * 4
ABOUT = Provenance(mhfd="0", params_sha256="0", backend="numpy", device="cpu")


def row(**keys: Any) -> FocusResult:
    return FocusResult(path="t.tif", status="scored", provenance=ABOUT, **keys)


def one_at(r: int, c: int, blur_px: float) -> tuple[tuple[float | None, ...], ...]:
    """A map that is sharp but for one place, and unknown at another."""
    cells: list[list[float | None]] = [[0.2] * 4 for _ in range(4)]
    cells[(r + 1) % 4][c] = None
    cells[r][c] = blur_px
    return tuple(map(tuple, cells))


def test_without_blur_there_is_nothing_to_say() -> None:
    assert blur_in_words(row()) == ""


def test_blur_is_said_in_pixels_and_where_known_in_nanometres() -> None:
    assert blur_in_words(row(blur_px=2.94)) == "blur 2.9 px"
    assert blur_in_words(row(blur_px=2.94, blur_nm=13.2, pixel_size_nm=4.5)) == "blur 2.9 px (13 nm)"


def test_a_tile_that_is_blurred_alike_has_no_region() -> None:
    assert region(row(blur_px=2.0, blur_map_px=EVEN, worst_block=(0, 0))) == ""


@pytest.mark.parametrize(
    ("worst", "said"),
    [((0, 0), "top left"), ((3, 1), "bottom left"), ((2, 3), "bottom right"), ((0, 3), "top right")],
)
def test_the_worst_part_is_named(worst: tuple[int, int], said: str) -> None:
    blurred = row(blur_px=1.2, blur_map_px=one_at(*worst, 3.0), worst_block=worst)
    assert blur_in_words(blurred) == f"blur 3.0 px at the {said}"


def test_a_half_is_named_and_the_middle() -> None:
    half = (*((0.2,) * 4,) * 2, *((2.5,) * 4,) * 2)
    assert region(row(blur_px=0.4, blur_map_px=half, worst_block=(2, 1))) == "bottom"
    assert region(row(blur_px=0.4, blur_map_px=tuple(zip(*half, strict=True)), worst_block=(1, 2))) == "right"
    inner = ((0.1, 0.1, 0.1, 0.1), (0.1, 2.5, 2.4, 0.1), (0.1, 2.4, 2.5, 0.1), (0.1, 0.1, 0.1, 0.1))
    assert region(row(blur_px=0.4, blur_map_px=inner, worst_block=(1, 1))) == "middle"


def test_of_an_astigmatic_tile_the_direction_is_said() -> None:
    lean = row(blur_px=0.7, verdict="astigmatic", blur_by_direction_px=(0.3, 1.4, 2.2, None))
    assert blur_in_words(lean).startswith("blur 2.2 px down the columns: astigmatism")
