"""A task turns tiles into rows, one per tile, whether good or bad."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest

import mhfd
from mhfd.contract import FocusParams, FocusResult
from mhfd.images import inline
from mhfd.images.inline import encode_tile
from mhfd.scoring.tile import Loaded, Scorer
from mhfd.worker import plan_run, score_inline, score_paths
from mhfd.worker.about import probe_tile

from .conftest import QUICK, codes, paths_of, tissue, usable, write_run, write_stack


def test_inline_tiles_have_the_measures_of_their_arrays() -> None:
    pixels = tissue()
    row = FocusResult.from_dict(score_inline([encode_tile(pixels, name="a")], QUICK)["rows"][0])
    alone = mhfd.score(pixels, FocusParams.from_dict(QUICK), "numpy")
    assert (row.path, row.features, row.focus_score) == ("a", alone.features, alone.focus_score)
    assert row.provenance == alone.provenance


def test_rows_come_in_the_order_of_the_tiles() -> None:
    names = [f"{number}" for number in range(20)]
    assert paths_of(score_inline([encode_tile(tissue(), name=name) for name in names], QUICK)) == names


def test_an_answer_is_plain_json_and_says_who_scored() -> None:
    answer = json.loads(json.dumps(score_inline([encode_tile(tissue())], QUICK), allow_nan=False))
    assert list(answer) == ["schema", "rows", "rows_file", "count", "worker"]
    assert answer["worker"] | {"host": "", "python": ""} == {
        "host": "", "pid": os.getpid(), "mhfd": mhfd.__version__, "python": "",
        "backend": "numpy", "device": "cpu", "device_uuid": None,
    }  # fmt: skip


def test_no_tiles_are_no_rows() -> None:
    assert score_inline([])["rows"] == []


def test_scales_in_nanometres_use_each_tiles_own_pixel_size() -> None:
    known, unknown = encode_tile(tissue(), pixel_size_nm=5.0), encode_tile(tissue())
    answer = score_inline([known, unknown], {"unit": "nm", "min_t": 5, "max_t": 20, "n_scales": 2})
    assert codes(answer) == [None, "no_pixel_size"]


@pytest.mark.parametrize("params", [{"nscales": 3}, {"n_scales": -1}, {"min_t": "1"}, "fast", [1]])
def test_bad_parameters_are_refused_before_anything_is_scored(params: object) -> None:
    for answer in (score_inline([], params), score_paths([], params), plan_run("/", None, params)):
        assert answer["error"]["code"] == "bad_params"
        assert "rows" not in answer


@pytest.mark.parametrize("call", [score_inline, score_paths])
def test_a_list_is_asked_for(call: Any) -> None:
    assert "must be a list" in call("a.tif")["error"]["message"]


def test_a_backend_that_is_not_there_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_BACKEND", "abacus")
    assert score_inline([encode_tile(tissue())])["error"]["code"] == "no_backend"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"data": "no base64!"}, "corrupt"),
        ({"data": "abc"}, "corrupt"),
        ({"data": base64.b64encode(b"123").decode()}, "truncated"),
        ({"shape": [1, 1]}, "corrupt"),
        ({"shape": [-1, 4]}, "unsupported"),
        ({"shape": [48]}, "unsupported"),
        ({"shape": [48.0, 64.0]}, "unsupported"),
        ({"shape": None}, "unsupported"),
        ({"shape": [10**9, 10**9]}, "too_large"),
        ({"dtype": "object"}, "unsupported"),
        ({"dtype": ["uint8"]}, "unsupported"),
        ({"codec": "lzma"}, "unsupported"),
        ({"codec": None}, "unsupported"),
        ({"codec": "zlib"}, "corrupt"),
        ({"codec": "delta-zlib"}, "corrupt"),
        ({"data": None}, "unsupported"),
        ({"pixel_size_nm": -1}, "unsupported"),
        ({"acquisition": {"weather": "fine"}}, "unsupported"),
        ({"acquisition": {"stage_um": 3}}, "unsupported"),
        ({"name": 7}, "unsupported"),
        ({"pixels": 7}, "unsupported"),
    ],
)
def test_a_bad_inline_tile_is_one_failed_row(change: dict[str, Any], code: str) -> None:
    good = encode_tile(tissue(), "raw", name="good")
    answer = score_inline([good, good | {"name": "bad"} | change, good], QUICK)
    assert codes(answer) == [None, code, None]
    assert answer["count"] == 3
    assert answer["rows"][1]["path"] == ("bad" if "name" not in change else "")


def test_a_tile_that_is_no_object_is_one_failed_row() -> None:
    assert codes(score_inline([None, 5, "x", []], QUICK)) == ["unsupported"] * 4


@pytest.mark.parametrize("codec", ["delta-zstd", "jpegls"])
def test_damaged_data_of_other_codecs_is_one_failed_row(codec: str) -> None:
    good = encode_tile(probe_tile(), usable(codec))
    cut = base64.b64encode(base64.b64decode(good["data"])[:100]).decode()
    wrong = good | {"shape": [8, 8]}
    assert set(codes(score_inline([good | {"data": cut}, good | {"data": ""}, wrong], QUICK))) <= {
        "corrupt",
        "truncated",
    }


def test_a_bomb_is_not_unpacked() -> None:
    bomb = base64.b64encode(zlib.compress(bytes(2**24))).decode()
    tiles = [encode_tile(tissue()) | {"codec": "zlib", "data": bomb}] * 20
    tracemalloc.start()
    try:
        start = time.perf_counter()
        answer = score_inline(tiles, QUICK)
        took_s = time.perf_counter() - start
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert set(codes(answer)) == {"corrupt"}
    assert took_s < 2
    assert most_bytes < 2**24


def test_a_missing_codec_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inline, "_imagecodecs", lambda: None)
    answer = score_inline([encode_tile(tissue(), "raw") | {"codec": "jpegls"}], QUICK)
    assert codes(answer) == ["missing_codec"]
    assert "[codecs]" in answer["rows"][0]["error"]["message"]


def test_files_are_scored_by_path(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in write_run(tmp_path, 3)]
    answer = score_paths([*paths, str(tmp_path / "none.tif")], QUICK)
    assert codes(answer) == [None, None, None, "not_found"]
    assert paths_of(answer) == [*paths, str(tmp_path / "none.tif")]


def test_each_page_is_a_row_unless_one_is_named(tmp_path: Path) -> None:
    stack = str(tmp_path / "stack.tif")
    write_stack(tmp_path / "stack.tif", 3)
    given = [
        stack,
        {"path": stack, "page": 1},
        {"path": stack, "page": 2, "name": "mine"},
        {"path": stack, "name": "n"},
    ]
    answer = score_paths([*given, {"path": stack, "page": 9}], QUICK)
    pages = [f"#page={page}" for page in range(3)]
    all_of = [*(stack + page for page in pages)], [*("n" + page for page in pages)]
    assert paths_of(answer) == [*all_of[0], f"{stack}#page=1", "mine", *all_of[1], f"{stack}#page=9"]
    assert codes(answer) == [None] * 8 + ["not_found"]
    assert answer["rows"][1]["provenance"] == answer["rows"][3]["provenance"]


@pytest.mark.parametrize(
    "given",
    [
        7, None, "", {}, {"path": 7}, {"path": "a", "page": -1}, {"path": "a", "page": True}, {"path": "a", "name": 7},
        {"path": "a", "collection": 7}, {"path": "a", "pages": 1},
    ],
)  # fmt: skip
def test_a_bad_path_is_one_failed_row(given: object) -> None:
    assert codes(score_paths([given], QUICK)) == ["unsupported"]


def test_a_lone_tile_is_scored_in_the_calling_thread_which_keeps_the_kernels_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measure, seen = Scorer.measure, []

    def noted(scorer: Scorer, loaded: Loaded) -> Any:
        seen.append(threading.get_ident())
        return measure(scorer, loaded)

    monkeypatch.setattr(Scorer, "measure", noted)
    (row,) = score_inline([encode_tile(tissue())], QUICK)["rows"]
    assert (row["status"], seen) == ("scored", [threading.get_ident()])
