"""Runs that are taken out of the ledger."""

from __future__ import annotations

from mhfd_client.ledger.core import Core, listed

AT_ONCE = 1000  # tiles of one transaction: a watch of another run waits no longer than for its own
ROW_BYTES = 700  # of a tile beside its result's JSON, indexes included, roughly


class Forgetting(Core):
    """The part of `Ledger` that removes runs."""

    def run_bytes(self, run_id: int) -> int:
        """About how much room a run takes."""
        ((tiles, text),) = self._ask(
            "SELECT COUNT(*), COALESCE(SUM(LENGTH(r.json)), 0) FROM tile AS t "
            "LEFT JOIN result AS r ON r.tile_id = t.tile_id WHERE t.run_id = ?",
            run_id,
        )
        return int(tiles) * ROW_BYTES + int(text)

    def forget_run(self, run_id: int) -> None:
        """Remove a run with all that is known of it; what it left in `reference` and `calibration` stays.

        In parts: after a kill in between, a second call removes the rest. Hold the run's lease meanwhile.
        """
        while tile_ids := [tile_id for (tile_id,) in self._ask(
            "SELECT tile_id FROM tile WHERE run_id = ? ORDER BY tile_id LIMIT ?", run_id, AT_ONCE
        )]:  # fmt: skip
            with self.transaction():
                for table in ("attempt", "result", "said", "decision", "tile"):
                    self._do(f"DELETE FROM {table} WHERE tile_id IN @ids", listed(tile_ids))
        with self.transaction():
            self._do("DELETE FROM delivery WHERE event_id IN (SELECT event_id FROM event WHERE run_id = ?)", run_id)
            self._do("UPDATE reference SET run_id = NULL WHERE run_id = ?", run_id)
            for table in ("event", "missing", "note", "folder", "counter", "run"):
                self._do(f"DELETE FROM {table} WHERE run_id = ?", run_id)
