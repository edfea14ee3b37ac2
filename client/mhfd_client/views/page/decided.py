"""The decisions that count, by tile: as `mhfd retakes` has them, also for files that were touched since."""

from __future__ import annotations

from dataclasses import replace

from mhfd_client.judge.retakes import decisions_that_count
from mhfd_client.ledger import Decision, Ledger, TileRow


class Decided:
    """The decisions of one run; the follower's thread looks, any may read."""

    def __init__(self, ledger: Ledger, run_id: int) -> None:
        self._ledger, self._run_id = ledger, run_id
        self._known: dict[int, Decision] = {}
        self.waits = False  # a tile that was decided about is there anew, and its pixels are not known yet

    def of(self, n: int) -> Decision | None:
        """The decision about a tile that counts."""
        return self._known.get(n)

    def all(self) -> list[Decision]:
        return list(self._known.values())

    def look(self) -> list[Decision]:
        """Read them; those that are new."""
        decisions = self._ledger.decisions(self._run_id)
        if not decisions:
            return []
        counting = decisions_that_count(self._ledger, self._run_id)
        rows = self._ledger.get({each.tile_id for each in decisions})
        anew = [row for each in rows if each.superseded_by is not None for row in self._newest(each)]
        self.waits = any(row.result is None for row in anew)
        found = {
            row.tile_id: replace(decision, tile_id=row.tile_id)
            for row in (*rows, *anew)
            if (decision := counting(row)) is not None
        }
        new = [decision for n, decision in found.items() if self._known.get(n) != decision]
        self._known = found
        return new

    def _newest(self, row: TileRow) -> list[TileRow]:
        return [each for each in self._ledger.pages(self._run_id, row.path) if each.page == row.page]
