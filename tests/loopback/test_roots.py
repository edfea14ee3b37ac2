"""An endpoint's MHFD_ROOTS and MHFD_OUT_ROOTS hold for tasks that come through the unmodified Globus stack."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
import yaml
from click.testing import CliRunner

from mhfd.images.inline import encode_tile
from mhfd.registry import FUNCTIONS, source_of
from mhfd_client.cli import main

if TYPE_CHECKING:
    from loopback.stack import Loopback

RESULT_S = 240.0  # on a machine that does much else
OWN = {"engine": "ThreadPoolEngine", "retries": 7}  # options of no other test: a user endpoint with its own environment
QUICK = {"n_scales": 2, "max_t": 4.0}


@pytest.fixture
def limited(loopback: Loopback, tmp_path: Path) -> Iterator[Path]:
    """A folder with "inside", which tasks may read, "results", which they may write, and "beyond"; a tile in two."""
    for name in ("inside", "results", "beyond"):
        (tmp_path / name).mkdir()
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32), dtype=np.uint8)
    for name in ("inside", "beyond"):
        tifffile.imwrite(tmp_path / name / "t.tif", pixels)
    (tmp_path / "inside" / "way").symlink_to(tmp_path / "beyond")
    file = loopback.endpoint.folder / "user_environment.yaml"  # read when a user endpoint starts
    before = file.read_text()
    roots = {"MHFD_ROOTS": str(tmp_path / "inside"), "MHFD_OUT_ROOTS": str(tmp_path / "results")}
    file.write_text(yaml.safe_dump({**yaml.safe_load(before), **roots}))
    yield tmp_path
    file.write_text(before)
    loopback.endpoint.kill_part("user")  # with these settings


def test_an_endpoint_keeps_to_its_roots(limited: Path, loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    client = loopback.client()
    functions = {name: client.register_source_code(source_of(name), name) for name in FUNCTIONS}
    executor = loopback.executor(user_endpoint_config=OWN)

    def ask(function: str, *arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = executor.submit_to_registered_function(functions[function], arguments).result(RESULT_S)
        return answer

    inside, beyond = limited / "inside", limited / "beyond"
    paths = [inside / "t.tif", inside / "way" / "t.tif", inside / "way" / "x.tif", beyond / "t.tif", beyond / "x.tif"]
    rows = ask("score_paths", [str(path) for path in paths], QUICK)["rows"]
    assert [row["error"] and row["error"]["code"] for row in rows] == [None, *["permission_denied"] * 4]
    assert ask("score_inline", [encode_tile(tifffile.imread(beyond / "t.tif"))], QUICK)["rows"][0]["error"] is None

    results = {"out": str(limited / "results")}
    refused = [
        ask("plan_run", folder, None, QUICK, options)["error"]
        for folder, options in (
            ("/etc", results),
            ("/no such folder", results),
            (str(inside), {"out": str(beyond / "new")}),
            (str(inside), None),  # beside the data, where tasks may only read
        )
    ]
    assert [error["code"] for error in refused] == ["bad_params"] * 4
    assert refused[0]["message"].replace("/etc", "") == refused[1]["message"].replace("/no such folder", "")
    assert [path.name for path in beyond.iterdir()] == ["t.tif"]
    plan = ask("plan_run", str(inside), "**/*.tif", QUICK, results)
    shard = ask("score_shard", plan["manifest"], 0, plan["tiles"])
    assert (shard["scored"], shard["failed"]) == (1, 0)
    assert ask("finish_run", plan["manifest"])["complete"]
    assert ask("control_run", plan["manifest"], "status")["state"] == "finished"

    config = limited / "config.toml"
    listed = ", ".join(f'{name} = "{uuid}"' for name, uuid in functions.items())
    options = 'user_endpoint_config = {engine = "ThreadPoolEngine", retries = 7}'
    config.write_text(f'[endpoints.here]\nuuid = "{loopback.endpoint_id}"\nfunctions = {{{listed}}}\n{options}\n')
    monkeypatch.setenv("MHFD_CONFIG", str(config))
    result = CliRunner().invoke(main, ["doctor", "--endpoint", "here", "--json"])
    checks = {check["name"]: check for check in json.loads(result.stdout)}
    assert checks["folders that tasks may read"]["found"] == str(inside)
    assert checks["folders that tasks may write"]["level"] == "PASS"


def test_doctor_warns_of_an_endpoint_without_roots(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = loopback.client()
    listed = ", ".join(f'{name} = "{client.register_source_code(source_of(name), name)}"' for name in FUNCTIONS)
    (tmp_path / "config.toml").write_text(
        f'[endpoints.here]\nuuid = "{loopback.endpoint_id}"\nfunctions = {{{listed}}}\n'
        'user_endpoint_config = {engine = "ThreadPoolEngine"}\n'
    )
    monkeypatch.setenv("MHFD_CONFIG", str(tmp_path / "config.toml"))
    result = CliRunner().invoke(main, ["doctor", "--endpoint", "here", "--json"])
    checks = {check["name"]: check["level"] for check in json.loads(result.stdout)}
    assert result.exit_code == 0
    assert checks["folders that tasks may read"] == checks["folders that tasks may write"] == "WARN"
