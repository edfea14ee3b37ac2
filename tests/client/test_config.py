"""The configuration: what it accepts, and that it says what is wrong with the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mhfd_client.config import (
    Config,
    ConfigError,
    DataMapping,
    GlobusEndpoint,
    LocalEndpoint,
    load_config,
    parse_config,
)

UUID = "4b116d3c-1703-4f8f-9f6f-39921e5864df"
FUNCTION = "c407ae80-b31f-447a-9fa6-124098492057"
TOML = f"""
[endpoints.dgx]
uuid = "{UUID}"
functions = {{ score_inline = "{FUNCTION}", score_paths = "{FUNCTION}" }}
user_endpoint_config = {{ account = "m1234", options = {{ gpus = 8 }} }}
fallback = "local"

[endpoints.dgx.data]
local_root = "/data/em"
root = "/scratch/em"

[endpoints.dgx.limits]
tasks_in_flight = 4

[endpoints.local]
workers = 2
"""


def globus(config: Config, name: str = "dgx") -> GlobusEndpoint:
    entry = config.endpoint(name)
    assert isinstance(entry, GlobusEndpoint)
    return entry


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(TOML)
    return path


def test_without_a_file_there_is_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MHFD_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_config().names == ["local"]
    assert isinstance(load_config().endpoint("local"), LocalEndpoint)


def test_file_is_read(file: Path) -> None:
    entry = globus(load_config(file))
    assert str(entry.uuid) == UUID
    assert entry.limits.tasks_in_flight == 4
    assert entry.limits.max_task_bytes == 9_500_000
    assert entry.user_endpoint_config == {"account": "m1234", "options": {"gpus": 8}}
    assert entry.fallback == "local"


def test_file_named_by_the_environment_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_CONFIG", str(file))
    assert load_config().names == ["local", "dgx"]


def test_local_can_be_set(file: Path) -> None:
    assert load_config(file).local.workers == 2


def test_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(tmp_path / "none.toml")


def test_broken_toml_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[endpoints\n")
    with pytest.raises(ConfigError, match="no valid TOML"):
        load_config(tmp_path / "config.toml")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"endpoint": {}}, "unknown key 'endpoint'; did you mean 'endpoints'"),
        ({"endpoints": {"a": {"uuid": UUID, "fallbak": "local"}}}, "'endpoints.a.fallbak'; did you mean 'fallback'"),
        ({"endpoints": {"a": {"uuid": UUID, "limits": {"task_in_flight": 1}}}}, "did you mean 'tasks_in_flight'"),
        ({"endpoints": {"a": {"uuid": UUID, "data": {"rooot": "/x"}}}}, "did you mean 'root'"),
        ({"endpoints": {"local": {"worker": 1}}}, "'endpoints.local.worker'; did you mean 'workers'"),
        ({"endpoints": {"a": {"uuid": "dgx"}}}, "endpoints.a.uuid"),
        ({"endpoints": {"a": {}}}, "endpoints.a.uuid: Field required"),
        ({"endpoints": {"a": {"uuid": UUID, "limits": {"tasks_in_flight": 0}}}}, "endpoints.a.limits.tasks_in_flight"),
        ({"endpoints": {"a": {"uuid": UUID, "user_endpoint_config": {"db_password": "x"}}}}, "no place in this file"),
    ],
)
def test_mistake_is_named(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_config(wrong)
    assert told in str(error.value)


def test_unknown_endpoint_names_the_nearest(file: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'dgx'"):
        load_config(file).endpoint("dxg")


def test_endpoint_is_found_by_its_uuid(file: Path) -> None:
    assert globus(load_config(file), UUID).fallback == "local"


def test_uuid_alone_uses_the_registered_functions(tmp_path: Path) -> None:
    from mhfd.registry import FunctionRecord, save

    record = FunctionRecord(
        name="score_inline", version="0", uuid=FUNCTION, sha256="0", python="3", sdk=None, date="2026-01-31"
    )
    save(tmp_path / "functions.json", [record])
    config = parse_config({"functions_file": "functions.json"}, folder=tmp_path)
    assert {name: str(uuid) for name, uuid in globus(config, UUID).functions.items()} == {"score_inline": FUNCTION}


def test_endpoint_without_functions_says_to_register() -> None:
    with pytest.raises(ConfigError, match="mhfd register"):
        Config().endpoint(UUID)


def test_entries_are_frozen(file: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        globus(load_config(file)).fallback = "none"


def test_file_below_local_root_has_a_path_at_the_endpoint(tmp_path: Path) -> None:
    mapping = DataMapping(local_root=tmp_path, root="/scratch/em")
    place = mapping.at_endpoint(str(tmp_path / "run 1" / "t.tif"), 2, "name")
    assert place == {"path": "/scratch/em/run 1/t.tif", "page": 2, "name": "name"}


def test_file_of_a_collection_has_a_relative_path(tmp_path: Path) -> None:
    mapping = DataMapping(local_root=tmp_path, root="/em", collection=UUID)  # type: ignore[arg-type]
    place = mapping.at_endpoint(str(tmp_path / "t.tif"), None, "t")
    assert place == {"collection": UUID, "path": "em/t.tif", "page": None, "name": "t"}


def test_file_elsewhere_has_none(tmp_path: Path) -> None:
    assert DataMapping(local_root=tmp_path / "a", root="/b").at_endpoint(str(tmp_path / "c.tif"), None, "c") is None


def test_file_that_only_the_endpoint_has_keeps_its_name() -> None:
    place = DataMapping(root="/scratch").at_endpoint("/scratch/run/t.tif", None, "t")
    assert place == {"path": "/scratch/run/t.tif", "page": None, "name": "t"}


def test_configuration_of_the_documentation_is_accepted(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "endpoints.md").read_text(encoding="utf-8")
    (tmp_path / "config.toml").write_text(text.split("```toml\n")[1].split("```")[0], encoding="utf-8")
    assert load_config(tmp_path / "config.toml").names == ["local", "dgx"]
