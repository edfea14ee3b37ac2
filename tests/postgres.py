"""A PostgreSQL for tests: in a temporary folder, on a socket in it, removed at the end. The fixture `postgres`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from needs import give_up

if TYPE_CHECKING:
    from loopback.guard import Guarded

START_TIMEOUT_S = 40.0
STOP_GRACE_S = 10.0
LACK = "PostgreSQL is not installed. On Debian or Ubuntu: apt-get install postgresql; elsewhere put it in PATH"
# For tests only: what a crash of the machine would lose does not matter, and nobody connects over the network.
OPTIONS = (
    "client_min_messages=warning",
    "fsync=off",
    "full_page_writes=off",
    "listen_addresses=",
    "shared_buffers=16MB",
    "max_connections=50",
)


def programs() -> Path | None:
    """The folder with initdb and postgres, or None if not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    in_path = shutil.which("initdb")
    return found[-1].parent if found else Path(in_path).resolve().parent if in_path else None


class Postgres:
    """One server, with one database. For root, its files belong to `nobody`: as root it would not start."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="mhfd-pg-"))  # not below pytest's, which only root may enter
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(self.folder, "nobody")
            self._as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        self._process: Guarded | None = None
        self._run("initdb", "-D", self._data, "-U", "mhfd", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    @property
    def url(self) -> str:
        return f"postgresql://mhfd@/postgres?host={self.folder}"

    def start(self) -> None:
        from loopback.guard import Guarded

        options = [f"unix_socket_directories={self.folder}", *OPTIONS]
        command = [str(self._programs / "postgres"), "-D", self._data, *(f"-c{each}" for each in options)]
        log = self.folder / "log.txt"
        self._process = Guarded([*self._as_user, *command], log=log, cwd=self.folder, env=os.environ)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if time.monotonic() > deadline or not self._process.alive():
                raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """Stop at once; `start` restores what was committed."""
        if self._process is not None:
            self._process.stop(0.0)
            self._process = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def without_schema(self, name: str) -> str:
        """Drop this schema with all that is in it; the URL of the database."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")
        return self.url

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_user, str(self._programs / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running server, one for all tests of this process."""
    found = programs() if sys.platform == "linux" else None
    if found is None:
        give_up(LACK)
    server = Postgres(found)
    try:
        server.start()
        yield server
    finally:
        server.remove()
