"""Smaller copies of a page that the file does not mark as such; samples and palettes that are nearly grey."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

import mhfd
from mhfd.contract import TileError
from mhfd.images import count_tiles, read_tile

Array = NDArray[Any]


def picture(rows: int, cols: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.standard_normal((rows, cols)), 2)
    grey: Array = np.clip(smooth / smooth.std() * 40 + 128 + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)
    return grey


def averaged(pixels: Array, times: int) -> Array:
    rows, cols = (n // times * times for n in pixels.shape)
    blocks = pixels[:rows, :cols].reshape(rows // times, times, cols // times, times)
    smaller: Array = blocks.mean(axis=(1, 3)).round().astype(pixels.dtype)
    return smaller


def write(path: Path, *pages: Array, **options: Any) -> Path:
    with tifffile.TiffWriter(path) as file:
        for page in pages:
            colour = "rgb" if page.ndim == 3 else "minisblack"
            file.write(page, photometric=colour, metadata=None, contiguous=False, **options)
    return path


BASE, OTHER = picture(203, 257, 1), picture(203, 257, 2)


@pytest.mark.parametrize("options", [{}, {"tile": (64, 64), "compression": "deflate"}])
@pytest.mark.parametrize(
    "levels",
    [
        [averaged(BASE, 2), averaged(BASE, 4), averaged(BASE, 8)],
        [BASE[::2, ::2], BASE[::4, ::4]],
        [np.asarray(Image.fromarray(BASE).resize((128, 101), Image.Resampling.BICUBIC))],
        [averaged(BASE, 4)],
    ],
    ids=["averaged", "taken", "resized", "a quarter"],
)
def test_levels_that_are_not_marked_are_no_tiles(tmp_path: Path, levels: list[Array], options: dict[str, Any]) -> None:
    path = write(tmp_path / "a.tif", BASE, *levels, **options)
    assert count_tiles(path) == 1
    np.testing.assert_array_equal(read_tile(path).pixels, BASE)


def test_each_picture_of_a_file_may_have_levels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", averaged(BASE, 2), BASE, OTHER, averaged(OTHER, 2))
    assert count_tiles(path) == 2
    np.testing.assert_array_equal(read_tile(path, 1).pixels, OTHER)
    assert [row.path for row in mhfd.score_many([path])] == [f"{path}#page=0", f"{path}#page=1"]


@pytest.mark.parametrize(
    "pages",
    [
        [BASE, averaged(OTHER, 2)],
        [BASE, OTHER[::2, ::2], OTHER[::4, ::4][:, ::-1]],
        [BASE, BASE],
        [BASE, BASE[:101, :128]],
        [BASE[:200, :250], averaged(BASE, 2)[:100, :60]],
    ],
    ids=["another picture", "others still", "the same again", "a part", "another shape"],
)
def test_other_pictures_of_half_the_size_are_tiles(tmp_path: Path, pages: list[Array]) -> None:
    assert count_tiles(write(tmp_path / "a.tif", *pages)) == len(pages)


def test_shading_alone_makes_no_copy(tmp_path: Path) -> None:
    shade = np.add.outer(np.arange(203), np.arange(257)) / 4
    pages = [np.clip(each * 0.2 + shade, 0, 255).astype(np.uint8) for each in (BASE, OTHER)]
    assert count_tiles(write(tmp_path / "a.tif", pages[0], averaged(pages[1], 2))) == 2


def test_a_page_that_cannot_be_compared_is_a_tile(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", BASE, averaged(BASE, 2), compression="deflate")
    with tifffile.TiffFile(path) as tif:
        at = tif.pages[1].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[at : at + 20] = bytes(20)
    path.write_bytes(data)
    assert count_tiles(path) == 2


# --- Samples and palettes -----------------------------------------------------------------------------------------


def code(path: Path) -> str:
    try:
        _ = read_tile(path).pixels[:], read_tile(path, max_resident_bytes=0).pixels[:]
    except TileError as error:
        return error.code
    return "read"


@pytest.mark.parametrize(
    ("extra", "expected"), [(["unassalpha"], "read"), (["assocalpha"], "read"), (["unspecified"], "unsupported")]
)
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_a_second_sample_is_dropped_only_as_alpha(tmp_path: Path, extra: list[str], expected: str, planar: str) -> None:
    two = np.stack([BASE, OTHER], axis=2 if planar == "contig" else 0)
    tifffile.imwrite(
        tmp_path / "a.tif", two, photometric="minisblack", planarconfig=planar, extrasamples=extra, metadata=None
    )
    assert code(tmp_path / "a.tif") == expected


def palette_tiff(path: Path, coloured: int) -> Path:
    pixels = np.clip(picture(128, 128, 7), 20, 250)
    pixels[100, 10 : 10 + coloured] = 18
    palette = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
    palette[:, 18] = (0, 65535, 0)
    tifffile.imwrite(path, pixels, photometric="palette", colormap=palette, metadata=None)
    return path


@pytest.mark.parametrize(("coloured", "expected"), [(0, "read"), (12, "read"), (16, "read"), (17, "colour")])
def test_a_grey_palette_may_colour_one_pixel_in_a_thousand(tmp_path: Path, coloured: int, expected: str) -> None:
    path = palette_tiff(tmp_path / "a.tif", coloured)
    assert code(path) == expected
    picture = Image.open(path)
    for name in ("a.png", "a.bmp"):
        picture.save(tmp_path / name)
        assert code(tmp_path / name) == expected
