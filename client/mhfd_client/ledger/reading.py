"""Reading: a run's summary, its rows as a stream, and other queries of the pipeline."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

from mhfd_client.ledger.core import POSITION, TILE_ROWS, Core, listed, parted, position_of, tile_row
from mhfd_client.ledger.model import Queue, State, Summary, TileRow
from mhfd_client.ledger.rate import RESULTS, WINDOW_S, working_s
from mhfd_client.naming.position import Position

ROWS_AT_ONCE = 1000
NAMES_AT_ONCE = 1000
_PLACE = f"{', '.join(POSITION)}, page"
_PLACED = (
    "run_id = ? AND superseded_by IS NULL AND section IS NOT NULL "
    "AND (grid_tile IS NOT NULL OR (grid_row IS NOT NULL AND grid_col IS NOT NULL))"
)

WAITING: tuple[Queue, ...] = ("seen", "ready", "sending", "staged", "submitted")


class Reading(Core):
    """The part of `Ledger` that reads a run as a whole."""

    def get(self, tile_ids: Collection[int]) -> list[TileRow]:
        """The rows of these ids that exist, by id."""
        return self._tiles("t.tile_id IN @ids ORDER BY t.tile_id", listed(tile_ids))

    def summary(self, run_id: int, now: float | None = None) -> Summary:
        """A run in numbers; fast for a run of any length."""
        now = time.time() if now is None else now
        counts: Counter[State] = Counter()
        gone = superseded = stalled = 0
        for state, is_gone, is_stalled, is_superseded, n in self._ask(
            "SELECT state, gone, stalled, superseded, n FROM counter WHERE run_id = ?", run_id
        ):
            if is_superseded:
                superseded += n
            elif is_gone and state in ("seen", "ready", "staged"):
                gone += n
            else:
                counts[state] += n
                stalled += n if is_stalled else 0
        last = self._ask("SELECT scored_at FROM result WHERE run_id = ? ORDER BY scored_at DESC LIMIT 1", run_id)
        heartbeat, heartbeat_at = self._noted(run_id, "heartbeat") or (None, None)
        waiting_since = self._waiting_since(run_id)
        recent = self._recent(run_id, now)
        return Summary(
            run_id=run_id,
            counts=counts,
            gone=gone,
            superseded=superseded,
            stalled=stalled,
            sending=self.sending_count(run_id),
            missing=self._count("SELECT COUNT(*) FROM missing WHERE run_id = ?", run_id),
            waiting_since=waiting_since,
            last_scored_at=last[0][0] if last else None,
            recent=len(recent),
            window_s=working_s(recent, now, busy=waiting_since is not None) if recent else WINDOW_S,
            heartbeat=heartbeat,
            heartbeat_at=heartbeat_at,
            identical=self._count(
                "SELECT COUNT(*) FROM tile WHERE run_id = ? AND identical_to IS NOT NULL AND superseded_by IS NULL",
                run_id,
            ),
        )

    def _recent(self, run_id: int, now: float) -> list[float]:
        """When the results came that tell the present rate, the oldest first."""
        found = self._ask(
            "SELECT scored_at FROM result WHERE run_id = ? AND scored_at >= ? ORDER BY scored_at DESC LIMIT ?",
            run_id, now - WINDOW_S, RESULTS,
        )  # fmt: skip
        return [at for (at,) in reversed(found)]

    def _waiting_since(self, run_id: int) -> float | None:
        oldest = [
            self._ask("SELECT seen_at FROM tile WHERE run_id = ? AND queue = ? ORDER BY seen_at LIMIT 1", run_id, queue)
            for queue in WAITING
        ]
        return min((found[0][0] for found in oldest if found), default=None)

    def sending_count(self, run_id: int) -> int:
        """Tiles that a transfer has."""
        return self._count("SELECT COUNT(*) FROM tile WHERE run_id = ? AND queue = 'sending'", run_id)

    def rows(
        self,
        run_id: int,
        *,
        states: Collection[State] | None = None,
        since: float | None = None,
        after: int = 0,
        limit: int | None = None,
        generations: bool = False,
    ) -> Iterator[TileRow]:
        """The rows of a run as of the moment the first is read, by id, a thousand at a time in memory.

        Parameters
        ----------
        states : only these
        since : only tiles with a result from that time on, in the order of their results
        after : only tiles with a higher number
        limit : at most this many
        generations : superseded rows, too
        """
        by_time = since is not None
        conditions = ["r.run_id = ?", "t.tile_id > ?"] if by_time else ["t.run_id = ?"]
        values: list[Any] = [run_id, after] if by_time else [run_id]
        if states is not None:
            conditions.append("t.state IN @texts")
            values.append(listed(sorted(states)))
        if not generations:
            conditions.append("t.superseded_by IS NULL")
        # By key, not by OFFSET: the last page costs as much as the first.
        key = "r.scored_at, r.tile_id" if by_time else "t.tile_id"
        last: tuple[Any, ...] = (since, 0) if by_time else (after,)
        conditions.append(f"({key}) > ({', '.join('?' * len(last))})")
        left = 2**62 if limit is None else limit
        with self._database.snapshot() as database:
            while left > 0:
                n = min(left, ROWS_AT_ONCE)
                sql = f"{TILE_ROWS} WHERE {' AND '.join(conditions)} ORDER BY {key} LIMIT ?"
                page = [tile_row(record) for record in database.execute(sql, (*values, *last, n))]
                yield from page
                if len(page) < n:
                    return
                left -= n
                last = (page[-1].scored_at, page[-1].tile_id) if by_time else (page[-1].tile_id,)

    def superseded(self, run_id: int) -> list[TileRow]:
        """All earlier generations of tiles that were taken again, by id."""
        return self._tiles("t.run_id = ? AND t.superseded_by IS NOT NULL ORDER BY t.tile_id", run_id)

    def places(self, run_id: int) -> tuple[int, list[list[int]]]:
        """The number of places in the grids of a run; and of each that has several tiles, these, the oldest file first.

        The pages of a file are tiles of different places. Tiles whose place is not known do not count.
        """
        count = self._count(f"SELECT COUNT(*) FROM (SELECT DISTINCT {_PLACE} FROM tile WHERE {_PLACED}) AS p", run_id)
        several: dict[int, list[int]] = {}
        for first, tile_id in self._ask(
            f"SELECT first, tile_id FROM (SELECT tile_id, mtime_ns, COUNT(*) OVER (PARTITION BY {_PLACE}) AS n, "
            f"MIN(tile_id) OVER (PARTITION BY {_PLACE}) AS first FROM tile WHERE {_PLACED}) AS p WHERE n > 1 "
            "ORDER BY first, mtime_ns, tile_id",
            run_id,
        ):
            several.setdefault(first, []).append(tile_id)
        return count, list(several.values())

    def makers(self, run_id: int) -> list[tuple[str, str, int]]:
        """Version of mhfd, device, and how many results of the newest generations they made; the most first."""
        found = self._ask(
            "SELECT r.mhfd, r.device, COUNT(*) AS n FROM result AS r JOIN tile AS t ON t.tile_id = r.tile_id "
            "WHERE r.run_id = ? AND t.superseded_by IS NULL GROUP BY r.mhfd, r.device ORDER BY n DESC, 1, 2",
            run_id,
        )
        return [(mhfd, device, int(n)) for mhfd, device, n in found]

    def failed_before(self, tile_ids: Collection[int]) -> set[int]:
        """Those of the tiles that failed earlier: in their last generation, or in an earlier attempt."""
        found = self._ask(
            "SELECT t.tile_id FROM tile AS t WHERE t.tile_id IN @ids AND (EXISTS (SELECT 1 FROM tile AS o "
            "WHERE o.folder_id = t.folder_id AND o.name = t.name AND o.page IN (0, t.page) "
            "AND o.generation = t.generation - 1 AND o.state = 'failed') OR EXISTS (SELECT 1 FROM attempt AS a "
            "WHERE a.tile_id = t.tile_id AND a.attempt < t.attempts AND a.outcome = 'failed'))",
            listed(tile_ids),
        )
        return {tile_id for (tile_id,) in found}

    def positions(self, run_id: int) -> Iterator[Position]:
        """The positions of all tiles seen so far, gone ones included."""
        last = 0
        with self._database.snapshot() as database:
            while page := database.execute(
                f"SELECT tile_id, {', '.join(POSITION)} FROM tile WHERE run_id = ? AND tile_id > ? AND page = 0 "
                "AND superseded_by IS NULL ORDER BY tile_id LIMIT ?",
                (run_id, last, ROWS_AT_ONCE),
            ):
                for tile_id, *numbers in page:
                    last = tile_id
                    if (position := position_of(*numbers)) is not None:
                        yield position

    def unknown(self, run_id: int, paths: Collection[str]) -> list[str]:
        """The files among `paths` never seen."""
        folders: dict[str, set[str]] = {}
        for path in paths:
            folder, name = parted(path)
            folders.setdefault(folder, set()).add(name)
        return [
            f"{folder}/{name}" if folder else name
            for folder, names in folders.items()
            for name in sorted(names - self._known_names(run_id, folder, sorted(names)))
        ]

    def _known_names(self, run_id: int, folder: str, names: list[str]) -> set[str]:
        return {
            name
            for start in range(0, len(names), NAMES_AT_ONCE)
            for (name,) in self._ask(
                "SELECT t.name FROM folder AS f JOIN tile AS t ON t.folder_id = f.folder_id WHERE f.run_id = ? "
                "AND f.path = ? AND t.name IN @texts AND t.page = 0",
                run_id, folder, listed(names[start : start + NAMES_AT_ONCE]),
            )
        }  # fmt: skip

    def _count(self, sql: str, *values: Any) -> int:
        return int(self._ask(sql, *values)[0][0])
