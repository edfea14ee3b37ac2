"""The heartbeat: what `mhfd status` shows of the process that watches."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable

from mhfd_client.ledger import Json, LedgerBusyError, LedgerError, LedgerGoneError
from mhfd_client.pipeline.context import Context

HEARTBEAT_S = 5.0


class Heart:
    """Writes a heartbeat into the ledger every few seconds.

    Parameters
    ----------
    look : returns the state of the steps, as keys of the heartbeat
    """

    def __init__(self, context: Context, look: Callable[[], Json]) -> None:
        self._context = context
        self._look = look
        self._started_at = time.time()
        self._last_s = 0.0

    def beat(self, *, ended: bool = False) -> None:
        """Write a heartbeat if one is due, or if the watch has `ended`.

        Raises
        ------
        LedgerGoneError
            The ledger was deleted or replaced.
        LedgerBusyError
            The database was out of reach, and another process has taken over the run.
        """
        now_s = time.monotonic()
        if not ended and now_s < self._last_s + HEARTBEAT_S:
            return
        self._last_s = now_s
        board = self._context.board
        status = {
            "pid": os.getpid(),
            "host": platform.node(),
            "started_at": self._started_at,
            "ended": ended,
            **self._look(),
            **self._pace(),
            "signed_in_until": board.signed_in_until,
            "queued_since": None if (queue := board.notice("queue")) is None else queue.since,
            "notices": [{"text": notice.text, "since": notice.since} for notice in board.notices()],
        }
        try:
            self._context.ledger.heartbeat(self._context.run.run_id, status, time.time())
        except (LedgerBusyError, LedgerGoneError):
            raise
        except Exception as error:  # a full disk, say: the steps report it; the watch goes on
            board.put("heartbeat", f"the ledger cannot be written: {error}")
        else:
            board.clear("heartbeat")

    def _pace(self) -> Json:
        """What is to do, and how fast it is done; nothing where the ledger cannot be read, which the beat will tell."""
        try:
            summary = self._context.ledger.summary(self._context.run.run_id)
        except LedgerError:
            return {}
        return {"to_do": summary.to_do, "per_minute": round(summary.per_minute, 2), "eta_s": summary.eta_s}
