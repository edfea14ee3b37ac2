"""Live tiles that wait for an endpoint: what an archive gives way to."""

from __future__ import annotations

import logging
import time
from collections import Counter
from pathlib import Path

from mhfd_client.judge.standing import watcher_lives
from mhfd_client.ledger import LedgerError, open_ledger

log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0


class LiveTiles:
    """The tiles that wait in this machine's ledger, by endpoint; only those of runs that somebody watches.

    Parameters
    ----------
    where : the ledger, which need not exist
    """

    def __init__(self, where: str | Path) -> None:
        self._where = where
        self._looked_s = float("-inf")
        self._waiting: Counter[str] = Counter()

    def __call__(self, endpoint: str) -> int:
        """How many wait for it, as of the last seconds."""
        if time.monotonic() >= self._looked_s + LOOK_EVERY_S:
            self._waiting = self._look()
            self._looked_s = time.monotonic()
        return self._waiting[endpoint]

    def _look(self) -> Counter[str]:
        waiting: Counter[str] = Counter()
        if "://" not in str(self._where) and not Path(self._where).exists():
            return waiting
        try:
            with open_ledger(self._where, readonly=True) as ledger:
                for run in ledger.runs():
                    found = ledger.summary(run.run_id)
                    if watcher_lives(found.heartbeat, found.heartbeat_at, time.time()):
                        waiting[run.endpoint] += found.to_do
        except LedgerError as error:
            log.info("live tiles are not known: %s", error)
        return waiting
