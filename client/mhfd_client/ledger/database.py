"""What the ledger asks of a database. Two implementations: sqlite.py and postgres.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

Record = tuple[Any, ...]


class Lease(Protocol):
    """The exclusive right to a run."""

    def renew(self) -> bool:
        """Whether it is ours: still, or again after the database was away."""

    def release(self) -> None: ...


class Database(Protocol):
    """One connection. Not for several threads at once: the ledger sees to that.

    SQL has "?" for values, and "IN @ids" or "IN @texts" for a list of numbers or texts, given as a JSON array.
    Whatever goes wrong outside of our control is raised as a `LedgerError`, which calls it by its `name`.
    """

    @property
    def kind(self) -> Literal["sqlite", "postgres"]: ...

    @property
    def name(self) -> str: ...

    def begin(self, level: int) -> None:
        """Start a transaction that writes, alone among all processes; with `level` > 0 a part of one."""

    def commit(self, level: int) -> None: ...

    def rollback(self, level: int) -> None: ...

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Record]: ...

    def many(self, sql: str, values: Iterable[Sequence[Any]]) -> None:
        """The same statement for each of the values."""

    def define(self, sql: str) -> None:
        """A statement of the schema, in the words of SQLite where they differ."""

    def tables(self) -> list[str]: ...

    def snapshot(self) -> AbstractContextManager[Database]:
        """A connection of its own that reads the ledger as it is at its first question, whoever writes meanwhile."""

    def lease(self, run_id: int) -> Lease | None:
        """Take the exclusive right to a run, which ends with the process; None: somebody else has it."""

    def close(self) -> None: ...
