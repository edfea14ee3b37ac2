"""Whatever JSON a task holds, the answer is rows or a refusal: never an exception, never the code "internal"."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mhfd.contract import FocusParams, FocusResult, read_result
from mhfd.images.inline import DTYPES, encode_tile
from mhfd.worker import control_run, finish_run, plan_run, score_inline, score_paths, score_shard

from .conftest import QUICK, codes, rescored, score_shards, tissue, write_run

HUGE = (10**400, -(10**400), 1e308, 5e-324, float("inf"), float("nan"), 2**63, True, -1, 0)
NAMES = (
    "",
    "a\0b",
    "\ud800",
    "../..",
    "/",
    "~",
    "a" * 300,
    "t00.tif",
    ".",
    "*",
    "**.tif",
    "a..b*.tif",
    "[",
    "C:\\x",
    "\\",
)

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from((*HUGE, *NAMES))
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
GOOD = encode_tile(tissue(), "raw", name="good", pixel_size_nm=5.0)
SMALL = encode_tile(tissue()[:5, :7], "raw")
ACQUISITION = ("format", "lossy", "vendor", "working_distance_mm", "dwell_us", "stage_um")


def nested(depth: int) -> Any:
    """Lists within lists, too deep to be shown."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def some_of(values: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of these keys, and sometimes others."""
    known = st.fixed_dictionaries({}, optional=values)
    return known | st.builds(lambda one, more: {**more, **one}, known, st.dictionaries(st.text(), scalars, max_size=2))


tiles = some_of(
    {
        "name": anything | st.text(),
        "shape": anything | st.lists(st.integers(-1, 8), max_size=3) | st.tuples(st.integers(), st.just(0)).map(list),
        "dtype": anything | st.sampled_from(DTYPES),
        "codec": anything | st.sampled_from(("raw", "zlib", "delta-zlib", "delta-zstd", "jpegls")),
        "data": anything | st.binary(max_size=64).map(lambda data: base64.b64encode(data).decode()),
        "pixel_size_nm": anything,
        "acquisition": anything | some_of(dict.fromkeys(ACQUISITION, anything)),
    }
).flatmap(lambda wrong: st.sampled_from([wrong, GOOD | wrong, SMALL | wrong]))


def check_rows(answer: dict[str, Any], count: int | None = None) -> None:
    """Check that there are rows that a client can read, none of them a bug's."""
    json.dumps(answer, allow_nan=False)
    assert "internal" not in codes(answer)
    for row in answer["rows"]:
        assert isinstance(read_result(row), FocusResult)
    assert count is None or answer["count"] == count


calm = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@calm
@given(st.lists(tiles | anything, max_size=3))
def test_any_object_as_a_tile_is_a_row(given_tiles: list[Any]) -> None:
    check_rows(score_inline(given_tiles, QUICK), len(given_tiles))


@calm
@given(
    st.lists(
        anything | some_of({"path": anything, "collection": anything, "page": anything, "name": anything}), max_size=3
    )
)
def test_any_list_as_paths_is_rows(tmp_path_factory: pytest.TempPathFactory, paths: list[Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MHFD_ROOTS", str(tmp_path_factory.getbasetemp()))
        check_rows(score_paths(paths, QUICK))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two tiles, the only one that tasks may reach, and the present one."""
    write_run(tmp_path / "run", 2)
    monkeypatch.setenv("MHFD_ROOTS", str(tmp_path))
    monkeypatch.setenv("MHFD_OUT_ROOTS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


options = anything | some_of(
    {
        "out": anything | st.text(max_size=4),
        "collection": anything,
        "job": anything | st.text(max_size=4),
        "limit": anything,
        "sample": anything,
        "shard_tiles": anything,
        "changed_only": anything,
        "spectra": anything,
        "dry_run": anything,
    }
)
patterns = anything | st.text(alphabet="*?[]!-.ab/\\", max_size=12)


@calm
@given(run=anything | st.just("run"), pattern=st.none() | patterns, options=st.none() | options)
def test_any_request_to_plan_is_a_summary_or_a_refusal(folder: Path, run: Any, pattern: Any, options: Any) -> None:
    answer = plan_run(run, pattern, QUICK, options)
    json.dumps(answer, allow_nan=False)
    if "error" in answer:
        assert answer["error"]["code"] in ("bad_params", "cannot_write")
        return
    assert len(answer["remarks"]) <= 21
    if Path(answer["manifest"]).exists():
        assert "internal" not in str([shard["failures"] for shard in score_shards(answer)])


@calm
@given(place=anything | st.just("manifest"), first=anything, count=anything, options=anything)
def test_any_object_as_a_shard_is_a_summary_or_a_refusal(
    folder: Path, place: Any, first: Any, count: Any, options: Any
) -> None:
    manifest = plan_run("run", None, QUICK)["manifest"] if place == "manifest" else place
    for answer in (
        score_shard(manifest, first, count, None, options), finish_run(manifest, None, first, options),
        control_run(manifest, first),
    ):  # fmt: skip
        json.dumps(answer, allow_nan=False)
        assert "error" not in answer or answer["error"]["code"] == "bad_params"


@calm
@given(anything | some_of(dict.fromkeys(FocusParams().to_dict(), anything)))
def test_any_object_as_parameters_is_rows_or_a_refusal(params: Any) -> None:
    answer = score_inline([SMALL], params)
    assert answer["error"]["code"] == "bad_params" if "error" in answer else codes(answer) != ["internal"]


WRONG: dict[str, Any] = {
    "list": [1],
    "object": {"a": []},
    "huge": 10**400,
    "unspeakable": 10**5000,  # Python refuses to write it out
    "deep": nested(100_000),
    "deep object": {"a": nested(100_000)},
    "nan": float("nan"),
}


@pytest.mark.parametrize("key", ["name", "shape", "dtype", "codec", "data", "pixel_size_nm", "acquisition"])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_key_of_a_wrong_type_is_one_failed_row(key: str, wrong: str) -> None:
    answer = score_inline([GOOD, GOOD | {key: WRONG[wrong]}, GOOD], QUICK)
    assert codes(answer) == [None, "unsupported", None]


@pytest.mark.parametrize("key", ACQUISITION)
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_setting_of_the_microscope_is_one_failed_row(key: str, wrong: str) -> None:
    answer = score_inline([GOOD | {"acquisition": {key: WRONG[wrong]}}], QUICK)
    assert codes(answer) == ["unsupported"]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_value_of_a_request_is_refused(folder: Path, wrong: str) -> None:
    value = WRONG[wrong]
    paths = [value, {"path": "a", "page": value}, {"path": "a", "name": value}, {"path": "a", "collection": value}]
    assert codes(score_paths(paths, QUICK)) == ["unsupported"] * 4
    for request in ({"folder": value}, {"pattern": value}, {"out": value}, {"collection": value}, {"job": value}):
        assert rescored(**{"folder": "run", **request})["error"]["code"] == "bad_params"
    manifest = rescored("run")["manifest"]
    for answer in (score_shard(value, 0, 1), score_shard(manifest, value, 2), score_shard(manifest, 0, value)):
        assert answer["error"]["code"] == "bad_params"
    assert finish_run(manifest, None, value)["error"]["code"] == "bad_params"
    assert control_run(manifest, value)["error"]["code"] == "bad_params"
    for params in (value, {"n_scales": value}, {"min_t": value}, {"unit": value}):
        assert score_inline([], params)["error"]["code"] == "bad_params"


@pytest.mark.parametrize("value", [10**400, 1e308, 10**5000], ids=["10^400", "1e308", "10^5000"])
def test_a_huge_number_is_no_limit(folder: Path, value: float) -> None:
    plan = plan_run("run", None, QUICK, {"limit": value} if isinstance(value, int) else None)
    assert [shard["stopped"] for shard in score_shards(plan, {"time_budget_s": value})] == [None]
    assert control_run(plan["manifest"])["scored"] == 2
