"""What verdicts need beyond a run's own tiles: its thresholds, and sharp tiles that earlier runs left behind."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mhfd_client.ledger.core import Core, dumps
from mhfd_client.ledger.model import Json

_KEPT = "SELECT instrument, setting, tiles, kept_at, run_id, json FROM reference"


@dataclass(frozen=True)
class KeptReference:
    """Sharp tiles of one setting of an instrument, as numbers.

    Attributes
    ----------
    instrument : whose tiles: a profile's name, or the name it was kept under
    setting : what makes tiles comparable, as text (`mhfd.judge.Setting`)
    tiles : how many it was made of
    kept_at : Unix seconds
    run_id : the run that they belong to; None where that is not known
    reference : `mhfd.judge.Reference.to_dict()`
    """

    instrument: str
    setting: str
    tiles: int
    kept_at: float
    run_id: int | None
    reference: Json


class References(Core):
    """The part of `Ledger` that keeps thresholds and references."""

    def set_rule(self, run_id: int, rule: Json, now: float) -> None:
        """Store how a run is judged: thresholds by name, and the instrument whose references count."""
        self._note(run_id, "verdict", rule, now)

    def rule(self, run_id: int) -> Json:
        """What `set_rule` stored; empty if nothing was."""
        noted = self._noted(run_id, "verdict")
        return noted[0] if noted else {}

    def keep_reference(self, kept: KeptReference) -> None:
        """Store a reference, in place of that of the same instrument and setting."""
        with self.transaction():
            self._do("DELETE FROM reference WHERE instrument = ? AND setting = ?", kept.instrument, kept.setting)
            self._do(
                "INSERT INTO reference (instrument, setting, tiles, kept_at, run_id, json) VALUES (?, ?, ?, ?, ?, ?)",
                kept.instrument, kept.setting, kept.tiles, kept.kept_at, kept.run_id, dumps(kept.reference),
            )  # fmt: skip

    def references(self, instrument: str | None = None) -> list[KeptReference]:
        """All references, or those of one instrument, the newest first."""
        which, values = ("", ()) if instrument is None else (" WHERE instrument = ?", (instrument,))
        found = self._ask(f"{_KEPT}{which} ORDER BY kept_at DESC, instrument, setting", *values)
        return [
            KeptReference(name, setting, tiles, kept_at, run_id, json.loads(text))
            for name, setting, tiles, kept_at, run_id, text in found
        ]

    def forget_references(self, instrument: str, setting: str | None = None) -> int:
        """Remove an instrument's references, or that of one setting; how many those were.

        Raises
        ------
        LedgerError
            There is none.
        """
        return self._forget_kept("reference", instrument, setting)
