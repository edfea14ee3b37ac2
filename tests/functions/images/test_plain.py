"""Plain TIFF files are read without tifffile; whatever they hold, the answer is the one that tifffile's way gives."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from mhfd.contract import TileError
from mhfd.images import plain, read_tile

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pipes among its files")

RAMP = np.arange(48).reshape(6, 8)

ZEISS = "\r\n".join(["0", "AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = 4.000 nm", "AP_WD", "WD =  5.2 mm", ""])
FEI = "[Beam]\r\nBeam=EBeam\r\nScan=EScan\r\n[EScan]\r\nDwell=3e-06\r\nPixelWidth=8e-09\r\nPixelHeight=8e-09\r\n"
TESCAN = "PREVIEW\r\nPixelSizeX=2.5e-9\r\nPixelSizeY=2.5e-9\r\nWD=13.25e-3\r\n"


def vendor_tag(code: int, text: str) -> dict[str, Any]:
    return {"metadata": None, "extratags": [(code, 1, len(text), text.encode(), True)]}


def greys(step: int) -> np.ndarray[Any, Any]:
    return np.stack([np.arange(256, dtype=np.uint16) * step] * 3).astype(np.uint16)


PLAIN: dict[str, dict[str, Any]] = {
    "uint8": {"data": RAMP.astype(np.uint8)},
    "uint16": {"data": RAMP.astype(np.uint16) * 900},
    "big endian": {"data": RAMP.astype(np.uint16) * 900, "byteorder": ">"},
    "int16": {"data": RAMP.astype(np.int16) - 20},
    "uint32": {"data": RAMP.astype(np.uint32) * 70_000},
    "float32": {"data": RAMP.astype(np.float32) / 7},
    "float64": {"data": RAMP / 7},
    "strips": {"data": RAMP.astype(np.uint8), "rowsperstrip": 4},
    "resolution": {"data": RAMP.astype(np.uint8), "resolution": (4e6, 4e6), "resolutionunit": "CENTIMETER"},
    "description": {"data": RAMP.astype(np.uint8), "description": "a tile", "metadata": None, "software": "acquire 3"},
    "ImageJ": {
        "data": RAMP.astype(np.uint16),
        "imagej": True,
        "resolution": (250, 250),
        "metadata": {"unit": "micron"},
    },
    "ImageJ with labels": {"data": RAMP.astype(np.uint8), "imagej": True, "metadata": {"Labels": ["a"], "Info": "b"}},
    "zeiss": {"data": RAMP.astype(np.uint8), **vendor_tag(34118, ZEISS)},
    "fei": {"data": RAMP.astype(np.uint8), **vendor_tag(34682, FEI)},
    "all greys as a palette": {"data": RAMP.astype(np.uint8), "photometric": "palette", "colormap": greys(257)},
    "zeiss as SmartSEM": {
        "data": RAMP.astype(np.uint8),
        "photometric": "palette",
        "colormap": greys(256),
        "metadata": None,
        "extratags": [(34118, 2, 0, ZEISS, True), (34119, 2, 0, 2 * ZEISS, True)],
    },
    "fei as xT": {
        "data": RAMP.astype(np.uint8),
        "rowsperstrip": 1,
        "metadata": None,
        "extratags": [(34682, 2, 0, FEI, True), (34665, 13, 1, 8, True)],
    },
    "tescan": {"data": RAMP.astype(np.uint8), **vendor_tag(50431, TESCAN)},
}
OTHER: dict[str, dict[str, Any]] = {
    "two pages": {"data": np.stack([RAMP, RAMP]).astype(np.uint8), "photometric": "minisblack"},
    "deflate": {"data": RAMP.astype(np.uint8), "compression": "zlib"},
    "tiles": {"data": np.zeros((16, 16), np.uint8), "tile": (16, 16)},
    "white is zero": {"data": RAMP.astype(np.uint8), "photometric": "miniswhite"},
    "colour": {"data": np.zeros((6, 8, 3), np.uint8), "photometric": "rgb"},
    "ImageJ of more": {"data": np.stack([RAMP, RAMP]).astype(np.uint8), "imagej": True},
    "ImageJ of many": {
        "data": RAMP.astype(np.uint8),
        "description": "ImageJ=1.5\nimages=" + 5000 * "9",
        "metadata": None,
    },
    "a short vendor tag": {"data": RAMP.astype(np.uint8), **vendor_tag(34680, "abc")},
    "a palette from light to dark": {
        "data": RAMP.astype(np.uint8),
        "photometric": "palette",
        "colormap": greys(257)[:, ::-1],
    },
    "a palette of a colour": {
        "data": RAMP.astype(np.uint8),
        "photometric": "palette",
        "colormap": greys(257) // [[1], [1], [2]],
    },
    "a palette that is not in use": {
        "data": RAMP.astype(np.uint8),
        "metadata": None,
        "extratags": [(320, 3, 768, greys(257).ravel().tolist(), True)],
    },
    "OME": {"data": RAMP.astype(np.uint8), "ome": True},
    "BigTIFF": {"data": RAMP.astype(np.uint8), "bigtiff": True},
    "a letter": {"data": RAMP.astype(np.uint8), "description": "µm".encode(), "metadata": None},
    "a private tag": {"data": RAMP.astype(np.uint8), **vendor_tag(65_000, "of another program")},
}


@pytest.fixture(params=["by Python", "in one call"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How a file with a known header is read."""
    read_known = None
    if request.param == "in one call":
        pytest.importorskip("numba")
        if (read_known := plain._compiled()) is None:
            pytest.skip("only Linux has these calls")
    monkeypatch.setattr(plain.READ_KNOWN, "made", read_known)


def written(path: Path, data: np.ndarray[Any, Any], **options: Any) -> bytes:
    tifffile.imwrite(path, data, **{"photometric": "minisblack", **options})
    return path.read_bytes()


def answer(path: Path) -> object:
    """What reading a file gives, in a form that compares."""
    try:
        tile = read_tile(path, max_pixels=2**20)
    except TileError as error:
        return error.code, error.message
    pixels = tile.pixels[:]
    return pixels.dtype, pixels.tobytes(), pixels.shape, tile.pixel_size_nm, tile.acquisition, tile.picture


def by_tifffile(path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    with monkeypatch.context() as patch:
        patch.setattr(plain, "plain_page", lambda *_: None)
        patch.setattr(plain, "known_file", lambda *_: None)
        return answer(path)


def is_plain(path: Path) -> bool:
    with path.open("rb") as file:
        return plain.plain_page(file, path.stat().st_size, 2**20, 2**20) is not None


@pytest.mark.parametrize("kind", PLAIN)
def test_a_plain_file_reads_as_by_tifffile(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    written(path, **PLAIN[kind])
    assert is_plain(path)
    assert answer(path) == by_tifffile(path, monkeypatch)


@pytest.mark.parametrize("kind", OTHER)
def test_another_file_is_left_to_tifffile(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    written(path, **OTHER[kind])
    assert not is_plain(path)


@pytest.mark.parametrize("kind", ["big endian", "strips", "resolution", "ImageJ", "zeiss"])
def test_a_file_with_any_byte_of_its_header_changed_reads_as_by_tifffile(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    data = written(path, **PLAIN[kind])
    with path.open("rb") as file:
        page = plain.plain_page(file, len(data), 2**20, 2**20)
    assert page is not None
    seen_plain = 0
    for place in range(min(page.offset, 400)):
        for value in (0, 255, data[place] ^ 1):
            path.write_bytes(data[:place] + bytes([value]) + data[place + 1 :])
            seen_plain += is_plain(path)
            assert answer(path) == by_tifffile(path, monkeypatch), (place, value)
    assert seen_plain  # those whose change does not matter


@pytest.mark.parametrize("kind", ["uint8", "strips", "zeiss"])
def test_a_file_cut_anywhere_reads_as_by_tifffile(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    data = written(path, **PLAIN[kind])
    for length in range(len(data)):
        path.write_bytes(data[:length])
        assert answer(path) == by_tifffile(path, monkeypatch), length


def test_a_page_too_large_to_hold_or_to_read_is_left_to_tifffile(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    size = len(written(path, RAMP.astype(np.uint32)))
    for max_pixels, max_bytes, expected in ((48, 8 * 48, True), (47, 8 * 48, False), (48, 8 * 48 - 1, False)):
        with path.open("rb") as file:
            assert (plain.plain_page(file, size, max_pixels, max_bytes) is not None) == expected


def test_a_header_read_before_is_known_again_and_its_pixels_are_those_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The description stands behind the first 4096 bytes, so it is read by itself.
    options: dict[str, Any] = {"description": "x" * 5000 + "1", "metadata": None, "resolution": (4e6, 4e6)}
    data = written(tmp_path / "first.tif", RAMP.astype(np.uint8), **options, resolutionunit="CENTIMETER")
    place = data.index(b"x1\0")
    (tmp_path / "other header.tif").write_bytes(data[:place] + b"x2" + data[place + 2 :])
    (tmp_path / "other pixels.tif").write_bytes(data[:-1] + b"\xfe")
    (tmp_path / "again.tif").write_bytes(data)
    names = ["first", "again", "other pixels", "other header", "again"]
    for name in names:
        path = tmp_path / f"{name}.tif"
        assert answer(path) == by_tifffile(path, monkeypatch), name
    assert read_tile(tmp_path / "other pixels.tif").pixels[-1:][0, -1] == 254
    assert read_tile(tmp_path / "again.tif").pixel_size_nm == 2.5


def test_the_text_beside_a_tile_counts_where_its_header_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        written(tmp_path / f"{name}.tif", RAMP.astype(np.uint8), resolution=(4e6, 4e6), resolutionunit="CENTIMETER")
    (tmp_path / "b.txt").write_text("$CM_FORMAT JEOL/SEM\n$$SM_MICRON_BAR 100\n$$SM_MICRON_MARKER 1um\n")
    sizes_nm = []
    for name in ("a", "b", "c"):
        path = tmp_path / f"{name}.tif"
        assert answer(path) == by_tifffile(path, monkeypatch)
        sizes_nm.append(read_tile(path).pixel_size_nm)
    assert sizes_nm == [2.5, 10.0, 2.5]


def is_known(path: Path) -> bool:
    found = plain.known_file(str(path), 2**20, 2**20)
    if isinstance(found, tuple):
        return True
    if found is not None:
        found.close()
    return False


@pytest.mark.parametrize("kind", ["uint8", "big endian", "strips", "resolution", "ImageJ"])
def test_a_header_is_read_once(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "_known", ())
    first, second = tmp_path / "a.tif", tmp_path / "b.tif"
    data = written(first, **PLAIN[kind])
    second.write_bytes(data[:-9] + bytes(each ^ 1 for each in data[-9:]))
    assert not is_known(first)
    answer(first)
    assert is_known(first) and is_known(second)
    assert answer(second) == by_tifffile(second, monkeypatch)


def test_a_file_with_another_header_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "_known", ())
    path = tmp_path / "a.tif"
    for date in ("2026:11:28 10:00:00", "2026:11:29 11:00:00"):
        written(path, RAMP.astype(np.uint8), datetime=date)
        expected = by_tifffile(path, monkeypatch)
        with monkeypatch.context() as patch:
            if date.startswith("2026:11:29"):
                patch.setattr(Path, "open", None)  # it is open
            assert answer(path) == expected


def test_a_vendors_header_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "_known", ())
    path = tmp_path / "a.tif"
    written(path, **PLAIN["zeiss"])
    answer(path)
    assert not is_known(path)


def test_what_differs_from_a_known_file_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "_known", ())
    path = tmp_path / "a.tif"
    data = written(path, **PLAIN["uint8"])
    answer(path)
    assert is_known(path)
    for other in (data[:-1], data + b"\0", b"\0" * len(data)):
        path.write_bytes(other)
        assert not is_known(path)
        assert answer(path) == by_tifffile(path, monkeypatch)
    path.write_bytes(data)
    assert plain.known_file(str(path), 1, 2**20) is None
    text = path.with_suffix(".txt")
    text.write_text("$CM_FORMAT x\n")
    assert not is_known(path)
    text.unlink()
    path.unlink()
    assert not is_known(path)
    path.mkdir()
    assert not is_known(path)


def test_files_are_read_by_python_where_it_cannot_be_asked_what_lies_beside_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr("mhfd.images.compiled_read.is_there", lambda path: False)
    assert plain._compiled() is None


@posix
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "_known", ())
    path = tmp_path / "a.tif"
    written(path, **PLAIN["uint8"])
    answer(path)
    path.unlink()
    os.mkfifo(path)
    assert not is_known(path)
    assert not is_known(tmp_path / "a\0.tif")
    path.unlink()
    written(path, **PLAIN["uint8"])
    assert is_known(path)
    path.with_suffix(".txt").symlink_to(tmp_path / "nowhere")
    assert not is_known(path)


def test_a_header_behind_the_pixels_is_known_too(
    tmp_path: Path, way: None, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """As most writers place it; by Python it is read each time."""
    monkeypatch.setattr(plain, "_known", ())
    path = tmp_path / "a.tif"
    numbers = {256: 8, 257: 6, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 6, 279: 48}
    tags = b"".join(struct.pack("<HHII", code, 4, 1, number) for code, number in numbers.items())
    header = struct.pack("<H", len(numbers)) + tags + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + 48) + RAMP.astype(np.uint8).tobytes() + header)
    assert answer(path) == by_tifffile(path, monkeypatch)
    assert is_known(path) == ("one call" in request.node.name)
    path.write_bytes(path.read_bytes().replace(header, header[:-1] + b"\x08"))
    assert not is_known(path)
