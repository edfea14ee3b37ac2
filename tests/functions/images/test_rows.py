"""Tiles that stay in their file: every slice equals the whole read, and costs no more memory than itself."""

from __future__ import annotations

import os
import struct
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from mhfd.contract import TileError
from mhfd.images import TileRows, read_tile
from mhfd.kernel.pixels import Pixels, row_blocks

ROWS, COLS = 83, 70  # not a multiple of any strip or tile below
GREY = np.random.default_rng(1).integers(0, 256, (ROWS, COLS), dtype=np.uint8)
GREY16 = GREY.astype(np.uint16) * 257
FLOAT = GREY.astype(np.float32) / 7
RGB = np.stack([GREY] * 3, axis=2)
SMOOTH = np.add.outer(np.arange(ROWS), np.arange(COLS)).astype(np.uint8)  # what JPEG keeps
LEVELS = np.stack([np.arange(256, dtype=np.uint16)[::-1] * 257] * 3)

Written = tuple[NDArray[Any], dict[str, Any]]

CASES: dict[str, Written] = {
    "one strip": (GREY, {}),
    "strips": (GREY, {"rowsperstrip": 5}),
    "tiles": (GREY, {"tile": (16, 32)}),
    "big endian": (GREY16, {"byteorder": ">"}),
    "big endian tiles": (GREY16, {"byteorder": ">", "tile": (16, 16)}),
    "BigTIFF": (GREY16, {"bigtiff": True}),
    "signed": (GREY16.view(np.int16), {}),
    "uint32": (GREY.astype(np.uint32) << 24, {}),
    "int64 big endian": (GREY.astype(np.int64) - 99, {"byteorder": ">"}),
    "float16": (GREY.astype(np.float16), {"byteorder": ">"}),
    "float32": (FLOAT, {}),
    "float64": (FLOAT.astype(np.float64), {"byteorder": ">"}),
    "white is zero": (GREY, {"photometric": "miniswhite"}),
    "white is zero, big endian": (GREY16, {"photometric": "miniswhite", "byteorder": ">"}),
    "white is zero, float": (FLOAT, {"photometric": "miniswhite"}),
    "palette": (GREY, {"photometric": "palette", "colormap": LEVELS}),
    "palette, deflate": (GREY, {"photometric": "palette", "colormap": LEVELS, "compression": "deflate"}),
    "RGB": (RGB, {"photometric": "rgb"}),
    "RGB, deflate strips": (RGB, {"photometric": "rgb", "compression": "deflate", "rowsperstrip": 7}),
    "RGBA tiles": (np.dstack([RGB, GREY.T.reshape(ROWS, COLS)]), {"photometric": "rgb", "tile": (32, 16)}),
    "planes": (np.stack([GREY16] * 3), {"photometric": "rgb", "planarconfig": "separate", "byteorder": ">"}),
    "planes in strips": (
        np.stack([GREY] * 3),
        {"photometric": "rgb", "planarconfig": "separate", "rowsperstrip": 9, "compression": "deflate"},
    ),
    "planes in tiles": (
        np.stack([GREY] * 3),
        {"photometric": "rgb", "planarconfig": "separate", "tile": (16, 16), "compression": "deflate"},
    ),
    "grey and alpha": (
        np.dstack([GREY, GREY[::-1]]),
        {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unassalpha"]},
    ),
    "deflate in one piece": (GREY, {"compression": "deflate", "rowsperstrip": ROWS}),
    "deflate rows": (GREY, {"compression": "deflate", "rowsperstrip": 1}),
    "LZMA": (GREY, {"compression": "lzma", "rowsperstrip": 40}),
    "deflate, predictor 2": (GREY16, {"compression": "deflate", "predictor": 2, "rowsperstrip": 6}),
    "deflate, predictor 2, tiles, big endian": (
        GREY16,
        {"compression": "deflate", "predictor": 2, "tile": (16, 16), "byteorder": ">"},
    ),
}
NEED_IMAGECODECS: dict[str, Written] = {  # to be written, or to be read
    "LZW, predictor 2": (GREY16, {"compression": "lzw", "predictor": 2, "rowsperstrip": 6}),
    "PackBits": (GREY, {"compression": "packbits", "rowsperstrip": 4}),
    "LZW tiles": (GREY, {"compression": "lzw", "tile": (16, 48)}),
    "zstd": (GREY, {"compression": "zstd", "rowsperstrip": 8}),
    "predictor 3": (FLOAT, {"compression": "deflate", "predictor": 3, "rowsperstrip": 10}),
    "predictor 3, tiles, big endian": (
        FLOAT,
        {"compression": "deflate", "predictor": 3, "tile": (16, 16), "byteorder": ">"},
    ),
    "12 bits": (GREY16 >> 4, {"bitspersample": 12, "photometric": "miniswhite", "rowsperstrip": 8}),
    "JPEG strips": (GREY, {"compression": "jpeg", "rowsperstrip": 16}),
    "JPEG tiles of colour": (RGB, {"compression": "jpeg", "photometric": "rgb", "tile": (32, 32)}),
    "JPEG, subsampled": (
        np.stack([SMOOTH] * 3, axis=2),
        {"compression": "jpeg", "photometric": "rgb", "subsampling": (2, 2), "rowsperstrip": 16},
    ),
    "JPEG 2000": (GREY, {"compression": "jpeg2000", "tile": (32, 32)}),
}


def written(path: Path, name: str) -> Path:
    if name in NEED_IMAGECODECS:
        pytest.importorskip("imagecodecs")
    pixels, options = (CASES | NEED_IMAGECODECS)[name]
    try:
        tifffile.imwrite(path, pixels, **options)
    except NotImplementedError as error:  # the last imagecodecs for Python 3.10 reads 12 bits, but does not write them
        pytest.skip(f"imagecodecs lacks {error}")
    return path


def rows_of(path: Path, index: int = 0) -> TileRows:
    pixels = read_tile(path, index, max_resident_bytes=0).pixels
    assert isinstance(pixels, TileRows)
    return pixels


def whole(path: Path, index: int = 0) -> NDArray[Any]:
    pixels = read_tile(path, index).pixels
    assert isinstance(pixels, np.ndarray)
    return pixels


def slices() -> Iterator[slice]:
    """From the top, with overlap, backwards, anywhere, past the end."""
    yield from (slice(first, first + 11) for first in range(0, ROWS, 7))
    yield from (slice(first, first + 1) for first in reversed(range(ROWS)))
    yield from (slice(*sorted(pair)) for pair in np.random.default_rng(2).integers(0, ROWS + 1, (20, 2)).tolist())
    yield from (slice(None), slice(-5, None), slice(ROWS - 2, ROWS + 9), slice(ROWS, ROWS + 9), slice(9, 9))


@pytest.mark.parametrize("name", CASES | NEED_IMAGECODECS)
def test_every_slice_is_that_of_the_whole_tile(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "tile.tif", name)
    expected, tile = whole(path), rows_of(path)
    assert (tile.shape, tile.dtype, tile.size) == (expected.shape, expected.dtype, expected.size)
    for rows in slices():
        block = tile[rows]
        np.testing.assert_array_equal(block, expected[rows])
        assert block.dtype == expected.dtype
        assert block.dtype.isnative
        assert block.flags.c_contiguous


@pytest.mark.parametrize("options", [{}, {"rowsperstrip": 9}, {"tile": (16, 16)}, {"compression": "deflate"}])
def test_bytes_with_their_bits_in_reverse_are_read_by_rows(tmp_path: Path, options: dict[str, Any]) -> None:
    pytest.importorskip("imagecodecs")
    pixels = np.ascontiguousarray(np.packbits(np.unpackbits(GREY, axis=1, bitorder="little"), axis=1))
    tifffile.imwrite(tmp_path / "a.tif", pixels, extratags=[(65000, "H", 1, 2, True)], **options)
    data = (tmp_path / "a.tif").read_bytes()
    if "compression" in options:  # then the packed bytes are reversed
        tifffile.imwrite(tmp_path / "a.tif", GREY, extratags=[(65000, "H", 1, 2, True)], **options)
        with tifffile.TiffFile(tmp_path / "a.tif") as tif:
            page = tif.pages.first
            start, end = page.dataoffsets[0], page.dataoffsets[-1] + page.databytecounts[-1]
        turned = np.frombuffer((tmp_path / "a.tif").read_bytes(), np.uint8).copy()
        turned[start:end] = np.packbits(np.unpackbits(turned[start:end], bitorder="little"))
        data = turned.tobytes()
    (tmp_path / "a.tif").write_bytes(data.replace(struct.pack("<HHI", 65000, 3, 1), struct.pack("<HHI", 266, 3, 1)))
    np.testing.assert_array_equal(whole(tmp_path / "a.tif"), GREY)
    np.testing.assert_array_equal(rows_of(tmp_path / "a.tif")[31:57], GREY[31:57])


def test_a_page_of_a_stack_is_read_by_rows(tmp_path: Path) -> None:
    pages = np.stack([GREY, GREY + 1, GREY + 2])
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack", compression="deflate")
    np.testing.assert_array_equal(rows_of(tmp_path / "a.tif", 2)[30:50], (GREY + 2)[30:50])
    np.testing.assert_array_equal(rows_of(tmp_path / "a.tif", 0)[30:50], GREY[30:50])


def test_the_rest_of_the_tile_is_as_when_held(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, resolution=(1e6, 1e6), resolutionunit="centimeter")
    held, rows = read_tile(tmp_path / "a.tif"), read_tile(tmp_path / "a.tif", max_resident_bytes=0)
    assert (held.path, held.pixel_size_nm, held.acquisition) == (rows.path, rows.pixel_size_nm, rows.acquisition)


@pytest.mark.parametrize(
    ("pixels", "size"),
    [(GREY, GREY.nbytes), (RGB, RGB.nbytes), (GREY.astype(np.uint32), 8 * GREY.size)],  # uint32 is held as float64
)
def test_the_limit_is_the_largest_tile_held(tmp_path: Path, pixels: NDArray[Any], size: int) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    assert isinstance(read_tile(tmp_path / "a.tif", max_resident_bytes=size).pixels, np.ndarray)
    assert isinstance(read_tile(tmp_path / "a.tif", max_resident_bytes=size - 1).pixels, TileRows)


def test_rows_in_steps_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="steps of 2"):
        rows_of(written(tmp_path / "a.tif", "strips"))[::2]


def test_an_array_a_memory_map_and_a_reader_are_pixels(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tif", "strips")
    GREY.tofile(tmp_path / "raw")
    tiles: list[Pixels] = [GREY, np.memmap(tmp_path / "raw", np.uint8, "r", shape=GREY.shape), rows_of(path)]
    for tile in tiles:
        blocks = list(row_blocks(tile, 10))
        assert [first for first, _ in blocks] == list(range(0, ROWS, 10))
        np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), GREY)


def test_blocks_are_of_some_mebibytes_by_default() -> None:
    assert [block.shape for _, block in row_blocks(np.zeros((300, 2**17), np.uint8))] == [(128, 2**17)] * 2 + [
        (44, 2**17)
    ]


# --- Memory -----------------------------------------------------------------------------------------------------

SIDE = 7808
LARGE: dict[str, dict[str, Any]] = {
    "uncompressed": {},
    "deflate strips": {"compression": "deflate", "compressionargs": {"level": 1}, "rowsperstrip": 32},
    "LZW strips": {"compression": "lzw", "rowsperstrip": 8},
    "tiles": {"tile": (256, 256)},
    "deflate tiles": {"compression": "deflate", "compressionargs": {"level": 1}, "tile": (256, 256)},
}  # fmt: skip


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("layout", LARGE)
def test_sixty_megapixels_are_read_in_a_few_mebibytes(tmp_path: Path, layout: str) -> None:
    if "LZW" in layout:
        pytest.importorskip("imagecodecs")
    path = tmp_path / "large.tif"
    pattern = np.add.outer(np.arange(61), np.arange(SIDE)).astype(np.uint8)
    tifffile.imwrite(path, np.tile(pattern, (SIDE // 61, 1)), **LARGE[layout])

    def read() -> None:
        tile = read_tile(path, max_resident_bytes=2**24).pixels
        for first, block in row_blocks(tile, 128):
            expected = pattern[np.arange(first, first + len(block)) % 61]
            np.testing.assert_array_equal(block, expected)

    assert peak_bytes(read) < SIDE * SIDE / 5


# --- Errors -----------------------------------------------------------------------------------------------------


def codes(path: Path) -> tuple[str, str]:
    """Error codes: read whole, and read by rows."""
    found = []
    for limit in (sys.maxsize, 0):
        with pytest.raises(TileError) as caught:
            for _ in row_blocks(read_tile(path, max_resident_bytes=limit).pixels, 10):
                pass
        assert str(path) in caught.value.message
        found.append(caught.value.code)
    return found[0], found[1]


def damage(path: Path, strip: int, length: int | None = None) -> Path:
    """Overwrite a strip's data with nonsense, or declare only `length` bytes in the header."""
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        offset, size = page.dataoffsets[strip], page.databytecounts[strip]
        counts = page.tags[279]
        item = {3: 2, 4: 4, 16: 8}[int(counts.dtype)]
        entry = counts.valueoffset + strip * item
    data = bytearray(path.read_bytes())
    if length is None:
        data[offset : offset + size] = b"\xaa" * size
    else:
        data[entry : entry + item] = length.to_bytes(item, "little")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["deflate rows", "deflate, predictor 2", "LZMA", "LZW, predictor 2", "JPEG strips"])
def test_nonsense_in_a_strip_is_told_as_of_the_whole(tmp_path: Path, name: str) -> None:
    of_whole, of_rows = codes(damage(written(tmp_path / "a.tif", name), strip=1))
    assert of_rows == of_whole == "corrupt"


@pytest.mark.parametrize("name", ["deflate, predictor 2", "LZW, predictor 2", "PackBits", "zstd"])
def test_a_strip_cut_short_is_told_as_of_the_whole(tmp_path: Path, name: str) -> None:
    of_whole, of_rows = codes(damage(written(tmp_path / "a.tif", name), strip=5, length=40))
    assert of_rows == of_whole


def test_the_rows_before_a_damaged_strip_are_right(tmp_path: Path) -> None:
    tile = rows_of(damage(written(tmp_path / "a.tif", "LZW, predictor 2"), strip=5))
    np.testing.assert_array_equal(tile[:30], GREY16[:30])
    for _ in range(2):  # a failed strip is not kept as read
        with pytest.raises(TileError):
            tile[29:31]


@pytest.mark.parametrize("kept", [1, 100, ROWS * COLS - 1])
def test_a_file_cut_short_is_truncated(tmp_path: Path, kept: int) -> None:
    path = written(tmp_path / "a.tif", "one strip")
    with tifffile.TiffFile(path) as tif:
        start = tif.pages.first.dataoffsets[0]
    path.write_bytes(path.read_bytes()[: start + kept])
    assert codes(path) == ("truncated", "truncated")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"tile": (16, 16), "compression": "deflate"}])
def test_one_pixel_that_is_not_finite_is_found(tmp_path: Path, value: float, options: dict[str, Any]) -> None:
    pixels = FLOAT.copy()
    pixels[57, 3] = value
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    assert codes(tmp_path / "a.tif") == ("not_finite", "not_finite")


def test_extremes_too_far_apart_are_found_across_slices(tmp_path: Path) -> None:
    pixels = FLOAT.astype(np.float64)
    pixels[3, 3], pixels[70, 3] = 1e308, -1e308
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    assert codes(tmp_path / "a.tif") == ("unsupported", "unsupported")


@pytest.mark.parametrize(
    "options", [{}, {"planarconfig": "separate"}, {"compression": "deflate", "rowsperstrip": 4}, {"tile": (16, 16)}]
)
def test_one_coloured_pixel_is_found(tmp_path: Path, options: dict[str, Any]) -> None:
    pixels = RGB.copy()
    pixels[57, 3, 2] ^= 1
    if "planarconfig" in options:
        pixels = np.moveaxis(pixels, 2, 0)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", **options)
    assert codes(tmp_path / "a.tif") == ("colour", "colour")


def test_a_palette_is_refused_when_too_many_pixels_use_its_colour(tmp_path: Path) -> None:
    palette = LEVELS.copy()
    palette[1, 200] ^= 0x8000
    pixels = np.minimum(GREY, 199)
    most = pixels.size // 1000  # as in JPEG
    pixels[57, :most] = 200
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="palette", colormap=palette)
    np.testing.assert_array_equal(rows_of(tmp_path / "a.tif")[:57], read_tile(tmp_path / "a.tif").pixels[:57])
    pixels[58, 0] = 200
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="palette", colormap=palette)
    assert codes(tmp_path / "a.tif") == ("colour", "colour")


@pytest.mark.parametrize(("share", "is_grey"), [(0.5, True), (2, False)])
def test_what_jpeg_may_colour_is_a_share_of_the_tile_not_of_a_slice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, is_grey: bool
) -> None:
    # WebP without loss counts as lossy, and keeps each pixel as it is.
    pytest.importorskip("imagecodecs")
    side = 320
    pixels = np.full((side, side, 3), 100, np.uint8)
    pixels[160, : int(share * side * side / 1000), 0] = 200
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, photometric="rgb", compression="webp", compressionargs={"lossless": True},
        rowsperstrip=16,
    )  # fmt: skip
    monkeypatch.setattr("mhfd.images.files.BLOCK_BYTES", 3 * 10 * side)
    if is_grey:
        np.testing.assert_array_equal(rows_of(tmp_path / "a.tif")[160:161], pixels[160:161, :, 1])
    else:
        assert codes(tmp_path / "a.tif") == ("colour", "colour")


# --- Files and threads ------------------------------------------------------------------------------------------


def test_no_file_stays_open_between_slices(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tif", "deflate rows")
    tile = rows_of(path)
    tile[3:30]
    path.unlink()  # fails on Windows while a file is open
    with pytest.raises(TileError) as caught:
        tile[3:30]
    assert caught.value.code == "not_found"


def test_a_file_that_changes_between_slices_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tif", "strips")
    tile = rows_of(path)
    tile[:10]
    os.utime(path, (1e9, 1e9))
    with pytest.raises(TileError, match="was changed") as caught:
        tile[10:20]
    assert caught.value.code == "read_failed"


@pytest.mark.parametrize("name", ["big endian", "deflate, predictor 2", "big endian tiles"])
def test_threads_may_take_slices_at_once(tmp_path: Path, name: str) -> None:
    tile = rows_of(written(tmp_path / "a.tif", name))
    parts = [slice(first % 70, first % 70 + 13) for first in range(0, 2000, 3)]
    with ThreadPoolExecutor(8) as pool:
        for part, block in zip(parts, pool.map(tile.__getitem__, parts), strict=True):
            np.testing.assert_array_equal(block, GREY16[part])


def test_a_failing_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tile = rows_of(written(tmp_path / "a.tif", "strips"))

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(TileError) as caught:
        tile[:5]
    assert caught.value.code == "read_failed"
