"""For who follows a run: what has changed since the last look, and all of its tiles in few numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

from mhfd_client.ledger.core import POSITION, Core, position_of
from mhfd_client.naming.position import Position

_BRIEFS = f"""
    SELECT t.tile_id, t.state, {", ".join(f"t.{each}" for each in POSITION)}, t.mtime_ns, r.scored_at, r.focus_score,
        r.content
    FROM tile AS t
    LEFT JOIN result AS r ON r.tile_id = t.tile_id
    WHERE t.superseded_by IS NULL"""
"""In the order of `Brief`."""

NO_TIME = (-1.0, 0)
"""Before any result: (time, tile)."""

TIMINGS_AT_ONCE = 5000


@dataclass(frozen=True)
class Marks:
    """How far a run has come. Two that are equal: no tile, result, decision or note came in between.

    Attributes
    ----------
    tiles : rows by state, and of these those gone, stalled, superseded
    last_tile, last_decision : the highest numbers
    last_result : when the last result came, and of which tile
    noted_at : when the run's thresholds and its numbers by verdict were stored
    """

    tiles: tuple[tuple[str, int, int, int, int], ...]
    last_tile: int
    last_decision: int
    last_result: tuple[float, int]
    noted_at: tuple[tuple[str, float], ...]

    @property
    def superseded(self) -> int:
        return sum(n for _, _, _, is_superseded, n in self.tiles if is_superseded)


class Brief(NamedTuple):
    """A tile in few numbers: what can be read of 10^5 of them at once, hence no dataclass.

    Attributes
    ----------
    section, grid, row, col, tile : as in `Position`
    mtime_ns : of its file
    scored_at, focus_score, content : None without a result
    """

    tile_id: int
    state: str
    section: int | None
    grid: int | None
    row: int | None
    col: int | None
    tile: int | None
    mtime_ns: int
    scored_at: float | None
    focus_score: float | None
    content: float | None

    @property
    def cell(self) -> tuple[int | None, int | None, int | None, int | None]:
        """As `Position.cell`."""
        return self.grid, self.row, self.col, self.tile

    @property
    def position(self) -> Position | None:
        """None where the name told nothing."""
        return position_of(self.section, *self.cell)

    @property
    def taken(self) -> tuple[int, int, int]:
        """What orders the tiles of a run: section, time of the file, number in the ledger."""
        return -1 if self.section is None else self.section, self.mtime_ns, self.tile_id


@dataclass(frozen=True)
class Timing:
    """When a result came, and how long it took.

    Attributes
    ----------
    mtime_ns : when the file was written
    kernel_ms, copy_ms : as the worker measured them; None where it did not
    """

    tile_id: int
    scored_at: float
    mtime_ns: int
    kernel_ms: float | None
    copy_ms: float | None


class Following(Core):
    """The part of `Ledger` for who follows a run."""

    def marks(self, run_id: int) -> Marks:
        """How far the run has come; fast for a run of any length."""
        counters = self._ask(
            "SELECT state, gone, stalled, superseded, n FROM counter WHERE run_id = ? AND n <> 0 ORDER BY 1, 2, 3, 4",
            run_id,
        )
        ((tile, decision),) = self._ask(
            "SELECT (SELECT MAX(tile_id) FROM tile WHERE run_id = ?), "
            "(SELECT MAX(decision_id) FROM decision WHERE run_id = ?)",
            run_id, run_id,
        )  # fmt: skip
        last = self._ask(
            "SELECT scored_at, tile_id FROM result WHERE run_id = ? ORDER BY scored_at DESC, tile_id DESC LIMIT 1",
            run_id,
        )
        notes = self._ask(
            "SELECT kind, noted_at FROM note WHERE run_id = ? AND kind IN ('verdict', 'verdicts') ORDER BY kind", run_id
        )
        return Marks(
            tiles=tuple(
                (state, int(gone), int(stalled), int(old), int(n)) for state, gone, stalled, old, n in counters
            ),
            last_tile=tile or 0,
            last_decision=decision or 0,
            last_result=(last[0][0], last[0][1]) if last else NO_TIME,
            noted_at=tuple((kind, at) for kind, at in notes),
        )

    def briefs(self, run_id: int, *, after: int = 0) -> list[Brief]:
        """The newest generation of each tile, by number.

        Parameters
        ----------
        after : only tiles with a higher number
        """
        found = self._ask(f"{_BRIEFS} AND t.run_id = ? AND t.tile_id > ? ORDER BY t.tile_id", run_id, after)
        return list(map(Brief._make, found))

    def briefs_scored_since(self, run_id: int, last: tuple[float, int]) -> list[Brief]:
        """The tiles whose result came after one, which is told by its time and its tile; in that order."""
        found = self._ask(
            f"{_BRIEFS} AND r.run_id = ? AND (r.scored_at, r.tile_id) > (?, ?) ORDER BY r.scored_at, r.tile_id",
            run_id, *last,
        )  # fmt: skip
        return list(map(Brief._make, found))

    def superseded_ids(self, run_id: int) -> set[int]:
        """The tiles that were taken again."""
        found = self._ask("SELECT tile_id FROM tile WHERE run_id = ? AND superseded_by IS NOT NULL", run_id)
        return {tile_id for (tile_id,) in found}

    def timings_after(self, run_id: int, last: tuple[float, int], limit: int = TIMINGS_AT_ONCE) -> list[Timing]:
        """The timings of the results that came after one, the oldest first."""
        found = self._ask(
            "SELECT r.tile_id, r.scored_at, t.mtime_ns, r.json FROM result AS r "
            "JOIN tile AS t ON t.tile_id = r.tile_id WHERE r.run_id = ? AND (r.scored_at, r.tile_id) > (?, ?) "
            "ORDER BY r.scored_at, r.tile_id LIMIT ?",
            run_id, *last, limit,
        )  # fmt: skip
        return [_timing(*record) for record in found]


def _timing(tile_id: int, scored_at: float, mtime_ns: int, text: str) -> Timing:
    told = json.loads(text).get("timing_ms") or {}
    return Timing(tile_id, scored_at, mtime_ns, told.get("kernel"), told.get("copy"))
