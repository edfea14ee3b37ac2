"""A small task cannot make a worker unpack more than fits into its memory."""

from __future__ import annotations

import base64
import struct
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mhfd.images.inline import MAX_DECODED_BYTES, decode_tile, encode_tile
from mhfd.worker import describe, limits, score_inline, score_paths, tasks
from mhfd.worker.limits import DEFAULT_MAX_PIXELS, max_pixels

from .conftest import QUICK, codes, tissue


def zeros(rows: int, cols: int, dtype: str = "uint8", codec: str = "zlib") -> dict[str, Any]:
    """A blank inline tile, packed a part at a time."""
    left, packer, data = rows * cols * np.dtype(dtype).itemsize, zlib.compressobj(9), b""
    while left:
        part = min(left, 2**20)
        data += packer.compress(bytes(part))
        left -= part
    data += packer.flush()
    text = base64.b64encode(data).decode()
    return {"name": "", "shape": [rows, cols], "dtype": dtype, "codec": codec, "data": text}


def blank_png(path: Path, side: int) -> None:
    """A PNG of one grey value: a thousandth of its pixels in bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(9)
    row = bytes(side + 1)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


def peak_bytes(work: Any) -> tuple[Any, int]:
    """The result of `work`, and the most memory that was in use meanwhile."""
    tracemalloc.start()
    try:
        return work(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_default_fits_a_worker_and_the_operator_may_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert max_pixels() == DEFAULT_MAX_PIXELS == 2**28
    monkeypatch.setenv("MHFD_MAX_PIXELS", "1000000")
    assert max_pixels() == describe()["max_pixels"] == 10**6
    for wrong in ("", "0", "-1", "1e9", "many", "9" * 30):
        monkeypatch.setenv("MHFD_MAX_PIXELS", wrong)
        assert max_pixels() == DEFAULT_MAX_PIXELS


def test_a_small_file_of_many_pixels_is_refused_unread(tmp_path: Path) -> None:
    blank_png(tmp_path / "t.png", 16400)
    assert (tmp_path / "t.png").stat().st_size < 400_000
    start = time.perf_counter()
    answer, most = peak_bytes(lambda: score_paths([str(tmp_path / "t.png")], QUICK))
    assert codes(answer) == ["too_large"]
    assert "MHFD_MAX_PIXELS" in answer["rows"][0]["error"]["message"]
    assert most < 2**23
    assert time.perf_counter() - start < 5


def test_the_operators_limit_holds_for_files_and_for_tiles_in_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blank_png(tmp_path / "t.png", 64)
    for most, code in ((64 * 64, None), (64 * 64 - 1, "too_large")):
        monkeypatch.setenv("MHFD_MAX_PIXELS", str(most))
        found = codes(score_paths([str(tmp_path / "t.png")], QUICK)), codes(score_inline([zeros(64, 64)], QUICK))
        assert found == ([code], [code])


@pytest.mark.parametrize("codec", ["zlib", "delta-zlib"])
def test_tiles_of_a_task_are_unpacked_one_after_the_other(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "INLINE_BYTES_AT_ONCE", 2**22)
    monkeypatch.setattr(tasks.device, "threads_here", lambda: 8)
    monkeypatch.setattr("mhfd.scoring.tile.Scorer.measure", lambda *_: (_ for _ in ()).throw(MemoryError))
    one, many = zeros(2048, 2048, codec=codec), [zeros(2048, 2048, codec=codec)] * 12
    alone = peak_bytes(lambda: score_inline([one], QUICK))[1]
    answer, together = peak_bytes(lambda: score_inline(many, QUICK))
    assert codes(answer) == ["out_of_memory"] * 12  # each was unpacked, and none was measured
    assert together < 1.5 * alone


def test_tiles_that_are_too_large_together_are_failed_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_MAX_PIXELS", str(64 * 64))
    fits = limits.INLINE_BYTES_PER_PIXEL
    answer = score_inline([zeros(64, 64)] * (fits + 2) + [encode_tile(tissue()[:1, :1])], QUICK)
    assert codes(answer) == [None] * fits + ["too_large"] * 3
    assert "send fewer" in answer["rows"][-1]["error"]["message"]


def test_small_tiles_are_scored_together(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [count for _, count in tasks._inline_jobs([encode_tile(tissue())] * 64)]
    assert groups == [64]


@pytest.mark.parametrize(("codec", "times"), [("zlib", 2.5), ("delta-zlib", 3.5)])
def test_unpacking_takes_little_more_than_the_tile_itself(codec: str, times: float) -> None:
    tile = zeros(8192, 8192, codec=codec)
    decoded, most = peak_bytes(lambda: decode_tile(tile))
    assert decoded.pixels.nbytes == 2**26
    assert most < times * 2**26  # one of them is the result, reserved at the beginning


@pytest.mark.parametrize("shape", [(2**20, 2**20), (1, 2**31), (2**63, 2**63), (10**200, 10**200)])
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_a_declared_size_is_refused_before_anything_is_unpacked(shape: tuple[int, int], dtype: str) -> None:
    answer, most = peak_bytes(lambda: score_inline([zeros(1, 1, dtype) | {"shape": list(shape)}], QUICK))
    assert codes(answer) == ["too_large"]
    assert most < MAX_DECODED_BYTES // 64


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 2**63), (10**400, 0)])
def test_no_pixels_are_no_tile(shape: tuple[int, int]) -> None:
    assert codes(score_inline([zeros(1, 1) | {"shape": list(shape)}], QUICK)) == ["zero_size"]
