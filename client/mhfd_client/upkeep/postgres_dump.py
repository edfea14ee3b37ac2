"""A ledger in PostgreSQL as a file, and back, by PostgreSQL's own programs pg_dump and pg_restore."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from mhfd.text import visible
from mhfd_client.ledger import LedgerBusyError, LedgerError, LedgerFormatError
from mhfd_client.ledger.postgres import LOCKS, SCHEMA, PostgresDatabase
from mhfd_client.ledger.schema import MIGRATIONS, version_of

MAGIC = b"PGDMP"
PROGRAMS = (
    "`apt-get install postgresql-client` on Debian, PostgreSQL's programs in PATH elsewhere; or run it on the server"
)


def is_dump(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def dump(url: str, target: Path) -> None:
    """Write the schema to a file, as of one moment, whoever writes meanwhile."""
    with closing(PostgresDatabase(url, readonly=True)) as database:
        if not version_of(database):
            raise LedgerFormatError(f"{database.name} is empty: there is nothing to back up")
    _program(
        "pg_dump", "--format=custom", f"--schema={SCHEMA}", "--no-owner", "--no-privileges", f"--file={target}", url
    )


def contents(source: Path) -> tuple[int, int, int]:
    """Version of the tables, runs and tiles in a dump.

    Raises
    ------
    LedgerFormatError
        It is no dump of a ledger, or one of a newer mhfd.
    """
    if not is_dump(source):
        raise LedgerFormatError(f"{source} is no dump of a ledger in PostgreSQL; name one of `mhfd ledger backup`")
    tables = ("schema_version", "run", "counter")
    rows = {table: list(_rows(source, table)) for table in tables}
    if not rows["schema_version"]:
        raise LedgerFormatError(f"{source} is the dump of another program's database")
    version = int(rows["schema_version"][0].split("\t")[0])
    if version > len(MIGRATIONS):
        raise LedgerFormatError(
            f"{source} was written by a newer mhfd (version {version} of its tables; this mhfd knows "
            f"{len(MIGRATIONS)}); install that mhfd here, or restore an earlier backup"
        )
    return version, len(rows["run"]), sum(int(row.split("\t")[-1]) for row in rows["counter"])


def restore(source: Path, url: str) -> str | None:
    """Put the schema of a dump in the place of the present one; the name of the schema that keeps the latter.

    Raises
    ------
    LedgerBusyError
        A watch runs, or another transaction does not end.
    """
    with closing(PostgresDatabase(url)) as database, ExitStack() as held:
        had_tables = bool(database.tables())
        for (run_id,) in database.execute("SELECT run_id FROM run ORDER BY run_id") if had_tables else ():
            lease = database.lease(run_id)
            if lease is None:
                raise LedgerBusyError(f"a watch of run {run_id} uses {database.name}; end it first")
            held.callback(lease.release)
        database.execute("SELECT pg_advisory_lock(?, 0)", (LOCKS,))  # whoever writes waits, until this connection ends
        kept = _free_name(database) if had_tables else None
        database.execute(f"ALTER SCHEMA {SCHEMA} RENAME TO {kept}" if kept else f"DROP SCHEMA {SCHEMA}")
        try:
            _program(
                "pg_restore", "--single-transaction", "--no-owner", "--no-privileges", f"--dbname={url}", str(source)
            )
        except LedgerError:
            if kept:  # nothing of a single transaction stays
                database.execute(f"ALTER SCHEMA {kept} RENAME TO {SCHEMA}")
            raise
    return kept


def _free_name(database: PostgresDatabase) -> str:
    """A name for the schema that is replaced; two may be restored in one second."""
    stamp = f"{SCHEMA}_before_{time.strftime('%Y%m%d_%H%M%S')}"
    known = database.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE ?", (f"{stamp}%",))
    taken = {name for (name,) in known}
    return next(name for n in range(len(taken) + 1) if (name := f"{stamp}_{n}" if n else stamp) not in taken)


def _rows(source: Path, table: str) -> Iterator[str]:
    """The rows of a table in a dump, columns separated by tabs."""
    inside = False
    for line in _program("pg_restore", "--data-only", f"--table={table}", "--file=-", str(source)).splitlines():
        if line == "\\.":
            inside = False
        elif inside:
            yield line
        elif line.startswith(f"COPY {SCHEMA}.{table} "):
            inside = True


def _program(name: str, *arguments: str) -> str:
    """Run one of PostgreSQL's programs; what it prints."""
    found = shutil.which(name)
    if found is None:
        raise LedgerError(f"a ledger in PostgreSQL is backed up and restored by {name}, which is not here: {PROGRAMS}")
    environment = {**os.environ, "PGOPTIONS": f"{os.environ.get('PGOPTIONS', '')} -c lock_timeout=10s".strip()}
    done = subprocess.run([found, *arguments], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        said = visible(" ".join(done.stderr.split()))
        hint = f"; use the programs of the server's version: {PROGRAMS}" if "version mismatch" in said else ""
        raise LedgerError(f"{name} failed: {said}{hint}")
    return done.stdout
