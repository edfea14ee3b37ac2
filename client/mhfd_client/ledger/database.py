"""The ledger's interface to a database; two implementations: sqlite.py and postgres.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

Record = tuple[Any, ...]


class Lease(Protocol):
    """The exclusive right to a run."""

    def renew(self) -> bool:
        """True if it is ours, still or again after the database was away."""

    def release(self) -> None: ...


class Database(Protocol):
    """One connection, for one thread at a time: the ledger sees to that.

    SQL has "?" for values, and "IN @ids" or "IN @texts" for a list of numbers or texts, given as a JSON array.
    Faults outside our control are raised as `LedgerError`, with the database's `name` in the message.
    """

    @property
    def kind(self) -> Literal["sqlite", "postgres"]: ...

    @property
    def name(self) -> str: ...

    def begin(self, level: int) -> None:
        """Start a writing transaction, the only one of all processes; with `level` > 0 a part of one."""

    def commit(self, level: int) -> None: ...

    def rollback(self, level: int) -> None: ...

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Record]: ...

    def many(self, sql: str, values: Iterable[Sequence[Any]]) -> None:
        """Run the statement for each of the values."""

    def define(self, sql: str) -> None:
        """Run a statement of the schema, in SQLite's dialect where they differ."""

    def tables(self) -> list[str]: ...

    def snapshot(self) -> AbstractContextManager[Database]:
        """A connection of its own that reads the ledger as of its first query, whoever writes meanwhile."""

    def lease(self, run_id: int) -> Lease | None:
        """Take the exclusive right to a run, which ends with the process; None if another process has it."""

    def check(self) -> None:
        """See that the database is still the one that was opened.

        Raises
        ------
        LedgerGoneError
            Its file was deleted, renamed or replaced.
        """

    def close(self) -> None: ...
