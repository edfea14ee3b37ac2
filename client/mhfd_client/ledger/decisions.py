"""What people decided about tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from mhfd_client.ledger.core import Core
from mhfd_client.ledger.model import LedgerError

Choice = Literal["open", "retake", "accept", "ignore"]


@dataclass(frozen=True)
class Decision:
    """One decision about a tile; the newest one counts.

    Attributes
    ----------
    who : a name; None where nobody gave one
    decided_at : Unix seconds
    """

    tile_id: int
    decision: Choice
    who: str | None
    decided_at: float
    note: str | None = None


class Decisions(Core):
    """The part of `Ledger` that keeps decisions."""

    def decide(self, run_id: int, decision: Decision) -> None:
        """Store a decision. Earlier ones are kept: an undo is a decision too.

        Raises
        ------
        LedgerError
            There is no such decision, or the run has no such tile.
        """
        if decision.decision not in get_args(Choice):
            raise LedgerError(f"'{decision.decision}' is no decision; there are: {', '.join(get_args(Choice))}")
        with self.transaction():
            if not self._ask("SELECT 1 FROM tile WHERE run_id = ? AND tile_id = ?", run_id, decision.tile_id):
                raise LedgerError(f"run {run_id} has no tile number {decision.tile_id}")
            self._do(
                "INSERT INTO decision (run_id, tile_id, decision, who, decided_at, note) VALUES (?, ?, ?, ?, ?, ?)",
                run_id, decision.tile_id, decision.decision, decision.who, decision.decided_at, decision.note,
            )  # fmt: skip

    def decisions(self, run_id: int, *, tile_id: int | None = None) -> list[Decision]:
        """All decisions of a run, or about one tile, the oldest first."""
        which, values = ("", ()) if tile_id is None else (" AND tile_id = ?", (tile_id,))
        found = self._ask(
            "SELECT tile_id, decision, who, decided_at, note FROM decision WHERE run_id = ?"
            f"{which} ORDER BY decision_id",
            run_id, *values,
        )  # fmt: skip
        return [Decision(*record) for record in found]
