"""Files whose pixels end early although every rule of the format is kept; and whole ones, which must pass."""

from __future__ import annotations

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
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from mhfd.contract import TileError
from mhfd.images import read_tile

Array = NDArray[Any]


def structure(rows: int, cols: int, seed: int = 1, sigma: float = 2) -> Array:
    smooth = gaussian_filter(np.random.default_rng(seed).standard_normal((rows, cols)), sigma)
    grey: Array = ((smooth - smooth.min()) / max(np.ptp(smooth), 1e-9) * 200 + 30).astype(np.uint8)
    return grey


GREY = structure(96, 128)


def codes(path: Path) -> tuple[str, str]:
    """Read whole, and by rows: the error's code, or "read"."""

    def code(limit: int) -> str:
        try:
            _ = read_tile(path, max_resident_bytes=limit).pixels[:]
        except TileError as error:
            return error.code
        return "read"

    return code(sys.maxsize), code(0)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# --- PNG ----------------------------------------------------------------------------------------------------------

_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def scanlines(pixels: Array) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def png(pixels: Array, keep: float = 1.0, *, interlaced: bool = False, colour: int = 0, palette: bytes = b"") -> bytes:
    """A PNG file that holds a share of its rows; all check sums are right."""
    rows, cols = pixels.shape[:2]
    depth = 8 * pixels.itemsize
    pixels = pixels.astype(pixels.dtype.newbyteorder(">"))
    parts = [pixels[top::down, left::across] for top, left, down, across in _PASSES] if interlaced else [pixels]
    raw = b"".join(scanlines(part) for part in parts if part.size)
    body = zlib.compress(raw[: int(len(raw) * keep)])
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", cols, rows, depth, colour, 0, 0, interlaced))]
    chunks += [(b"PLTE", palette)] if palette else []
    chunks += [(b"IDAT", body[:99]), (b"IDAT", body[99:]), (b"IEND", b"")]
    made = (struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


LIGHT_FIRST = bytes(255 - n // 3 for n in range(768))  # so that index 0, which Pillow leaves, is no black
PNGS: dict[str, tuple[Array, dict[str, Any]]] = {
    "8 bit": (GREY, {}),
    "16 bit": (GREY.astype(np.uint16) * 257, {}),
    "colour": (np.stack([GREY] * 3, axis=2), {"colour": 2}),
    "grey and alpha": (np.stack([GREY, np.full_like(GREY, 255)], axis=2), {"colour": 4}),
    "palette": (GREY, {"colour": 3, "palette": LIGHT_FIRST}),
    "interlaced": (GREY, {"interlaced": True}),
    "interlaced, odd": (GREY[:53, :37], {"interlaced": True}),
    "one column": (GREY[:, :1], {"interlaced": True}),
    "black last row": (np.vstack([GREY, np.zeros((5, 128), np.uint8)]), {}),
}


@pytest.mark.parametrize("name", PNGS)
def test_a_whole_png_is_read(tmp_path: Path, name: str) -> None:
    pixels, options = PNGS[name]
    grey = pixels[..., 0] if pixels.ndim == 3 else pixels
    read = read_tile(written(tmp_path / "a.png", png(pixels, **options))).pixels
    np.testing.assert_array_equal(read, 255 - grey if name == "palette" else grey)


@pytest.mark.parametrize("name", PNGS)
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.97])
def test_a_png_that_lacks_rows_in_a_valid_stream_is_truncated(tmp_path: Path, name: str, keep: float) -> None:
    pixels, options = PNGS[name]
    assert codes(written(tmp_path / "a.png", png(pixels, keep, **options))) == ("truncated", "truncated")


# --- JPEG ---------------------------------------------------------------------------------------------------------


def jpeg(pixels: Array, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


def first_scan(data: bytes) -> int:
    """Where the pixels begin."""
    at = data.index(b"\xff\xda") + 2
    return at + int.from_bytes(data[at : at + 2], "big")


def cut_and_closed(data: bytes, share: float) -> bytes:
    begin = first_scan(data)
    return data[: begin + int((len(data) - 2 - begin) * share)] + b"\xff\xd9"


JPEGS: dict[str, dict[str, Any]] = {
    "sequential": {},
    "optimised": {"optimize": True, "quality": 95},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 3},
    "restarts in rows": {"restart_marker_rows": 1, "progressive": True},
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9, 0.99])
def test_a_jpeg_that_was_cut_and_closed_is_truncated(tmp_path: Path, name: str, share: float, channels: int) -> None:
    pixels = GREY if channels == 1 else np.stack([GREY] * 3, axis=2)
    data = jpeg(pixels, **JPEGS[name])
    assert codes(written(tmp_path / "a.jpg", data)) == ("read", "read")
    assert codes(written(tmp_path / "a.jpg", cut_and_closed(data, share)))[0] in ("truncated", "corrupt")


def test_a_jpeg_cut_between_its_scans_is_truncated(tmp_path: Path) -> None:
    data = jpeg(GREY, progressive=True)
    scans = [at for at in range(len(data) - 1) if data[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 3
    for at in scans[1:]:
        end = data.rindex(b"\xff\xc4", 0, at)  # its table of codes stands before a scan
        assert codes(written(tmp_path / "a.jpg", data[:end] + b"\xff\xd9"))[0] == "truncated"


def test_a_jpeg_cut_at_a_restart_is_truncated(tmp_path: Path) -> None:
    data = jpeg(GREY, restart_marker_blocks=3)
    at = data.rindex(b"\xff\xd3")
    assert codes(written(tmp_path / "a.jpg", data[:at] + b"\xff\xd9"))[0] == "truncated"


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(data=st.data())
def test_no_whole_jpeg_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    rows, cols = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 90))
    kind = data.draw(st.sampled_from(["noise", "smooth", "mid-grey", "black", "two levels"]))
    kinds: dict[str, Callable[[], Array]] = {
        "noise": lambda: np.random.default_rng(rows).integers(0, 256, (rows, cols), np.uint8),
        "smooth": lambda: structure(rows, cols, cols),
        "mid-grey": lambda: np.full((rows, cols), 128, np.uint8),
        "black": lambda: np.zeros((rows, cols), np.uint8),
        "two levels": lambda: np.where(structure(rows, cols, cols) > 128, 255, 0).astype(np.uint8),
    }
    pixels = kinds[kind]()
    options: dict[str, Any] = {
        "quality": data.draw(st.sampled_from([5, 50, 75, 95, 100])),
        "progressive": data.draw(st.booleans()),
        "optimize": data.draw(st.booleans()),
    }
    if data.draw(st.booleans()):
        pixels = np.stack([pixels] * 3, axis=2)
        options["subsampling"] = data.draw(st.sampled_from([0, 1, 2]))
    if data.draw(st.booleans()):
        options[data.draw(st.sampled_from(["restart_marker_blocks", "restart_marker_rows"]))] = data.draw(
            st.integers(1, 5)
        )
    try:
        whole = jpeg(pixels, **options)
    except OSError:  # Pillow's buffer is too small for some tiny pictures
        return
    path = tmp_path_factory.getbasetemp() / f"whole-{os.getpid()}.jpg"
    right = read_tile(written(path, whole)).pixels
    cut = cut_and_closed(whole, data.draw(st.floats(0, 1)))
    try:
        changed = np.count_nonzero(read_tile(written(path, cut)).pixels[:] != right[:])
    except TileError as error:
        assert error.code in ("truncated", "corrupt")
    else:
        assert changed <= 4  # a cut in the very last bits may change a pixel or two, or none


# --- TIFF ---------------------------------------------------------------------------------------------------------


def tiff(strips: list[bytes], compression: int, rows_per_strip: int, rows: int = 96, cols: int = 128) -> bytes:
    data = b"".join(strips)
    ends = np.cumsum([8, *map(len, strips)])
    tags: dict[int, tuple[int, ...]] = {
        256: (cols,), 257: (rows,), 258: (8,), 259: (compression,), 262: (1,), 273: tuple(map(int, ends[:-1])),
        277: (1,), 278: (rows_per_strip,), 279: tuple(map(len, strips)),
    }  # fmt: skip
    ifd = 8 + len(data)
    extra, entries = b"", b""
    for code, values in tags.items():
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(packed) > 4:
            at = ifd + 2 + 12 * len(tags) + 4 + len(extra)
            extra, packed = extra + packed, struct.pack("<I", at)
        entries += struct.pack("<HHI", code, 4, len(values)) + packed
    return b"II*\0" + struct.pack("<I", ifd) + data + struct.pack("<H", len(tags)) + entries + bytes(4) + extra


def codec(name: str) -> Callable[[Array], bytes]:
    if name == "deflate":
        return lambda pixels: zlib.compress(pixels.tobytes())
    imagecodecs = pytest.importorskip("imagecodecs")
    encode = getattr(imagecodecs, f"{name}_encode")
    takes_bytes = name in ("lzw", "zstd", "packbits", "lzma")
    return lambda pixels: bytes(encode(pixels.tobytes() if takes_bytes else np.ascontiguousarray(pixels)))


CODECS = {
    "deflate": 8, "lzw": 5, "zstd": 50000, "packbits": 32773, "lzma": 34925, "jpeg8": 7, "jpeg2k": 34712,
    "jpegxl": 50002, "jpegxr": 34934, "lerc": 34887,
}  # fmt: skip


@pytest.mark.parametrize("name", CODECS)
def test_a_strip_of_fewer_rows_in_a_valid_stream_is_truncated(tmp_path: Path, name: str) -> None:
    pack = codec(name)
    whole, short = [pack(GREY[:48]), pack(GREY[48:])], [pack(GREY[:48]), pack(GREY[48:80])]
    assert codes(written(tmp_path / "a.tif", tiff(whole, CODECS[name], 48))) == ("read", "read")
    assert codes(written(tmp_path / "a.tif", tiff(short, CODECS[name], 48))) == ("truncated", "truncated")


@pytest.mark.parametrize("name", ["jpeg8", "jpegxr"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_strip_of_jpeg_that_was_cut_is_truncated(tmp_path: Path, name: str, share: float) -> None:
    data = codec(name)(GREY)
    cut = cut_and_closed(data, share) if name == "jpeg8" else data[: int(len(data) * share)]
    assert set(codes(written(tmp_path / "a.tif", tiff([cut], CODECS[name], 96)))) <= {"truncated", "corrupt"}


@pytest.mark.parametrize("options", [{}, {"rowsperstrip": 16}, {"tile": (32, 32)}, {"photometric": "rgb"}])
def test_no_whole_tiff_of_jpeg_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    pytest.importorskip("imagecodecs")
    pixels = np.stack([GREY] * 3, axis=2) if "photometric" in options else GREY
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression="jpeg", **options)
    assert codes(tmp_path / "a.tif") == ("read", "read")


# --- BMP ----------------------------------------------------------------------------------------------------------


def bmp(data: bytes, rows: int, cols: int, compression: int = 0) -> bytes:
    palette = b"".join(bytes((n, n, n, 0)) for n in range(256))
    head = struct.pack("<IiiHHIIiiII", 40, cols, rows, 1, 8, compression, len(data), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 1024 + len(data), 0, 0, 54 + 1024) + head + palette + data


def run_length(pixels: Array) -> bytes:
    lines = (b"".join(bytes((1, int(n))) for n in row) + b"\0\0" for row in pixels[::-1])
    return b"".join(lines)[:-2] + b"\0\1"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("keep", [1, 50, 95])
def test_a_bmp_shorter_than_its_header_says_is_truncated(tmp_path: Path, packed: bool, keep: int) -> None:
    for rows, expected in ((96, "read"), (keep, "truncated")):
        data = run_length(GREY[:rows]) if packed else GREY[:rows][::-1].tobytes()
        assert codes(written(tmp_path / "a.bmp", bmp(data, 96, 128, int(packed))))[0] == expected


# --- Memory -------------------------------------------------------------------------------------------------------

PEAK = """
import resource, sys
from mhfd.images import read_tile
read_tile(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tile = read_tile(sys.argv[2])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / tile.pixels.size)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
@pytest.mark.parametrize("colour", [0, 3])
def test_a_small_png_of_many_pixels_takes_little_more_than_its_pixels(tmp_path: Path, colour: int) -> None:
    side = 10_000
    options: dict[str, Any] = {"colour": colour, "palette": LIGHT_FIRST if colour == 3 else b""}
    large = written(tmp_path / "large.png", png(np.zeros((side, side), np.uint8), **options))
    assert large.stat().st_size < 200_000
    small = written(tmp_path / "small.png", png(GREY, **options))
    done = subprocess.run([sys.executable, "-c", PEAK, small, large], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 2.6  # bytes a pixel: Pillow's copy, ours, and bands of them
