"""A judgement in words says how much, and where only if one part stands out."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from mhfd.contract import Acquisition, Doubt, FocusResult, Provenance
from mhfd_client.judge.words import (
    DOUBTS,
    blur_in_full,
    blur_in_numbers,
    blur_in_words,
    cause,
    part_in_words,
    part_px,
    region,
    told_px,
)

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


def test_the_number_that_is_told_is_that_of_what_was_flagged() -> None:
    """Over the whole tile a sharp half hides a blurred one, and a sharp direction the other."""
    half = row(blur_px=0.4, blur_map_px=one_at(2, 1, 4.1), worst_block=(2, 1), verdict="out_of_focus")
    one_way = row(blur_px=0.5, blur_by_direction_px=(2.3, 1.2, 0.1, 1.1), verdict="astigmatic")
    whole = row(blur_px=2.1, blur_map_px=EVEN, worst_block=(0, 0), verdict="out_of_focus")
    assert [told_px(each) for each in (half, one_way, whole, row())] == [4.1, 2.3, 2.1, None]
    assert [blur_in_numbers(each) for each in (half, one_way, whole, row())] == ["0.4 (4.1)", "0.5", "2.1", ""]


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


# --- In detail --------------------------------------------------------------------------------------------------


def test_a_half_has_the_blur_of_its_cells_and_a_quarter_too() -> None:
    half = ((0.2, 0.2, 3.0, 3.0),) * 4
    found = row(blur_px=0.4, blur_map_px=half, worst_block=(0, 2))
    assert (part_in_words(found), part_px(found)) == ("right half", pytest.approx(3.0))
    corner = row(blur_px=0.4, blur_map_px=one_at(0, 0, 4.0), worst_block=(0, 0))
    assert part_in_words(corner) == "top left quarter"
    assert part_px(corner) == pytest.approx(((16 + 2 * 0.04) / 3) ** 0.5)  # of its four cells one is unknown


def test_a_part_that_is_no_half_is_named_by_its_place() -> None:
    cells = [[0.1] * 4 for _ in range(4)]
    cells[1] = cells[2] = [2.5, 0.1, 0.1, 2.5]
    found = row(blur_px=0.4, blur_map_px=tuple(map(tuple, cells)), worst_block=(1, 0))
    assert part_in_words(found) == "part in row 2, column 1 of the map"
    assert part_in_words(row(blur_px=2.0, blur_map_px=EVEN, worst_block=(0, 0))) == ""


@pytest.mark.parametrize(
    ("by_direction", "said"),
    [
        ((2.0, 2.1, 1.9, 2.0), "blur 2.0 px in all directions"),
        ((2.9, 2.0, 1.0, 2.0), "blur 2.0 px, most along the rows (2.9 px)"),
    ],
)
def test_a_blur_is_in_all_directions_or_most_in_one(by_direction: tuple[float, ...], said: str) -> None:
    assert blur_in_full(row(blur_px=2.0, verdict="out_of_focus", blur_by_direction_px=by_direction)) == said


def lean(*by_direction: float, **keys: Any) -> FocusResult:
    return row(blur_px=0.7, verdict="astigmatic", blur_by_direction_px=by_direction, **keys)


ALONG_ROWS, DIAGONAL = (2.2, 1.4, 0.3, 1.4), (1.4, 2.2, 1.4, 0.3)
SHARP = row(blur_px=0.1, verdict="in_focus")


def test_the_sharp_direction_is_told_beside_the_blurred_one() -> None:
    assert blur_in_full(lean(*ALONG_ROWS)).startswith("blur 2.2 px along the rows, 0.3 px down the columns: ")


def test_along_the_axes_of_a_scan_it_cannot_be_told_from_one_tile() -> None:
    assert cause(lean(*ALONG_ROWS)) == "astigmatism, or drift or vibration during the scan"


def test_what_shakes_a_scan_does_not_act_across_its_axes() -> None:
    scanned = lean(*DIAGONAL, acquisition=Acquisition(vendor="zeiss"))
    assert cause(scanned) == cause(lean(*DIAGONAL, acquisition=Acquisition(dwell_us=0.5))) == "astigmatism"
    assert "camera" in cause(lean(*DIAGONAL))


def test_blur_in_some_rows_of_a_scan_is_no_astigmatism() -> None:
    shaken = ((0.2,) * 4, (2.0,) * 4, (2.1,) * 4, (0.2,) * 4)
    assert cause(lean(*ALONG_ROWS, blur_map_px=shaken)) == "drift or vibration during a part of the scan"
    in_columns = tuple(zip(*shaken, strict=True))
    assert "part of the scan" not in cause(lean(*ALONG_ROWS, blur_map_px=in_columns))


def test_astigmatism_lasts_and_a_shock_does_not() -> None:
    alike, other = lean(*ALONG_ROWS), lean(*DIAGONAL)
    assert cause(alike, [alike] * 4 + [SHARP] * 4).startswith("astigmatism, or a steady vibration: 4 of the 8 tiles")
    assert cause(other, [other] * 8).startswith("astigmatism: 8 of the 8")
    assert cause(alike, [SHARP] * 8).startswith("drift or vibration during the scan rather than astigmatism")
    assert cause(alike, [SHARP] * 3) == cause(alike)  # too few to tell


def test_every_doubt_has_its_words() -> None:
    assert set(DOUBTS) == set(get_args(Doubt))
