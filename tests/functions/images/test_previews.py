"""A colour preview beside the grey page that it shows is no tile; a grey page stored as colour is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from mhfd.images import count_tiles, read_tile

Pixels = NDArray[Any]

RANDOM = np.random.default_rng(3)
GREY = RANDOM.integers(1, 255, (64, 64), dtype=np.uint8)
DEEP = GREY.astype(np.uint16) * 200
COLOUR = RANDOM.integers(0, 255, (64, 64, 3), dtype=np.uint8)
SMALL = COLOUR[::2, ::2]
GREY_AS_RGB = np.stack([GREY] * 3, axis=-1)


def pages(file: Path, *images: Pixels, **options: Any) -> Path:
    with tifffile.TiffWriter(file, **options) as writer:
        for image in images:
            kind = "rgb" if image.ndim == 3 else "minisblack"
            writer.write(image, photometric=kind, metadata=None, contiguous=False)
    return file


@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"bigtiff": True}])
@pytest.mark.parametrize("preview", [COLOUR, SMALL], ids=["shallower", "smaller"])
@pytest.mark.parametrize("first", [True, False])
def test_a_colour_preview_is_no_tile(tmp_path: Path, preview: Pixels, first: bool, options: dict[str, Any]) -> None:
    images = (preview, DEEP) if first else (DEEP, preview)
    file = pages(tmp_path / "t.tif", *images, **options)
    assert count_tiles(file) == 1
    tile = read_tile(file)
    assert tile.path == str(file)
    assert np.array_equal(np.asarray(tile.pixels[0:64]), DEEP)


def test_a_smaller_preview_is_none_beside_a_page_of_its_own_depth(tmp_path: Path) -> None:
    assert count_tiles(pages(tmp_path / "t.tif", SMALL, GREY)) == 1


def test_a_preview_with_a_coloured_palette_is_no_tile(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
    for shown, tiles in ((ramp[:, ::-1] * np.array([[1], [0], [1]], np.uint16), 1), (ramp, 2)):
        with tifffile.TiffWriter(tmp_path / "t.tif") as writer:
            writer.write(GREY, photometric="palette", colormap=shown, metadata=None, contiguous=False)
            writer.write(DEEP, photometric="minisblack", metadata=None, contiguous=False)
        assert count_tiles(tmp_path / "t.tif") == tiles


@pytest.mark.parametrize(
    "images",
    [(COLOUR, GREY), (COLOUR, GREY[:32, :32]), (GREY_AS_RGB, DEEP[::-1]), (COLOUR, COLOUR)],
    ids=["same size and depth", "smaller grey", "grey as RGB", "only colour"],
)
def test_any_other_page_is_a_tile(tmp_path: Path, images: tuple[Pixels, ...]) -> None:
    assert count_tiles(pages(tmp_path / "t.tif", *images)) == 2
