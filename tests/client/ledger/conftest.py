"""A ledger in a file, and one in PostgreSQL: the same tests run on both."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from mhfd._version import __version__
from mhfd.contract import Failure, FocusParams, FocusResult, Provenance
from mhfd_client.ledger import Ledger, Run, SeenFile, open_ledger
from mhfd_client.ledger.database import Database
from mhfd_client.naming.position import Position
from postgres import Postgres, postgres

__all__ = ["postgres"]

Ask = Callable[..., list[tuple[Any, ...]]]  # a question in SQL, with its values -> the rows


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty ledger's place."""
    if request.param == "sqlite":
        return str(tmp_path / "ledger.db")
    server: Postgres = request.getfixturevalue("postgres")
    return server.without_schema("mhfd")


@contextmanager
def asking(where: str | Path) -> Iterator[Ask]:
    """Open a separate read-only connection to ask the database in SQL, as docs/ledger.md shows."""
    if str(where).startswith("postgresql://"):
        import psycopg

        options = "-c search_path=mhfd -c default_transaction_read_only=on"
        with psycopg.connect(str(where), options=options) as server:
            yield lambda sql, *values: server.execute(sql.replace("?", "%s"), values or None).fetchall()
        return
    with closing(sqlite3.connect(f"{Path(where).as_uri()}?mode=ro", uri=True)) as file:
        yield lambda sql, *values: file.execute(sql, values).fetchall()


@pytest.fixture
def ask(where: str) -> Ask:
    """Ask the database in SQL what no method of the ledger tells."""

    def ask(sql: str, *values: object) -> list[tuple[Any, ...]]:
        with asking(where) as asked:
            return asked(sql, *values)

    return ask


@pytest.fixture
def database(where: str) -> Iterator[Database]:
    """A database without tables, for tests of the schema."""
    if where.startswith("postgresql://"):
        from mhfd_client.ledger.postgres import PostgresDatabase

        with closing(PostgresDatabase(where)) as server:
            yield server
        return
    from mhfd_client.ledger.sqlite import SQLiteDatabase

    with closing(SQLiteDatabase(Path(where))) as file:
        yield file


@pytest.fixture
def ledger(where: str) -> Iterator[Ledger]:
    with open_ledger(where) as opened:
        yield opened


@pytest.fixture
def no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str) -> None:
    """Commands find an empty configuration, and this ledger."""
    (tmp_path / "config.toml").write_text("")
    monkeypatch.setenv("MHFD_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("MHFD_LEDGER", where)


@pytest.fixture
def run(ledger: Ledger, tmp_path: Path) -> Run:
    return ledger.open_run(str(tmp_path), FocusParams(), layout="auto", endpoint="local", now=0.0)


@pytest.fixture
def walk(ledger: Ledger, run: Run) -> Callable[..., int]:
    """Bring one file of one page to a state; its tile_id."""

    def walk(path: str, state: str, *, pixels: str = "p", now: float = 100.0, size: int = 10, mtime: int = 1) -> int:
        ledger.see(run.run_id, [(SeenFile(path, size, mtime), Position(section=1, row=0, col=0))], now)
        (row,) = [row for row in ledger.rows(run.run_id, states=["seen"]) if row.path == path]
        steps: dict[str, Callable[[], object]] = {
            "ready": lambda: ledger.finish(row.tile_id, [(pixels, (4, 4))], now),
            "staged": lambda: ledger.stage([(row.tile_id, None)], now),
            "submitted": lambda: ledger.submit([row.tile_id], "local", now),
            "scored": lambda: ledger.store([(row.tile_id, scored(path, pixels))], now),
        }
        if state == "failed":
            ledger.store([(row.tile_id, failed(path))], now)
        for name, step in steps.items():
            if state in ("seen", "failed"):
                break
            step()
            if name == state:
                break
        return row.tile_id

    return walk


def scored(path: str, pixels: str, score: float = 2.0, device: str = "cpu") -> FocusResult:
    about = Provenance(
        mhfd=__version__, params_sha256=FocusParams().sha256, backend="numpy", device=device, tile_sha256=pixels
    )
    return FocusResult(
        path=path, status="scored", provenance=about, shape=(4, 4), dtype="uint8", features=3, features_per_mpx=3.0,
        features_by_scale=(3,), scales_px=(1.0,), focus_score=score, noise=0.01, content=0.9, anisotropy=0.1,
        saturated=0.0, vollath_f4=0.001,
    )  # fmt: skip


def failed(path: str, code: str = "not_an_image") -> FocusResult:
    about = Provenance(mhfd=__version__, params_sha256=FocusParams().sha256, backend="none", device="not sent")
    error = Failure(code=code, message=f"{path} is no image")  # type: ignore[arg-type]
    return FocusResult(path=path, status="failed", error=error, verdict="failed", provenance=about)


@pytest.fixture
def make_scored() -> Callable[..., FocusResult]:
    return scored


@pytest.fixture
def make_failed() -> Callable[..., FocusResult]:
    return failed


def check(where: str | Path) -> None:
    """Check the invariants of a ledger."""
    with asking(where) as ask:
        counted = Counter[tuple[object, ...]]()
        for *key, n in ask("SELECT run_id, state, gone, stalled, superseded, n FROM counter"):
            counted[tuple(key)] = n
        found = Counter(
            (run_id, state, int(gone is not None), int(stalled is not None), int(newer is not None))
            for run_id, state, gone, stalled, newer in ask(
                "SELECT run_id, state, gone_at, stalled_at, superseded_by FROM tile"
            )
        )
        assert +counted == found
        assert not ask(
            "SELECT t.tile_id FROM tile AS t LEFT JOIN result AS r ON r.tile_id = t.tile_id "
            "WHERE (t.state IN ('scored', 'failed')) <> (r.tile_id IS NOT NULL) OR r.status <> t.state"
        ), "a row has a result exactly when it is scored or failed"
        assert not ask(
            "SELECT t.tile_id FROM tile AS t LEFT JOIN attempt AS a ON a.tile_id = t.tile_id AND a.ended_at IS NULL "
            "WHERE (t.state = 'submitted') <> (a.tile_id IS NOT NULL)"
        ), "an attempt is open exactly while the tile is submitted"
        assert not ask(
            "SELECT t.folder_id, t.name FROM tile AS t WHERE t.superseded_by IS NULL AND t.page = 0 "
            "GROUP BY t.folder_id, t.name HAVING COUNT(*) > 1"
        ), "a file has one newest generation"
        assert not ask(
            "SELECT t.folder_id, t.name, t.generation FROM tile AS t "
            "GROUP BY t.folder_id, t.name, t.generation HAVING COUNT(*) <> MAX(t.pages) OR MIN(t.pages) <> MAX(t.pages)"
        ), "all pages of a file are there, or none but the first"
        for tile_sha256, text in ask(
            "SELECT t.tile_sha256, r.json FROM tile AS t JOIN result AS r ON r.tile_id = t.tile_id "
            "WHERE r.status = 'scored'"
        ):
            assert json.loads(text)["provenance"]["tile_sha256"] == tile_sha256


@pytest.fixture
def sound() -> Callable[[str | Path], None]:
    return check
