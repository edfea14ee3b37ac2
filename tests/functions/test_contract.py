"""Parameters, results and errors as plain data."""

from __future__ import annotations

import json
import math
import re
import sys
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest

from mhfd.contract import (
    SCHEMA,
    Acquisition,
    BackendError,
    Failure,
    FocusParams,
    FocusResult,
    MhfdError,
    ParamsError,
    Provenance,
    Remark,
    ResultError,
    TileError,
    Timing,
    page_path,
    split_page,
)

PROVENANCE = Provenance(mhfd="0.1.0", params_sha256="ab", backend="numpy", device="cpu", tile_sha256="cd")

SCORED = FocusResult(
    path="run/s0001_r0_c1.tif",
    status="scored",
    provenance=PROVENANCE,
    shape=(1024, 768),
    dtype="uint8",
    picture=(0, 0, 960, 768),
    pixel_size_nm=4.6,
    features=1452,
    features_per_mpx=1846.3,
    features_by_scale=(812, 640),
    scales_px=(1.0, 2.0),
    focus_score=7.31,
    characteristic_scale_px=1.44,
    noise=0.021,
    content=0.97,
    anisotropy=0.08,
    saturated=0.0035,
    vollath_f4=0.0042,
    spectrum="1:AAAA",
    verdict="in_focus",
    confidence=0.99,
    defocus_um=0.9,
    defocus_interval_um=(0.4, 1.3),
    blur_px=0.4,
    blur_nm=1.84,
    blur_error_px=0.1,
    blur_by_direction_px=(0.4, 0.5, 0.3, None),
    blur_map_px=((0.4, None, 0.0, 0.1),) * 4,
    worst_block=(0, 0),
    flag_px=0.6,
    reference="31 tiles of this run",
    doubts=("few_tiles",),
    acquisition=Acquisition(format="tiff", vendor="zeiss", working_distance_mm=5.2, stage_um=(1.0, 2.0, 3.0)),
    remarks=(Remark(code="data_bar", message="64 rows are left out"),),
    timing_ms=Timing(read=0.9, kernel=31.0, total=31.9),
)

FAILED = FocusResult(
    path="bad.tif",
    status="failed",
    verdict="failed",
    provenance=replace(PROVENANCE, tile_sha256=None),
    error=Failure(code="truncated", message="bad.tif ends too early"),
)

PARAMS_SHA256_OF_0_1_0 = "71e58bc0988016829e99dd3609d4401e117a276b52531d7969ba9427d08a8402"

KEYS_OF_SCHEMA_1 = [
    "schema", "path", "status", "provenance", "error", "shape", "dtype", "picture", "pixel_size_nm",
    "features", "features_per_mpx", "features_by_scale", "scales_px",
    "focus_score", "characteristic_scale_px", "noise", "content", "anisotropy",
    "saturated", "vollath_f4", "grey", "spectrum", "verdict", "confidence", "defocus_um", "defocus_interval_um",
    "blur_px", "blur_nm", "blur_error_px", "blur_by_direction_px", "blur_map_px", "worst_block", "flag_px",
    "reference", "doubts", "acquisition", "remarks", "timing_ms",
]  # fmt: skip


def through_json(value: dict[str, Any]) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
    return decoded


# --- Parameters: what is accepted -------------------------------------------------------------------------------


def test_defaults_are_those_of_the_contract() -> None:
    assert FocusParams().to_dict() == {
        "n_scales": 16,
        "min_t": 1.0,
        "max_t": 17.0,
        "saturate": 0.00175,
        "k_noise": 5.0,
        "polarity": "dark",
        "mode": "robust",
        "unit": "px",
        "max_gpu_bytes": None,
        "max_host_bytes": None,
    }


def test_rows_to_leave_out_are_parameters_that_change_the_measure_only_when_given() -> None:
    assert FocusParams(exclude_top_px=0, exclude_bottom_px=None).sha256 == PARAMS_SHA256_OF_0_1_0
    given = FocusParams(exclude_top_px=3, exclude_bottom_px=0)
    assert given.to_dict() == {**FocusParams().to_dict(), "exclude_top_px": 3, "exclude_bottom_px": 0}
    assert FocusParams.from_dict(through_json(given.to_dict())) == given
    assert len({params.sha256 for params in (FocusParams(), given, replace(given, exclude_bottom_px=9))}) == 3


@pytest.mark.parametrize("key", ["exclude_top_px", "exclude_bottom_px"])
@pytest.mark.parametrize("value", [-1, 1.5, True, "3", 2**40])
def test_rows_to_leave_out_are_whole_numbers(key: str, value: Any) -> None:
    with pytest.raises(ParamsError, match=key):
        FocusParams(**{key: value})


def test_parameters_come_back_from_json() -> None:
    params = FocusParams(n_scales=7, min_t=4, max_t=60, unit="nm", polarity="both", mode="paper", max_gpu_bytes=10**9)
    assert FocusParams.from_dict(through_json(params.to_dict())) == params


def test_missing_keys_take_their_defaults() -> None:
    assert FocusParams.from_dict({"n_scales": 3}) == FocusParams(n_scales=3)
    assert FocusParams.from_dict({}) == FocusParams()


def test_parameters_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        FocusParams().n_scales = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    "edge",
    [
        {"n_scales": 1},
        {"n_scales": 1024},
        {"saturate": 0},
        {"saturate": 0.49},
        {"k_noise": 0},
        {"min_t": 0.1},
        {"max_t": 4096},
        {"max_gpu_bytes": 1},
        {"max_host_bytes": 1},
    ],
)
def test_the_ends_of_the_ranges_are_accepted(edge: dict[str, Any]) -> None:
    assert FocusParams(**edge).to_dict().items() >= edge.items()


# --- Parameters: what is refused --------------------------------------------------------------------------------

NOT_NUMBERS: list[Any] = ["1", None, True, math.nan, math.inf, [1.0]]
NOT_COUNTS: list[Any] = [0, -1, 2.0, "3", True, math.nan]
NOT_CHOICES: list[Any] = ["", "Dark", None, 1, ["dark"]]

BAD = [
    *(("min_t", value) for value in [*NOT_NUMBERS, 0, -1]),
    *(("max_t", value) for value in [*NOT_NUMBERS, 0, 1.0, 0.5]),
    *(("saturate", value) for value in [*NOT_NUMBERS, -0.001, 0.5]),
    *(("k_noise", value) for value in [*NOT_NUMBERS, -0.1]),
    *(("n_scales", value) for value in [*NOT_COUNTS, None, 1025]),
    *((name, value) for name in ("max_gpu_bytes", "max_host_bytes") for value in NOT_COUNTS),
    *((name, value) for name in ("polarity", "mode", "unit") for value in NOT_CHOICES),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_parameter_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ParamsError, match=name):
        FocusParams.from_dict({name: value})


def test_a_refusal_names_the_choices() -> None:
    with pytest.raises(ParamsError, match=r"\"dark\", \"bright\", \"both\", not 'drak'"):
        FocusParams(polarity="drak")  # type: ignore[arg-type]


def test_an_unknown_parameter_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ParamsError, match="'n_scale'; did you mean 'n_scales'"):
        FocusParams.from_dict({"n_scale": 3})


def test_a_parameter_like_none_is_refused_with_all_names() -> None:
    with pytest.raises(ParamsError, match=r"'zzz'; known: n_scales, .*max_gpu_bytes"):
        FocusParams.from_dict({"zzz": 3})


# --- Identity ---------------------------------------------------------------------------------------------------


def test_sha256_is_64_hexadecimal_digits() -> None:
    assert len(FocusParams().sha256) == 64
    assert int(FocusParams().sha256, 16) >= 0


def test_sha256_does_not_depend_on_memory_or_on_how_a_number_is_written() -> None:
    assert FocusParams(max_gpu_bytes=10**9, max_host_bytes=10**8).sha256 == FocusParams().sha256
    assert FocusParams(min_t=1, max_t=17, k_noise=5).sha256 == FocusParams().sha256


@pytest.mark.parametrize(
    "change",
    [
        {"n_scales": 15},
        {"min_t": 1.5},
        {"max_t": 16},
        {"saturate": 0},
        {"k_noise": 4},
        {"polarity": "both"},
        {"mode": "paper"},
        {"unit": "nm"},
    ],
)
def test_sha256_changes_with_what_changes_the_result(change: dict[str, Any]) -> None:
    assert FocusParams(**change).sha256 != FocusParams().sha256


# --- Scales -----------------------------------------------------------------------------------------------------


def test_scales_are_evenly_spaced_from_min_t_to_max_t() -> None:
    assert FocusParams().scales == [float(t) for t in range(1, 18)]
    assert FocusParams(n_scales=4, min_t=0.5, max_t=2.5).scales == [0.5, 1.0, 1.5, 2.0, 2.5]


def test_the_last_scale_is_max_t_exactly() -> None:
    assert FocusParams(n_scales=7, min_t=0.1, max_t=0.8).scales[-1] == 0.8


def test_nanometres_become_pixels() -> None:
    params = FocusParams(min_t=8, max_t=80, unit="nm", k_noise=4)
    assert params.in_pixels(4.0) == FocusParams(min_t=2, max_t=20, unit="px", k_noise=4)


def test_pixels_stay_pixels_whatever_their_size() -> None:
    assert FocusParams().in_pixels(4.6) == FocusParams().in_pixels(None) == FocusParams()


def test_nanometres_without_a_pixel_size_are_an_error_that_says_what_to_do() -> None:
    with pytest.raises(TileError, match="--pixel-size-nm") as caught:
        FocusParams(min_t=8, max_t=80, unit="nm").in_pixels(None)
    assert caught.value.code == "no_pixel_size"


# --- Results ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("result", [SCORED, FAILED], ids=["scored", "failed"])
def test_a_result_comes_back_from_json(result: FocusResult) -> None:
    assert FocusResult.from_dict(through_json(result.to_dict())) == result


@pytest.mark.parametrize("result", [SCORED, FAILED], ids=["scored", "failed"])
def test_every_key_of_the_schema_is_there_in_order(result: FocusResult) -> None:
    assert list(result.to_dict()) == KEYS_OF_SCHEMA_1
    assert result.to_dict()["schema"] == SCHEMA == 1


def test_keys_of_the_parts_are_those_of_the_contract() -> None:
    plain = SCORED.to_dict()
    assert list(plain["provenance"]) == ["mhfd", "params_sha256", "backend", "device", "tile_sha256", "measure"]
    assert list(plain["timing_ms"]) == ["read", "copy", "kernel", "total"]
    assert list(FAILED.to_dict()["error"]) == ["code", "message"]
    assert list(plain["acquisition"]) == [
        "format", "lossy", "vendor", "working_distance_mm", "dwell_us", "stage_um",
    ]  # fmt: skip


def test_a_failed_result_has_no_measures() -> None:
    plain = FAILED.to_dict()
    assert {plain[key] for key in KEYS_OF_SCHEMA_1[5:20]} == {None}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_json_never_holds_what_is_not_finite(number: float) -> None:
    odd = replace(SCORED, focus_score=number, scales_px=(1.0, number), timing_ms=Timing(total=number))
    plain = through_json(odd.to_dict())
    assert plain["focus_score"] is plain["scales_px"][1] is plain["timing_ms"]["total"] is None


def test_keys_of_a_newer_version_are_ignored() -> None:
    plain = SCORED.to_dict()
    newer = {**plain, "blur_um": 1.2, "provenance": {**plain["provenance"], "kernel": "x"}}
    newer |= {"acquisition": {**plain["acquisition"], "beam": 3}, "timing_ms": {**plain["timing_ms"], "spectrum": 1.0}}
    assert FocusResult.from_dict(newer) == SCORED


def test_keys_that_an_older_version_lacks_are_null() -> None:
    plain = SCORED.to_dict()
    older = {key: plain[key] for key in ("schema", "path", "status", "features", "provenance")}
    older["provenance"] = {key: plain["provenance"][key] for key in ("mhfd", "params_sha256", "backend", "device")}
    read = FocusResult.from_dict(older)
    assert (read.path, read.features, read.focus_score, read.acquisition.format) == (
        plain["path"],
        SCORED.features,
        None,
        None,
    )
    assert read.provenance.measure == 1  # that of 0.1.0


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"focus_score": "abc"}, "focus_score"),
        ({"focus_score": math.nan}, "focus_score"),
        ({"focus_score": 10**400}, "focus_score"),
        ({"features": 10**5000}, "features"),
        ({"content": True}, "content"),
        ({"features": 1e40}, "features"),
        ({"features": -1}, "features"),
        ({"features": 3.5}, "features"),
        ({"features_by_scale": {"1": 2}}, "features_by_scale"),
        ({"scales_px": [1.0, None]}, "scales_px"),
        ({"shape": [4]}, "shape"),
        ({"shape": "4x4"}, "shape"),
        ({"status": "done"}, "status"),
        ({"status": None}, "status"),
        ({"status": "failed"}, "error"),
        ({"path": 7}, "path"),
        ({"path": None}, "path"),
        ({"dtype": ["uint8"]}, "dtype"),
        ({"error": "no"}, "error"),
        ({"provenance": None}, "provenance"),
        ({"provenance": {"mhfd": "1"}}, "params_sha256"),
        ({"acquisition": {"lossy": "yes"}}, "lossy"),
        ({"acquisition": {"stage_um": [1, 2]}}, "stage_um"),
        ({"acquisition": {"stage_um": ["a", None, {}]}}, "stage_um"),
        ({"timing_ms": {"total": "fast"}}, "total"),
        ({"verdict": {"a": 1}}, "verdict"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_its_key(change: dict[str, Any], key: str) -> None:
    with pytest.raises(ResultError, match=key):
        FocusResult.from_dict({**SCORED.to_dict(), **change})


@pytest.mark.parametrize("given", [None, [], "row", 5])
def test_what_is_not_an_object_is_not_a_result(given: Any) -> None:
    with pytest.raises(ResultError, match="must be an object"):
        FocusResult.from_dict(given)


def test_a_whole_number_that_is_written_as_a_fraction_is_a_count() -> None:
    assert FocusResult.from_dict({**SCORED.to_dict(), "features": 12.0}).features == 12


def test_a_verdict_that_only_a_newer_version_knows_is_null() -> None:
    assert FocusResult.from_dict({**SCORED.to_dict(), "verdict": "drifting"}).verdict is None


def test_text_that_no_database_takes_is_made_storable() -> None:
    read = FocusResult.from_dict({**SCORED.to_dict(), "path": "a\0b\udcb5.tif"})
    assert "\0" not in read.path
    assert read.path.encode()


def test_a_failed_row_has_its_verdict() -> None:
    row = FocusResult.failed("a.tif", "truncated", "it ends too early", SCORED.provenance)
    assert (row.status, row.verdict, row.error) == (
        "failed",
        "failed",
        Failure(code="truncated", message="it ends too early"),
    )


def test_new_parameters_at_their_default_leave_the_identity_of_0_1_0() -> None:
    assert FocusParams().sha256 == PARAMS_SHA256_OF_0_1_0


@pytest.mark.parametrize("schema", [None, 0, 2, "1"])
def test_another_schema_is_refused(schema: Any) -> None:
    with pytest.raises(ParamsError, match="this mhfd reads schema 1"):
        FocusResult.from_dict({**SCORED.to_dict(), "schema": schema})


def test_reading_a_result_leaves_the_json_as_it_was() -> None:
    plain = SCORED.to_dict()
    before = json.dumps(plain)
    FocusResult.from_dict(plain)
    assert json.dumps(plain) == before


@pytest.mark.parametrize(("file", "page"), [("a/stack.tif", 0), (r"C:\run\s#page=x.tif", 12), ("a#page=3", 4)])
def test_a_page_and_its_file_come_back_from_the_path(file: str, page: int) -> None:
    assert split_page(page_path(file, page)) == (file, page)


def test_the_path_of_a_lone_tile_is_page_0_of_its_file() -> None:
    assert split_page("run/s0001.tif") == ("run/s0001.tif", 0)


# --- For people -------------------------------------------------------------------------------------------------


def test_repr_of_a_scored_tile_is_one_line_with_its_score() -> None:
    line = repr(SCORED)
    assert "\n" not in line
    assert all(part in line for part in ("s0001_r0_c1.tif", "focus_score 7.31", "1452 features", "in_focus"))


def test_repr_of_a_failed_tile_says_why() -> None:
    assert repr(FAILED) == "FocusResult(bad.tif: failed, bad.tif ends too early [truncated])"


def test_repr_of_an_array_says_array() -> None:
    assert repr(replace(SCORED, path="")).startswith("FocusResult(array:")


def test_the_notebook_table_shows_the_measures() -> None:
    table = SCORED._repr_html_()
    assert table.startswith("<table>")
    assert all(part in table for part in ("focus score", "7.31", "1024 x 768 uint8", "in_focus"))


@pytest.mark.parametrize("result", [SCORED, FAILED], ids=["scored", "failed"])
def test_the_notebook_table_escapes_what_comes_from_outside(result: FocusResult) -> None:
    error = result.error and replace(result.error, message="<b>&")
    table = replace(result, path="<script>alert('x')</script>.tif", error=error)._repr_html_()
    assert "<script>" not in table
    assert "<b>" not in table
    assert "&lt;script&gt;" in table


# --- Errors -----------------------------------------------------------------------------------------------------


def test_one_except_catches_every_error_of_ours() -> None:
    assert all(issubclass(error, MhfdError) for error in (ParamsError, BackendError, TileError))


def test_bad_parameters_are_a_value_error_too() -> None:
    assert issubclass(ParamsError, ValueError)


def test_a_tile_error_shows_its_sentence_and_its_code() -> None:
    error = TileError("empty_file", "a.tif is empty")
    assert (error.code, error.message) == ("empty_file", "a.tif is empty")
    assert str(error) == "a.tif is empty [empty_file]"


def test_a_tile_error_survives_pickling() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(TileError("empty_file", "a.tif is empty")))
    assert (error.code, error.message) == ("empty_file", "a.tif is empty")


def test_the_contract_needs_the_standard_library_only() -> None:
    import mhfd.contract
    import mhfd.text

    assert "import mhfd" not in Path(mhfd.text.__file__).read_text(encoding="utf-8")
    names = set()
    for module in (mhfd.contract, mhfd.text):
        lines = Path(module.__file__).read_text(encoding="utf-8").splitlines()
        names |= {line.split()[1].split(".")[0] for line in lines if re.match(r"\s*(import|from) \S+( import|$)", line)}
    assert names - {"mhfd"} <= set(sys.stdlib_module_names)
