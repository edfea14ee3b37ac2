"""Pixels travel inside a task, as text, and come back the same."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mhfd.contract import Acquisition, TileError
from mhfd.images.inline import available_codecs, best_codec, decode_tile, encode_tile
from mhfd.worker.about import probe_tile

from .conftest import SHAPE, tissue, usable

ALL_CODECS = ("raw", "zlib", "delta-zlib", "delta-zstd", "jpegls")


@pytest.mark.parametrize("codec", ALL_CODECS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_what_was_encoded_comes_back_to_the_last_bit(codec: str, dtype: str) -> None:
    pixels = tissue(dtype=dtype)
    given = json.loads(json.dumps(encode_tile(pixels, usable(codec))))
    np.testing.assert_array_equal(decode_tile(given).pixels, pixels)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (0, 5)])
@pytest.mark.parametrize("codec", ALL_CODECS)
def test_odd_shapes_are_encoded(codec: str, shape: tuple[int, int]) -> None:
    given = encode_tile(np.zeros(shape, np.uint8), usable(codec))
    if 0 in shape:
        with pytest.raises(TileError, match="zero_size"):
            decode_tile(given)
    else:
        assert decode_tile(given).pixels.shape == shape


def test_big_endian_and_strided_pixels_are_encoded() -> None:
    pixels = tissue(dtype="uint16").astype(">u2")[::-1, ::2]
    np.testing.assert_array_equal(decode_tile(encode_tile(pixels)).pixels, pixels)


def test_what_compression_would_make_larger_goes_raw(rng: np.random.Generator) -> None:
    noise = rng.integers(0, 256, SHAPE, np.uint8)
    assert encode_tile(noise, "delta-zlib")["codec"] == "raw"


def test_differences_make_smooth_tiles_smaller_than_deflate_does() -> None:
    sizes = {codec: len(encode_tile(probe_tile(), codec)["data"]) for codec in ("raw", "zlib", "delta-zlib")}
    assert sizes["delta-zlib"] < sizes["zlib"] < sizes["raw"]


def test_name_pixel_size_and_header_travel_along() -> None:
    header = Acquisition(format="tiff", vendor="zeiss", stage_um=(1.0, 2.0, 3.0))
    given = json.loads(json.dumps(encode_tile(tissue(), name="a", pixel_size_nm=4.6, acquisition=header)))
    tile = decode_tile(given)
    assert (tile.path, tile.pixel_size_nm, tile.acquisition) == ("a", 4.6, header)


def test_the_best_codec_is_one_that_both_sides_have() -> None:
    assert best_codec(["raw", "zlib"]) == "raw"
    assert best_codec(["raw", "delta-zlib"]) == "delta-zlib"
    assert best_codec() in available_codecs()
