"""`mhfd doctor`, `mhfd warmup` and `mhfd register` without an endpoint; with one: tests/loopback/test_commands.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mhfd import registry
from mhfd_client import doctor
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


@pytest.mark.parametrize("client_id", [None, "11111111-1111-4111-8111-111111111111"])
def test_registering_without_a_terminal_and_a_sign_in_is_exit_code_77(
    client_id: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1, which an unanswered question gives, means that tiles out of focus were found."""
    pytest.importorskip("globus_compute_sdk")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GLOBUS_")}
    environment |= {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    if client_id:
        environment["GLOBUS_COMPUTE_CLIENT_ID"] = client_id  # without its secret
    command = [sys.executable, "-m", "mhfd_client", "register", "--file", str(tmp_path / "functions.json")]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment)
    assert done.returncode == 77, done.stderr
    assert "GLOBUS_COMPUTE_CLIENT_SECRET" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "functions.json").exists()


class BrokenError(Exception):
    """As globus_sdk's errors are."""

    def __init__(self, http_status: int | None) -> None:
        super().__init__("no")
        self.http_status = http_status


@pytest.mark.parametrize(("status", "code"), [(None, 69), (503, 69), (429, 69), (403, 77), (400, 69)])
def test_a_service_that_does_not_register_gives_one_line_and_a_code(
    status: int | None, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise BrokenError(status)

    monkeypatch.setattr("mhfd_client.compute.registrar._sdk_client", refuse)
    result = invoke("register", "--file", tmp_path / "functions.json")
    assert result.exit_code == code
    assert "BrokenError: no" in result.stderr


def every_remedy() -> list[Check]:
    """The checks of this machine, and of answers that a worker may give."""
    problems = ["backend: BackendError: x", "gpus: OSError: x", "scratch: OSError: x", "host: OSError: x",
                "MHFD_ROOTS has 'x', which is no absolute path, so it allows nothing: correct it"]  # fmt: skip
    told = [Check("worker", "WARN", problem, doctor._remedy(problem)) for problem in problems]
    codes = ["bad_params", "no_backend", "cannot_write", "not_installed", "a code of another version"]
    return told + [doctor._probe({"error": {"code": code, "message": "x"}}) for code in codes]


def test_each_check_that_fails_says_what_to_do() -> None:
    assert all(check.remedy for check in every_remedy())
    assert "see the message" not in Path(doctor.__file__).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("problem", "word"),
    [("gpus: x", "nvidia-smi"), ("MHFD_OUT_ROOTS has 'x': x", "MHFD_OUT_ROOTS"), ("x: y", "report")],
)
def test_the_remedy_fits_the_problem(problem: str, word: str) -> None:
    assert word in doctor._remedy(problem)


def test_a_dry_run_registers_nothing(tmp_path: Path) -> None:
    result = invoke("register", "--dry-run", "--file", tmp_path / "functions.json")
    assert result.exit_code == 0
    assert "new: score_inline" in result.stderr
    assert not (tmp_path / "functions.json").exists()
