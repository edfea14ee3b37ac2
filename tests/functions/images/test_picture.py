"""Data bars: what is picture in a page, told by the header, found in the pixels, or given by the user."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

import mhfd
from mhfd.contract import FocusParams, FocusResult, TileError
from mhfd.images import read_tile
from mhfd.images.inline import decode_tile, encode_tile
from mhfd.images.picture import data_bar
from mhfd.scoring.identity import tile_sha256
from mhfd.worker.tasks import score_inline, score_paths
from phantoms import EmTile

Array = NDArray[Any]

ROWS, COLS, BAR = 192, 256, 30
QUICK = FocusParams(n_scales=4, max_t=5)


def tissue(rows: int = ROWS, cols: int = COLS, seed: int = 1) -> Array:
    rng = np.random.default_rng(seed)
    fine, coarse = (gaussian_filter(rng.standard_normal((rows, cols)), sigma) for sigma in (2, 6))
    both = fine / fine.std() + coarse / coarse.std()
    grey = (both - both.min()) / np.ptp(both) * 190 + 30 + rng.normal(0, 4, both.shape)
    clipped: Array = np.clip(grey, 1, 254).astype(np.uint8)
    return clipped


def bar(rows: int = BAR, cols: int = COLS, ground: int = 0, ink: int = 255) -> NDArray[np.uint8]:
    picture = Image.new("L", (cols, rows), ground)
    font = ImageFont.load_default(size=max(10, rows // 2))
    ImageDraw.Draw(picture).text((4, rows // 6), "15 kV  WD 5.2 mm  x 20,000", fill=ink, font=font)
    return np.asarray(picture)


TISSUE = tissue()
WITH_BAR = np.vstack([TISSUE, bar()])
# Marks without a plain ground: no program could be sure of it, only a header.
SPECKLED = np.vstack([TISSUE, np.random.default_rng(3).integers(0, 256, (BAR, COLS), np.uint8)])


def thermo(code: int = 34682, databar: int = 0, **image: object) -> dict[str, Any]:
    lines = ["[EScan]", "PixelWidth=5e-009", "PixelHeight=5e-009", "[Image]"]
    lines += [f"{key}={value}" for key, value in image.items()]
    lines += ["[PrivateFei]", f"DatabarHeight={databar}", ""]
    return {"extratags": [(code, 2, 0, "\r\n".join(lines), True)]}


def tescan(strip: object, preview: int = 50) -> dict[str, Any]:
    text = b"\xff\xd8\xff" + bytes(preview) + f"[MAIN]\r\nImageStripSize={strip}\r\nPixelSizeX=5e-9\r\n".encode()
    return {"extratags": [(50431, 1, len(text), text, True)]}


def write(path: Path, pixels: Array, **options: Any) -> Path:
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=None, **options)
    return path


def measured(row: FocusResult) -> tuple[Any, ...]:
    return row.features, row.features_per_mpx, row.focus_score, row.noise, row.saturated


# --- The header says ----------------------------------------------------------------------------------------------

HEADERS = {
    "Thermo, no height of a bar": thermo(ResolutionX=COLS, ResolutionY=ROWS),
    "Thermo, a height too": thermo(databar=BAR, ResolutionX=COLS, ResolutionY=ROWS),
    "Thermo, only the height": thermo(databar=BAR),
    "FEI of the older tag": thermo(34680, ResolutionX=COLS, ResolutionY=ROWS),
    "TESCAN": tescan(BAR),
    "TESCAN with a large preview": tescan(BAR, preview=3 * 2**20),
}


@pytest.mark.parametrize("options", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_only_what_the_header_calls_picture_is_scored(tmp_path: Path, options: dict[str, Any], dtype: type) -> None:
    row = mhfd.score(write(tmp_path / "a.tif", SPECKLED.astype(dtype), **options), QUICK)
    assert row.picture == (0, 0, ROWS, COLS)
    assert row.shape == SPECKLED.shape
    assert [remark.code for remark in row.remarks] == ["data_bar"]
    assert measured(row) == measured(mhfd.score(TISSUE.astype(dtype), QUICK))
    assert row.provenance.tile_sha256 == tile_sha256(SPECKLED.astype(dtype))


def test_columns_beyond_the_scan_are_left_out(tmp_path: Path) -> None:
    wide = np.hstack([SPECKLED, np.random.default_rng(5).integers(0, 256, (len(SPECKLED), 60), np.uint8)])
    row = mhfd.score(write(tmp_path / "a.tif", wide, **thermo(ResolutionX=COLS, ResolutionY=ROWS)), QUICK)
    assert row.picture == (0, 0, ROWS, COLS)
    assert measured(row) == measured(mhfd.score(TISSUE, QUICK))


ODD_HEADERS = {
    "the page is a part of the scan": thermo(ResolutionX=4096, ResolutionY=4096),
    "the page is all of the scan": thermo(ResolutionX=COLS, ResolutionY=ROWS + BAR),
    "an enlarged copy": thermo(ResolutionX=COLS * 3 // 4, ResolutionY=(ROWS + BAR) * 3 // 4),
    "of another picture": thermo(ResolutionX=COLS, ResolutionY=20),
    "no number": thermo(ResolutionX="wide", ResolutionY="1e400"),
    "no rows": thermo(ResolutionX=0, ResolutionY=-5),
    "TESCAN without a strip": tescan(0),
    "TESCAN, all strip": tescan(ROWS + BAR),
    "TESCAN, no number": tescan("tall"),
}


@pytest.mark.parametrize("options", ODD_HEADERS.values(), ids=ODD_HEADERS)
def test_a_header_that_tells_of_no_bar_leaves_nothing_out(tmp_path: Path, options: dict[str, Any]) -> None:
    row = mhfd.score(write(tmp_path / "a.tif", SPECKLED, **options), QUICK)
    assert (row.picture, row.remarks) == (None, ())


# --- Every path ---------------------------------------------------------------------------------------------------


@pytest.fixture
def told(tmp_path: Path) -> Path:
    return write(tmp_path / "told.tif", SPECKLED, **HEADERS["Thermo, no height of a bar"])


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_page_that_stays_in_its_file_is_scored_alike(
    told: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    if backend == "numba":
        pytest.importorskip("numba")
    held = mhfd.score(told, QUICK, backend)
    monkeypatch.setattr("mhfd.scoring.tile.read_tile", lambda *a, **k: read_tile(*a, **k, max_resident_bytes=0))
    by_rows = mhfd.score(told, QUICK, backend)
    assert replace(by_rows, timing_ms=held.timing_ms) == held


def test_the_picture_travels_to_a_worker(told: Path) -> None:
    tile = read_tile(told)
    pixels = np.asarray(tile.pixels[:])
    sent = json.loads(json.dumps(encode_tile(pixels, name="a", acquisition=tile.acquisition, picture=tile.picture)))
    assert decode_tile(sent).picture == (0, 0, ROWS, COLS)
    (inline,) = score_inline([sent], QUICK.to_dict())["rows"]
    (by_path,) = score_paths([str(told)], QUICK.to_dict())["rows"]
    for row in (inline, by_path):
        assert row["picture"] == [0, 0, ROWS, COLS]
        assert measured(FocusResult.from_dict(row)) == measured(mhfd.score(TISSUE, QUICK))
        assert row["provenance"]["tile_sha256"] == tile_sha256(SPECKLED)


def test_a_worker_of_0_1_0_gets_no_key_that_it_does_not_know(told: Path) -> None:
    assert "picture" not in encode_tile(TISSUE)
    assert not {"exclude_top_px", "exclude_bottom_px"} & set(FocusParams().to_dict())


@pytest.mark.parametrize("picture", [[0, 0, 0, 5], [0, 0, 500, 5], [-1, 0, 5, 5], [0, 0, 5], "all", [0, 0, 1.5, 2]])
def test_a_picture_that_is_no_part_of_the_tile_is_refused(picture: object) -> None:
    with pytest.raises(TileError, match="picture") as caught:
        decode_tile(encode_tile(TISSUE) | {"picture": picture})
    assert caught.value.code == "unsupported"


# --- Bars that no header tells of ---------------------------------------------------------------------------------

DRAWN: dict[str, Array] = {
    f"{ink} on {ground}, {rows} rows": np.vstack([tissue(400, 600, rows), bar(rows, 600, ground, ink)])
    for ground, ink in ((0, 255), (255, 0), (96, 255), (200, 0))
    for rows in (20, 48)
} | {
    "16 bit": WITH_BAR.astype(np.uint16) * 257,
    "of 16 bit": WITH_BAR.astype(np.uint16) * 40,
    "float": WITH_BAR.astype(np.float32) / 255,
}  # fmt: skip
HEIGHT = {name: len(pixels) - (400 if len(pixels) > 400 else ROWS) for name, pixels in DRAWN.items()}


@pytest.mark.parametrize("name", DRAWN)
def test_a_drawn_bar_is_found(name: str) -> None:
    assert data_bar(DRAWN[name], lossy=False) == HEIGHT[name]


@pytest.mark.parametrize("quality", [75, 95])
def test_a_drawn_bar_is_found_after_jpeg(tmp_path: Path, quality: int) -> None:
    Image.fromarray(DRAWN["255 on 96, 48 rows"]).save(tmp_path / "a.jpg", quality=quality)
    row = mhfd.score(tmp_path / "a.jpg", QUICK)
    assert row.picture == (0, 0, 400, 600)
    assert [remark.code for remark in row.remarks] == ["data_bar", "lossy"]


def test_a_bar_in_an_array_and_in_a_png_is_left_out(tmp_path: Path) -> None:
    Image.fromarray(WITH_BAR).save(tmp_path / "a.png")
    for source in (WITH_BAR, tmp_path / "a.png"):
        row = mhfd.score(source, QUICK)
        assert row.picture == (0, 0, ROWS, COLS)
        assert measured(row) == measured(mhfd.score(TISSUE, QUICK))


def test_a_blurred_tile_with_a_bar_is_no_sharper_than_without() -> None:
    blurred = gaussian_filter(TISSUE, 4)
    with_bar, without = (mhfd.score(each, QUICK).focus_score for each in (np.vstack([blurred, bar()]), blurred))
    assert with_bar == without


def spots(shape: tuple[int, int], squares: bool) -> NDArray[np.bool_]:
    rng = np.random.default_rng(8)
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    found = np.zeros(shape, bool)
    for _ in range(60):
        row, col, size = rng.integers(0, shape[0]), rng.integers(0, shape[1]), rng.integers(2, 12)
        down, across = np.abs(rows - row), np.abs(cols - col)
        found |= np.maximum(down, across) < size if squares else down**2 + across**2 < size**2
    return found


def resin(level: int) -> Array:
    """Bare resin from a straight edge on, at the detector's limit, with specks in it."""
    pixels: Array = TISSUE.copy()
    pixels[150:] = level
    specks = spots((ROWS - 150, COLS), False)
    pixels[150:][specks] = np.random.default_rng(9).integers(30, 220, np.count_nonzero(specks))
    return pixels


def constant_from(row: int, level: int) -> Array:
    pixels: Array = TISSUE.copy()
    pixels[row:] = level
    return pixels


NO_BAR: dict[str, Callable[[], Array]] = {
    "tissue": lambda: TISSUE,
    "blurred tissue": lambda: gaussian_filter(TISSUE, 6),
    "saturated tissue": lambda: np.clip(TISSUE.astype(int) * 4 - 250, 0, 255).astype(np.uint8),
    "two levels": lambda: np.where(TISSUE > 130, 255, 0).astype(np.uint8),
    "light resin": lambda: resin(255),
    "dark resin": lambda: resin(0),
    "broken off, grey": lambda: constant_from(160, 128),
    "broken off, black": lambda: constant_from(100, 0),
    "constant": lambda: np.full((ROWS, COLS), 7, np.uint8),
    "discs": lambda: np.where(spots((ROWS, COLS), False), 40, 200).astype(np.uint8),
    "squares": lambda: np.where(spots((ROWS, COLS), True), 255, 0).astype(np.uint8),
    "text without a ground": lambda: np.where(np.vstack([np.zeros_like(TISSUE[BAR:]), bar()]) > 9, 255, TISSUE),
    "small": lambda: TISSUE[:20, :20],
}


@pytest.mark.parametrize("name", NO_BAR)
@pytest.mark.parametrize("lossy", [False, True])
def test_tissue_is_never_cut(name: str, lossy: bool) -> None:
    pixels = NO_BAR[name]()
    if lossy:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=85)
        pixels = np.asarray(Image.open(file))
    assert data_bar(pixels, lossy=lossy) == 0


# --- The user says ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [WITH_BAR, SPECKLED])
def test_rows_are_left_out_as_asked_for(source: Array) -> None:
    params = replace(QUICK, exclude_top_px=12, exclude_bottom_px=BAR + 5)
    row = mhfd.score(source, params)
    assert row.picture == (12, 0, ROWS - 17, COLS)
    assert measured(row) == measured(mhfd.score(TISSUE[12:-5], QUICK))
    assert row.remarks == ()


def test_the_rows_asked_for_replace_what_was_found_or_told(told: Path) -> None:
    for source in (WITH_BAR, told):
        assert mhfd.score(source, replace(QUICK, exclude_bottom_px=0)).picture is None
    assert mhfd.score(told, replace(QUICK, exclude_top_px=10)).picture == (10, 0, ROWS - 10, COLS)


def test_nothing_left_is_no_tile() -> None:
    with pytest.raises(TileError) as caught:
        mhfd.score(TISSUE, replace(QUICK, exclude_top_px=100, exclude_bottom_px=92))
    assert caught.value.code == "zero_size"


def test_features_are_placed_in_the_whole_page() -> None:
    found = mhfd.find_features(WITH_BAR, replace(QUICK, exclude_top_px=12))
    alone = mhfd.find_features(TISSUE[12:], QUICK)
    np.testing.assert_array_equal(found.rows, alone.rows + 12)
    np.testing.assert_array_equal(found.cols, alone.cols)


# --- Real files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("tfs_example", 1024),
        ("tescan_example_sem1", 768),
        ("zeiss_example_sem", 708),
        ("jeol_example_sem", None),
        ("fibsemos_example_sem", None),
    ],
)
def test_pictures_of_vendors(em_tile: EmTile, name: str, rows: int | None) -> None:
    tile = read_tile(em_tile(f"vendor-sem/{name}.tif"))
    found = mhfd.score(em_tile(f"vendor-sem/{name}.tif"), QUICK).picture
    assert (None if found is None else found[2]) == rows
    assert data_bar(tile.pixels, lossy=False) == (0 if rows is None else tile.pixels.shape[0] - rows)
