"""What the registered functions do on a worker: tiles in, rows out, whatever the tiles are like."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import mhfd
from mhfd import cuda
from mhfd.contract import Acquisition, FocusParams, FocusResult, TileError
from mhfd.images import inline
from mhfd.images.inline import available_codecs, best_codec, decode_tile, encode_tile
from mhfd.worker import (
    describe,
    device,
    read_rows,
    read_spool,
    rows,
    score_inline,
    score_paths,
    score_run,
    warmup,
)
from mhfd.worker.about import PROBE_FEATURES, parse_gpus, probe_tile
from mhfd.worker.lock import STALE_S, BusyError, Lock
from phantoms import as_uint8, texture

SHAPE = (48, 64)
QUICK: dict[str, Any] = {"n_scales": 2, "max_t": 4.0}
COLLECTION = "6C54CADE-BDE5-45C1-BDEA-F4BD71DBA2CC"
ALL_CODECS = ("raw", "zlib", "delta-zlib", "delta-zstd", "jpegls")


@pytest.fixture(autouse=True)
def plain_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test has a worker process of its own, as it were: on the processor, without settings."""
    for name in ("GCS_LOCAL_MAPS", "MHFD_RESULT_DIR", "MHFD_SPOOL_DIR", "PARSL_WORKER_RANK", "PARSL_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MHFD_BACKEND", "numpy")
    device.backend.cache_clear()
    yield
    device.backend.cache_clear()
    device._failed.clear()


def tissue(seed: int = 1, dtype: str = "uint8") -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    grey: NDArray[Any] = as_uint8(0.5 + 0.15 * texture(SHAPE, rng) + rng.normal(0, 0.01, SHAPE))
    return grey.astype(dtype) * 200 if np.dtype(dtype).itemsize > 1 else grey.astype(dtype)


def write_run(folder: Path, count: int) -> list[str]:
    folder.mkdir(exist_ok=True)
    names = [f"t{number:02}.tif" for number in range(count)]
    for number, name in enumerate(names):
        tifffile.imwrite(folder / name, tissue(number))
    return names


def write_stack(path: Path, pages: int) -> None:
    with tifffile.TiffWriter(path) as writer:
        for seed in range(pages):
            writer.write(tissue(seed), contiguous=False)


def codes(answer: dict[str, Any]) -> list[str | None]:
    return [row["error"] and row["error"]["code"] for row in answer["rows"]]


def paths_of(answer: dict[str, Any]) -> list[str]:
    return [row["path"] for row in answer["rows"]]


def usable(codec: str) -> str:
    if codec not in available_codecs():
        pytest.skip("no imagecodecs")
    return codec


# --- Pixels in a task ---------------------------------------------------------------------------------------------


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
    start = time.perf_counter()
    answer = score_inline([encode_tile(tissue()) | {"codec": "zlib", "data": bomb}] * 20, QUICK)
    assert set(codes(answer)) == {"corrupt"}
    assert time.perf_counter() - start < 2


def test_a_missing_codec_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inline, "_imagecodecs", lambda: None)
    answer = score_inline([encode_tile(tissue(), "raw") | {"codec": "jpegls"}], QUICK)
    assert codes(answer) == ["missing_codec"]
    assert "mhfd[codecs]" in answer["rows"][0]["error"]["message"]


# --- Answers ------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("params", [{"nscales": 3}, {"n_scales": -1}, {"min_t": "1"}, "fast", [1]])
def test_bad_parameters_are_refused_before_anything_is_scored(params: object) -> None:
    for answer in (score_inline([], params), score_paths([], params), score_run({"folder": "/"}, params)):
        assert answer["error"]["code"] == "bad_params"
        assert "rows" not in answer


@pytest.mark.parametrize("call", [score_inline, score_paths])
def test_a_list_is_asked_for(call: Any) -> None:
    assert "must be a list" in call("a.tif")["error"]["message"]


def test_a_backend_that_is_not_there_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_BACKEND", "abacus")
    assert score_inline([encode_tile(tissue())])["error"]["code"] == "no_backend"


def test_scales_in_nanometres_use_each_tiles_own_pixel_size() -> None:
    known, unknown = encode_tile(tissue(), pixel_size_nm=5.0), encode_tile(tissue())
    answer = score_inline([known, unknown], {"unit": "nm", "min_t": 5, "max_t": 20, "n_scales": 2})
    assert codes(answer) == [None, "no_pixel_size"]


# --- Files --------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("path", ["run/t00.tif", "/run/t00.tif", "run/../run/t00.tif"])
@pytest.mark.parametrize("uuid", [COLLECTION, COLLECTION.lower()])
def test_a_collection_is_its_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, uuid: str) -> None:
    write_run(tmp_path / "run", 1)
    monkeypatch.setenv("GCS_LOCAL_MAPS", json.dumps({uuid: str(tmp_path)}))
    answer = score_paths([{"path": path, "collection": COLLECTION}], QUICK)
    assert codes(answer) == [None]
    assert paths_of(answer) == [path]


@pytest.mark.parametrize(
    "path", ["../secret.tif", "/../secret.tif", "a/../../secret.tif", "link.tif", "way/secret.tif"]
)
def test_nothing_leads_out_of_a_collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    mount = tmp_path / "mount"
    (mount / "a").mkdir(parents=True)
    tifffile.imwrite(tmp_path / "secret.tif", tissue())
    try:
        (mount / "link.tif").symlink_to(tmp_path / "secret.tif")
        (mount / "way").symlink_to(tmp_path, target_is_directory=True)
    except OSError:
        pytest.skip("no symbolic links")
    monkeypatch.setenv("GCS_LOCAL_MAPS", json.dumps({COLLECTION: str(mount)}))
    assert codes(score_paths([{"path": path, "collection": COLLECTION}], QUICK)) == ["permission_denied"]


@pytest.mark.parametrize("maps", [None, "", "{}", "not json", "[]", '"x"'])
def test_an_unmapped_collection_says_where_to_map_it(monkeypatch: pytest.MonkeyPatch, maps: str | None) -> None:
    if maps is not None:
        monkeypatch.setenv("GCS_LOCAL_MAPS", maps)
    (row,) = score_paths([{"path": "a.tif", "collection": COLLECTION}], QUICK)["rows"]
    assert row["error"]["code"] == "not_found"
    assert "GCS_LOCAL_MAPS" in row["error"]["message"]


@pytest.mark.parametrize(
    "given",
    [
        7, None, "", {}, {"path": 7}, {"path": "a", "page": -1}, {"path": "a", "page": True}, {"path": "a", "name": 7},
        {"path": "a", "collection": 7}, {"path": "a", "pages": 1},
    ],
)  # fmt: skip
def test_a_bad_path_is_one_failed_row(given: object) -> None:
    assert codes(score_paths([given], QUICK)) == ["unsupported"]


def test_a_null_character_is_one_failed_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GCS_LOCAL_MAPS", json.dumps({COLLECTION: str(tmp_path)}))
    assert codes(score_paths(["a\0b", {"path": "a\0b", "collection": COLLECTION}], QUICK)) == ["not_found"] * 2


# --- Rows that are too many ---------------------------------------------------------------------------------------


def test_rows_over_the_limit_go_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_RESULT_BYTES", 5000)
    monkeypatch.setenv("MHFD_RESULT_DIR", str(tmp_path / "results"))
    names = [f"{number}" for number in range(12)]
    answer = score_inline([encode_tile(tissue(), name=name) for name in names], QUICK)
    assert (answer["rows"], answer["count"]) == (None, 12)
    assert [row["path"] for row in read_rows(answer["rows_file"])] == names
    assert list((tmp_path / "results").iterdir()) == [Path(answer["rows_file"])]
    assert all(FocusResult.from_dict(row).status == "scored" for row in read_rows(answer["rows_file"]))


def test_without_a_result_folder_the_rows_lie_beside_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_RESULT_BYTES", 10)
    (name,) = write_run(tmp_path, 1)
    answer = score_paths([{"path": str(tmp_path / name)}], QUICK)
    assert Path(answer["rows_file"]).parent == tmp_path


def test_a_result_folder_that_cannot_be_written_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(rows, "MAX_RESULT_BYTES", 10)
    monkeypatch.setenv("MHFD_RESULT_DIR", str(tmp_path / "file"))
    monkeypatch.setattr("mhfd.worker.rows.tempfile.gettempdir", lambda: str(tmp_path))
    assert Path(score_inline([encode_tile(tissue())], QUICK)["rows_file"]).parent == tmp_path


def test_with_no_place_for_rows_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(rows, "MAX_RESULT_BYTES", 10)
    monkeypatch.setattr("mhfd.worker.rows.tempfile.gettempdir", lambda: str(tmp_path / "file"))
    assert score_inline([encode_tile(tissue())], QUICK)["error"]["code"] == "cannot_write"


# --- Spool --------------------------------------------------------------------------------------------------------


def test_every_row_is_in_the_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("GC_TASK_UUID", "task-1")
    monkeypatch.setattr(rows, "SPOOL_BATCH", 3)
    first = score_inline([encode_tile(tissue(), name=f"{n}") for n in range(7)] + [None], QUICK)
    second = score_inline([encode_tile(tissue(), name="last")], QUICK)
    kept = list(read_spool(tmp_path / "spool"))
    assert [line["row"] for line in kept] == first["rows"] + second["rows"]
    assert {line["task"] for line in kept} == {"task-1"}


def test_a_torn_line_costs_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_SPOOL_DIR", str(tmp_path))
    score_inline([encode_tile(tissue(), name="a")], QUICK)
    (file,) = tmp_path.iterdir()
    with file.open("ab") as torn:
        torn.write(b'{"spool": 1, "row": {"pa\xff')
    assert [line["row"]["path"] for line in read_spool(tmp_path)] == ["a"]
    score_inline([encode_tile(tissue(), name="b")], QUICK)
    assert [line["row"]["path"] for line in read_spool(tmp_path)] == ["a", "b"]


def test_writers_at_once_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: rows.append(path, [{"n": n, "pad": "x" * 5000}] * 3), range(20)))
    assert sorted(line["n"] for line in rows.read_lines(path)) == sorted([*range(20)] * 3)


def test_a_spool_that_cannot_be_written_does_not_cost_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MHFD_SPOOL_DIR", str(tmp_path / "file"))
    answer = score_inline([encode_tile(tissue())], QUICK)
    assert codes(answer) == [None]
    assert "MHFD_SPOOL_DIR" in answer["worker"]["spool_error"]


# --- Archives -----------------------------------------------------------------------------------------------------


def latest(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["path"]: row for row in read_rows(answer["rows_file"])}


def test_a_run_is_scored_once(tmp_path: Path) -> None:
    names = write_run(tmp_path, 4)
    (tmp_path / "bad.tif").write_bytes(b"II*\0")
    first, second = score_run({"folder": str(tmp_path)}, QUICK), score_run({"folder": str(tmp_path)}, QUICK)
    assert (first["scored"], first["failed"], first["skipped"], first["remaining"]) == (4, 1, 0, 0)
    assert (second["count"], second["skipped"], second["remaining"]) == (0, 5, 0)
    assert set(latest(first)) == {*names, "bad.tif"}
    assert first["failed_first"] == [{"path": "bad.tif", "code": latest(first)["bad.tif"]["error"]["code"]}]
    assert Path(first["rows_file"]) == tmp_path / f"mhfd-{FocusParams.from_dict(QUICK).sha256[:12]}.jsonl"
    assert not list(tmp_path.glob("*.lock*"))


def test_a_changed_file_is_scored_again(tmp_path: Path) -> None:
    names = write_run(tmp_path, 2)
    before = latest(score_run({"folder": str(tmp_path)}, QUICK))
    tifffile.imwrite(tmp_path / names[0], tissue(99))
    os.utime(tmp_path / names[0], ns=(0, 0))
    answer = score_run({"folder": str(tmp_path)}, QUICK)
    assert (answer["scored"], answer["skipped"]) == (1, 1)
    assert latest(answer)[names[0]]["provenance"] != before[names[0]]["provenance"]


def test_other_parameters_are_another_file(tmp_path: Path) -> None:
    write_run(tmp_path, 1)
    first, second = (score_run({"folder": str(tmp_path)}, QUICK | {"k_noise": k}) for k in (4, 5))
    assert first["rows_file"] != second["rows_file"]
    assert second["scored"] == 1


def test_another_mhfd_scores_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, 1)
    score_run({"folder": str(tmp_path)}, QUICK)
    monkeypatch.setattr("mhfd.worker.archive.__version__", "9.9")
    assert score_run({"folder": str(tmp_path)}, QUICK)["scored"] == 1


def test_a_failure_that_may_have_passed_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "late.tif"
    manifest = {"paths": [str(path)], "out": str(tmp_path / "out")}
    assert score_run(manifest, QUICK)["failures"] == {"not_found": 1}
    tifffile.imwrite(path, tissue())
    answer = score_run(manifest, QUICK)
    assert (answer["scored"], latest(answer)[str(path)]["status"]) == (1, "scored")


def test_limited_calls_add_up(tmp_path: Path) -> None:
    names = write_run(tmp_path, 5)
    manifest = {"folder": str(tmp_path), "limit": 2}
    answers = [score_run(manifest, QUICK) for _ in range(3)]
    assert [answer["scored"] for answer in answers] == [2, 2, 1]
    assert [answer["remaining"] for answer in answers] == [3, 1, 0]
    assert [answer["stopped"] for answer in answers] == ["limit", "limit", None]
    assert [row["path"] for row in read_rows(answers[0]["rows_file"])] == names


def test_a_limit_within_a_stack_goes_on_where_it_stopped(tmp_path: Path) -> None:
    write_stack(tmp_path / "stack.tif", 5)
    answers = [score_run({"folder": str(tmp_path), "limit": 2}, QUICK) for _ in range(3)]
    assert [answer["remaining"] for answer in answers] == [1, 1, 0]
    assert [row["path"] for row in read_rows(answers[0]["rows_file"])] == [f"stack.tif#page={k}" for k in range(5)]


def test_a_time_budget_ends_a_call(tmp_path: Path) -> None:
    write_run(tmp_path, 3)
    answer = score_run({"folder": str(tmp_path), "time_budget_s": 1e-9}, QUICK)
    assert (answer["count"], answer["remaining"], answer["stopped"]) == (0, 3, "time_budget_s")


def test_folders_are_entered_when_the_pattern_says_so(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    write_run(tmp_path / "a" / "b", 1)
    assert score_run({"folder": str(tmp_path)}, QUICK)["count"] == 0
    answer = score_run({"folder": str(tmp_path), "pattern": "**/*"}, QUICK)
    assert list(latest(answer)) == ["a/b/t00.tif"]
    assert score_run({"folder": str(tmp_path), "pattern": "**/*"}, QUICK)["count"] == 0


def test_a_run_in_a_collection_stays_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "run", 2)
    monkeypatch.setenv("GCS_LOCAL_MAPS", json.dumps({COLLECTION: str(tmp_path)}))
    answer = score_run({"folder": "/run", "out": "results", "collection": COLLECTION}, QUICK)
    assert answer["scored"] == 2
    assert Path(answer["rows_file"]).parent == tmp_path / "results"
    outside = score_run({"folder": "run", "out": "../x", "collection": COLLECTION}, QUICK)
    assert outside["error"]["code"] == "bad_params"


@pytest.mark.parametrize(
    "manifest",
    [
        None, {}, {"folder": "a", "paths": ["b"]}, {"folder": 7}, {"paths": "a.tif"}, {"paths": [1]},
        {"folder": "/", "pattern": "../*"}, {"folder": "/", "pattern": "/etc/*"}, {"folder": "/", "limit": 0},
        {"folder": "/", "limit": 1.5}, {"folder": "/", "time_budget_s": -1}, {"folder": "/", "colour": 1},
    ],
)  # fmt: skip
def test_a_bad_manifest_is_refused(manifest: object) -> None:
    assert score_run(manifest, QUICK)["error"]["code"] == "bad_params"


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert score_run({"folder": str(tmp_path / "none")}, QUICK)["error"]["code"] == "bad_params"
    assert list(tmp_path.iterdir()) == []


def test_rows_that_have_no_place_are_an_error(tmp_path: Path) -> None:
    write_run(tmp_path, 1)
    (tmp_path / "file").touch()
    answer = score_run({"folder": str(tmp_path), "out": str(tmp_path / "file" / "x.jsonl")}, QUICK)
    assert answer["error"]["code"] == "cannot_write"


def test_a_summary_stays_small(tmp_path: Path) -> None:
    answer = score_run({"paths": [f"/none/{n}{'x' * 200}.tif" for n in range(300)], "out": str(tmp_path)}, QUICK)
    assert answer["failed"] == 300
    assert len(json.dumps(answer)) < 10_000


@pytest.mark.skipif(os.name == "nt", reason="on Windows a dead run's lock is waited out")
def test_a_killed_run_goes_on_and_loses_nothing(tmp_path: Path) -> None:
    names = write_run(tmp_path, 30)
    code = (
        "import sys, time; from mhfd.worker import archive, tasks\n"
        "archive.FLUSH_S = 0.0; read = tasks.read_tile\n"
        "tasks.read_tile = lambda *a: (time.sleep(0.05), read(*a))[1]\n"
        f"archive.score_run({{'folder': {str(tmp_path)!r}}}, {QUICK!r})"
    )
    rows_file = tmp_path / f"mhfd-{FocusParams.from_dict(QUICK).sha256[:12]}.jsonl"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as run:
        deadline = time.monotonic() + 30
        while not (rows_file.exists() and rows_file.stat().st_size > 3000) and time.monotonic() < deadline:
            time.sleep(0.01)
        busy = score_run({"folder": str(tmp_path)}, QUICK)
        run.kill()
    with rows_file.open("ab") as torn:
        torn.write(b'{"schema": 1, "fi')
    assert busy["error"]["code"] == "busy"
    answer = score_run({"folder": str(tmp_path)}, QUICK)
    assert 0 < answer["scored"] < 30
    assert answer["skipped"] + answer["scored"] == 30
    assert sorted(row["path"] for row in read_rows(rows_file)) == names


def test_an_abandoned_lock_is_taken_over(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    lock.write_text('{"token": "t", "where": "another machine", "host": "h", "pid": 1}')
    with pytest.raises(BusyError, match="process 1 on h"), Lock(lock):
        pass
    long_ago = time.time() - STALE_S - 60
    os.utime(lock, (long_ago, long_ago))
    with Lock(lock) as held:
        held.check()
    assert list(tmp_path.iterdir()) == []


def test_who_lost_the_lock_stops_writing_and_leaves_it_alone(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    with Lock(lock) as held:
        lock.write_text('{"token": "another"}')
        with pytest.raises(BusyError):
            held.check()
    assert lock.exists()


def test_one_of_many_gets_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    inside, most = 0, 0

    def work(_: int) -> bool:
        nonlocal inside, most
        try:
            with Lock(lock):
                inside += 1
                most = max(most, inside)
                time.sleep(0.005)
                inside -= 1
                return True
        except BusyError:
            return False

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(work, range(40)))
    assert most == 1
    assert any(got)


# --- The worker's device ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "number"),
    [
        ({}, 0),
        ({"PARSL_WORKER_RANK": "3"}, 3),
        ({"PARSL_WORKER_RANK": "9"}, 1),
        ({"PARSL_WORKER_RANK": "x"}, 0),
        ({"CUDA_VISIBLE_DEVICES": "5", "PARSL_WORKER_RANK": "5"}, 0),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "PARSL_WORKER_RANK": "5"}, 0),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3", "PARSL_WORKER_RANK": "2"}, 2),
    ],
)
def test_a_worker_has_one_gpu(environment: dict[str, str], number: int) -> None:
    assert device.gpu_number(environment, 4) == number


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "available_cores", lambda: 16)
    monkeypatch.setattr(device, "_has_own_cores", lambda: False)
    monkeypatch.setenv("PARSL_WORKER_COUNT", "4")
    assert device.threads_here() == 4
    monkeypatch.setattr(device, "_has_own_cores", lambda: True)
    assert device.threads_here() == 16


def test_the_gpu_is_named_by_its_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gpu:
        uuid = UUID(int=7)

    class Fused:
        name, device = "cupy", "NVIDIA X"

    monkeypatch.setattr(cuda, "device_count", lambda: 2)
    monkeypatch.setattr(cuda, "device", lambda number: Gpu())
    with monkeypatch.context() as patched:
        patched.setattr(device, "backend", Fused)
        assert device.worker()["device_uuid"] == str(UUID(int=7))


def test_a_worker_whose_gpu_failed_ends_with_the_next_task(monkeypatch: pytest.MonkeyPatch) -> None:
    class EndedError(Exception):
        pass

    def end(status: int) -> None:
        raise EndedError(status)

    monkeypatch.setattr("mhfd.worker.device.os._exit", end)
    device.device_failed()
    assert score_inline([])["rows"] == []  # in a process that is not Parsl's nobody is ended
    monkeypatch.setenv("PARSL_WORKER_RANK", "0")
    with pytest.raises(EndedError):
        score_inline([])


def test_a_failed_device_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = score_inline([None], QUICK)["rows"][0]
    failed["error"]["code"] = "device_failed"
    monkeypatch.setattr("mhfd.worker.tasks.stream.in_threads", lambda *_: iter([FocusResult.from_dict(failed)]))
    score_inline([encode_tile(tissue())], QUICK)
    assert device._failed.is_set()


# --- About the worker ---------------------------------------------------------------------------------------------


def test_the_probe_has_a_feature_a_blob() -> None:
    answer = warmup()
    assert (answer["ok"], answer["features"], answer["expected"]) == (True, PROBE_FEATURES, 256)
    json.dumps(answer, allow_nan=False)


@pytest.mark.gpu
def test_the_worker_scores_on_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_BACKEND", "auto")
    answer = warmup()
    assert (answer["ok"], answer["worker"]["backend"]) == (True, "cupy")
    assert answer["worker"]["device_uuid"] in {gpu["uuid"] for gpu in describe()["gpus"]}


def test_a_description_names_versions_device_and_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_RESULT_DIR", str(tmp_path))
    told = json.loads(json.dumps(describe()))
    assert (told["mhfd"], told["numpy"]) == (mhfd.__version__, np.__version__)
    assert told["env"]["backend"] == "numpy"
    assert told["scratch"]["free_bytes"] > 0
    assert set(told["codecs"]) >= {"raw", "zlib", "delta-zlib"}
    assert {"cupy", "numba", "dill", "globus_compute_sdk", "globus_compute_endpoint", "gpus"} <= set(told)


def test_a_description_has_gaps_rather_than_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_BACKEND", "abacus")
    monkeypatch.setenv("MHFD_RESULT_DIR", "/none/at/all")
    told = describe()
    assert (told["env"]["backend"], told["scratch"]) == (None, None)
    assert len(told["problems"]) >= 2


def test_a_description_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOBUS_COMPUTE_CLIENT_SECRET", "hush-hush")
    assert "hush-hush" not in json.dumps(describe())


def test_the_drivers_list_of_gpus_is_understood() -> None:
    text = "0, NVIDIA H200, GPU-8932f937-d72c-4106-c12f-20bd9faed9f6, 142000, 143771\n1, GB10, GPU-1, [N/A], [N/A]\n"
    assert parse_gpus(text) == [
        {
            "number": 0,
            "name": "NVIDIA H200",
            "uuid": "8932f937-d72c-4106-c12f-20bd9faed9f6",
            "free_bytes": 142000 * 2**20,
            "total_bytes": 143771 * 2**20,
        },
        {"number": 1, "name": "GB10", "uuid": "1", "free_bytes": None, "total_bytes": None},
    ]
