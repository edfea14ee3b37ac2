"""A log is one JSON object a line, a file a day, holds no secret, and never disturbs the program."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mhfd_client.logs import DailyFile, redact, start_logging, stop_logging

log = logging.getLogger("mhfd_client.part")
NOON = time.mktime((2026, 11, 23, 12, 0, 0, 0, 0, -1))
DAY_S = 86400


@pytest.fixture(autouse=True)
def _stop() -> Iterator[None]:
    yield
    stop_logging()


def today(folder: Path) -> Path:
    return max(folder.glob("mhfd-????-??-??.jsonl"))


def entries(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def messages(file: Path) -> list[str]:
    return [entry["message"] for entry in entries(file)]


def record(message: str, at_s: float = NOON) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": message, "created": at_s, "levelname": "INFO", "name": "mhfd"})


@pytest.fixture
def handler(tmp_path: Path) -> Iterator[DailyFile]:
    handler = DailyFile(tmp_path, retry_s=0.0)
    yield handler
    handler.close()


# --- What is written --------------------------------------------------------------------------------------------------


def test_an_entry_says_when_who_and_what(tmp_path: Path) -> None:
    start_logging(tmp_path / "new" / "logs")
    log.info("tile %d of %s", 3, "größer")
    entry = entries(today(tmp_path / "new" / "logs"))[-1]
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "level": "INFO", "logger": "mhfd_client.part", "message": "tile 3 of größer", "pid": os.getpid(),
        "thread": threading.current_thread().name,
    }  # fmt: skip


def test_it_begins_with_the_versions(tmp_path: Path) -> None:
    start_logging(tmp_path)
    assert messages(today(tmp_path))[0].startswith("mhfd 0.")


def test_a_traceback_is_a_field(tmp_path: Path) -> None:
    start_logging(tmp_path)
    try:
        raise ValueError("no such tile")
    except ValueError:
        log.exception("while scoring")
    entry = entries(today(tmp_path))[-1]
    assert entry["message"] == "while scoring" and "ValueError: no such tile" in entry["traceback"]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text())
def test_whatever_the_message_it_is_one_line_of_json(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("any")
    handler = DailyFile(folder)
    handler.handle(record("%s"))  # no arguments: the text itself
    handler.handle(logging.LogRecord("mhfd", logging.INFO, "", 0, text.replace("%", ""), None, None))
    handler.close()
    assert all(len(entries(file)) in (1, 2) for file in folder.glob("*.jsonl"))


def test_a_message_that_cannot_be_made_is_logged_as_such(handler: DailyFile, tmp_path: Path) -> None:
    handler.handle(logging.LogRecord("mhfd", logging.INFO, "", 0, "tile %d", ("three",), None))
    (entry,) = entries(today(tmp_path))
    assert entry["message"] == "this message cannot be written: 'tile %d'" and "TypeError" in entry["traceback"]


def test_both_packages_log_and_nobody_else(tmp_path: Path) -> None:
    start_logging(tmp_path)
    for name in ("mhfd.images", "mhfd_client.dispatch", "globus_sdk", "mhfdx"):
        logging.getLogger(name).error("here")
    assert [entry["logger"] for entry in entries(today(tmp_path))[1:]] == [
        "mhfd.images",
        "mhfd_client.dispatch",
    ]


def test_the_level_is_that_of_the_file(tmp_path: Path) -> None:
    start_logging(tmp_path, level="DEBUG")
    log.debug("fine detail")
    start_logging(tmp_path, level=logging.WARNING)
    log.info("not this")
    assert messages(today(tmp_path))[-1] == "fine detail"


def test_started_twice_it_writes_once(tmp_path: Path) -> None:
    start_logging(tmp_path)
    start_logging(tmp_path)
    log.info("once")
    assert messages(today(tmp_path)).count("once") == 1


def test_stopped_it_leaves_the_loggers_as_they_were(tmp_path: Path) -> None:
    hooks = sys.excepthook, threading.excepthook
    start_logging(tmp_path)
    stop_logging()
    for name in ("mhfd", "mhfd_client"):
        assert logging.getLogger(name).handlers == [] and logging.getLogger(name).level == logging.NOTSET
    assert (sys.excepthook, threading.excepthook) == hooks


def test_nothing_happens_on_import(tmp_path: Path) -> None:
    code = "import logging, mhfd_client.logs; print(logging.getLogger('mhfd_client').handlers, logging.root.handlers)"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout == "[] []\n" and not list(tmp_path.iterdir())


# --- The console ------------------------------------------------------------------------------------------------------


def test_the_console_gets_warnings_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(tmp_path)
    log.info("quiet")
    log.warning("offline since 12:03")
    assert capsys.readouterr().err == "Warning: offline since 12:03\n"


@pytest.mark.parametrize("stream", [None, io.StringIO()], ids=["none", "closed"])
def test_without_a_console_all_goes_on(
    stream: io.StringIO | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if stream is not None:
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    start_logging(tmp_path)
    log.warning("nobody sees this")
    assert messages(today(tmp_path))[-1] == "nobody sees this"


# --- Files ------------------------------------------------------------------------------------------------------------


def test_at_midnight_a_new_file_begins(handler: DailyFile, tmp_path: Path) -> None:
    for hours in (0, 11.9, 12.1, 36.1):
        handler.handle(record(f"+{hours}", NOON + hours * 3600))
    assert {file.name: messages(file) for file in tmp_path.glob("*.jsonl")} == {
        "mhfd-2026-11-23.jsonl": ["+0", "+11.9"],
        "mhfd-2026-11-24.jsonl": ["+12.1"],
        "mhfd-2026-11-25.jsonl": ["+36.1"],
    }


def test_a_restart_goes_on_with_the_file_of_the_day(tmp_path: Path) -> None:
    for message in ("before", "after"):
        start_logging(tmp_path)
        log.info(message)
        stop_logging()
    assert [text for text in messages(today(tmp_path)) if not text.startswith("mhfd")] == ["before", "after"]


def test_half_a_line_left_by_a_crash_spoils_only_itself(handler: DailyFile, tmp_path: Path) -> None:
    file = tmp_path / "mhfd-2026-11-23.jsonl"
    file.write_text('{"time": "2026-')
    handler.handle(record("next"))
    assert json.loads(file.read_text().splitlines()[1])["message"] == "next"


def test_old_files_go_and_nothing_else_does(tmp_path: Path) -> None:
    names = [f"mhfd-{date(2026, 11, 23) - timedelta(days=days)}.jsonl" for days in (1, 3, 4, 400)]
    others = ["mhfd-2020-01-01.jsonl.gz", "mhfd-2020-99-01.jsonl", "mhfd-notes.jsonl", "2020-01-01.jsonl"]
    for name in (*names, *others, "mhfd-2020-01-01-77.jsonl"):
        (tmp_path / name).touch()
    handler = DailyFile(tmp_path, days=3)
    handler.handle(record("today"))
    handler.close()
    left = {file.name for file in tmp_path.iterdir() if not file.name.startswith(".")}
    assert left == {"mhfd-2026-11-23.jsonl", *names[:2], *others}


def test_each_of_several_processes_has_a_file_of_its_own(tmp_path: Path) -> None:
    code = (
        "import logging, sys, pathlib; from mhfd_client.logs import start_logging\n"
        "start_logging(pathlib.Path(sys.argv[1]))\n"
        "for i in range(200): logging.getLogger('mhfd').info('line %d', i)\n"
        "print('done', flush=True); sys.stdin.read()"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    for child in children:
        assert child.stdout is not None and child.stdout.readline() == b"done" + os.linesep.encode()
    for child in children:
        child.communicate(b"", timeout=20)
    files = {file.name: messages(file) for file in tmp_path.glob("*.jsonl")}
    pids = [f"-{child.pid}" for child in children]
    assert len(files) == 3 and today(tmp_path).name in files
    assert sum(any(name.endswith(f"{pid}.jsonl") for pid in pids) for name in files) == 2
    assert all(lines[1:] == [f"line {i}" for i in range(200)] for lines in files.values())


def test_many_threads_write_whole_lines(tmp_path: Path) -> None:
    start_logging(tmp_path)
    threads = [
        threading.Thread(target=lambda n=number: [log.info("%d %d", n, i) for i in range(100)]) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {f"{number} {i}" for number in range(8) for i in range(100)}
    assert len(entries(today(tmp_path))) == 801 and set(messages(today(tmp_path))[1:]) == expected


# --- Trouble ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_on_a_full_disk_entries_are_dropped_and_told_once(
    handler: DailyFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mhfd-2026-11-23.jsonl"
    file.symlink_to("/dev/full")
    for number in range(5):
        handler.handle(record(f"lost {number}"))
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "No space left" in said
    file.unlink()  # space again
    handler.handle(record("back"))
    assert messages(file) == ["5 entries were dropped, since the log could not be written", "back"]


def test_a_folder_that_cannot_be_made_is_no_reason_to_stop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    start_logging(tmp_path / "file" / "logs")
    log.error("still running")
    assert "cannot be written" in capsys.readouterr().err


def test_what_could_not_be_written_is_left_alone_for_a_while(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.touch()
    handler = DailyFile(folder, retry_s=3600.0)
    handler.handle(record("lost"))
    folder.unlink()
    handler.handle(record("lost, too: the next try is in an hour"))
    handler.close()
    assert not folder.exists()


@pytest.mark.parametrize("thread", [False, True], ids=["program", "thread"])
def test_an_error_that_ends_it_is_in_the_file(thread: bool, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, threading; from mhfd_client.logs import start_logging\n"
        "start_logging(pathlib.Path(sys.argv[1]))\n"
        "def fail(): raise RuntimeError('out of tiles')\n"
        "t = threading.Thread(target=fail); t.start(); t.join()" if thread else
        "import sys, pathlib; from mhfd_client.logs import start_logging\n"
        "start_logging(pathlib.Path(sys.argv[1])); raise RuntimeError('out of tiles')"
    )  # fmt: skip
    result = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    entry = entries(today(tmp_path))[-1]
    assert entry["level"] == "CRITICAL" and "RuntimeError: out of tiles" in entry["traceback"]
    assert result.stderr.count("RuntimeError: out of tiles") == 1  # Python's own


# --- Secrets ----------------------------------------------------------------------------------------------------------

SECRET = "aB3dE6gH9kL2nP5q"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"{{'Authorization': 'Basic {SECRET}='}}",
        f'{{"access_token": "{SECRET}", "x": 1}}',
        f"{{'refresh_token': '{SECRET}'}}",
        f"client_secret={SECRET}&grant_type=refresh",
        f"GLOBUS_COMPUTE_CLIENT_SECRET={SECRET}",
        f"PGPASSWORD={SECRET} psql",
        f"password: {SECRET}",
        f"api_key = '{SECRET}'",
        f"X-Api-Key: {SECRET}",
        f"postgresql://anna:{SECRET}@db.example.org/mhfd",
        f"bearer {SECRET}",
        f"Ag{SECRET * 3}",
    ],
)
def test_a_secret_is_not_written(text: str, tmp_path: Path) -> None:
    start_logging(tmp_path)
    log.info("%s", text)
    try:
        raise RuntimeError(text)
    except RuntimeError:
        log.exception("failed")
    written = today(tmp_path).read_text()
    assert SECRET not in written and "***" in written


def test_a_web_token_is_not_written() -> None:
    assert redact(f"got {JWT} back") == "got *** back"


def test_the_secrets_of_the_environment_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOBUS_COMPUTE_CLIENT_SECRET", "correct horse battery")
    assert redact("refused: correct horse battery!") == "refused: ***!"


@pytest.mark.parametrize(
    "text",
    [
        "the token bucket lets 15 requests pass in 10 s",
        "postgresql://anna@db.example.org:5432/mhfd",
        "tile s0001_r0_c1.tif of 2026-11-23T12:00:00Z: out_of_focus",
        "5e7ad2a4-7a4c-4c0e-8a1c-3f6b1a2f0c11 is online",
        r"C:\tiles\secrets of the cell\a.tif",
        "the basic idea: smooth",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_a_record_may_have_keys_of_its_own_without_secrets(tmp_path: Path) -> None:
    start_logging(tmp_path)
    tile = {"name": "a\x1b.tif", "blur_px": 2.9, "lines": ["password=hunter2hunter2"]}
    log.warning("out of focus", extra={"on_screen": True, "fields": {"tile": tile}})
    entry = entries(today(tmp_path))[-1]
    assert (entry["message"], entry["tile"]["name"], entry["tile"]["blur_px"]) == ("out of focus", "a\x1b.tif", 2.9)
    assert entry["tile"]["lines"] == ["password=***"]
