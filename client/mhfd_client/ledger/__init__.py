"""The client's durable record: a row for each tile, its state, its result. It is also the pipeline's queue.

    with open_ledger("ledger.db") as ledger:
        run = ledger.open_run("/data/run7", FocusParams(), layout="auto", endpoint="local")
        ledger.see(run.run_id, [(SeenFile("s0001_r0_c1.tif", size, mtime_ns), position)], time.time())

A tile goes from state to state; each step is a method of `Ledger`, and one transaction:

    see -> seen -> finish -> ready -> sending, stage -> staged -> submit -> submitted -> store -> scored | failed

docs/ledger.md describes the tables.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType

from mhfd_client.ledger.calibrations import Calibrations, KeptCalibration
from mhfd_client.ledger.database import Database
from mhfd_client.ledger.decisions import Choice, Decision, Decisions
from mhfd_client.ledger.events import Delivery, Event, Events
from mhfd_client.ledger.files import Files
from mhfd_client.ledger.following import NO_TIME, Brief, Following, Marks
from mhfd_client.ledger.forgetting import Forgetting
from mhfd_client.ledger.judgements import Judgements, Said
from mhfd_client.ledger.lookup import Lookup
from mhfd_client.ledger.model import (
    UNFINISHED,
    Json,
    Known,
    LedgerBusyError,
    LedgerError,
    LedgerFormatError,
    LedgerFullError,
    LedgerGoneError,
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
from mhfd_client.ledger.references import KeptReference, References
from mhfd_client.ledger.results import Results
from mhfd_client.ledger.runs import Runs
from mhfd_client.ledger.schema import MIGRATIONS, upgrade, version_of

__all__ = [
    "NO_TIME",
    "UNFINISHED",
    "Brief",
    "Choice",
    "Decision",
    "Delivery",
    "Event",
    "Json",
    "KeptCalibration",
    "KeptReference",
    "Known",
    "Ledger",
    "LedgerBusyError",
    "LedgerError",
    "LedgerFormatError",
    "LedgerFullError",
    "LedgerGoneError",
    "LedgerUnavailableError",
    "Marks",
    "Missing",
    "Order",
    "Queue",
    "RecoverReport",
    "Run",
    "Said",
    "SeenFile",
    "State",
    "Summary",
    "TileRow",
    "open_ledger",
]


class Ledger(
    Runs,
    Files,
    Results,
    Reading,
    Lookup,
    References,
    Calibrations,
    Judgements,
    Decisions,
    Events,
    Following,
    Forgetting,
):
    """The whole ledger. Any thread may call any method; each call that writes is one transaction.

    Calls inside `with ledger.transaction():` belong to that one. A fault of the database raises `LedgerError`;
    the call has then changed nothing.
    """

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_ledger(where: str | Path, *, readonly: bool = False) -> Ledger:
    """Open the ledger in a file, made if need be, or at a postgresql:// URL.

    Parameters
    ----------
    readonly : True to only read; then nothing is made or upgraded

    Raises
    ------
    LedgerError
        It cannot be opened; the kind and the message say why.
    """
    database = _connected(where, readonly=readonly)
    try:
        if not readonly:
            upgrade(database)
        elif 0 < version_of(database) < len(MIGRATIONS):
            _bring_up_to_date(where)
        elif not version_of(database):
            raise LedgerFormatError(f"{database.name} is empty: `mhfd watch` fills it, --ledger names another")
    except BaseException:
        database.close()
        raise
    return Ledger(database)


def _bring_up_to_date(where: str | Path) -> None:
    """A ledger of an older mhfd gets today's tables, also when somebody only wants to look."""
    database = _connected(where, readonly=False)
    try:
        upgrade(database)
    except LedgerError as error:
        raise LedgerFormatError(
            f"{database.name} is of an older mhfd, and cannot be brought up to date: {error}"
        ) from error
    finally:
        database.close()


def _connected(where: str | Path, *, readonly: bool) -> Database:
    scheme = re.match(r"([a-z][a-z0-9+]+)://", str(where))
    if scheme is None:
        from mhfd_client.ledger.sqlite import SQLiteDatabase

        return SQLiteDatabase(Path(where), readonly=readonly)
    if scheme[1] in ("postgresql", "postgres"):
        from mhfd_client.ledger.postgres import PostgresDatabase

        return PostgresDatabase(str(where), readonly=readonly)
    raise LedgerError(f"a ledger is a file, or a postgresql:// URL; {scheme[1]}:// is not supported")
