"""The client's durable record: one row a tile, its state, its result. It is the pipeline's queue, too.

    with open_ledger("ledger.db") as ledger:
        run = ledger.open_run("/data/run7", FocusParams(), layout="auto", endpoint="local")
        ledger.see(run.run_id, [(SeenFile("s0001_r0_c1.tif", size, mtime_ns), position)], time.time())

A tile walks from state to state; each step is a method of `Ledger`, and one transaction:

    see -> seen -> finish -> ready -> sending, stage -> staged -> submit -> submitted -> store -> scored | failed

docs/ledger.md describes the tables.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType

from mhfd_client.ledger.database import Database
from mhfd_client.ledger.files import Files
from mhfd_client.ledger.model import (
    UNFINISHED,
    Json,
    Known,
    LedgerBusyError,
    LedgerError,
    LedgerFormatError,
    LedgerFullError,
    LedgerUnavailableError,
    Missing,
    Order,
    Queue,
    RecoverReport,
    Run,
    SeenFile,
    State,
    Summary,
    TileRow,
)
from mhfd_client.ledger.reading import Reading
from mhfd_client.ledger.results import Results
from mhfd_client.ledger.runs import Runs
from mhfd_client.ledger.schema import MIGRATIONS, upgrade, version_of

__all__ = [
    "UNFINISHED",
    "Json",
    "Known",
    "Ledger",
    "LedgerBusyError",
    "LedgerError",
    "LedgerFormatError",
    "LedgerFullError",
    "LedgerUnavailableError",
    "Missing",
    "Order",
    "Queue",
    "RecoverReport",
    "Run",
    "SeenFile",
    "State",
    "Summary",
    "TileRow",
    "open_ledger",
]


class Ledger(Runs, Files, Results, Reading):
    """All of it. Any thread may call any method; each that changes something is one transaction.

    Calls inside `with ledger.transaction():` belong to that one. Whatever is wrong with the database is a
    `LedgerError`; the call has then changed nothing.
    """

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_ledger(where: str | Path, *, readonly: bool = False) -> Ledger:
    """The ledger in a file, which is made if need be, or behind a postgresql:// URL.

    Parameters
    ----------
    readonly : for those who only look; then nothing is made or upgraded

    Raises
    ------
    LedgerError
        It cannot be opened; the kind and the message say why.
    """
    database = _connected(where, readonly=readonly)
    try:
        if not readonly:
            upgrade(database)
        elif version_of(database) < len(MIGRATIONS):
            raise LedgerFormatError(
                f"{database.name} is empty, or of an older mhfd; `mhfd watch` and `mhfd retry` bring it up to date"
            )
    except BaseException:
        database.close()
        raise
    return Ledger(database)


def _connected(where: str | Path, *, readonly: bool) -> Database:
    scheme = re.match(r"([a-z][a-z0-9+]+)://", str(where))
    if scheme is None:
        from mhfd_client.ledger.sqlite import SQLiteDatabase

        return SQLiteDatabase(Path(where), readonly=readonly)
    if scheme[1] in ("postgresql", "postgres"):
        from mhfd_client.ledger.postgres import PostgresDatabase

        return PostgresDatabase(str(where), readonly=readonly)
    raise LedgerError(f"a ledger is a file, or a postgresql:// URL; {scheme[1]}:// is not supported")
