"""A ledger's backup, made while it is written, and its way back.

A file is copied with SQLite's online backup, in one read transaction: writers go on, and the copy is of one moment.
Of a ledger in PostgreSQL pg_dump makes a file (postgres_dump.py).
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from os import link
from pathlib import Path
from shutil import copy2

from mhfd_client.files.whole import written
from mhfd_client.ledger import LedgerBusyError, LedgerError, LedgerFormatError
from mhfd_client.ledger.schema import version_of
from mhfd_client.ledger.sqlite import BUSY_S, OWNER_ONLY, SQLiteDatabase, lease_of
from mhfd_client.upkeep import postgres_dump

COMPANIONS = ("-wal", "-shm", "-journal")


@dataclass(frozen=True)
class Copied:
    """What was copied: version of the tables, runs, tiles, and bytes of the file."""

    tables_version: int
    runs: int
    tiles: int
    size: int


@dataclass(frozen=True)
class Restored:
    """What is in the ledger now, and where the one before is kept; None if there was none."""

    copied: Copied
    kept: str | None


def back_up(where: str, target: Path) -> Copied:
    """Copy a ledger to a file, which appears when it is complete and sound; a watch may go on meanwhile.

    Raises
    ------
    LedgerError
        The ledger cannot be read, or the copy is not sound; or the file is there already and no backup.
    OSError
        The file cannot be written.
    """
    if "://" in where:
        with _written_backup(target, postgres_dump.is_dump) as part:
            postgres_dump.dump(where, part)
            return Copied(*postgres_dump.contents(part), part.stat().st_size)
    source = Path(where).expanduser().absolute()
    if target.exists() and target.samefile(source):
        raise LedgerError(f"{target} is the ledger itself; name another file for the backup")
    with _written_backup(target, _is_ledger) as part:
        return _copied(source, part)


def restore(source: Path, where: str) -> Restored:
    """Put a backup in the place of a ledger; the ledger before is kept beside it.

    Raises
    ------
    LedgerBusyError
        A watch, a page or another program uses the ledger.
    LedgerError
        The backup is damaged, of another program, or of a newer mhfd. The ledger is then as it was.
    OSError
        A file cannot be written.
    """
    if not source.is_file():
        raise LedgerError(f"{source} is no file; name a backup that `mhfd ledger backup` wrote")
    if "://" in where:
        contents = postgres_dump.contents(source)
        return Restored(Copied(*contents, source.stat().st_size), postgres_dump.restore(source, where))
    target = Path(where).expanduser().absolute()
    if target.exists() and target.samefile(source):
        raise LedgerError(f"{source} is the ledger itself; name a backup of it")
    with _unused(target), written(target) as file:
        copied = _copied(source, Path(file.name))
        kept = _kept(target) if target.exists() else None
    return Restored(copied, None if kept is None else str(kept))


@contextmanager
def _written_backup(target: Path, is_backup: Callable[[Path], bool]) -> Generator[Path, None, None]:
    """The path of a file that becomes `target`; what is there already must be a backup, not a tile."""
    if target.exists() and (not is_backup(target) or _beside(target, "-wal").exists()):
        raise LedgerError(f"{target} exists and is no backup of a ledger; name a new file")
    with written(target) as file:
        yield Path(file.name)


def _is_ledger(path: Path) -> bool:
    try:
        with closing(SQLiteDatabase(path, readonly=True)) as database:
            return version_of(database) > 0
    except LedgerError:
        return False


def _copied(source: Path, part: Path) -> Copied:
    """Copy the database `source` into the empty file `part`, and check the copy."""
    part.chmod(OWNER_ONLY)
    with closing(SQLiteDatabase(source, readonly=True)) as database:
        database.copy_to(part)
    with closing(SQLiteDatabase(part, readonly=True)) as copy:
        problems = [str(line) for (line,) in copy.execute("PRAGMA integrity_check(3)")]
        if problems != ["ok"]:
            raise LedgerFormatError(
                f"{source} is damaged ({'; '.join(problems)}); use an earlier backup, or save what can be read with "
                "`sqlite3 OLD .recover | sqlite3 NEW`"
            )
        version = version_of(copy)
        if not version:
            raise LedgerFormatError(f"{source} has no ledger in it")
        ((runs,),) = copy.execute("SELECT COUNT(*) FROM run")
        ((tiles,),) = copy.execute("SELECT COALESCE(SUM(n), 0) FROM counter")
    return Copied(version, int(runs), int(tiles), part.stat().st_size)


@contextmanager
def _unused(path: Path) -> Generator[None, None, None]:
    """Hold the rights to all runs of a ledger, so that no watch begins; its write-ahead log is taken into it.

    Raises
    ------
    LedgerBusyError
        A watch runs, or another program has the ledger open.
    """
    with ExitStack() as held:
        for run_id in sorted(_run_ids(path)):
            lease = lease_of(path, run_id)
            if lease is None:
                raise LedgerBusyError(f"a watch of run {run_id} uses the ledger {path}; end it first")
            held.callback(lease.release)
        if path.exists():
            _take_in_log(path)
        yield


def _run_ids(path: Path) -> set[int]:
    """Of all runs; of a damaged ledger those that are watched, which each have a lock beside it."""
    locks = re.compile(rf"{re.escape(path.name)}\.run(\d+)\.lock")
    names = (each.name for each in path.parent.iterdir()) if path.parent.is_dir() else iter(())
    found = {int(name[1]) for name in map(locks.fullmatch, names) if name is not None}
    if path.exists():
        with suppress(LedgerError), closing(SQLiteDatabase(path, readonly=True)) as database:
            if version_of(database):
                found |= {int(run_id) for (run_id,) in database.execute("SELECT run_id FROM run")}
    return found


def _take_in_log(path: Path) -> None:
    """Leave one file of the three; SQLite does so only where nobody else has it open."""
    with closing(sqlite3.connect(path, timeout=BUSY_S / 5)) as connection:
        try:
            connection.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.DatabaseError as error:
            if "locked" in str(error) or "busy" in str(error):
                raise LedgerBusyError(
                    f"another program has the ledger {path} open, a page or `mhfd status --follow`, say; end it first"
                ) from error
            return  # a damaged one is kept with its log


def _kept(path: Path) -> Path:
    """Keep a ledger and its log under another name; what is left of it at its place is the file that is replaced."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    names = [path.with_name(f"{path.stem}-before-{stamp}{f'-{n}' if n else ''}{path.suffix}") for n in range(100)]
    kept = next(each for each in names if not each.exists())
    _keep(path, kept)
    for end in COMPANIONS:
        if (companion := _beside(path, end)).exists():
            _keep(companion, _beside(kept, end))
            companion.unlink()  # a log that stayed would be taken for that of the new file
    return kept


def _keep(path: Path, kept: Path) -> None:
    try:
        link(path, kept)
    except OSError:  # a disk without hard links
        copy2(path, kept)


def _beside(path: Path, end: str) -> Path:
    return path.with_name(f"{path.name}{end}")
