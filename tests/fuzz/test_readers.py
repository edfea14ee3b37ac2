"""Damaged MRC files, and Zarr folders with a damaged file: rows, with codes that are not ours to answer for."""

from __future__ import annotations

import json
import shutil
import struct
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mhfd.contract import TileError, read_result
from mhfd.readers.reading import count_tiles
from mhfd.worker import device, score_paths
from needs import need_module

from .drawing import changed, damaged, fuzzed, json_values

PIXELS = np.random.default_rng(1).integers(0, 120, (2, 48, 64), dtype=np.int8)
MOST = 1000  # tiles of a file that are scored here: a damaged shape may declare millions of empty ones


@pytest.fixture(autouse=True)
def small_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_BACKEND", "numpy")
    monkeypatch.setenv("MHFD_MAX_PIXELS", str(2**16))
    device.backend.cache_clear()


def outcome(path: Path) -> None:
    try:
        if count_tiles(path) > MOST:
            return
    except TileError as error:
        assert error.code not in ("internal", "out_of_memory"), error
    answer = score_paths([str(path)], {"n_scales": 2, "max_t": 4.0})
    assert "error" not in answer, answer
    assert answer["count"] >= 1
    for row in map(read_result, answer["rows"]):
        assert row.error is None or row.error.code not in ("internal", "out_of_memory"), row.error


@cache
def stacks() -> list[bytes]:
    """Files of each mode, in both byte orders: a header of 1024 bytes, and the pixels."""
    found = []
    for mode, dtype in ((0, "i1"), (1, "i2"), (2, "f4"), (6, "u2"), (12, "f2")):
        for order, stamp in (("<", b"\x44\x44\0\0"), (">", b"\x11\x11\0\0")):
            head = bytearray(1024)
            struct.pack_into(f"{order}4i", head, 0, 64, 48, 2, mode)
            struct.pack_into(f"{order}3i3f", head, 28, 64, 48, 2, 640.0, 480.0, 20.0)
            head[208:216] = b"MAP " + stamp
            found.append(bytes(head) + PIXELS.astype(f"{order}{dtype}").tobytes())
    return found


@fuzzed
@given(content=damaged(stacks()))
def test_a_damaged_stack_is_rows(content: bytes, tmp_path: Path) -> None:
    need_module("mrcfile")
    (tmp_path / "a.mrc").write_bytes(content)
    outcome(tmp_path / "a.mrc")


STORES: dict[str, dict[str, Any]] = {
    "v2": {"zarr_format": 2}, "v3": {"zarr_format": 3}, "shards": {"zarr_format": 3, "shards": (1, 48, 64)},
}  # fmt: skip


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an array of each kind."""
    folder = tmp_path_factory.mktemp("arrays")
    for kind, options in STORES.items():
        need_module("zarr").create_array(folder / kind, data=PIXELS, chunks=(1, 16, 16), **options)
    return folder


@fuzzed
@given(kind=st.sampled_from(sorted(STORES)), data=st.data())
def test_an_array_with_a_damaged_file_is_rows(kind: str, data: st.DataObject, arrays: Path, tmp_path: Path) -> None:
    copy = tmp_path / "a.zarr"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(arrays / kind, copy)
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    file = data.draw(st.sampled_from(files))
    file.write_bytes(data.draw(damaged([file.read_bytes()])))
    outcome(copy)


@fuzzed
@given(kind=st.sampled_from(sorted(STORES)), data=st.data())
def test_an_array_of_any_metadata_is_rows(kind: str, data: st.DataObject, arrays: Path, tmp_path: Path) -> None:
    copy = tmp_path / "a.zarr"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(arrays / kind, copy)
    head = copy / (".zarray" if kind == "v2" else "zarr.json")
    head.write_text(json.dumps(data.draw(changed(json.loads(head.read_text())))))
    outcome(copy)


@fuzzed
@given(told=json_values, level=json_values)
def test_a_group_of_any_multiscales_is_rows(told: Any, level: Any, arrays: Path, tmp_path: Path) -> None:
    copy = tmp_path / "a.zarr"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(arrays / "v2", copy / "0")
    (copy / ".zgroup").write_text('{"zarr_format": 2}')
    levels = [told, {"datasets": [{"path": "0", "coordinateTransformations": level}], "axes": told}]
    for multiscales in (told, levels, levels[1:]):
        (copy / ".zattrs").write_text(json.dumps({"multiscales": multiscales}))
        outcome(copy)
