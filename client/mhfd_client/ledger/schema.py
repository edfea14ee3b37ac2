"""The tables, written once in SQLite's dialect; postgres.py translates them. docs/ledger.md explains them.

`MIGRATIONS[n]` makes version n + 1 of version n. A released version is never edited: the next one changes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from mhfd_client.ledger.database import Database
from mhfd_client.ledger.model import LedgerFormatError

Kind: TypeAlias = Literal["all", "sqlite", "postgres"]
Step: TypeAlias = tuple[tuple[Kind, str], ...]  # which database, which statement

TABLES = (
    """CREATE TABLE run (
        run_id INTEGER PRIMARY KEY,
        root TEXT NOT NULL,
        params TEXT NOT NULL,
        params_sha256 TEXT NOT NULL,
        layout TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        created_at REAL NOT NULL,
        opened_at REAL NOT NULL,
        UNIQUE (root, params_sha256)
    ) STRICT""",
    """CREATE TABLE folder (
        folder_id INTEGER PRIMARY KEY,
        run_id INTEGER NOT NULL REFERENCES run,
        path TEXT NOT NULL,
        UNIQUE (run_id, path)
    ) STRICT""",
    # `queue` is the list of work that a tile is on, NULL where there is nothing left to do. Tiles under way (sending,
    # submitted) stay listed even if their file is gone or replaced, so that their end is recorded.
    """CREATE TABLE tile (
        tile_id INTEGER PRIMARY KEY,
        run_id INTEGER NOT NULL REFERENCES run,
        folder_id INTEGER NOT NULL REFERENCES folder,
        name TEXT NOT NULL,
        page INTEGER NOT NULL DEFAULT 0,
        pages INTEGER NOT NULL DEFAULT 1,
        generation INTEGER NOT NULL DEFAULT 1,
        state TEXT NOT NULL DEFAULT 'seen'
            CHECK (state IN ('seen', 'ready', 'staged', 'submitted', 'scored', 'failed')),
        reason TEXT,
        accepted INTEGER NOT NULL DEFAULT 0,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        tile_sha256 TEXT,
        height INTEGER,
        width INTEGER,
        section INTEGER,
        grid INTEGER,
        grid_row INTEGER,
        grid_col INTEGER,
        grid_tile INTEGER,
        seen_at REAL NOT NULL,
        changed_at REAL NOT NULL,
        state_at REAL NOT NULL,
        gone_at REAL,
        stalled_at REAL,
        superseded_by INTEGER,
        attempts INTEGER NOT NULL DEFAULT 0,
        ticket TEXT,
        place TEXT,
        error_code TEXT,
        error_message TEXT,
        queue TEXT GENERATED ALWAYS AS (CASE
            WHEN state = 'scored' THEN NULL
            WHEN state = 'submitted' THEN 'submitted'
            WHEN state = 'ready' AND ticket IS NOT NULL THEN 'sending'
            WHEN superseded_by IS NOT NULL THEN NULL
            WHEN state = 'failed' THEN 'failed'
            WHEN gone_at IS NOT NULL THEN 'gone'
            WHEN state = 'seen' AND stalled_at IS NOT NULL THEN 'stalled'
            ELSE state END) STORED,
        UNIQUE (folder_id, name, page, generation)
    ) STRICT""",
    "CREATE INDEX tile_run ON tile (run_id, tile_id)",
    "CREATE INDEX tile_queue ON tile (run_id, queue, seen_at, tile_id) WHERE queue IS NOT NULL",
    "CREATE INDEX tile_copy ON tile (run_id) WHERE place IS NOT NULL AND page = 0",
    "CREATE INDEX tile_unscored ON tile (run_id, tile_sha256) WHERE state <> 'scored'",  # for `recover`
    """CREATE TABLE result (
        tile_id INTEGER NOT NULL REFERENCES tile,
        run_id INTEGER NOT NULL REFERENCES run,
        scored_at REAL NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('scored', 'failed')),
        features INTEGER,
        features_per_mpx REAL,
        focus_score REAL,
        noise REAL,
        content REAL,
        anisotropy REAL,
        mhfd TEXT NOT NULL,
        device TEXT NOT NULL,
        json TEXT NOT NULL,
        PRIMARY KEY (tile_id)
    ) STRICT""",
    "CREATE INDEX result_time ON result (run_id, scored_at, tile_id)",
    """CREATE TABLE attempt (
        tile_id INTEGER NOT NULL REFERENCES tile,
        attempt INTEGER NOT NULL,
        endpoint TEXT NOT NULL,
        task_id TEXT,
        submitted_at REAL NOT NULL,
        ended_at REAL,
        outcome TEXT,
        device TEXT,
        PRIMARY KEY (tile_id, attempt)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE missing (
        run_id INTEGER NOT NULL REFERENCES run,
        item TEXT NOT NULL,
        name TEXT,
        why TEXT NOT NULL,
        section INTEGER,
        grid INTEGER,
        grid_row INTEGER,
        grid_col INTEGER,
        grid_tile INTEGER,
        noted_at REAL NOT NULL,
        PRIMARY KEY (run_id, item)
    ) STRICT, WITHOUT ROWID""",
    # The pipeline's notes for later or for others: 'resume', 'heartbeat', 'lease'.
    """CREATE TABLE note (
        run_id INTEGER NOT NULL REFERENCES run,
        kind TEXT NOT NULL,
        noted_at REAL NOT NULL,
        json TEXT NOT NULL,
        PRIMARY KEY (run_id, kind)
    ) STRICT, WITHOUT ROWID""",
    # Numbers of rows of `tile`, kept by triggers: counting 10^7 rows takes seconds.
    """CREATE TABLE counter (
        run_id INTEGER NOT NULL,
        state TEXT NOT NULL,
        gone INTEGER NOT NULL,
        stalled INTEGER NOT NULL,
        superseded INTEGER NOT NULL,
        n INTEGER NOT NULL,
        PRIMARY KEY (run_id, state, gone, stalled, superseded)
    ) STRICT, WITHOUT ROWID""",
)

_SQLITE_MORE = """
    INSERT INTO counter VALUES (new.run_id, new.state, new.gone_at IS NOT NULL, new.stalled_at IS NOT NULL,
                                new.superseded_by IS NOT NULL, 1)
    ON CONFLICT (run_id, state, gone, stalled, superseded) DO UPDATE SET n = n + 1;"""
_SQLITE_LESS = """
    UPDATE counter SET n = n - 1 WHERE run_id = old.run_id AND state = old.state AND gone = (old.gone_at IS NOT NULL)
        AND stalled = (old.stalled_at IS NOT NULL) AND superseded = (old.superseded_by IS NOT NULL);"""

SQLITE_TRIGGERS = (
    f"CREATE TRIGGER tile_inserted AFTER INSERT ON tile BEGIN {_SQLITE_MORE} END",
    f"CREATE TRIGGER tile_deleted AFTER DELETE ON tile BEGIN {_SQLITE_LESS} END",
    "CREATE TRIGGER tile_updated AFTER UPDATE OF state, gone_at, stalled_at, superseded_by ON tile "
    f"BEGIN {_SQLITE_LESS} {_SQLITE_MORE} END",
)


def _postgres_trigger(event: str, referencing: str, *counted: str) -> tuple[str, str]:
    """A trigger that counts once a statement, however many rows that changes."""
    columns = "run_id, state, gone_at IS NOT NULL AS gone, stalled_at IS NOT NULL AS stalled, superseded_by IS NOT NULL"
    changes = " UNION ALL ".join(f"SELECT {columns} AS superseded, {each}" for each in counted)
    return (
        f"""CREATE FUNCTION tile_{event}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO mhfd.counter AS c
            SELECT run_id, state, gone::int, stalled::int, superseded::int, sum(n) FROM ({changes}) AS changes
            GROUP BY 1, 2, 3, 4, 5 HAVING sum(n) <> 0
            ON CONFLICT (run_id, state, gone, stalled, superseded) DO UPDATE SET n = c.n + EXCLUDED.n;
            RETURN NULL;
        END $$""",
        f"CREATE TRIGGER tile_{event} AFTER {event} ON tile REFERENCING {referencing} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION tile_{event}()",
    )


POSTGRES_TRIGGERS = (
    *_postgres_trigger("insert", "NEW TABLE AS fresh", "1 AS n FROM fresh"),
    *_postgres_trigger("delete", "OLD TABLE AS former", "-1 AS n FROM former"),
    *_postgres_trigger(
        "update", "OLD TABLE AS former NEW TABLE AS fresh", "-1 AS n FROM former", "1 AS n FROM fresh"
    ),
)  # fmt: skip


def _view(time: str, json: str) -> str:
    """The view for people's queries; `time` and `json` convert a column to that database's own type."""

    def at(column: str) -> str:
        return time.replace("?", column)

    return f"""CREATE VIEW tiles AS SELECT
        t.tile_id, t.run_id, run.root,
        CASE WHEN folder.path = '' THEN t.name ELSE folder.path || '/' || t.name END AS path,
        t.page, t.pages, t.generation, t.state, t.queue, t.reason,
        t.section, t.grid, t.grid_row AS "row", t.grid_col AS col, t.grid_tile AS tile,
        r.features, r.features_per_mpx, r.focus_score, r.noise, r.content, r.anisotropy,
        t.error_code, t.error_message,
        {at("t.seen_at")} AS seen, {at("r.scored_at")} AS scored, {at("t.gone_at")} AS gone,
        {at("t.stalled_at")} AS stalled, t.superseded_by, t.attempts, r.device, r.mhfd,
        t.tile_sha256, t.size, {json.replace("?", "r.json")} AS result
    FROM tile AS t
    LEFT JOIN run ON run.run_id = t.run_id
    LEFT JOIN folder ON folder.folder_id = t.folder_id
    LEFT JOIN result AS r ON r.tile_id = t.tile_id"""


MIGRATIONS: tuple[Step, ...] = (
    (
        *(("all", each) for each in TABLES),
        *(("sqlite", each) for each in SQLITE_TRIGGERS),
        *(("postgres", each) for each in POSTGRES_TRIGGERS),
        ("sqlite", _view("strftime('%Y-%m-%dT%H:%M:%SZ', ?, 'unixepoch')", "?")),
        ("postgres", _view("to_timestamp(?)", "CAST(? AS jsonb)")),
    ),
    (("all", "ALTER TABLE result ADD COLUMN measure INTEGER NOT NULL DEFAULT 1"),),
    (
        ("all", "ALTER TABLE tile ADD COLUMN ctime_ns INTEGER"),
        ("all", "ALTER TABLE tile ADD COLUMN identical_to INTEGER"),
        ("all", "CREATE INDEX tile_pixels ON tile (run_id, tile_sha256, tile_id) WHERE tile_sha256 IS NOT NULL"),
        ("all", "CREATE INDEX tile_identical ON tile (run_id) WHERE identical_to IS NOT NULL"),
        # A copy is noted with every page that is sent, and the first page of a file need not be one of them.
        ("all", "DROP INDEX tile_copy"),
        ("all", "CREATE INDEX tile_place ON tile (run_id) WHERE place IS NOT NULL"),
    ),
    (
        (
            "all",
            """CREATE TABLE reference (
                instrument TEXT NOT NULL,
                setting TEXT NOT NULL,
                tiles INTEGER NOT NULL,
                kept_at REAL NOT NULL,
                run_id INTEGER REFERENCES run,
                json TEXT NOT NULL,
                PRIMARY KEY (instrument, setting)
            ) STRICT""",
        ),
    ),
    (
        (
            "all",
            """CREATE TABLE calibration (
                instrument TEXT NOT NULL,
                setting TEXT NOT NULL,
                kept_at REAL NOT NULL,
                json TEXT NOT NULL,
                PRIMARY KEY (instrument, setting)
            ) STRICT""",
        ),
        (
            "all",
            """CREATE TABLE said (
                tile_id INTEGER NOT NULL REFERENCES tile,
                run_id INTEGER NOT NULL REFERENCES run,
                verdict TEXT NOT NULL,
                said_at REAL NOT NULL,
                tile_sha256 TEXT,
                json TEXT NOT NULL,
                PRIMARY KEY (tile_id)
            ) STRICT""",
        ),
        ("all", "CREATE INDEX said_time ON said (run_id, said_at, tile_id)"),
        (
            "all",
            """CREATE TABLE decision (
                decision_id INTEGER PRIMARY KEY,
                run_id INTEGER NOT NULL REFERENCES run,
                tile_id INTEGER NOT NULL REFERENCES tile,
                decision TEXT NOT NULL CHECK (decision IN ('open', 'retake', 'accept', 'ignore')),
                who TEXT,
                decided_at REAL NOT NULL,
                note TEXT
            ) STRICT""",
        ),
        ("all", "CREATE INDEX decision_tile ON decision (run_id, tile_id, decision_id)"),
        (
            "all",
            """CREATE TABLE event (
                event_id INTEGER PRIMARY KEY,
                run_id INTEGER NOT NULL REFERENCES run,
                kind TEXT NOT NULL,
                subject TEXT NOT NULL,
                began_at REAL NOT NULL,
                ended_at REAL,
                acknowledged_at REAL,
                acknowledged_by TEXT,
                json TEXT NOT NULL
            ) STRICT""",
        ),
        ("all", "CREATE INDEX event_time ON event (run_id, began_at, event_id)"),
        ("all", "CREATE UNIQUE INDEX event_open ON event (run_id, kind, subject) WHERE ended_at IS NULL"),
        (
            "all",
            """CREATE TABLE delivery (
                event_id INTEGER NOT NULL REFERENCES event,
                about TEXT NOT NULL,
                channel TEXT NOT NULL,
                tried_at REAL NOT NULL,
                attempts INTEGER NOT NULL,
                sent_at REAL,
                error TEXT,
                PRIMARY KEY (event_id, about, channel)
            ) STRICT, WITHOUT ROWID""",
        ),
    ),
)


def upgrade(database: Database, steps: Sequence[Step] = MIGRATIONS) -> None:
    """Bring older tables to the newest version, in one transaction; else do nothing."""
    if version_of(database, steps) == len(steps):
        return
    database.begin(0)
    try:
        version = version_of(database, steps)  # again: another process may just have done it
        if version == 0:
            database.execute("CREATE TABLE schema_version (version INTEGER NOT NULL)")
            database.execute("INSERT INTO schema_version VALUES (0)")
        for step in steps[version:]:
            for kind, statement in step:
                if kind in ("all", database.kind):
                    database.define(statement)
        database.execute("UPDATE schema_version SET version = ?", (len(steps),))
    except BaseException:
        database.rollback(0)
        raise
    database.commit(0)


def version_of(database: Database, steps: Sequence[Step] = MIGRATIONS) -> int:
    """The version of the existing tables, 0 for none.

    Raises
    ------
    LedgerFormatError
        They are those of another program, or of a newer mhfd.
    """
    tables = database.tables()
    if not tables:
        return 0
    if not {"schema_version", "tile", "run"} <= set(tables):
        raise LedgerFormatError(
            f"{database.name} is the database of another program, with tables such as '{min(tables)}'; "
            "give another file with --ledger"
        )
    version = int(database.execute("SELECT version FROM schema_version")[0][0])
    if version > len(steps):
        raise LedgerFormatError(
            f"{database.name} was written by a newer mhfd (version {version} of its tables; this mhfd knows "
            f"{len(steps)}); install that mhfd here, or give another ledger with --ledger"
        )
    return version
