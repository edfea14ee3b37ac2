"""Image files made here, bit by bit where needed, so that the right answer is known."""

from __future__ import annotations

import functools
import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mhfd.contract import TileError
from mhfd.images import DEFAULT_MAX_PIXELS, IMAGE_SUFFIXES, count_tiles, grey_tile, plain, read_tile
from mhfd.kernel.pixels import row_blocks
from phantoms import EmTile

Array = np.ndarray[Any, np.dtype[Any]]

ROWS, COLS = 24, 32
GREY = np.random.default_rng(1).integers(0, 256, (ROWS, COLS), dtype=np.uint8)
GREY16 = GREY.astype(np.uint16) * 255 + 7
SMOOTH = np.add.outer(np.arange(ROWS), np.arange(COLS)).astype(np.uint8) * 3  # what JPEG keeps


def write(path: Path, data: bytes | bytearray) -> Path:
    path.write_bytes(data)
    return path


def tiff_bytes(pixels: Array, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def pillow_bytes(pixels: Array, format_: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format_, **options)
    return file.getvalue()


def raw_tiff(tags: dict[int, tuple[int, ...] | int], pixels: bytes = bytes(64), next_ifd: int = 0) -> bytes:
    """A little-endian TIFF of one page, all tags LONG, pixels at byte 8, the page's header after them."""
    ifd = 8 + len(pixels)
    default: dict[int, tuple[int, ...] | int] = {
        256: 8,
        257: 8,
        258: 8,
        259: 1,
        262: 1,
        273: 8,
        277: 1,
        278: 8,
        279: 64,
    }
    tags = default | tags
    extra, entries = b"", b""
    for code, value in sorted(tags.items()):
        values = value if isinstance(value, tuple) else (value,)
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(packed) > 4:
            at = ifd + 2 + 12 * len(tags) + 4 + len(extra)
            extra, packed = extra + packed, struct.pack("<I", at)
        entries += struct.pack("<HHI", code, 4, len(values)) + packed
    head = b"II*\0" + struct.pack("<I", ifd) + pixels
    return head + struct.pack("<H", len(tags)) + entries + struct.pack("<I", next_ifd) + extra


def png_bytes(cols: int, rows: int, *chunks: tuple[bytes, bytes], depth: int = 8, colour: int = 0) -> bytes:
    header = (b"IHDR", struct.pack(">IIBBBBB", cols, rows, depth, colour, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in (header, *chunks, (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data


def error(path: Path | str, index: int = 0, **options: Any) -> TileError:
    with pytest.raises(TileError) as caught:
        read_tile(path, index, **options)
    return caught.value


def held(path: Path | str) -> Array:
    """The pixels of a tile that is held in memory."""
    pixels = read_tile(path).pixels
    assert isinstance(pixels, np.ndarray)
    return pixels


def read_by_rows(path: Path | str, index: int = 0) -> Array:
    """All rows of a tile that is not held in memory, in slices."""
    tile = read_tile(path, index, max_resident_bytes=0).pixels
    return np.concatenate([block for _, block in row_blocks(tile, 7)])


# --- Accepted files ---------------------------------------------------------------------------------------------

WRITTEN = {
    "plain.tif": tiff_bytes(GREY),
    "big-endian.tif": tiff_bytes(GREY16, byteorder=">"),
    "bigtiff.tif": tiff_bytes(GREY, bigtiff=True),
    "ome.tif": tiff_bytes(GREY, ome=True),
    "tiled.tif": tiff_bytes(GREY, tile=(16, 16)),
    "stripped.tif": tiff_bytes(GREY, rowsperstrip=5),
    "lzw.tif": tiff_bytes(GREY16, compression="lzw", predictor=True),
    "deflate.tif": tiff_bytes(GREY16, compression="deflate", predictor=True),
    "tiled-deflate.tif": tiff_bytes(GREY, compression="deflate", tile=(16, 16)),
    "packbits.tif": tiff_bytes(GREY, compression="packbits"),
    "zstd.tif": tiff_bytes(GREY, compression="zstd"),
    "rgb.tif": tiff_bytes(np.stack([GREY] * 3, axis=2), photometric="rgb"),
    "planar.tif": tiff_bytes(np.stack([GREY] * 3), photometric="rgb", planarconfig="separate"),
    "rgba.tif": tiff_bytes(np.stack([GREY] * 3 + [SMOOTH], axis=2), photometric="rgb", extrasamples=["unassalpha"]),
    "grey-alpha.tif": tiff_bytes(
        np.stack([GREY, SMOOTH], axis=2), photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"]
    ),
    "palette.tif": tiff_bytes(
        GREY, photometric="palette", colormap=np.stack([np.arange(256, dtype=np.uint16) * 257] * 3)
    ),
    "white-is-zero.tif": tiff_bytes(255 - GREY, photometric="miniswhite"),
    "grey.png": pillow_bytes(GREY, "PNG"),
    "grey16.png": pillow_bytes(GREY16, "PNG"),
    "rgb.png": pillow_bytes(np.stack([GREY] * 3, axis=2), "PNG"),
    "rgba.png": pillow_bytes(np.stack([GREY] * 3 + [SMOOTH], axis=2), "PNG"),
    "grey.bmp": pillow_bytes(GREY, "BMP"),
    "rgb.bmp": pillow_bytes(np.stack([GREY] * 3, axis=2), "BMP"),
}  # fmt: skip
LOSSY = {
    "grey.jpg": pillow_bytes(SMOOTH, "JPEG", quality=98),
    "rgb.jpg": pillow_bytes(np.stack([SMOOTH] * 3, axis=2), "JPEG", quality=98),
    "jpeg.tif": tiff_bytes(SMOOTH, compression="jpeg", compressionargs={"level": 98}),
    "jpeg-rgb.tif": tiff_bytes(
        np.stack([SMOOTH] * 3, axis=2), photometric="rgb", compression="jpeg", compressionargs={"level": 98}
    ),
    "jpeg2000.tif": tiff_bytes(SMOOTH, compression="jpeg2000", compressionargs={"level": 60}),
}
ALL = WRITTEN | LOSSY


@pytest.mark.parametrize("name", WRITTEN)
def test_the_pixels_written_are_the_pixels_read(tmp_path: Path, name: str) -> None:
    tile = read_tile(write(tmp_path / name, WRITTEN[name]))
    np.testing.assert_array_equal(tile.pixels, GREY16 if tile.pixels.dtype == np.uint16 else GREY)
    assert tile.pixels.dtype.isnative
    assert held(tmp_path / name).flags.c_contiguous
    assert not tile.acquisition.lossy


@pytest.mark.parametrize("name", LOSSY)
def test_a_lossy_file_says_so_and_is_nearly_what_was_written(tmp_path: Path, name: str) -> None:
    tile = read_tile(write(tmp_path / name, LOSSY[name]))
    assert np.abs(held(tmp_path / name).astype(int) - SMOOTH).max() <= 12
    assert tile.acquisition.lossy


@pytest.mark.parametrize("name", ALL)
def test_each_of_these_files_is_one_tile(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, ALL[name])
    assert count_tiles(path) == 1
    assert read_tile(str(path)).path == str(path)


@pytest.mark.parametrize("name", ["grey.png", "grey.bmp", "grey.jpg", "plain.tif"])
def test_the_content_tells_the_format_not_the_name(tmp_path: Path, name: str) -> None:
    tile = read_tile(write(tmp_path / "misnamed.gif", ALL[name]))
    assert tile.acquisition.format == {"jpg": "jpeg", "tif": "tiff"}.get(name[-3:], name[-3:])


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("int8", "int8"), ("int16", "int16"), ("uint16", "uint16"), ("uint32", "float64"), ("int64", "float64"),
        ("float16", "float32"), ("float32", "float32"), ("float64", "float64"),
    ],
)  # fmt: skip
def test_types_become_what_the_kernel_takes(tmp_path: Path, written: str, read: str) -> None:
    tifffile.imwrite(tmp_path / "tile.tif", SMOOTH.astype(written), byteorder=">")
    tile = read_tile(tmp_path / "tile.tif")
    assert tile.pixels.dtype == np.dtype(read)
    np.testing.assert_array_equal(tile.pixels, SMOOTH.astype(written).astype(read))


def test_white_is_zero_in_signed_and_float_tiles_is_turned_round(tmp_path: Path) -> None:
    for kind in ("int16", "float32"):
        tifffile.imwrite(tmp_path / "tile.tif", GREY.astype(kind), photometric="miniswhite")
        pixels = held(tmp_path / "tile.tif").astype(float)
        np.testing.assert_array_equal(pixels - pixels.min(), GREY.max() - GREY.astype(float))


def test_a_tile_without_photometric_tag_is_not_turned_round(tmp_path: Path) -> None:
    data = raw_tiff({}, bytes(range(64))).replace(
        struct.pack("<HHII", 262, 4, 1, 1), struct.pack("<HHII", 261, 4, 1, 1)
    )
    assert held(write(tmp_path / "tile.tif", data))[0, 0] == 0


def test_a_predictor_without_compression_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "tile.tif", raw_tiff({317: 2}, bytes(range(64))))
    np.testing.assert_array_equal(read_tile(path).pixels, np.arange(64).reshape(8, 8))
    np.testing.assert_array_equal(read_by_rows(path), np.arange(64).reshape(8, 8))


def test_one_bright_speck_of_colour_in_a_jpeg_is_still_grey() -> None:
    pixels = np.stack([np.zeros((100, 100), np.uint8)] * 3, axis=2)
    pixels[5, 5, 0] = 200
    assert grey_tile(pixels, "the tile", lossy=True).shape == (100, 100)


def test_the_default_limit_holds_the_largest_frames() -> None:
    assert DEFAULT_MAX_PIXELS >= 16384 * 16384 * 8


def test_suffixes_are_lower_case_and_hold_those_of_each_format() -> None:
    assert {".tif", ".tiff", ".btf", ".tf8", ".png", ".bmp", ".jpg", ".jpeg"} == IMAGE_SUFFIXES


# --- Stacks -----------------------------------------------------------------------------------------------------


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    with tifffile.TiffWriter(tmp_path / "stack.tif") as tif:
        for page in range(3):
            tif.write(GREY + page, metadata=None)
            tif.write(GREY[::2, ::2], subfiletype=1, metadata=None)
            tif.write(GREY > 9, subfiletype=4, metadata=None)
    return tmp_path / "stack.tif"


def test_reduced_copies_and_masks_are_not_tiles(stack: Path) -> None:
    assert count_tiles(stack) == 3
    np.testing.assert_array_equal(read_tile(stack, 2).pixels, GREY + 2)


def test_a_page_of_several_carries_its_number(stack: Path) -> None:
    assert read_tile(stack, 0).path == f"{stack}#page=0"
    assert read_tile(stack, 2).path == f"{stack}#page=2"


@pytest.mark.parametrize("index", [3, -1])
def test_a_page_that_is_not_there_is_not_found(stack: Path, index: int) -> None:
    assert error(stack, index).code == "not_found"


def test_a_second_tile_in_a_png_is_not_found(tmp_path: Path) -> None:
    assert error(write(tmp_path / "a.png", WRITTEN["grey.png"]), 1).code == "not_found"


def test_sub_levels_of_a_pyramid_are_not_tiles(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tif:
        tif.write(GREY, subifds=1)
        tif.write(GREY[::2, ::2], subfiletype=1)
    assert count_tiles(tmp_path / "a.ome.tif") == 1


def test_planes_that_imagej_writes_without_headers_are_tiles(tmp_path: Path) -> None:
    path = tmp_path / "imagej.tif"
    tifffile.imwrite(path, np.stack([GREY16, GREY16 + 1, GREY16 + 2]), imagej=True)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        ifd = tif.pages.first.offset
        big = tif.byteorder
    entries = struct.unpack(f"{big}H", data[ifd : ifd + 2])[0]
    data[ifd + 2 + 12 * entries : ifd + 6 + 12 * entries] = bytes(4)  # cut the chain behind the first page
    write(path, data)
    assert count_tiles(path) == 3
    np.testing.assert_array_equal(read_tile(path, 2).pixels, GREY16 + 2)
    assert error(path, 3).code == "not_found"


def test_only_the_page_asked_for_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 256, 256), np.uint8), metadata=None, compression="deflate")
    decoded: list[int] = []
    asarray = tifffile.TiffPage.asarray

    def watched(page: tifffile.TiffPage, **options: Any) -> Array:
        decoded.append(page.index)
        return asarray(page, **options)

    monkeypatch.setattr(tifffile.TiffPage, "asarray", watched)
    read_tile(tmp_path / "a.tif", 7)
    assert decoded == [7]


# --- Refused files ----------------------------------------------------------------------------------------------

BAD: dict[str, tuple[str, bytes]] = {
    "empty": ("empty_file", b""),
    "one byte": ("not_an_image", b"I"),
    "text": ("not_an_image", b"BM is how this text begins, and it goes on for a while"),
    "only a magic number": ("truncated", b"II*\0"),
    "PNG without IEND": ("truncated", WRITTEN["grey.png"][:-12]),
    "PNG with a wrong check sum": ("corrupt", WRITTEN["grey.png"].replace(b"IDAT", b"IDAT\1")[:-1]),
    "PNG of 10^9 x 10^9": ("too_large", png_bytes(10**9, 10**9, (b"IDAT", zlib.compress(b"0")))),
    "PNG of 0 rows": ("zero_size", png_bytes(4, 0, (b"IDAT", zlib.compress(b"0")))),
    "PNG too small for its pixels": ("truncated", png_bytes(30000, 30000, (b"IDAT", zlib.compress(b"0")))),
    "animated PNG": ("unsupported", png_bytes(8, 8, (b"acTL", bytes(8)), (b"IDAT", zlib.compress(bytes(72))))),
    "16-bit RGB PNG": ("unsupported", png_bytes(1, 1, (b"IDAT", zlib.compress(bytes(7))), depth=16, colour=2)),
    "bilevel PNG": ("unsupported", pillow_bytes(GREY > 9, "PNG")),
    "colour PNG": ("colour", pillow_bytes(np.stack([GREY, GREY, SMOOTH], axis=2), "PNG")),
    "colour JPEG": ("colour", pillow_bytes(np.stack([SMOOTH, SMOOTH, SMOOTH[::-1]], axis=2), "JPEG")),
    "JPEG too small for its pixels": (
        "truncated", LOSSY["grey.jpg"].replace(struct.pack(">HH", ROWS, COLS), struct.pack(">HH", 32000, 32000), 1)
    ),
    "cut JPEG": ("truncated", LOSSY["grey.jpg"][:-40]),
    "cut BMP": ("truncated", WRITTEN["grey.bmp"][:-40]),
    "cut TIFF": ("truncated", WRITTEN["plain.tif"][:-1]),
    "cut deflate TIFF": ("truncated", WRITTEN["deflate.tif"][:-1]),
    "bilevel TIFF": ("unsupported", tiff_bytes(GREY > 9)),
    "complex TIFF": ("unsupported", tiff_bytes(GREY.astype(np.complex64))),
    "colour TIFF": ("colour", tiff_bytes(np.stack([GREY, GREY, SMOOTH], axis=2), photometric="rgb")),
    "planar colour TIFF": (
        "colour", tiff_bytes(np.stack([GREY, GREY, SMOOTH]), photometric="rgb", planarconfig="separate")
    ),
    "CMYK TIFF": ("colour", tiff_bytes(np.stack([GREY] * 4, axis=2), photometric="separated")),
    "colour palette TIFF": (
        "colour", tiff_bytes(GREY, photometric="palette", colormap=np.arange(768, dtype=np.uint16).reshape(3, 256) * 80)
    ),
    "volume in one page": ("unsupported", tiff_bytes(np.stack([GREY] * 16), volumetric=True, tile=(16, 16, 16))),
    "five channels": (
        "unsupported", tiff_bytes(np.stack([GREY] * 5, axis=2), photometric="minisblack", planarconfig="contig")
    ),
    "NaN": ("not_finite", tiff_bytes(np.where(GREY > 250, np.nan, GREY).astype(np.float32))),
    "infinite": ("not_finite", tiff_bytes(np.where(GREY > 250, -np.inf, GREY))),
    "zero rows": ("zero_size", raw_tiff({257: 0})),
    "zero columns": ("zero_size", raw_tiff({256: 0})),
    "too many pixels": ("too_large", raw_tiff({256: 2**31, 257: 2**31})),
    "no page": ("unsupported", b"II*\0" + bytes(20)),
    "only a thumbnail": ("unsupported", raw_tiff({254: 1})),
    "pages in a ring": ("corrupt", raw_tiff({}, next_ifd=72)),
    "next page beyond the end": ("truncated", raw_tiff({}, next_ifd=10**6)),
    "pixels beyond the end": ("truncated", raw_tiff({273: 10**6})),
    "strip beyond the end": ("truncated", raw_tiff({278: 4, 273: (8, 40), 279: (32, 10**6)})),
    "strip never written": ("truncated", raw_tiff({278: 4, 273: (8, 0), 279: (32, 0)})),
    "strip missing": ("corrupt", raw_tiff({259: 8, 278: 2, 273: (8, 40), 279: (32, 32)})),
    "strips that overlap": ("corrupt", raw_tiff({278: 1, 273: (8,) * 8, 279: (64,) * 8})),
    "tiles of 10^12 pixels": ("corrupt", raw_tiff({322: 10**6, 323: 10**6, 324: 8, 325: 64})),
    "unknown compression": ("unsupported", raw_tiff({259: 4711})),
    "65000 tags": ("corrupt", b"II*\0\x08\0\0\0" + struct.pack("<H", 65000) + bytes(10**6)),
    "deflate bomb": ("corrupt", raw_tiff({259: 8, 279: 99}, zlib.compress(bytes(10**5)).ljust(99, b"\0"))),
    "not deflate": ("corrupt", raw_tiff({259: 8})),
    "samples without end": ("unsupported", raw_tiff({277: 65535})),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_with_its_code(tmp_path: Path, case: str) -> None:
    code, data = BAD[case]
    caught = error(write(tmp_path / "bad tile.tif", data))
    assert caught.code == code
    assert str(tmp_path / "bad tile.tif") in caught.message


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_that_is_read_by_rows_is_refused_with_the_same_code(tmp_path: Path, case: str) -> None:
    code, data = BAD[case]
    with pytest.raises(TileError) as caught:
        read_by_rows(write(tmp_path / "bad tile.tif", data))
    assert caught.value.code == code


def test_strips_without_end_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.tif").open("wb") as file:
        file.write(
            raw_tiff({257: 2**21, 278: 1}).replace(struct.pack("<HHI", 273, 4, 1), struct.pack("<HHI", 273, 4, 2**21))
        )
        file.truncate(2**24)
    assert error(tmp_path / "a.tif").code == "corrupt"


def test_a_truncated_stack_is_refused_as_a_whole(tmp_path: Path) -> None:
    data = tiff_bytes(np.stack([GREY] * 5), metadata=None, compression="deflate")
    path = write(tmp_path / "stack.tif", data[: len(data) * 2 // 3])
    with pytest.raises(TileError, match="truncated"):
        count_tiles(path)
    assert error(path).code == "truncated"
    assert read_tile(path, 1).pixels.shape == GREY.shape  # but the complete pages can be read


def test_max_pixels_is_the_largest_tile_read(tmp_path: Path) -> None:
    for name in ("plain.tif", "grey.png", "grey.bmp", "grey.jpg"):
        path = write(tmp_path / name, ALL[name])
        assert error(path, max_pixels=GREY.size - 1).code == "too_large"
        assert read_tile(path, max_pixels=GREY.size).pixels.size == GREY.size


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    assert error(tmp_path / "none.tif").code == "not_found"
    assert error("a\0b.tif").code == "not_found"


def test_a_folder_is_not_an_image(tmp_path: Path) -> None:
    assert error(tmp_path).code == "not_an_image"


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (PermissionError(13, "denied"), "permission_denied"),
        (OSError(5, "Input/output error"), "read_failed"),
        (MemoryError(), "out_of_memory"),
    ],
)
def test_what_the_system_says_becomes_a_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, code: str
) -> None:
    path = write(tmp_path / "a.tif", WRITTEN["plain.tif"])

    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(Path, "open", fail)
    monkeypatch.setattr(plain, "FileIO", fail)  # files whose header is known
    assert error(path).code == code


def test_memory_that_runs_out_while_decoding_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(tifffile.TiffPage, "asarray", fail)
    assert error(write(tmp_path / "a.tif", WRITTEN["deflate.tif"])).code == "out_of_memory"


WITHOUT_IMAGECODECS = """
import sys
sys.modules["imagecodecs"] = None
from mhfd.contract import TileError
from mhfd.images import read_tile
for path in sys.argv[1:]:
    try:
        read_tile(path)
        print("read")
    except TileError as error:
        print(error.code, "[codecs]" in error.message)
"""


def test_without_imagecodecs_the_extra_is_named_and_the_rest_works(tmp_path: Path) -> None:
    bomb = raw_tiff({259: 8, 279: 10**5}, zlib.compress(bytes(10**8)).ljust(10**5, b"\0"))
    files = {
        "plain.tif": "read", "deflate.tif": "read", "packbits.tif": "read", "grey.png": "read",
        "lzw.tif": "missing_codec True", "zstd.tif": "missing_codec True", "jpeg.tif": "missing_codec True",
        "bomb.tif": "corrupt False", "unknown.tif": "unsupported False",
    }  # fmt: skip
    contents = ALL | {"bomb.tif": bomb, "unknown.tif": BAD["unknown compression"][1]}
    paths = [write(tmp_path / name, contents[name]) for name in files]
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", WITHOUT_IMAGECODECS, *paths],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert dict(zip(files, done.stdout.split("\n"), strict=False)) == files
    assert done.stderr == ""  # nor did tifffile log anything


def test_bad_files_leave_no_word_on_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for number, (_, data) in enumerate(BAD.values()):
        error(write(tmp_path / f"{number}.tif", data))
    assert capfd.readouterr().err == ""


# --- Any damage -------------------------------------------------------------------------------------------------


@functools.cache
def fuzz_seeds() -> dict[str, bytes]:
    stack = np.stack([GREY, GREY])
    return ALL | {
        "stack.tif": tiff_bytes(stack, metadata=None, compression="lzw"),
        "imagej.tif": tiff_bytes(stack, imagej=True),
        "ome-stack.tif": tiff_bytes(stack, ome=True, metadata={"PhysicalSizeX": 4, "PhysicalSizeY": 4}),
    }


def outcome(call: Callable[[], Any]) -> Any:
    """The result of `call`, or its error code."""
    try:
        return call()
    except TileError as exc:
        assert exc.code != "internal"
        return exc.code


@settings(max_examples=500, derandomize=True, deadline=None, database=None)
@given(data=st.data())
def test_damaged_bytes_give_the_same_tile_or_code_whole_and_by_rows(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(fuzz_seeds()[data.draw(st.sampled_from(sorted(fuzz_seeds())))])
    # Headers are where the damage is worst, so half of it goes there.
    place = st.integers(0, len(content) - 1) | st.integers(0, min(len(content), 300) - 1)
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(place)] = data.draw(st.sampled_from([0, 1, 2, 127, 128, 255]) | st.integers(0, 255))
    path = write(tmp_path_factory.getbasetemp() / f"fuzz-{os.getpid()}.tif", content)
    index = data.draw(st.integers(0, 1))
    assert outcome(lambda: count_tiles(path)) is not None
    whole = outcome(lambda: read_tile(path, index).pixels[:])
    np.testing.assert_array_equal(outcome(lambda: read_by_rows(path, index)), whole)


@pytest.mark.parametrize(
    "name", ["plain.tif", "deflate.tif", "lzw.tif", "grey.png", "grey.bmp", "grey.jpg", "jpeg.tif"]
)
def test_a_file_cut_anywhere_is_never_taken_for_another_tile(tmp_path: Path, name: str) -> None:
    whole = read_tile(write(tmp_path / name, ALL[name])).pixels
    for length in range(0, len(ALL[name]), 1 + len(ALL[name]) // 150):
        write(tmp_path / name, ALL[name][:length])
        try:
            np.testing.assert_array_equal(read_tile(tmp_path / name).pixels, whole)
        except TileError as exc:
            assert exc.code in ("empty_file", "not_an_image", "truncated", "corrupt")


# --- Checks of arrays -------------------------------------------------------------------------------------------


def test_a_good_array_passes_unchanged() -> None:
    assert np.shares_memory(grey_tile(GREY, "the array"), GREY)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_last_with_equal_colours_is_grey(channels: int) -> None:
    pixels = np.stack([GREY] * channels, axis=2)
    np.testing.assert_array_equal(grey_tile(pixels, "the array"), GREY)


@pytest.mark.parametrize(
    ("pixels", "code"),
    [
        (np.zeros((4, 4), bool), "unsupported"),
        (np.zeros((4, 4), complex), "unsupported"),
        (np.zeros((4, 4), object), "unsupported"),
        (np.zeros((4, 4), "datetime64[s]"), "unsupported"),
        (np.zeros(4), "unsupported"),
        (np.zeros((3, 4, 5)), "unsupported"),
        (np.zeros((0, 4)), "zero_size"),
        (np.zeros((4, 0, 3)), "zero_size"),
        (np.full((4, 4), np.nan), "not_finite"),
        (np.full((4, 4, 3), np.nan), "not_finite"),
        (np.full((4, 4), np.inf, np.float16), "not_finite"),
        (np.arange(48, dtype=np.uint8).reshape(4, 4, 3), "colour"),
    ],
)
def test_an_array_that_is_no_grey_tile_is_refused(pixels: Array, code: str) -> None:
    with pytest.raises(TileError) as caught:
        grey_tile(pixels, "the array")
    assert caught.value.code == code
    assert caught.value.message.startswith("the array ")


# --- Real files -------------------------------------------------------------------------------------------------


def test_bmp_named_png_is_read_as_bmp(em_tile: EmTile) -> None:
    tile = read_tile(em_tile("sem-focus-series/series_0_def-13324_astx-466_asty219_base.png"))
    assert tile.acquisition.format == "bmp"
    assert tile.pixels.shape == (768, 1024)


def test_packbits_hela_is_what_pillow_reads(em_tile: EmTile) -> None:
    path = em_tile("sbfsem-hela/ROI_6005_4739_81_z0001.tif")
    with Image.open(path) as image:
        np.testing.assert_array_equal(read_tile(path).pixels, np.asarray(image))


def test_grey_palette_of_a_vendor_is_grey(em_tile: EmTile) -> None:
    assert read_tile(em_tile("vendor-sem/jeol_example_sem.tif")).pixels.shape == (960, 1280)
