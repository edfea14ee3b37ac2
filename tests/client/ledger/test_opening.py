"""Opening a ledger: all that may be wrong with it, and the messages."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ledger_connections import Connection
from mhfd.contract import FocusParams
from mhfd_client.ledger import (
    Ledger,
    LedgerBusyError,
    LedgerError,
    LedgerFormatError,
    LedgerFullError,
    LedgerGoneError,
    LedgerUnavailableError,
    Run,
    SeenFile,
    open_ledger,
)
from mhfd_client.ledger.database import Database
from mhfd_client.ledger.schema import MIGRATIONS, upgrade, version_of
from mhfd_client.ledger.sqlite import SQLiteDatabase
from postgres import Postgres

from .conftest import Ask

NEWER = (*MIGRATIONS, (("all", "ALTER TABLE run ADD COLUMN remark TEXT"),))


def see(ledger: Ledger, run: Run, path: str) -> None:
    ledger.see(run.run_id, [(SeenFile(path, 1, 1), None)], 1.0)


# --- Both databases -----------------------------------------------------------------------------------------------


def test_what_was_stored_is_there_after_opening_again(where: str) -> None:
    with open_ledger(where) as ledger:
        run = ledger.open_run("/data", FocusParams(n_scales=4), layout="auto", endpoint="dgx")
        see(ledger, run, "a.tif")
    with open_ledger(where, readonly=True) as ledger:
        assert ledger.find_run() == run
        assert [row.path for row in ledger.rows(run.run_id)] == ["a.tif"]


def test_an_older_ledger_is_upgraded(where: str, database: Database, ask: Ask) -> None:
    open_ledger(where).close()
    upgrade(database, NEWER)
    assert version_of(database, NEWER) == len(NEWER)
    assert ask("SELECT remark FROM run") == []


def test_an_upgrade_that_fails_changes_nothing(where: str, database: Database, ask: Ask) -> None:
    broken = (*NEWER, (("all", "ALTER TABLE nowhere ADD COLUMN x TEXT"),))
    open_ledger(where).close()
    with pytest.raises(Exception, match="nowhere"):
        upgrade(database, broken)
    assert version_of(database) == len(MIGRATIONS)
    upgrade(database, NEWER)  # the column is not there yet, and there is no transaction left open
    assert ask("SELECT remark FROM run") == []


def test_the_ledger_of_a_newer_mhfd_is_refused(where: str, database: Database) -> None:
    upgrade(database, NEWER)
    with pytest.raises(LedgerFormatError, match="was written by a newer mhfd"):
        open_ledger(where)


def test_several_may_open_a_new_ledger_at_once(where: str) -> None:
    opened: list[Ledger] = []
    threads = [threading.Thread(target=lambda: opened.append(open_ledger(where))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ledger in opened:
        ledger.close()
    assert len(opened) == 4


HOLDER = """
import sys
from mhfd_client.ledger import open_ledger
with open_ledger(sys.argv[1]) as ledger, ledger.lease(int(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lease_ends_with_its_process(ledger: Ledger, run: Run, where: str) -> None:
    command = [sys.executable, "-c", HOLDER, where, str(run.run_id)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LedgerBusyError, match=f"process {holder.pid} on"), ledger.lease(run.run_id):
            pass
        holder.kill()
        holder.wait()
    deadline = time.monotonic() + 20
    while not can_lease(ledger, run):  # PostgreSQL hears of a process's end a moment later
        assert time.monotonic() < deadline
        time.sleep(0.02)


def can_lease(ledger: Ledger, run: Run) -> bool:
    try:
        with ledger.lease(run.run_id):
            return True
    except LedgerBusyError:
        return False


# --- A file -------------------------------------------------------------------------------------------------------


def test_its_folder_is_made(tmp_path: Path) -> None:
    open_ledger(tmp_path / "a" / "b" / "ledger.db").close()
    assert (tmp_path / "a" / "b" / "ledger.db").is_file()


def test_a_reader_makes_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="there is no ledger"):
        open_ledger(tmp_path / "ledger.db", readonly=True)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_does_not_fill_an_empty_file(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "ledger.db").close()
    with pytest.raises(LedgerFormatError, match="is empty"):
        open_ledger(tmp_path / "ledger.db", readonly=True)
    assert (tmp_path / "ledger.db").stat().st_size == 0


def test_a_reader_brings_an_older_ledger_up_to_date(tmp_path: Path) -> None:
    with closing(SQLiteDatabase(tmp_path / "ledger.db")) as database:
        upgrade(database, MIGRATIONS[:1])
    with open_ledger(tmp_path / "ledger.db", readonly=True) as ledger:
        assert ledger.runs() == []
    with closing(SQLiteDatabase(tmp_path / "ledger.db", readonly=True)) as database:
        assert version_of(database) == len(MIGRATIONS)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("features,focus_score\n" * 100)
    with pytest.raises(LedgerFormatError, match="is not a ledger"):
        open_ledger(tmp_path / "ledger.db")


def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE songs (title TEXT)")
    other.close()
    with pytest.raises(LedgerFormatError, match="of another program, with tables such as 'songs'"):
        open_ledger(tmp_path / "other.db")


def test_a_damaged_ledger_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with open_ledger(path) as ledger:
        run = ledger.open_run("/data", FocusParams(), layout="auto", endpoint="local")
        for k in range(200):
            see(ledger, run, f"{k}.tif")
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\x5a" * (len(whole) - 4096))
    with pytest.raises(LedgerFormatError, match="is damaged"):
        open_ledger(path)


def test_a_name_with_all_that_a_url_means_something_by(tmp_path: Path) -> None:
    path = tmp_path / "a b#c?d%20ä.db"
    open_ledger(path).close()
    with open_ledger(path, readonly=True) as ledger:
        assert ledger.runs() == []


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_a_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(LedgerError, match="cannot be"):
        open_ledger(tmp_path / "ledger.db")


def test_a_full_disk_is_an_error_of_its_own_and_loses_nothing(
    tmp_path: Path, sound: Callable[[Path], None], connections: list[Connection]
) -> None:
    with open_ledger(tmp_path / "ledger.db") as ledger:
        run = ledger.open_run("/data", FocusParams(), layout="auto", endpoint="local")
        see(ledger, run, "first.tif")
        connections[0].fill()
        many = [(SeenFile(f"{k}.tif", 1, 1), None) for k in range(2000)]
        with pytest.raises(LedgerFullError, match="make room"):
            ledger.see(run.run_id, many, 2.0)
        assert [row.path for row in ledger.rows(run.run_id)] == ["first.tif"]
        connections[0].make_room(1_000_000)
        ledger.see(run.run_id, many, 3.0)
        assert ledger.summary(run.run_id).counts["seen"] == 2001
        sound(tmp_path / "ledger.db")


def test_a_ledger_that_somebody_keeps_locked_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mhfd_client.ledger.sqlite.BUSY_S", 0.05)
    busy = pytest.raises(LedgerBusyError, match="is being written by another process")
    where = tmp_path / "ledger.db"
    with open_ledger(where) as one, open_ledger(where) as other, one.transaction(), busy, other.transaction():
        pass


def test_every_commit_reaches_the_disk(tmp_path: Path, connections: list[Connection]) -> None:
    with open_ledger(tmp_path / "ledger.db"):
        (connection,) = connections
        assert connection.execute("PRAGMA synchronous").fetchall() == [(2,)]
        assert connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]


def test_an_old_sqlite_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    with pytest.raises(LedgerError, match="use a newer Python"):
        SQLiteDatabase(tmp_path / "ledger.db")


def test_another_kind_of_url_is_refused() -> None:
    with pytest.raises(LedgerError, match="mysql:// is not supported"):
        open_ledger("mysql://host/db")


def test_a_new_ledger_on_a_network_share_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mhfd_client.ledger.sqlite.share_below", lambda path: "nfs4")
    with pytest.raises(LedgerError, match=r"network share \(nfs4\)"):
        open_ledger(tmp_path / "ledger.db")
    assert not (tmp_path / "ledger.db").exists()


def test_a_ledger_that_exists_on_a_network_share_opens_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    open_ledger(tmp_path / "ledger.db").close()
    monkeypatch.setattr("mhfd_client.ledger.sqlite.share_below", lambda path: "virtiofs")
    with open_ledger(tmp_path / "ledger.db") as ledger:
        assert ledger.runs() == []
    (warning,) = caplog.messages
    assert "network share (virtiofs)" in warning


# --- A server -----------------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_out_of_reach(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(LedgerUnavailableError, match="is out of reach"):
        open_ledger(f"postgresql://mhfd@/postgres?host={tmp_path}")


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(LedgerUnavailableError) as caught:
        open_ledger("postgresql://mhfd:secret@127.0.0.1:1/postgres")
    assert "secret" not in str(caught.value)


def test_a_server_that_comes_back_is_used_again(postgres: Postgres) -> None:
    with open_ledger(postgres.without_schema("mhfd")) as ledger:
        run = ledger.open_run("/data", FocusParams(), layout="auto", endpoint="local")
        see(ledger, run, "a.tif")
        postgres.kill()
        with pytest.raises(LedgerUnavailableError):
            see(ledger, run, "b.tif")
        postgres.start()
        see(ledger, run, "b.tif")
        assert [row.path for row in ledger.rows(run.run_id)] == ["a.tif", "b.tif"]


def test_a_connection_lost_within_a_transaction_undoes_all_of_it(postgres: Postgres) -> None:
    with open_ledger(postgres.without_schema("mhfd")) as ledger:
        run = ledger.open_run("/data", FocusParams(), layout="auto", endpoint="local")
        with pytest.raises(LedgerUnavailableError), ledger.transaction():
            see(ledger, run, "a.tif")
            postgres.kill()
            postgres.start()
            see(ledger, run, "b.tif")
        assert list(ledger.rows(run.run_id)) == []


def test_a_lease_that_was_lost_with_the_server_is_taken_again(postgres: Postgres) -> None:
    where = postgres.without_schema("mhfd")
    with open_ledger(where) as ledger:
        run = ledger.open_run("/data", FocusParams(), layout="auto", endpoint="local")
        with ledger.lease(run.run_id):
            postgres.kill()
            postgres.start()
            with pytest.raises(LedgerUnavailableError):
                see(ledger, run, "a.tif")  # the first to notice
            ledger.heartbeat(run.run_id, {}, 1.0)
            with open_ledger(where) as other:
                assert not can_lease(other, run)


def test_a_lease_that_somebody_else_has_meanwhile_is_told(postgres: Postgres) -> None:
    where = postgres.without_schema("mhfd")
    with open_ledger(where) as ledger:
        run = ledger.open_run("/data", FocusParams(), layout="auto", endpoint="local")
        with ledger.lease(run.run_id):
            postgres.kill()
            postgres.start()
            with pytest.raises(LedgerUnavailableError):
                see(ledger, run, "a.tif")  # the first to notice
            with open_ledger(where) as other, other.lease(run.run_id), pytest.raises(LedgerBusyError):
                ledger.heartbeat(run.run_id, {}, 1.0)


# --- Whose it is, and whether it is still there --------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_a_new_ledger_and_its_companions_are_for_their_owner(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with open_ledger(tmp_path / "ledger.db") as ledger:
            run = ledger.open_run("/run", FocusParams(), layout="plain", endpoint="local")
            with ledger.lease(run.run_id):
                modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert {"ledger.db", "ledger.db-wal", "ledger.db.run1.lock"} <= modes.keys()
    assert set(modes.values()) == {0o600}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not let go of an open file")
@pytest.mark.parametrize("change", ["deleted", "renamed", "replaced"])
def test_a_heartbeat_notices_that_the_file_is_gone(tmp_path: Path, change: str) -> None:
    file = tmp_path / "ledger.db"
    with open_ledger(file) as ledger:
        run = ledger.open_run("/run", FocusParams(), layout="plain", endpoint="local")
        ledger.heartbeat(run.run_id, {}, 1.0)
        file.rename(tmp_path / "elsewhere.db")
        if change == "deleted":
            (tmp_path / "elsewhere.db").unlink()
        elif change == "replaced":
            file.touch()
        with pytest.raises(LedgerGoneError, match="deleted, renamed or replaced"):
            ledger.heartbeat(run.run_id, {}, 2.0)
