"""The JSON Schemas in docs/schemas are of this version; what functions really take and answer keeps to them."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import mhfd
from mhfd import registry, remote
from mhfd.contract import FocusParams, ParamsError
from mhfd.images.inline import available_codecs, encode_tile
from mhfd.judge import judge
from mhfd.schemas import schemas
from mhfd.schemas.make import arguments_of
from needs import need_module

from .conftest import QUICK, tissue, write_run

FOLDER = Path(__file__).parents[3] / "docs" / "schemas"
KEPT = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.json")}


def closed(schema: Any) -> Any:
    """The same schema with unknown keys refused: a key that the schema forgets fails."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(each) for key, each in schema.items()}
    return made | {"additionalProperties": False} if "properties" in schema else made


def check(name: str, value: Any) -> None:
    """Fail where a value, as JSON, is not what the schema says."""
    jsonschema = need_module("jsonschema")
    jsonschema.Draft202012Validator(closed(KEPT[name])).validate(json.loads(json.dumps(value, allow_nan=False)))


def fails(name: str, value: Any) -> bool:
    return not need_module("jsonschema").Draft202012Validator(KEPT[name]).is_valid(value)


def test_the_files_are_those_that_are_made() -> None:
    assert schemas() == KEPT, "python -m mhfd.schemas docs/schemas"


def test_the_command_writes_them(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "mhfd.schemas", tmp_path], check=True)
    assert {path.stem for path in tmp_path.iterdir()} == set(KEPT)


@pytest.mark.parametrize("name", sorted(KEPT))
def test_each_is_a_schema(name: str) -> None:
    need_module("jsonschema").Draft202012Validator.check_schema(KEPT[name])


# --- Results ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Rows of tiles that were scored and judged: twelve sharp ones, one blurred, one that is no picture."""
    folder = tmp_path_factory.mktemp("run")
    for number in range(13):
        rng = np.random.default_rng(number)
        frequency = np.hypot(np.fft.fftfreq(192)[:, None], np.fft.rfftfreq(192))
        frequency[0, 0] = 1
        falls = frequency**-1.5 * (np.exp(-2 * (np.pi * 3 * frequency) ** 2) if number == 12 else 1)
        tile = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(192, 192))) * falls)
        grey = 128 + 40 * (tile - tile.mean()) / tile.std() + rng.normal(0, 2, tile.shape)
        tifffile.imwrite(folder / f"t{number:02}.tif", np.clip(grey, 0, 255).astype(np.uint8))
    (folder / "t13.tif").write_bytes(b"no picture")
    return [row.to_dict() for row in judge(mhfd.score_many(sorted(folder.iterdir()), backend="numpy"))]


def test_rows_of_real_scores_keep_to_the_schema(judged: list[dict[str, Any]]) -> None:
    assert {row["status"] for row in judged} == {"scored", "failed"}
    assert judged[12]["verdict"] == "out_of_focus" and judged[12]["blur_map_px"] is not None
    for row in judged:
        check("focus_result", row)


@pytest.mark.parametrize("key", ["schema", "features", "verdict", "remarks"])
def test_a_row_that_lacks_a_key_does_not(judged: list[dict[str, Any]], key: str) -> None:
    assert fails("focus_result", {name: value for name, value in judged[0].items() if name != key})


@pytest.mark.parametrize(("key", "wrong"), [("features", "many"), ("schema", 2), ("verdict", "fine"), ("shape", [3])])
def test_a_row_with_a_wrong_value_does_not(judged: list[dict[str, Any]], key: str, wrong: Any) -> None:
    assert fails("focus_result", judged[0] | {key: wrong})


# --- Parameters ---------------------------------------------------------------------------------------------------

AT_THE_LIMITS = [
    ("n_scales", 0), ("n_scales", 1), ("n_scales", 1024), ("n_scales", 1025), ("min_t", 0), ("saturate", 0.49),
    ("saturate", 0.5), ("saturate", -0.1), ("k_noise", 0), ("k_noise", -1), ("polarity", "grey"), ("mode", "paper"),
    ("unit", "mm"), ("max_gpu_bytes", None), ("max_gpu_bytes", 0), ("max_host_bytes", 1), ("exclude_top_px", -1),
    ("exclude_top_px", None), ("exclude_bottom_px", None), ("exclude_bottom_px", 2**31 + 1), ("scales", 3),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), AT_THE_LIMITS)
def test_the_schema_refuses_the_parameters_that_we_refuse(key: str, value: Any) -> None:
    try:
        FocusParams.from_dict({key: value})
        refused = False
    except ParamsError:
        refused = True
    assert fails("focus_params", {key: value}) == refused


def test_parameters_as_they_are_written_keep_to_the_schema() -> None:
    check("focus_params", FocusParams(exclude_bottom_px=7, mode="paper").to_dict())


# --- Registered functions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", registry.FUNCTIONS)
def test_the_arguments_are_those_of_the_registered_function(name: str) -> None:
    empty = inspect.Parameter.empty
    signature = inspect.signature(getattr(remote, name)).parameters.values()
    described = [(each.name, empty if each.default is MISSING else each.default) for each in fields(arguments_of(name))]
    assert described == [(each.name, each.default) for each in signature]


@pytest.fixture
def call() -> Callable[..., dict[str, Any]]:
    """Call a registered function; its arguments and its answer keep to their schemas."""

    def called(name: str, **arguments: Any) -> dict[str, Any]:
        check(f"{name}.arguments", arguments)
        answer: dict[str, Any] = getattr(remote, name)(**arguments)
        check(f"{name}.answer", answer)
        return answer

    return called


def test_tiles_in_the_task(call: Callable[..., dict[str, Any]]) -> None:
    tiles = [encode_tile(tissue(), codec, name=codec, pixel_size_nm=4.0) for codec in available_codecs()]
    tiles.append(encode_tile(tissue(), picture=(0, 0, 40, 64)))
    assert call("score_inline", tiles=tiles, params=QUICK)["count"] == len(tiles)


def test_files_by_path(call: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    write_run(tmp_path, 2)
    paths = [str(tmp_path / "t00.tif"), {"path": str(tmp_path / "t01.tif"), "page": 0, "name": "b"}, "/not/there.tif"]
    answer = call("score_paths", paths=paths, params=FocusParams(n_scales=2, max_t=4.0).to_dict())
    assert [row["status"] for row in answer["rows"]] == ["scored", "scored", "failed"]


def test_rows_that_could_not_be_kept(
    call: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path, 1)
    (tmp_path / "file").touch()
    monkeypatch.setenv("MHFD_SPOOL_DIR", str(tmp_path / "file"))
    assert "spool_error" in call("score_paths", paths=[str(tmp_path / "t00.tif")])["worker"]


def test_an_archived_run(call: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    write_run(tmp_path, 3)
    (tmp_path / "t03.tif").write_bytes(b"no picture")
    plan = call("plan_run", folder=str(tmp_path), params=QUICK, options={"shard_tiles": 2, "job": "night"})
    job = {"manifest": plan["manifest"]}
    assert len(call("next_wave", **job, score_shard="uuid", options={"shards": 1, "time_budget_s": 60})["tasks"]) == 1
    assert not call("finish_run", **job)["complete"]
    for first in (0, 2):
        call("score_shard", **job, first=first, count=2, options={"time_budget_s": 60.0})
    assert call("control_run", **job, action="pause")["state"] == "paused"
    assert call("control_run", **job, action="resume")["done"] == 2
    assert call("finish_run", **job, options={"max_blur_px": 2.0})["failures"] == {"not_an_image": 1}


def test_a_worker_about_itself(call: Callable[..., dict[str, Any]]) -> None:
    assert call("describe")["mhfd"] == mhfd.__version__
    assert call("warmup")["ok"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("score_paths", {"paths": [], "params": {"n_scale": 3}}),
        ("plan_run", {"folder": "x", "options": {"jobs": 1}}),
    ],
)
def test_a_request_that_its_schema_refuses_is_refused(name: str, arguments: dict[str, Any]) -> None:
    assert fails(f"{name}.arguments", arguments)
    answer = getattr(remote, name)(**arguments)
    check(f"{name}.answer", answer)
    assert answer["error"]["code"] == "bad_params"
