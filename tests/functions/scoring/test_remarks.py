"""Remarks on a row: broken scans, repeated lines, saturation, loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

import mhfd
from mhfd.contract import FocusParams, FocusResult, Remark, RemarkCode
from mhfd.images import read_tile
from phantoms import grey_tissue as tissue

Array = NDArray[Any]
QUICK = FocusParams(n_scales=3, max_t=4)
ROWS, COLS = 192, 256


def remarks(source: Any) -> list[tuple[str, str]]:
    return [(remark.code, remark.message) for remark in mhfd.score(source, QUICK).remarks]


def codes(source: Any) -> list[str]:
    return [code for code, _ in remarks(source)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_good_tile_has_no_remarks(dtype: type) -> None:
    assert codes(tissue(dtype)) == []


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(("where", "words"), [(slice(96, None), "the last 96 of 192"), (slice(0, 8), "the first 8 of")])
def test_constant_rows_are_told(dtype: type, where: slice, words: str) -> None:
    pixels = tissue(dtype)
    pixels[where] = 128
    ((code, message),) = remarks(pixels)
    assert code == "constant_rows"
    assert message.startswith(words)


def test_rows_that_are_constant_each_at_a_level_of_its_own_are_told() -> None:
    pixels = tissue()
    pixels[150:] = np.arange(100, 142)[:, None]
    assert codes(pixels) == ["constant_rows"]


@pytest.mark.parametrize("where", [slice(185, None), slice(0, 7), slice(90, 140)])
def test_a_few_rows_or_rows_in_the_middle_are_no_broken_scan(where: slice) -> None:
    pixels = tissue()
    pixels[where] = 128
    assert codes(pixels) == []


def test_constant_rows_above_a_data_bar_are_told(tmp_path: Path) -> None:
    pixels = tissue()
    pixels[120:160] = 128
    pixels[160:] = np.random.default_rng(1).integers(0, 256, (32, COLS))
    header = f"[Image]\r\nResolutionX={COLS}\r\nResolutionY=160\r\n"
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, photometric="minisblack", metadata=None, extratags=[(34682, 2, 0, header, True)]
    )
    assert codes(tmp_path / "a.tif") == ["data_bar", "constant_rows"]


@pytest.mark.parametrize(
    ("to", "source", "words"),
    [
        (slice(50, 51), slice(49, 50), "row 50 repeats row 49,"),
        (slice(64, 72), slice(56, 64), "row 64 repeats row 56, 8 rows"),
        (slice(96, 192), slice(0, 96), "row 96 repeats row 0, 96 rows"),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_repeated_rows_are_told(to: slice, source: slice, words: str, dtype: type) -> None:
    pixels = tissue(dtype)
    pixels[to] = pixels[source]
    ((code, message),) = remarks(pixels)
    assert code == "repeated_rows"
    assert message.startswith(words)


def test_rows_nearly_black_are_not_taken_for_repeated() -> None:
    pixels = tissue()
    pixels[100:103] = 100
    pixels[[100, 101, 102], [7, 7, 7]] = 90
    assert codes(pixels) == []


def test_a_width_that_is_no_multiple_of_a_word_is_looked_at_too() -> None:
    pixels = tissue()[:, :251].copy()
    pixels[50] = pixels[49]
    assert codes(pixels) == ["repeated_rows"]
    pixels[50, 250] ^= 1
    assert codes(pixels) == []


def test_saturation_is_told_from_two_per_cent_on() -> None:
    pixels = tissue()
    for share, expected in ((0.01, []), (0.03, ["saturated"])):
        clipped = np.minimum(pixels, np.quantile(pixels, 1 - share))
        clipped[::5, ::7] = np.minimum(clipped[::5, ::7], 250)
        assert codes(clipped) == expected


def test_loss_is_told(tmp_path: Path) -> None:
    Image.fromarray(tissue()).save(tmp_path / "a.jpg", quality=90)
    assert codes(tmp_path / "a.jpg") == ["lossy"]


def test_a_constant_tile_is_told_once() -> None:
    assert codes(np.full((64, 64), 7, np.uint8)) == ["constant_rows"]


def test_a_tile_that_stays_in_its_file_gets_the_same_remarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = tissue()
    pixels[150:] = 3
    pixels[40:48] = pixels[32:40]
    tifffile.imwrite(tmp_path / "a.tif", pixels, rowsperstrip=7)
    held = remarks(tmp_path / "a.tif")
    assert [code for code, _ in held] == ["constant_rows", "repeated_rows"]
    monkeypatch.setattr("mhfd.scoring.tile.read_tile", lambda *a, **k: read_tile(*a, **k, max_resident_bytes=0))
    monkeypatch.setattr("mhfd.kernel.pixels.BLOCK_BYTES", 10 * COLS)
    assert remarks(tmp_path / "a.tif") == held


def test_remarks_come_in_batches_too() -> None:
    broken = tissue()
    broken[96:] = 0
    rows = mhfd.score_many([tissue(), broken], QUICK)
    assert [[remark.code for remark in row.remarks] for row in rows] == [[], ["constant_rows"]]


def test_every_code_is_in_the_docs() -> None:
    page = (Path(__file__).parents[3] / "docs" / "results.md").read_text(encoding="utf-8")
    section = page.split("## Remarks")[1].split("\n## ")[0]
    assert [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")] == list(get_args(RemarkCode))


def test_rows_of_0_1_0_have_no_remarks_and_no_picture() -> None:
    plain = mhfd.score(tissue(), QUICK).to_dict()
    older = {key: value for key, value in plain.items() if key not in ("remarks", "picture")}
    read = FocusResult.from_dict(older)
    assert (read.remarks, read.picture) == ((), None)
    newer = plain | {"remarks": [{"code": "frozen", "message": "as before", "of": 3}]}
    assert FocusResult.from_dict(newer).remarks == (Remark(code="frozen", message="as before"),)  # type: ignore[arg-type]
