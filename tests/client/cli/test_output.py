"""What leaves the commands: odd names, consoles that cannot show them, files, standard output."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result

from hostile import NAMES
from mhfd.text import is_unicode, visible
from mhfd_client.cli import main, watch
from mhfd_client.cli.options import say
from mhfd_client.judge.alerts import Alert
from mhfd_client.logs import start_logging, stop_logging, warnings_on_screen
from mhfd_client.watch import Scanner
from phantoms import as_uint8, texture

ESCAPE = "\x1b]0;owned\x07\x1b[2J"
OBEYED = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")


def invoke(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def mhfd(*args: str | Path, **environ: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "mhfd_client", *map(str, args)]
    return subprocess.run(command, capture_output=True, env={**os.environ, **environ}, check=False)


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("tile") / "t.tif"
    tifffile.imwrite(file, as_uint8(texture((64, 64), np.random.default_rng(1))))
    return file.read_bytes()


@pytest.fixture
def odd(tmp_path: Path, tile: bytes) -> Path:
    """A folder of tiles with every name that a file can have."""
    folder = tmp_path / "odd"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        (folder / f"{number}{name.replace('/', '_')}.tif".replace("\ud800", "x")).write_bytes(tile)
    return folder


@pytest.fixture
def beyond(tmp_path: Path, tile: bytes) -> Path:
    """Two tiles, one with a name beyond the code page of western Europe."""
    (tmp_path / "beyond").mkdir()
    for name in ("a.tif", "切片.tif"):
        (tmp_path / "beyond" / name).write_bytes(tile)
    return tmp_path / "beyond"


def rows_of(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))


# --- Names ----------------------------------------------------------------------------------------------------------


@POSIX
def test_every_row_of_every_name_is_written_everywhere(odd: Path, tmp_path: Path) -> None:
    table, page = tmp_path / "out.csv", tmp_path / "out.html"
    done = mhfd("score", odd, "--csv", table, "--html", page, PYTHONIOENCODING="utf-8")
    assert done.returncode == 0, done.stderr
    names = {visible(path.name) for path in odd.iterdir()}
    screen = done.stdout.decode("utf-8")
    assert all(name in screen for name in names)
    assert not OBEYED.search(screen + done.stderr.decode())
    assert {row["path"].rpartition("/")[2] for row in rows_of(table)} == names
    assert page.read_text(encoding="utf-8").partition('<table id="tiles">')[2].count("<tr ") == len(names)


@POSIX
def test_json_of_every_name_is_valid_utf_8(odd: Path) -> None:
    done = mhfd("score", odd, "--json")
    paths = [each["path"] for each in json.loads(done.stdout.decode("utf-8"))]
    assert len(paths) == len(NAMES)
    assert all(is_unicode(path) for path in paths)
    assert any(path.endswith(r"M\xe9tal.tif.tif") for path in paths)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1"])
def test_what_the_console_cannot_show_is_replaced_and_files_are_written(
    beyond: Path, tmp_path: Path, encoding: str
) -> None:
    table = tmp_path / "out.csv"
    done = mhfd("score", beyond, "--csv", table, "--html", tmp_path / "out.html", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert rb"\u5207\u7247.tif" in done.stdout
    assert [Path(row["path"]).name for row in rows_of(table)] == ["a.tif", "切片.tif"]
    assert "切片.tif" in (tmp_path / "out.html").read_text(encoding="utf-8")


def test_messages_that_the_console_cannot_show_are_replaced() -> None:
    done = mhfd("status", "--ledger", "切片.db", PYTHONIOENCODING="cp1252")
    assert done.returncode == 78
    assert rb"\u5207\u7247.db" in done.stderr
    assert b"Traceback" not in done.stderr


@POSIX
def test_the_status_and_the_alerts_of_a_watch_are_shown_on_every_console(beyond: Path, tmp_path: Path) -> None:
    (beyond / "切.tif").write_text("no image")
    ledger, environ = tmp_path / "l.db", {"PYTHONIOENCODING": "cp1252", "MHFD_SETTLE_S": "0.1"}
    watched = mhfd("watch", beyond, "--once", "--ledger", ledger, **environ)
    assert watched.returncode == 3, watched.stderr
    for command in ("status", "export"):
        done = mhfd(command, "--ledger", ledger, **environ)
        assert done.returncode == 0, done.stderr
        assert "切片.tif" in done.stdout.decode("utf-8") or rb"\u5207" in done.stdout


# --- One function where a line is printed ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_line_is_one_line_and_only_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(f"failed: {name}")
    say(f"failed: {name}", err=True)
    for text in capsys.readouterr():
        assert text == f"failed: {visible(name)}\n"
        assert not OBEYED.search(text)


@pytest.mark.parametrize("name", NAMES)
def test_alerts_and_notices_of_a_watch_are_made_visible(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    watch._tell(name)
    for alert in (Alert(name, "out_of_focus", focus_score=2.0), Alert(name, "failed", message=name)):
        watch.announcer(quiet=False)(str(alert))
        watch.announcer(quiet=True)(str(alert))
    out, err = capsys.readouterr()
    assert not OBEYED.search(out + err)
    assert (out.count("\n"), err.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    "args",
    [
        [f"--{ESCAPE}"],
        [ESCAPE],
        ["score", "a.tif", f"--{ESCAPE}"],
        ["score", "a.tif", "--n-scales", ESCAPE],
        ["score", "a.tif", "--endpoint", ESCAPE],
        ["score", "a.tif", "--csv", f"/dev/null/{ESCAPE}"],
        ["status", "--config", ESCAPE],
        ["status", "--ledger", ESCAPE],
        ["export", "--since", ESCAPE],
        ["replay", ESCAPE, "--into", "x"],
        ["watch", ESCAPE],
        ["config", "validate", ESCAPE],
        ["recover", ESCAPE],
    ],
)
def test_errors_are_made_visible(args: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(*args)
    assert result.exit_code not in (0, 1)
    assert not OBEYED.search(result.output)
    assert r"\x1b" in result.stderr


def test_warnings_in_the_log_are_made_visible(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("mhfd_client.x", "somebody.elses"):
        with warnings_on_screen(), no_handlers(name):
            logging.getLogger(name).warning("%s: line\nfailed: %s", ESCAPE, "\u202e")
    start_logging(tmp_path)
    try:
        logging.getLogger("mhfd_client.x").warning("%s: line\nfailed: %s", ESCAPE, "\u202e")
    finally:
        stop_logging()
    err = capsys.readouterr().err
    assert err == (visible(f"Warning: {ESCAPE}: line\nfailed: \u202e") + "\n") * 3


@pytest.fixture(autouse=True)
def no_handlers_left() -> Iterator[None]:
    yield
    stop_logging()


class no_handlers:  # noqa: N801 - reads as a word
    """A logger as it is in a program that set nothing up."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def __enter__(self) -> None:
        self._logger.propagate = False

    def __exit__(self, *_: object) -> None:
        self._logger.propagate = True


def test_a_fault_of_ours_leaves_its_traceback_on_the_screen_where_no_log_has_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with warnings_on_screen(), no_handlers("mhfd_client.x"):
        try:
            raise KeyError(ESCAPE)
        except KeyError:
            logging.getLogger("mhfd_client.x").exception("step failed")
    err = capsys.readouterr().err
    assert err.startswith("Error: step failed\nTraceback (most recent call last):\n")
    assert not OBEYED.search(err)


# --- Errors once ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("logged", [True, False])
def test_an_error_of_a_watch_is_printed_once(logged: bool, tmp_path: Path) -> None:
    logs = ["--log-dir", tmp_path / "logs"] if logged else []
    done = mhfd("watch", tmp_path, "--once", "--endpoint", "nowhere", "--ledger", tmp_path / "l.db", *logs)
    assert done.returncode == 78
    assert done.stderr.decode().count("no endpoint named 'nowhere'") == 1
    if logged:
        (file,) = (tmp_path / "logs").glob("*.jsonl")
        assert file.read_text().count("no endpoint named 'nowhere'") == 1


# --- Files and standard output --------------------------------------------------------------------------------------


@pytest.fixture
def one(tmp_path: Path, tile: bytes) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "a.tif").write_bytes(tile)
    return tmp_path / "run"


def test_one_tile_is_one_tile(one: Path) -> None:
    assert invoke("score", one).stdout.splitlines()[-1].startswith("1 tile: ")


def test_a_missing_folder_of_the_table_is_made(one: Path, tmp_path: Path) -> None:
    table, page = tmp_path / "new" / "folder" / "out.csv", tmp_path / "other" / "out.html"
    assert invoke("score", one, "--csv", table, "--html", page).exit_code == 0
    assert len(rows_of(table)) == 1
    assert page.is_file()


@pytest.mark.parametrize("flag", ["--csv", "--html"])
def test_a_target_that_cannot_be_written_is_found_before_scoring(
    one: Path, tmp_path: Path, flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mhfd.iter_scores", lambda *_, **__: pytest.fail("it was scored"))
    (tmp_path / "file").touch()
    result = invoke("score", one, flag, tmp_path / "file" / "out")
    assert (result.exit_code, result.stdout) == (75, "")


def test_a_dash_is_standard_output_for_the_table(one: Path) -> None:
    result = invoke("score", one, "--csv", "-")
    assert [row["verdict"] for row in csv.DictReader(io.StringIO(result.stdout))] == ["cannot_tell"]
    assert not Path("-").exists()


def test_a_dash_is_standard_output_for_the_report(one: Path) -> None:
    assert invoke("score", one, "--html", "-").stdout.startswith("<!DOCTYPE html>")


def test_the_table_on_standard_output_and_the_report_in_a_file(one: Path, tmp_path: Path) -> None:
    result = invoke("score", one, "--csv", "-", "--html", tmp_path / "out.html")
    assert result.stdout.startswith("path,")
    assert (tmp_path / "out.html").is_file()


@pytest.mark.parametrize(
    "args",
    [["--json", "--csv", "-"], ["--json", "--html", "-"], ["--csv", "-", "--html", "-"], ["--csv", "x", "--html", "x"]],
)
def test_two_outputs_do_not_mix(one: Path, args: list[str]) -> None:
    result = invoke("score", one, *args)
    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.skipif(sys.platform == "win32", reason="pty")
@pytest.mark.parametrize("args", [["export", "--format", "parquet"], ["score", "a.tif", "--html", "-"]])
def test_what_is_not_for_a_terminal_is_refused_there(args: list[str], tmp_path: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    try:
        command = [sys.executable, "-m", "mhfd_client", *args]
        done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(theirs)
        os.close(ours)
    assert done.returncode == 2
    assert b"terminal: name a file" in done.stderr


def test_a_table_is_written_although_nobody_reads_the_screen(one: Path, tmp_path: Path) -> None:
    table = tmp_path / "out.csv"
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [sys.executable, "-m", "mhfd_client", "score", str(one), "--csv", str(table)]
        subprocess.run(command, stdout=writer, stderr=subprocess.DEVNULL, check=False)
    finally:
        os.close(writer)
    assert len(rows_of(table)) == 1


def test_an_export_makes_its_folder_and_leaves_nothing_else(one: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "l.db"
    assert mhfd("watch", one, "--once", "--ledger", ledger, MHFD_SETTLE_S="0.1").returncode == 0
    out = tmp_path / "new" / "t.csv"
    assert invoke("export", "--ledger", ledger, "--out", out).stderr == f"1 tile in {out}\n"
    assert list((tmp_path / "new").iterdir()) == [out]


# --- A watch that leaves something out ------------------------------------------------------------------------------


@POSIX
def test_a_watch_that_leaves_out_a_name_ends_with_3(one: Path, tmp_path: Path, tile: bytes) -> None:
    (one / os.fsdecode(b"M\xe9tal.tif")).write_bytes(tile)
    done = mhfd("watch", one, "--once", "--ledger", tmp_path / "l.db", MHFD_SETTLE_S="0.1")
    assert done.returncode == 3
    assert done.stderr.decode().splitlines()[-1] == "1 tile scored, 1 left out"
    assert done.stderr.count(rb"M\\xe9tal.tif") == 1


def test_a_watch_that_cannot_list_a_folder_ends_with_3(
    one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one / "closed").mkdir()
    listed = Scanner._list

    def closed(self: Scanner, path: str, *args: object) -> object:
        if path == "closed":
            raise PermissionError(13, "Permission denied")
        return listed(self, path, *args)

    monkeypatch.setattr(Scanner, "_list", closed)
    monkeypatch.setenv("MHFD_SETTLE_S", "0.1")
    result = invoke("watch", one, "--once", "--ledger", tmp_path / "l.db")
    assert result.exit_code == 3
    assert result.stderr.count(f"{one / 'closed'} cannot be listed: Permission denied") == 1
    assert result.stderr.splitlines()[-1] == "1 tile scored, 1 left out"


@POSIX
def test_a_folder_whose_name_no_ledger_can_hold_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"Mess\xe9")
    folder.mkdir()
    done = mhfd("watch", folder, "--once", "--ledger", tmp_path / "l.db")
    assert done.returncode == 2
    assert rb"Mess\xe9: a name that is not UTF-8 fits in no ledger" in done.stderr
