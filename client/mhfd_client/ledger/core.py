"""Transactions, and rows of the database as values."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager
from typing import Any

from mhfd.contract import storable
from mhfd_client.ledger.database import Database, Lease, Record
from mhfd_client.ledger.model import Json, LedgerError, TileRow
from mhfd_client.ledger.schema import version_of
from mhfd_client.naming.position import Position

POSITION = ("section", "grid", "grid_row", "grid_col", "grid_tile")

# LEFT JOIN, although there always is a folder: it keeps SQLite from starting with the folders.
TILE_ROWS = f"""
    SELECT t.tile_id, t.run_id, f.path, t.name, t.page, t.pages, t.generation, t.state, t.reason, t.accepted, t.size,
        t.mtime_ns, t.tile_sha256, t.height, t.width, {", ".join(f"t.{each}" for each in POSITION)}, t.seen_at,
        t.changed_at, t.state_at, t.gone_at, t.stalled_at, t.superseded_by, t.attempts, t.ticket, t.place, a.task_id,
        t.error_code, t.error_message, r.scored_at, r.json, t.ctime_ns, t.identical_to
    FROM tile AS t
    LEFT JOIN folder AS f ON f.folder_id = t.folder_id
    LEFT JOIN attempt AS a ON a.tile_id = t.tile_id AND a.attempt = t.attempts
    LEFT JOIN result AS r ON r.tile_id = t.tile_id"""


class Core:
    """The base of the parts of `Ledger`: one connection, used by one thread at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.RLock()
        self._level = 0
        self._leases: dict[int, Lease] = {}

    @property
    def name(self) -> str:
        """For messages: "the ledger /home/.../ledger.db"."""
        return self._database.name

    @property
    def tables_version(self) -> int:
        """The version of the tables, for a helper."""
        with self._lock:
            return version_of(self._database)

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """Make several calls all or nothing. An inner one that fails is undone alone; the outer one may go on.

        Other threads and other processes that write wait meanwhile: do nothing slow in it.
        """
        with self._lock:
            level = self._level
            self._database.begin(level)
            self._level += 1
            try:
                yield
                self._database.commit(level)
            except BaseException:
                self._database.rollback(level)
                raise
            finally:
                self._level -= 1

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def _ask(self, sql: str, *values: Any) -> list[Record]:
        with self._lock:
            return self._database.execute(sql, _storable(values))

    def _do(self, sql: str, *values: Any) -> None:
        with self._lock:
            if self._level and self._database.kind == "sqlite":  # there a statement that fails is undone alone
                self._database.execute(sql, _storable(values))
                return
            with self.transaction():
                self._database.execute(sql, _storable(values))

    def _many(self, sql: str, values: Iterable[Iterable[Any]]) -> None:
        rows = [_storable(each) for each in values]
        if rows:
            with self.transaction():
                self._database.many(sql, rows)

    def _tiles(self, condition: str, *values: Any) -> list[TileRow]:
        return [tile_row(record) for record in self._ask(f"{TILE_ROWS} WHERE {condition}", *values)]

    def _forget_kept(self, table: str, instrument: str, setting: str | None) -> int:
        """Remove what a table keeps of an instrument, or of one setting of it; how many rows those were.

        Parameters
        ----------
        table : with the columns instrument and setting; its name is the word for what it keeps

        Raises
        ------
        LedgerError
            There is none.
        """
        which, values = ("", ()) if setting is None else (" AND setting = ?", (setting,))
        with self.transaction():
            gone = self._ask(f"DELETE FROM {table} WHERE instrument = ?{which} RETURNING setting", instrument, *values)
            if not gone:
                known = self._ask(f"SELECT DISTINCT instrument FROM {table} ORDER BY instrument")
                names = ", ".join(name for (name,) in known) or "none yet"
                raise LedgerError(f"{self.name} keeps no such {table} of '{instrument}'; it has those of: {names}")
        return len(gone)

    def _note(self, run_id: int, kind: str, note: Json | None, now: float) -> None:
        if note is None:
            self._do("DELETE FROM note WHERE run_id = ? AND kind = ?", run_id, kind)
            return
        self._do(
            "INSERT INTO note (run_id, kind, noted_at, json) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (run_id, kind) DO UPDATE SET noted_at = excluded.noted_at, json = excluded.json",
            run_id, kind, now, dumps(note),
        )  # fmt: skip

    def _noted(self, run_id: int, kind: str) -> tuple[Json, float] | None:
        found = self._ask("SELECT json, noted_at FROM note WHERE run_id = ? AND kind = ?", run_id, kind)
        return (json.loads(found[0][0]), found[0][1]) if found else None


def _storable(values: Iterable[Any]) -> tuple[Any, ...]:
    """Texts of strangers' making (names in lists, messages) in a form that every database takes."""
    return tuple(storable(each) if isinstance(each, str) else each for each in values)


def tile_row(record: Record) -> TileRow:
    """A row of `TILE_ROWS`."""
    (tile_id, run_id, folder, name, page, pages, generation, state, reason, accepted, size, mtime_ns, sha256,
     height, width, section, grid, row, col, tile, seen_at, changed_at, state_at, gone_at, stalled_at, superseded_by,
     attempts, ticket, place, task_id, code, message, scored_at, result, ctime_ns, identical_to) = record  # fmt: skip
    return TileRow(
        tile_id=tile_id,
        run_id=run_id,
        path=joined(folder, name),
        page=page,
        pages=pages,
        generation=generation,
        state=state,
        reason=reason,
        accepted=bool(accepted),
        size=size,
        mtime_ns=mtime_ns,
        tile_sha256=sha256,
        shape=None if height is None else (height, width),
        position=position_of(section, grid, row, col, tile),
        seen_at=seen_at,
        changed_at=changed_at,
        state_at=state_at,
        gone_at=gone_at,
        stalled_at=stalled_at,
        superseded_by=superseded_by,
        attempts=attempts,
        ticket=ticket,
        place=None if place is None else json.loads(place),
        task_id=task_id,
        error_code=code,
        error_message=message,
        scored_at=scored_at,
        result=None if result is None else json.loads(result),
        ctime_ns=ctime_ns,
        identical_to=identical_to,
    )


def position_of(*numbers: int | None) -> Position | None:
    return None if numbers.count(None) == len(numbers) else Position(*numbers)


def numbers_of(position: Position | None) -> tuple[int | None, ...]:
    """In the order of `POSITION`."""
    where = position or Position()
    return (where.section, where.grid, where.row, where.col, where.tile)


def joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def parted(path: str) -> tuple[str, str]:
    """Folder and name: the inverse of `joined`."""
    folder, _, name = path.rpartition("/")
    return folder, name


def listed(values: Collection[int] | Collection[str]) -> str:
    """For "IN @ids" and "IN @texts"."""
    return json.dumps(list(values))


def dumps(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
