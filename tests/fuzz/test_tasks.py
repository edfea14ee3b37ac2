"""Task bodies of any shape: each is answered with rows or a refusal, in JSON, and nothing outside is touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from mhfd.contract import FocusParams, read_result
from mhfd.images.inline import encode_tile
from mhfd.worker import control_run, device, finish_run, plan_run, score_inline, score_paths, score_shard

from .drawing import changed, fuzzed, json_values, texts

GREY = np.random.default_rng(1).integers(0, 256, (48, 64), dtype=np.uint8)
TILE = encode_tile(GREY, "raw", name="a", pixel_size_nm=4.0)
QUICK = {"n_scales": 2, "max_t": 4.0}

params = st.none() | st.just(QUICK) | changed(FocusParams().to_dict() | QUICK) | json_values


@pytest.fixture(autouse=True)
def confined_worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tasks may read and write below one folder; the paths that are drawn lead elsewhere."""
    monkeypatch.setenv("MHFD_BACKEND", "numpy")
    monkeypatch.setenv("MHFD_MAX_PIXELS", str(2**20))
    monkeypatch.setenv("MHFD_ROOTS", str(tmp_path))
    monkeypatch.setenv("MHFD_OUT_ROOTS", str(tmp_path))
    device.backend.cache_clear()
    tifffile.imwrite(tmp_path / "tile.tif", GREY)


def check(answer: Any) -> None:
    text = json.dumps(answer, allow_nan=False)
    if "error" in answer:
        assert answer["error"]["code"] != "internal", text
        assert answer["error"]["message"]
        return
    rows = answer.get("rows")  # of a whole run their number
    for row in map(read_result, rows if isinstance(rows, list) else []):
        assert row.error is None or row.error.code != "internal", row.error


@fuzzed
@given(tiles=st.lists(changed(TILE) | json_values, max_size=3) | json_values, given=params)
def test_inline_tiles_of_any_shape_are_answered(tiles: Any, given: Any) -> None:
    check(score_inline(tiles, given))


@fuzzed
@given(data=st.data(), given=params)
def test_paths_of_any_shape_are_answered(data: st.DataObject, given: Any, tmp_path: Path) -> None:
    item = {"path": str(tmp_path / "tile.tif"), "collection": None, "page": 0, "name": "a"}
    paths = data.draw(st.lists(changed(item) | texts | json_values, max_size=3) | json_values)
    check(score_paths(paths, given))


@fuzzed
@given(data=st.data(), given=params)
def test_requests_for_a_run_of_any_shape_are_answered(data: st.DataObject, given: Any, tmp_path: Path) -> None:
    request = {
        "folder": str(tmp_path), "pattern": "*.tif", "params": given,
        "options": {"out": str(tmp_path / "out"), "limit": 2, "sample": 0.5, "changed_only": True, "shard_tiles": 1},
    }  # fmt: skip
    drawn = data.draw(changed(request))
    plan = plan_run(*(drawn.get(key) for key in request))
    check(plan)
    shard = {"manifest": plan.get("manifest"), "first": 0, "count": 1, "params": given, "options": {"time_budget_s": 5}}
    drawn = data.draw(changed(shard))
    check(score_shard(*(drawn.get(key) for key in shard)))
    check(finish_run(plan.get("manifest"), given, data.draw(json_values), data.draw(json_values)))
    check(control_run(plan.get("manifest"), data.draw(json_values)))
