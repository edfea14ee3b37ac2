"""Functions and their UUIDs: what is registered, when, and what is recorded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

import mhfd
from mhfd import registry
from mhfd.registry import (
    FUNCTIONS,
    FunctionRecord,
    RegistryError,
    allowed_functions_block,
    load,
    plan,
    register,
    run_register,
    save,
    sha256,
    source_of,
)

GROUP = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


class Service:
    """A registrar that fails from call `fail_at` on."""

    def __init__(self, fail_at: int = 99) -> None:
        self.calls: list[dict[str, Any]] = []
        self._fail_at = fail_at

    def register_source_code(
        self,
        source: str,
        function_name: str,
        description: str | None = None,
        *,
        public: bool = False,
        group: str | None = None,
    ) -> str:
        if len(self.calls) >= self._fail_at:
            raise ConnectionError("the line is dead")
        self.calls.append({"source": source, "name": function_name, "public": public, "group": group})
        return str(uuid4())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "functions.json"


def test_all_functions_are_registered_from_their_sources(path: Path) -> None:
    service = Service()
    report = run_register(path, client=service)
    assert [call["name"] for call in service.calls] == list(FUNCTIONS)
    assert [call["source"] for call in service.calls] == [source_of(name) for name in FUNCTIONS]
    assert load(path) == list(report.records) == list(report.registered)


def test_what_is_unchanged_is_not_registered_again(path: Path) -> None:
    first, service = run_register(path, client=Service()), Service()
    second = run_register(path, client=service)
    assert service.calls == []
    assert (second.registered, second.records) == ((), first.records)


def test_a_new_version_with_the_same_source_keeps_its_uuid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_register(path, client=Service())
    monkeypatch.setattr(registry, "__version__", "9.9")
    assert run_register(path, client=Service()).registered == ()


def test_a_changed_source_alone_gets_a_new_uuid(path: Path) -> None:
    before = list(run_register(path, client=Service()).records)
    save(
        path,
        [FunctionRecord(**vars(each) | {"sha256": "0" * 64}) if each.name == "warmup" else each for each in before],
    )
    report = run_register(path, client=Service())
    assert report.plan.changed == ("warmup",)
    assert [each.name for each in report.registered] == [each.name for each in report.replaced] == ["warmup"]
    assert report.registered[0].uuid != report.replaced[0].uuid
    assert [each.name for each in report.records] == list(FUNCTIONS)


def test_other_people_mean_registering_anew(path: Path) -> None:
    run_register(path, client=Service())
    service = Service()
    report = run_register(path, client=service, group=GROUP.upper(), public=True)
    assert report.plan.changed == FUNCTIONS
    assert {(call["group"], call["public"]) for call in service.calls} == {(GROUP, True)}
    assert plan(load(path), group=GROUP, public=True).to_register == ()


def test_a_dry_run_registers_and_writes_nothing(path: Path) -> None:
    service = Service()
    report = run_register(path, client=service, dry_run=True)
    assert report.plan.new == FUNCTIONS
    assert (service.calls, report.registered, path.exists(), report.allowed_functions) == ([], (), False, "")


def test_what_was_registered_before_a_failure_is_not_forgotten(path: Path) -> None:
    with pytest.raises(ConnectionError):
        run_register(path, client=Service(fail_at=2))
    assert [record.name for record in load(path)] == list(FUNCTIONS[:2])
    assert [record.name for record in run_register(path, client=Service()).registered] == list(FUNCTIONS[2:])


def test_a_function_of_another_version_stays_listed(path: Path) -> None:
    (record,) = register(Service(), ["describe"])
    old = FunctionRecord(**vars(record) | {"name": "score_all"})
    save(path, [old])
    report = run_register(path, client=Service())
    assert report.plan.gone == ("score_all",)
    assert report.records[-1] == old


def test_a_record_says_from_what_and_with_what_it_was_made() -> None:
    (record,) = register(Service(), ["describe"])
    assert record.sha256 == hashlib.sha256(source_of("describe").encode()).hexdigest() == sha256(source_of("describe"))
    assert str(UUID(record.uuid)) == record.uuid
    assert (record.version, record.group, record.public) == (mhfd.__version__, None, False)


def test_the_allowed_functions_are_yaml(path: Path) -> None:
    report = run_register(path, client=Service())
    head, *lines = report.allowed_functions.splitlines()
    assert head == "allowed_functions:"
    assert [line.split()[1] for line in lines] == [record.uuid for record in report.records]
    assert allowed_functions_block([]) == ""


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "{}", '{"schema": 2, "functions": []}', '{"schema": 1, "functions": [{"name": "x"}]}',
        '{"schema": 1, "functions": 7}', "\xff",
    ],
)  # fmt: skip
def test_another_file_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "functions.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(RegistryError, match=r"functions\.json"):
        load(path)


@pytest.mark.parametrize("wrong", [{"uuid": "x"}, {"public": "no"}, {"name": None}, {"colour": 1}])
def test_a_bad_record_is_refused(path: Path, wrong: dict[str, Any]) -> None:
    run_register(path, client=Service())
    content = json.loads(path.read_text())
    content["functions"][0] |= wrong
    path.write_text(json.dumps(content))
    with pytest.raises(RegistryError):
        load(path)


def test_no_file_is_no_records(tmp_path: Path) -> None:
    assert load(tmp_path / "none.json") == []


def test_saving_leaves_nothing_else_behind(path: Path) -> None:
    run_register(path, client=Service())
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RegistryError, match="cannot be"):
        save(tmp_path / "file" / "functions.json", [])


def test_a_group_is_a_uuid(path: Path) -> None:
    with pytest.raises(RegistryError, match="UUID"):
        run_register(path, client=Service(), group="my friends")


def test_there_are_no_other_functions() -> None:
    with pytest.raises(RegistryError, match="score_inline"):
        source_of("rm_rf")


def test_the_sdk_still_registers_this_way() -> None:
    sdk = pytest.importorskip("globus_compute_sdk")
    import inspect

    parameters = inspect.signature(sdk.Client.register_source_code).parameters
    assert list(parameters)[1:4] == ["source", "function_name", "description"]
    assert {"public", "group"} <= set(parameters)
