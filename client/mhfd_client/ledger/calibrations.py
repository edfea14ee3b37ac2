"""What focal series taught about an instrument: how blur becomes micrometres."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mhfd_client.ledger.core import Core, dumps
from mhfd_client.ledger.model import Json


@dataclass(frozen=True)
class KeptCalibration:
    """The calibration of one setting of an instrument.

    Attributes
    ----------
    instrument : a profile's name, or the name it was kept under
    setting : what makes tiles comparable, as text (`mhfd.judge.Setting`)
    kept_at : Unix seconds
    calibration : as JSON
    """

    instrument: str
    setting: str
    kept_at: float
    calibration: Json


class Calibrations(Core):
    """The part of `Ledger` that keeps calibrations."""

    def keep_calibration(self, kept: KeptCalibration) -> None:
        """Store a calibration, in place of that of the same instrument and setting."""
        self._do(
            "INSERT INTO calibration (instrument, setting, kept_at, json) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (instrument, setting) DO UPDATE SET kept_at = excluded.kept_at, json = excluded.json",
            kept.instrument, kept.setting, kept.kept_at, dumps(kept.calibration),
        )  # fmt: skip

    def calibrations(self, instrument: str | None = None) -> list[KeptCalibration]:
        """All calibrations, or those of one instrument, the newest first."""
        which, values = ("", ()) if instrument is None else (" WHERE instrument = ?", (instrument,))
        found = self._ask(
            f"SELECT instrument, setting, kept_at, json FROM calibration{which} "
            "ORDER BY kept_at DESC, instrument, setting",
            *values,
        )
        return [KeptCalibration(name, setting, kept_at, json.loads(text)) for name, setting, kept_at, text in found]

    def forget_calibrations(self, instrument: str, setting: str | None = None) -> int:
        """Remove an instrument's calibrations, or that of one setting; how many those were.

        Raises
        ------
        LedgerError
            There is none.
        """
        return self._forget_kept("calibration", instrument, setting)
