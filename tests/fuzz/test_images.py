"""Damaged image files: each is one row, scored or with a code that is not ours to answer for."""

from __future__ import annotations

import io
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mhfd.contract import read_result
from mhfd.worker import device, score_paths

from .drawing import damaged, fuzzed

ROWS, COLS = 48, 64
REAL = Path(os.environ.get("MHFD_EM_TILES", Path(__file__).parents[3] / "shared" / "em"))
LARGEST_SEED = 2 * 2**20


@cache
def made() -> list[bytes]:
    """Small files of every kind that is read, some with the headers of microscopes."""
    grey = np.random.default_rng(1).integers(0, 256, (ROWS, COLS), dtype=np.uint8)
    private = [(34118, "s", 0, "DP_PIXEL_SIZE\r\nPixel Size = 4.0 nm\r\nAP_WIDTH\r\nWidth = 256 nm\r\n", True)]
    fei = [(34682, "s", 0, "[Scan]\r\nPixelWidth=4e-09\r\nPixelHeight=4e-09\r\n[Image]\r\nResolutionX=64\r\n", True)]
    options: list[dict[str, Any]] = [
        {},
        {"compression": "zlib", "predictor": True},
        {"tile": (16, 16)},
        {"bigtiff": True},
        {"byteorder": ">", "resolution": (2_500_000, 2_500_000), "resolutionunit": "CENTIMETER"},
        {"description": "ImageJ=1.53\nunit=nm\n"},
        {"ome": True, "metadata": {"PhysicalSizeX": 0.004, "PhysicalSizeXUnit": "µm"}},
        {"extratags": private},
        {"extratags": fei},
        {"extratags": fei, "photometric": "miniswhite"},
    ]
    files = []
    for option in options:
        for pixels in (grey, grey.astype(np.uint16) * 255):
            file = io.BytesIO()
            tifffile.imwrite(file, pixels, **option)
            files.append(file.getvalue())
    stack = io.BytesIO()
    tifffile.imwrite(stack, np.stack([grey, grey[::-1]]), photometric="minisblack")
    files.append(stack.getvalue())
    for kind in ("PNG", "JPEG", "BMP", "TIFF"):
        file = io.BytesIO()
        Image.fromarray(grey).save(file, kind)
        files.append(file.getvalue())
    return files


@cache
def real() -> list[bytes]:
    found = sorted(REAL.rglob("*.*")) if REAL.is_dir() else []
    images = [path for path in found if path.suffix.lower() in (".tif", ".tiff", ".png", ".jpg", ".bmp")]
    return [path.read_bytes() for path in images if path.stat().st_size <= LARGEST_SEED][:8]


@pytest.fixture(autouse=True)
def small_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_BACKEND", "numpy")
    monkeypatch.setenv("MHFD_MAX_PIXELS", str(2**21))
    device.backend.cache_clear()


def outcome(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    answer = score_paths([str(path)], {"n_scales": 2, "max_t": 4.0})
    assert "error" not in answer, answer
    for row in map(read_result, answer["rows"]):
        assert row.error is None or row.error.code not in ("internal", "out_of_memory"), row.error
    assert answer["count"] >= 1


@fuzzed
@given(content=damaged(made()), suffix=st.sampled_from([".tif", ".png", ".jpg", ".bmp"]))
def test_a_damaged_file_is_a_row(content: bytes, suffix: str, tmp_path: Path) -> None:
    outcome(tmp_path / f"tile{suffix}", content)


@pytest.mark.skipif(not real(), reason="no EM tiles")
@fuzzed
@given(data=st.data())
def test_a_damaged_real_tile_is_a_row(data: st.DataObject, tmp_path: Path) -> None:
    outcome(tmp_path / "tile.tif", data.draw(damaged(real())))
