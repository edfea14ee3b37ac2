"""`mhfd schedule --with systemd`: units that systemd takes; a stand-in notes what systemctl is asked."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mhfd_client.cli import main
from mhfd_client.schedule.protocol import Schedule, ScheduleRefusedError
from mhfd_client.schedule.systemd import SystemdScheduler, escaped
from mhfd_client.schedule.when import When
from needs import need

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="services of systemd are for Linux")

# There is no user's systemd in a container. `show` answers what $ANSWERS has for the unit.
SYSTEMCTL = """#!/bin/sh
if [ "$2" = show ]; then cat "$ANSWERS/$3" 2>/dev/null || echo LoadState=not-found; exit; fi
echo "$*" >>"$CALLS"
"""
DAILY = When.parse("1d", "02:00")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(SYSTEMCTL)
    program.chmod(0o755)
    (tmp_path / "archive").mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("ANSWERS", str(tmp_path))
    return tmp_path


def schedule(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["schedule", *map(str, arguments)])


def install(home: Path, *options: str) -> Result:
    result = schedule("install", home / "archive", "--with", "systemd", *options)
    assert result.exit_code == 0, result.output
    return result


def calls(home: Path) -> list[str]:
    file = home / "calls"
    found = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return found


def units(home: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (home / "config/systemd/user").glob("*")}


@pytest.mark.parametrize("name", ["archive", 'it\'s 100% $HOME "x" \\ ä;|'])
@pytest.mark.parametrize("every", ["6h", "1d", "7d"])
def test_systemd_takes_the_units(name: str, every: str, tmp_path: Path) -> None:
    wanted = Schedule((f"/data/{name}",), When.parse(every, "02:00"), endpoint="dgx")
    for path, text in SystemdScheduler().units(wanted).items():
        (tmp_path / path.name).write_text(text)
    result = subprocess.run(
        [need("systemd-analyze", "systemd"), "--user", "verify", str(tmp_path / "mhfd-rescore.timer")],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.stdout + result.stderr == "" and result.returncode == 0


def test_the_command_brings_scores_up_to_date() -> None:
    command = Schedule(("/data/a", "/data/b c"), DAILY, endpoint="dgx", config=Path("/c.toml")).command
    assert command == (
        sys.executable, "-m", "mhfd_client", "rescore", "/data/a", "/data/b c", "--endpoint", "dgx",
        "--config", "/c.toml", "--changed-only",
    )  # fmt: skip


def test_what_has_a_meaning_to_systemd_is_escaped() -> None:
    assert escaped(["100%", "$HOME", 'a "b"', "c\\d"]) == '"100%%" "$$HOME" "a \\"b\\"" "c\\\\d"'


def test_a_folder_with_a_line_break_is_refused() -> None:
    """Else its second line would be a setting of the unit."""
    with pytest.raises(ScheduleRefusedError, match="control character"):
        SystemdScheduler().units(Schedule(("/data/x\nExecStartPre=/bin/evil",), DAILY))


def test_installed_it_is_enabled_and_a_second_time_nothing_changes(home: Path) -> None:
    install(home)
    before = units(home)
    assert set(before) == {"mhfd-rescore.service", "mhfd-rescore.timer"}
    assert calls(home) == [
        "--user daemon-reload", "--user enable mhfd-rescore.timer", "--user restart mhfd-rescore.timer"
    ]  # fmt: skip
    assert "Persistent=true" in before["mhfd-rescore.timer"]
    assert "up to date" in install(home).stdout
    assert units(home) == before and "--user daemon-reload" not in calls(home)


def test_a_changed_time_is_changed_in_place(home: Path) -> None:
    install(home)
    calls(home)
    install(home, "--every", "12h", "--at", "08:30")
    assert len(units(home)) == 2 and "OnCalendar=*-*-* 08/12:30:00" in units(home)["mhfd-rescore.timer"]
    assert "--user restart mhfd-rescore.timer" in calls(home)


def test_two_names_are_two_schedules(home: Path) -> None:
    install(home, "--name", "a")
    install(home, "--name", "b")
    assert schedule("remove", "--with", "systemd", "--name", "a").exit_code == 0
    assert set(units(home)) == {"mhfd-rescore-b.service", "mhfd-rescore-b.timer"}


def test_a_dry_run_writes_and_calls_nothing(home: Path) -> None:
    said = install(home, "--dry-run").stdout
    assert "would write" in said and "OnCalendar" in said and "would run: systemctl" in said
    assert units(home) == {} and calls(home) == []
    install(home)
    calls(home)
    before = units(home)
    assert "would remove" in schedule("remove", "--with", "systemd", "--dry-run").stdout
    assert units(home) == before and calls(home) == []


def test_removed_nothing_is_left_and_again_it_says_so(home: Path) -> None:
    install(home)
    calls(home)
    schedule("remove", "--with", "systemd")
    assert units(home) == {}
    assert calls(home) == ["--user disable --now mhfd-rescore.timer", "--user daemon-reload"]
    assert schedule("remove", "--with", "systemd").stdout == "mhfd-rescore is not installed.\n"


@pytest.mark.parametrize(
    ("service", "result"),
    [
        ("ActiveState=inactive\nResult=success\nExecMainStatus=0\nExecMainExitTimestamp=Sun 02:03", "succeeded"),
        ("ActiveState=inactive\nResult=success\nExecMainStatus=3\nExecMainExitTimestamp=Sun 02:03", "exit code 3"),
        ("ActiveState=failed\nResult=exit-code\nExecMainStatus=77\nExecMainExitTimestamp=Sun 02:03", "exit code 77"),
        ("ActiveState=activating\nResult=success\nExecMainStatus=0\nExecMainExitTimestamp=", "running"),
        ("ActiveState=inactive\nResult=success\nExecMainStatus=0\nExecMainExitTimestamp=", "none yet"),
    ],
)
def test_show_tells_the_next_run_and_the_last_result(service: str, result: str, home: Path) -> None:
    timer = "LoadState=loaded\nActiveState=active\nNextElapseUSecRealtime=Mon 02:00\nLastTriggerUSec=Sun 02:00\n"
    (home / "mhfd-rescore.timer").write_text(timer)
    (home / "mhfd-rescore.service").write_text(service)
    lines = schedule("show", "--with", "systemd").stdout.splitlines()
    assert lines[:3] == ["mhfd-rescore: on", "next run: Mon 02:00", "last run: Sun 02:00"]
    assert result in lines[3]


def test_show_tells_that_there_is_none(home: Path) -> None:
    assert schedule("show", "--with", "systemd").stdout == "mhfd-rescore: not installed\n"


def test_without_systemd_it_says_what_to_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home / "nothing"))
    result = schedule("show", "--with", "systemd")
    assert result.exit_code == 69 and "--with globus" in result.stderr


def test_without_a_session_it_says_what_to_do(home: Path) -> None:
    (home / "bin" / "systemctl").write_text("#!/bin/sh\necho 'Failed to connect to bus: No medium found' >&2\nexit 1\n")
    result = schedule("install", home / "archive", "--with", "systemd")
    assert result.exit_code == 69 and "loginctl enable-linger" in result.stderr


@pytest.mark.parametrize("options", [["--name", "a/b"], ["--at", "25:00"], ["--every", "5h"], ["--consent", "x"]])
def test_a_wrong_option_is_refused_and_nothing_is_written(options: list[str], home: Path) -> None:
    result = schedule("install", home / "archive", "--with", "systemd", *options)
    assert result.exit_code == 2 and units(home) == {}


def test_a_folder_that_is_not_there_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    result = schedule("install", "archiv", "--with", "systemd")
    assert result.exit_code == 2 and "did you mean archive" in result.stderr


def test_the_unit_starts_a_command_of_ours(home: Path) -> None:
    install(home)
    line = next(each for each in units(home)["mhfd-rescore.service"].splitlines() if each.startswith("ExecStart="))
    program, *arguments = shlex.split(line.removeprefix("ExecStart="))
    assert program == sys.executable and arguments[:3] == ["-m", "mhfd_client", "rescore"]
