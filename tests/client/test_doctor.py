"""`mhfd doctor`, `mhfd warmup` and `mhfd register` without an endpoint; with one: tests/loopback/test_commands.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mhfd import registry
from mhfd_client.cli import main
from mhfd_client.config import parse_config
from mhfd_client.doctor import Check, _roots, examine, worst

UUID = "11111111-1111-4111-8111-111111111111"


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def no_configuration_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.toml"
    config.touch()
    monkeypatch.setenv("MHFD_CONFIG", str(config))


def test_this_machine_can_score() -> None:
    checks = list(examine(parse_config({})))
    assert {check.name for check in checks} >= {"Python", "mhfd", "backend", "probe tile", "scratch space"}
    assert worst(checks) != "FAIL"


def test_the_command_prints_a_line_a_check_and_exits_with_0() -> None:
    result = invoke("doctor")
    assert result.exit_code == 0
    assert "PASS probe tile: 256 of 256 features" in result.stdout


def test_json_is_an_array_of_checks_and_nothing_else() -> None:
    rows = json.loads(invoke("doctor", "--json").stdout)
    assert all(set(row) == {"name", "level", "found", "remedy"} for row in rows)


def test_an_endpoint_that_is_not_configured_fails_with_69() -> None:
    result = invoke("doctor", "--endpoint", "dgx")
    assert result.exit_code == 69
    assert "there is no endpoint named 'dgx'" in result.stdout


def test_functions_from_another_source_are_told_of(tmp_path: Path) -> None:
    record = registry.FunctionRecord(
        name="describe", version="0.0.1", uuid=UUID, sha256="ab", python="3.11.7", sdk=None, date="2026-01-01"
    )
    registry.save(tmp_path / "functions.json", [record])
    config = parse_config({"endpoints": {"dgx": {"uuid": UUID, "functions_file": str(tmp_path / "functions.json")}}})
    checks: dict[str, Check] = {}
    for check in examine(config, "dgx"):
        checks[check.name] = check
        if check.name == "functions.json":
            break
    assert checks["functions"].level == "WARN"  # not all are registered
    assert checks["functions.json"].level == "WARN"
    assert "mhfd register" in checks["functions.json"].remedy


@pytest.mark.parametrize("about", [{}, {"roots": {"read": None, "write": None}}], ids=["0.1.0", "not set"])
def test_an_endpoint_that_limits_no_paths_is_warned_of(about: dict[str, object]) -> None:
    checks = list(_roots(about))
    assert [check.level for check in checks] == ["WARN", "WARN"]
    assert "MHFD_ROOTS" in checks[0].remedy and "MHFD_OUT_ROOTS" in checks[1].remedy


def test_an_endpoint_that_limits_paths_passes() -> None:
    read, write = _roots({"roots": {"read": ["/data", "/scratch"], "write": []}})
    assert (read.level, read.found) == ("PASS", "/data, /scratch")
    assert (write.level, write.found) == ("PASS", "none")


def test_the_worst_check_decides() -> None:
    good, odd, bad = (Check("x", level, "") for level in ("PASS", "WARN", "FAIL"))
    assert [worst(checks) for checks in ([good], [good, odd], [odd, bad, good])] == ["PASS", "WARN", "FAIL"]


def test_this_machine_can_be_warmed_up() -> None:
    result = invoke("warmup")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("local is warm: 256 of 256 features")


def test_a_configuration_that_cannot_be_read_is_exit_code_78(tmp_path: Path) -> None:
    result = invoke("warmup", "--config", tmp_path / "no such file.toml")
    assert result.exit_code == 78
    assert "does not exist" in result.stderr


def test_a_dry_run_registers_nothing(tmp_path: Path) -> None:
    result = invoke("register", "--dry-run", "--file", tmp_path / "functions.json")
    assert result.exit_code == 0
    assert "new: score_inline" in result.stderr
    assert not (tmp_path / "functions.json").exists()
