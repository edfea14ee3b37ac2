"""A backup is of one moment while the ledger is written; a restore takes it back, and loses nothing."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mhfd.contract import FocusParams
from mhfd_client.cli import main
from mhfd_client.ledger import LedgerBusyError, LedgerError, LedgerFormatError, SeenFile, open_ledger
from mhfd_client.ledger.schema import MIGRATIONS
from mhfd_client.upkeep.backup import back_up, restore

AT_ONCE = 7  # files of one transaction


def filled(where: str, files: int = AT_ONCE) -> int:
    with open_ledger(where) as ledger:
        run = ledger.open_run("/data/run", FocusParams(), layout="auto", endpoint="local", now=1.0)
        ledger.see(run.run_id, [(SeenFile(f"{k}.tif", 10, 1), None) for k in range(files)], 2.0)
        return run.run_id


def tiles(where: str) -> int:
    with open_ledger(where, readonly=True) as ledger:
        return len(list(ledger.rows(ledger.find_run().run_id)))


def test_what_was_backed_up_comes_back_and_the_ledger_before_is_kept(where: str, tmp_path: Path) -> None:
    filled(where)
    copied = back_up(where, tmp_path / "b.backup")
    assert (copied.tables_version, copied.runs, copied.tiles) == (len(MIGRATIONS), 1, AT_ONCE)
    filled(where, 2 * AT_ONCE)
    done = restore(tmp_path / "b.backup", where)
    assert done.copied == copied
    assert tiles(where) == AT_ONCE
    if "://" not in where:
        assert done.kept is not None
        assert tiles(done.kept) == 2 * AT_ONCE
        assert sorted(each.name for each in tmp_path.iterdir() if each.suffix != ".lock") == sorted(
            ["b.backup", "ledger.db", Path(done.kept).name]
        )
    filled(where, 3 * AT_ONCE)  # it can be written
    assert tiles(where) == 3 * AT_ONCE


def test_a_postgresql_ledger_keeps_the_one_before_as_a_schema(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    import psycopg

    where = request.getfixturevalue("postgres").without_schema("mhfd")
    filled(where)
    back_up(where, tmp_path / "b.dump")
    filled(where, 2 * AT_ONCE)
    kept = restore(tmp_path / "b.dump", where).kept
    with psycopg.connect(where) as server:
        assert server.execute(f"SELECT COUNT(*) FROM {kept}.tile").fetchone() == (2 * AT_ONCE,)
        server.execute(f"DROP SCHEMA {kept} CASCADE")


def test_a_backup_made_while_a_watch_writes_is_of_one_moment(where: str, tmp_path: Path) -> None:
    """A writer adds AT_ONCE tiles a transaction; so a consistent copy has a multiple of that, and it grows."""
    run_id = filled(where)
    stop, written = threading.Event(), threading.Semaphore(0)

    def write() -> None:
        with open_ledger(where) as ledger, ledger.lease(run_id):
            for turn in range(100_000):
                if stop.is_set():
                    return
                ledger.see(run_id, [(SeenFile(f"t{turn}-{k}.tif", 10, 1), None) for k in range(AT_ONCE)], 3.0)
                written.release()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        found = []
        for _ in range(3):
            assert written.acquire(timeout=30)
            found.append(back_up(where, tmp_path / "b.backup").tiles)
    finally:
        stop.set()
        writer.join()
    assert all(each % AT_ONCE == 0 for each in found)
    assert found == sorted(found) and found[0] > AT_ONCE
    restore(tmp_path / "b.backup", where)
    assert tiles(where) == found[-1]


def test_restoring_is_refused_while_a_watch_runs(where: str, tmp_path: Path) -> None:
    run_id = filled(where)
    back_up(where, tmp_path / "b.backup")
    filled(where, 2 * AT_ONCE)
    with open_ledger(where) as ledger, ledger.lease(run_id), pytest.raises(LedgerBusyError, match="watch of run 1"):
        restore(tmp_path / "b.backup", where)
    assert tiles(where) == 2 * AT_ONCE
    kept = {restore(tmp_path / "b.backup", where).kept for _ in range(3)}  # now it ended
    assert len(kept) == 3  # names of one second


def test_restoring_is_refused_while_somebody_reads_the_file(tmp_path: Path) -> None:
    where = str(tmp_path / "ledger.db")
    filled(where)
    back_up(where, tmp_path / "b.db")
    with open_ledger(where, readonly=True) as ledger:
        ledger.runs()
        with pytest.raises(LedgerBusyError, match="another program"):
            restore(tmp_path / "b.db", where)
    assert tiles(where) == AT_ONCE


def test_a_ledger_that_is_gone_or_damaged_is_replaced(tmp_path: Path) -> None:
    where = tmp_path / "ledger.db"
    filled(str(where))
    back_up(str(where), tmp_path / "b.db")
    where.unlink()
    assert restore(tmp_path / "b.db", str(where)).kept is None
    where.write_bytes(b"damaged" * 1000)
    kept = restore(tmp_path / "b.db", str(where)).kept
    assert kept is not None and Path(kept).read_bytes() == b"damaged" * 1000
    assert tiles(str(where)) == AT_ONCE


def damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 8] = b"\xff" * (4096 * 5)
    path.write_bytes(bytes(content))


def of_a_newer_mhfd(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.execute("UPDATE schema_version SET version = version + 1")
        file.commit()


def of_another_program(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE song (name TEXT)")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize("spoil", [damaged, of_a_newer_mhfd, of_another_program, cut])
def test_a_backup_that_is_not_sound_leaves_the_ledger_as_it_was(spoil: object, tmp_path: Path) -> None:
    where, backup = str(tmp_path / "ledger.db"), tmp_path / "b.db"
    filled(where, 500)
    back_up(where, backup)
    assert callable(spoil)
    spoil(backup)
    with pytest.raises(LedgerFormatError):
        restore(backup, where)
    assert tiles(where) == 500
    assert not list(tmp_path.glob("*before*"))


def test_a_dump_of_something_else_is_refused(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    where = request.getfixturevalue("postgres").without_schema("mhfd")
    filled(where)
    (tmp_path / "b.dump").write_bytes(b"no dump")
    with pytest.raises(LedgerFormatError, match="no dump of a ledger"):
        restore(tmp_path / "b.dump", where)
    (tmp_path / "b.dump").write_bytes(b"PGDMP and then nothing")
    with pytest.raises(LedgerError, match="pg_restore failed"):
        restore(tmp_path / "b.dump", where)
    assert tiles(where) == AT_ONCE


def test_without_the_programs_of_postgresql_it_says_where_they_are_had(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = request.getfixturevalue("postgres").without_schema("mhfd")
    filled(where)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LedgerError, match="postgresql-client"):
        back_up(where, tmp_path / "b.dump")
    assert not list(tmp_path.iterdir())


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["ledger", *map(str, arguments)])


def test_the_commands_say_what_was_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_CONFIG", str(tmp_path / "config.toml"))
    (tmp_path / "config.toml").touch()
    monkeypatch.setenv("MHFD_LEDGER", str(tmp_path / "ledger.db"))
    filled(str(tmp_path / "ledger.db"))
    done = invoke("backup", tmp_path / "b.db")
    assert done.exit_code == 0 and "1 run, 7 tiles" in done.stdout
    assert invoke("backup", tmp_path / "b.db").exit_code == 0  # the same name again
    done = invoke("restore", tmp_path / "b.db")
    assert done.exit_code == 0 and f"before is kept as {tmp_path}" in done.stdout


def test_no_file_but_a_backup_is_overwritten(tmp_path: Path) -> None:
    where, tile = str(tmp_path / "ledger.db"), tmp_path / "s0001_r0_c1.tif"
    filled(where)
    tile.write_bytes(b"II*\0 pixels")
    with pytest.raises(LedgerError, match="no backup"):
        back_up(where, tile)
    with pytest.raises(LedgerError, match="the ledger itself"):
        back_up(where, tmp_path / "ledger.db")
    with pytest.raises(LedgerError, match="no file"):
        restore(tmp_path / "none.db", where)
    assert tile.read_bytes() == b"II*\0 pixels"


def test_a_backup_is_for_its_owner(tmp_path: Path) -> None:
    filled(str(tmp_path / "ledger.db"))
    back_up(str(tmp_path / "ledger.db"), tmp_path / "b.db")
    assert (tmp_path / "b.db").stat().st_mode & 0o077 == 0
