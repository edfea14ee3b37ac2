"""The ledger in a file. Write-ahead log, synchronised with the disk at every commit: a commit is final."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

from filelock import BaseFileLock, FileLock, Timeout

from mhfd_client.files.shares import share_below
from mhfd_client.ledger.database import Database, Lease, Record
from mhfd_client.ledger.model import (
    LedgerBusyError,
    LedgerError,
    LedgerFormatError,
    LedgerFullError,
    LedgerGoneError,
    LedgerUnavailableError,
)

log = logging.getLogger(__name__)

LEAST_SQLITE = (3, 37, 0)  # the first with STRICT tables
BUSY_S = 10.0
OWNER_ONLY = 0o600  # of a file that is made; SQLite gives its companions the same
LISTS = {"@ids": "(SELECT value FROM json_each(?))", "@texts": "(SELECT value FROM json_each(?))"}


class SQLiteDatabase:
    """A connection to a file, which is made where it is missing, unless `readonly`."""

    kind: Literal["sqlite"] = "sqlite"

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self.path = path.expanduser().absolute()
        self.name = f"the ledger {self.path}"
        self.readonly = readonly
        self._check()
        with self._told():
            mode = "ro" if readonly else "rwc"
            uri = f"{self.path.as_uri()}?mode={mode}"
            self._connection = sqlite3.connect(
                uri, timeout=BUSY_S, isolation_level=None, check_same_thread=False, uri=True
            )
        try:
            with self._told():
                if not readonly and self._connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
                    self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
                self._connection.execute("PRAGMA foreign_keys = ON")
            self._identity = _identity(self.path)
        except BaseException:
            self._connection.close()
            raise

    def _check(self) -> None:
        if sqlite3.sqlite_version_info < LEAST_SQLITE:
            least = ".".join(map(str, LEAST_SQLITE))
            raise LedgerError(
                f"the ledger needs SQLite {least}, and this Python has {sqlite3.sqlite_version}; use a newer Python"
            )
        if share := share_below(self.path):
            danger = f"on a network share ({share}), where SQLite can damage its files"
            remedy = "give a file on a disk of this machine with --ledger, or a postgresql:// URL"
            if not self.path.exists():
                raise LedgerError(f"{self.name} would lie {danger}; {remedy}")
            _warn_once(f"{self.name} lies {danger}: copy it to a disk of this machine, and {remedy}")
        if self.readonly and not self.path.exists():
            raise LedgerError(f"there is no ledger {self.path} yet; `mhfd watch` makes it, --ledger names another")
        if not self.readonly:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise LedgerError(f"the folder of {self.name} cannot be made: {error}") from error
            with suppress(OSError):  # it exists, or cannot be made, which SQLite will say
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, OWNER_ONLY))

    @contextmanager
    def _told(self) -> Generator[None, None, None]:
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError):  # our own faults
            raise
        except sqlite3.DatabaseError as error:
            raise _meant(error, self.name) from error

    def begin(self, level: int) -> None:
        self._run(f"SAVEPOINT level{level}" if level else "BEGIN IMMEDIATE")

    def commit(self, level: int) -> None:
        self._run(f"RELEASE level{level}" if level else "COMMIT")

    def rollback(self, level: int) -> None:
        if self._connection.in_transaction:  # a full disk has ended it already
            self._run(f"ROLLBACK TO level{level}" if level else "ROLLBACK")
            if level:
                self._run(f"RELEASE level{level}")

    def _run(self, sql: str) -> None:
        with self._told():
            self._connection.execute(sql)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Record]:
        with self._told():
            return self._connection.execute(_in_sqlite(sql), values).fetchall()

    def many(self, sql: str, values: Iterable[Sequence[Any]]) -> None:
        with self._told():
            self._connection.executemany(_in_sqlite(sql), values)

    def define(self, sql: str) -> None:
        self._run(sql)

    def tables(self) -> list[str]:
        return [name for (name,) in self.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]

    @contextmanager
    def snapshot(self) -> Iterator[Database]:
        reader = SQLiteDatabase(self.path, readonly=True)
        try:
            reader._run("BEGIN")
            yield reader
        finally:
            reader.close()

    def copy_to(self, path: Path) -> None:
        """Copy the database, as of one moment, into an empty file, which needs no companions then.

        In one step: a copy in parts would begin anew whenever another process writes. With a write-ahead log, writers
        do not wait for it.
        """
        with self._told(), closing(sqlite3.connect(path)) as target:
            self._connection.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")

    def lease(self, run_id: int) -> Lease | None:
        return lease_of(self.path, run_id)

    def check(self) -> None:
        if _identity(self.path) != self._identity:
            raise LedgerGoneError(
                f"{self.name} was deleted, renamed or replaced while it was open; put it back and start the watch "
                "again; without it every tile is scored anew"
            )

    def close(self) -> None:
        self._connection.close()


def lease_of(path: Path, run_id: int) -> Lease | None:
    """The exclusive right to a run of the ledger in this file; None if another process has it."""
    lock = FileLock(f"{path}.run{run_id}.lock", timeout=0, thread_local=False, mode=OWNER_ONLY)
    try:
        lock.acquire()
    except Timeout:
        return None
    except OSError as error:
        raise LedgerError(f"{lock.lock_file}, the lock beside the ledger {path}, cannot be made: {error}") from error
    return _FileLease(lock)


@dataclass(frozen=True)
class _FileLease:
    lock: BaseFileLock

    def renew(self) -> bool:
        return True  # the system keeps it for us

    def release(self) -> None:
        self.lock.release()


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of the file; None where it is not there."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino


@cache
def _warn_once(text: str) -> None:
    log.warning(text)


@lru_cache(maxsize=256)
def _in_sqlite(sql: str) -> str:
    for word, meaning in LISTS.items():
        sql = sql.replace(word, meaning)
    return sql


def _meant(error: sqlite3.DatabaseError, name: str) -> LedgerError:
    """Classify by the text: Python 3.10 does not pass on the code."""
    text = str(error)
    if "full" in text:
        return LedgerFullError(f"there is no room on the disk for {name}; make room, nothing that was stored is lost")
    if "locked" in text or "busy" in text:
        return LedgerBusyError(f"{name} is being written by another process for more than {BUSY_S:g} s; try again")
    if "not a database" in text:
        return LedgerFormatError(f"{name} is not a ledger; give another file with --ledger")
    if "malformed" in text or "corrupt" in text:
        return LedgerFormatError(
            f"{name} is damaged ({text}); put it aside, take over what can be read with "
            "`sqlite3 OLD .recover | sqlite3 NEW`, and give the new file with --ledger"
        )
    if "readonly" in text:
        return LedgerError(f"{name} cannot be written; check who owns it, and its folder")
    if "unable to open" in text:
        return LedgerError(f"{name} cannot be opened; check that its folder exists and that you may write there")
    return LedgerUnavailableError(f"{name} cannot be used now: {text}")
