"""`mhfd schedule --with windows`: a task as schtasks wants it; stand-ins note what Windows' programs are asked."""

from __future__ import annotations

import os
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mhfd_client.cli import main
from mhfd_client.schedule.protocol import Schedule
from mhfd_client.schedule.when import When
from mhfd_client.schedule.windows import WindowsScheduler

NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"
# MS-TSCH 2.5: the elements of a sequence come in this order.
ORDER = {
    "Task": ["RegistrationInfo", "Triggers", "Principals", "Settings", "Actions"],
    "CalendarTrigger": ["Repetition", "StartBoundary", "Enabled", "ScheduleByDay", "ScheduleByWeek"],
    "Repetition": ["Interval", "Duration", "StopAtDurationEnd"],
    "ScheduleByWeek": ["DaysOfWeek", "WeeksInterval"],
    "Principal": ["UserId", "LogonType", "RunLevel"],
    "Exec": ["Command", "Arguments"],
}
STAND_INS = {
    "schtasks": '#!/bin/sh\necho "$*" >>"$CALLS"\n[ "$4" = /XML ] && cp "$5" "$ANSWERS/task.xml"\nexit 0\n',
    "powershell": '#!/bin/sh\ncat "$ANSWERS/info" 2>/dev/null\nexit 0\n',
}


def task(every: str, at: str, *runs: str) -> ET.Element:
    text = WindowsScheduler().task(Schedule(runs or ("D:\\data\\run",), When.parse(every, at)))
    return ET.fromstring(text.replace(f' xmlns="{NAMESPACE}"', ""))


@pytest.mark.parametrize(("every", "at"), [("1h", "00:10"), ("6h", "07:30"), ("1d", "02:00"), ("7d", "Sun 02:00")])
def test_the_elements_come_in_the_order_of_the_schema(every: str, at: str) -> None:
    for element in task(every, at).iter():
        order = ORDER.get(element.tag)
        if order:
            tags = [each.tag for each in element]
            assert tags == [tag for tag in order if tag in tags]


@pytest.mark.parametrize(
    ("every", "at", "start", "interval"),
    [("6h", "07:30", "T01:30:00", "PT6H"), ("1d", "02:00", "T02:00:00", None), ("7d", "Sun 02:00", "T02:00:00", None)],
)
def test_the_times_are_those_asked_for(every: str, at: str, start: str, interval: str | None) -> None:
    trigger = task(every, at).find("Triggers/CalendarTrigger")
    assert trigger is not None
    assert trigger.findtext("StartBoundary", "").endswith(start)
    assert trigger.findtext("Repetition/Interval") == interval
    assert (trigger.find("ScheduleByWeek/DaysOfWeek/Sunday") is not None) == (every == "7d")


def test_one_that_is_at_work_is_left_alone_and_a_missed_time_made_up_for() -> None:
    settings = task("1d", "02:00").find("Settings")
    assert settings is not None
    assert settings.findtext("MultipleInstancesPolicy") == "IgnoreNew"
    assert settings.findtext("StartWhenAvailable") == "true"
    assert settings.findtext("ExecutionTimeLimit") == "PT0S"


def test_names_of_folders_are_arguments_and_not_xml() -> None:
    said = task("1d", "02:00", "D:\\a & b\\<x>", "D:\\ends with\\").findtext("Actions/Exec/Arguments", "")
    assert '"D:\\a & b\\<x>"' in said and '"D:\\ends with\\\\"' in said
    assert said.endswith(" --changed-only")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if sys.platform == "win32":
        pytest.skip("the stand-ins are shell scripts")
    (tmp_path / "archive").mkdir()
    for name, text in STAND_INS.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("ANSWERS", str(tmp_path))
    return tmp_path


def schedule(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, ["schedule", arguments[0], "--with", "windows", *map(str, arguments[1:])])
    assert result.exit_code == 0, result.output
    return result


def test_it_is_registered_or_replaced_from_a_file_in_utf_16(home: Path) -> None:
    assert "every day at 02:00" in schedule("install", home / "archive").stdout
    (call,) = (home / "calls").read_text().splitlines()
    assert call.startswith("/Create /TN mhfd-rescore /XML ") and call.endswith(" /F")
    raw = (home / "task.xml").read_bytes()
    assert raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    assert ET.fromstring(raw.decode("utf-16")).tag == f"{{{NAMESPACE}}}Task"


def test_a_dry_run_registers_nothing(home: Path) -> None:
    assert "<Task" in schedule("install", home / "archive", "--dry-run").stdout
    assert not (home / "calls").exists()


@pytest.mark.parametrize(
    ("info", "lines"),
    [
        ("", ["mhfd-rescore: not installed"]),
        (
            '{"next": "11/29 02:00", "last": "11/28 02:00", "result": 0, "state": "Ready"}',
            ["mhfd-rescore: on", "next run: 11/29 02:00", "last run: 11/28 02:00", "last result: succeeded"],
        ),
        (
            '{"next": "", "last": "", "result": 267011, "state": "Disabled"}',
            ["mhfd-rescore: off", "next run: none", "last run: none yet", "last result: none yet"],
        ),
        (
            '{"next": "x", "last": "y", "result": 77, "state": "Ready"}',
            ["mhfd-rescore: on", "next run: x", "last run: y", "last result: exit code 77"],
        ),
    ],
)  # fmt: skip
def test_show_tells_the_next_run_and_the_last_result(info: str, lines: list[str], home: Path) -> None:
    (home / "info").write_text(info)
    assert schedule("show").stdout.splitlines() == lines


def test_an_answer_that_is_no_json_is_an_error_and_not_a_crash(home: Path) -> None:
    (home / "info").write_text("Windows is updating")
    result = CliRunner().invoke(main, ["schedule", "show", "--with", "windows"])
    assert result.exit_code == 69 and "cannot be read" in result.stderr


def test_removed_it_is_deleted_and_without_it_nothing_is(home: Path) -> None:
    assert schedule("remove").stdout == "mhfd-rescore is not installed.\n"
    (home / "info").write_text('{"next": "x", "last": "y", "result": 0, "state": "Ready"}')
    schedule("remove")
    assert (home / "calls").read_text() == "/Delete /TN mhfd-rescore /F\n"
