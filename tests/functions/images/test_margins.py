"""Borders and broken scans are left out, and nothing of a picture."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import mhfd
from mhfd.contract import FocusParams, FocusResult
from mhfd.images import read_tile
from mhfd.images.blocks import shows_jpeg
from mhfd.images.margins import Margins, find_margins
from phantoms import EmTile, discs
from phantoms import grey_tissue as tissue

Array = NDArray[Any]
QUICK = FocusParams(n_scales=3, max_t=4)
ROWS, COLS = 192, 256


def framed(top: int, left: int, bottom: int, right: int, level: int = 0, dtype: type = np.uint8) -> Array:
    return np.pad(tissue(dtype), ((top, bottom), (left, right)), constant_values=level)


def jpeg(pixels: Array, quality: int) -> Array:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def codes(row: FocusResult) -> list[str]:
    return [remark.code for remark in row.remarks]


# --- Borders ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("level", [0, 77, 255])
@pytest.mark.parametrize("sides", [(8, 16, 0, 0), (0, 0, 20, 13), (4, 4, 4, 4), (0, 30, 0, 0), (0, 0, 0, 4)])
def test_a_border_is_left_out(sides: tuple[int, int, int, int], level: int, dtype: type) -> None:
    assert find_margins(framed(*sides, level, dtype), lossy=False).border == sides


def test_a_tile_with_a_border_has_the_numbers_of_its_picture() -> None:
    row, alone = mhfd.score(framed(8, 16, 0, 0), QUICK), mhfd.score(tissue(), QUICK)
    assert row.picture == (8, 16, ROWS, COLS)
    assert codes(row) == ["border"]
    assert row.remarks[0].message.startswith("the first 8 rows and the first 16 columns are a border")
    assert (row.features, row.focus_score, row.content) == (alone.features, alone.focus_score, alone.content)


def test_what_jpeg_smears_of_a_border_is_left_out_too() -> None:
    margins = find_margins(jpeg(framed(9, 18, 0, 0), 75), lossy=True)
    assert 9 <= margins.top < 9 + 16
    assert 18 <= margins.left < 18 + 16


def test_the_user_keeps_the_borders_by_saying_which_rows_to_leave_out() -> None:
    row = mhfd.score(framed(8, 16, 0, 0), FocusParams(n_scales=3, max_t=4, exclude_bottom_px=0))
    assert row.picture is None


@pytest.mark.parametrize(
    "pixels",
    [
        tissue(),
        np.maximum(tissue(), 90),
        np.clip(tissue().astype(int) * 4 - 250, 0, 255).astype(np.uint8),
        np.where(tissue() > 130, 255, 0).astype(np.uint8),
        discs((80, 120), [(40, 30), (40, 90)], 5),
        discs((129, 141), [(64, 70)], 10),
        np.full((40, 60), 7, np.uint8),
        tissue()[:1],
        tissue()[:, :1],
        np.zeros((1, 1)),
        framed(0, 3, 0, 3),
    ],
)
def test_nothing_else_is_left_out(pixels: Array) -> None:
    assert find_margins(pixels, lossy=False) == Margins()


def test_nothing_is_left_out_of_clean_tiles(em_tile: EmTile) -> None:
    for path in sorted(em_tile("vnc-ssTEM").glob("*.tif"))[:3]:
        pixels = read_tile(path).pixels
        assert find_margins(pixels, lossy=False) == Margins()
        assert not shows_jpeg(pixels)


# --- Broken scans -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("partial", [0, 200])
def test_rows_that_a_broken_scan_lacks_are_left_out_and_told(level: int, partial: int) -> None:
    pixels = tissue()
    pixels[134:] = level
    if partial:
        pixels[133, -partial:] = level
    row = mhfd.score(pixels, QUICK)
    assert row.picture == (0, 0, 133 if partial else 134, COLS)
    assert codes(row) == ["constant_rows"]


@pytest.mark.parametrize("level", [0, 128])
def test_a_broken_scan_is_told_within_a_border(level: int) -> None:
    pixels = tissue()
    pixels[134:] = level
    row = mhfd.score(np.pad(pixels, ((8, 0), (16, 0))), QUICK)
    assert row.picture == (8, 16, 134, COLS)
    assert codes(row) == ["border", "constant_rows"]


# --- JPEG that the file does not tell of --------------------------------------------------------------------------


@pytest.mark.parametrize("quality", [30, 50])
def test_jpeg_shows_in_the_pixels(quality: int) -> None:
    row = mhfd.score(jpeg(tissue(), quality), QUICK)
    assert row.acquisition.lossy
    assert codes(row) == ["lossy"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_pixels_without_loss_do_not_look_like_jpeg(dtype: type) -> None:
    assert not shows_jpeg(tissue(dtype))


def test_a_period_of_eight_in_one_axis_is_not_jpeg() -> None:
    pixels = tissue().astype(float)
    pixels[:, 7::8] += 30
    for each in (pixels, pixels.T):
        assert not shows_jpeg(each)
