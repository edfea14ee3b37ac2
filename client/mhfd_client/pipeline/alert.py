"""Results -> alerts: tiles are judged as they come, and what goes wrong with the run itself becomes an event."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from mhfd.text import counted
from mhfd_client.config import AlertSettings
from mhfd_client.judge.alerts import Alert, Alerts
from mhfd_client.judge.events import EventBook
from mhfd_client.ledger import Ledger, Summary
from mhfd_client.notify.words import clock as clock_time
from mhfd_client.pipeline.context import Bell, Results
from mhfd_client.pipeline.notices import Board

log = logging.getLogger(__name__)

LOOK_S = 5.0
SIGN_IN_EVERY_S = 600.0
STANDING_TOLD = 20
"""Tiles that a watch names when it starts again; it counts the others."""

MISSING_NAMED = 3


class AlertStep:
    """Judges what was stored, and looks after the run; in a thread of its own.

    Parameters
    ----------
    tell : receives each sentence for the terminal
    signed_in_until : when the sign-in ends; None where that is not known
    """

    name = "alert"

    def __init__(
        self,
        ledger: Ledger,
        run_id: int,
        alerts: Alerts,
        book: EventBook,
        board: Board,
        *,
        endpoint: str,
        tell: Callable[[str], None],
        signed_in_until: Callable[[], float | None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger, self._run_id, self._alerts, self._book = ledger, run_id, alerts, book
        self._board, self._endpoint, self._tell = board, endpoint, tell
        self._signed_in_until, self._clock = signed_in_until, clock
        self._results: list[Results] = []
        self._lock = threading.Lock()
        self._started = False
        self._since = self._new_tile_at = clock()
        self._tiles: int | None = None
        self._heard = False  # a tile was scored: the endpoint works
        self._sign_in_at = 0.0
        self.bell = Bell()

    @property
    def _rules(self) -> AlertSettings:
        return self._book.rules

    def put(self, results: Results) -> None:
        """Take rows that were stored; any thread may call it."""
        with self._lock:
            self._results.append(results)
        self.bell.ring()

    def step(self) -> float:
        """Judge what has come, by the thresholds of now, and look at the run; the seconds until the next look."""
        if not self._started:
            self._start()
            self._started = True
        self._say(self._alerts.renew())
        self._judge()
        self._look()
        return LOOK_S

    def finish(self) -> None:
        """At the end of the run: all is judged once more, and sharp tiles are kept for later runs."""
        self._judge()
        self._say(self._alerts.settle())
        self._alerts.keep()

    # --- Tiles ------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        for sentence in self._book.standing():
            log.warning("%s", sentence, extra={"on_screen": True})
            self._tell(sentence)
        found = self._alerts.start()
        standing = [alert for alert in found if alert.standing]
        self._say(standing[-STANDING_TOLD:])
        if (more := len(standing) - STANDING_TOLD) > 0:
            self._tell(f"and {counted(more, 'more tile')} to look at: `mhfd retakes` lists them")
        self._say(alert for alert in found if not alert.standing)

    def _judge(self) -> None:
        with self._lock:
            batches = list(self._results)
        if not batches:
            return
        self._say(self._alerts.add([result for batch in batches for result in batch]))
        self._heard |= any(result.error is None for batch in batches for _, result in batch)
        with self._lock:  # only now: if the ledger was full, they are judged later
            del self._results[: len(batches)]

    def _say(self, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            log.warning("%s", alert, extra={"on_screen": True, "fields": {"tile": alert.as_json()}})
            self._tell(alert.line)

    # --- The run ----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        now, summary = self._clock(), self._ledger.summary(self._run_id)
        self._look_at_missing(summary)
        self._look_at_endpoint(now)
        self._look_at_sign_in(now)
        self._look_at_silence(now, summary)

    def _look_at_missing(self, summary: Summary) -> None:
        if not summary.missing:
            self._book.end("missing", "no tile is missing any more")
            return
        first = self._ledger.missing(self._run_id, MISSING_NAMED)
        names = [each.name or f"{each.position}" for each in first]
        more = f" and {summary.missing - len(names)} more" if summary.missing > len(names) else ""
        is_are = counted(summary.missing, "tile is missing", "tiles are missing")
        self._book.begin("missing", f"{is_are}: {'; '.join(names)}{more}", count=summary.missing)

    def _look_at_endpoint(self, now: float) -> None:
        notice = self._board.notice("endpoint")
        if notice is not None and now - notice.since >= self._rules.endpoint_s:
            text = f"endpoint '{self._endpoint}' has been away since {clock_time(notice.since)}: {notice.text}"
            self._book.begin("endpoint", text, self._endpoint)
        elif notice is None and (self._heard or now - self._since >= self._rules.endpoint_s):
            self._book.end("endpoint", f"endpoint '{self._endpoint}' is back", self._endpoint)

    def _look_at_sign_in(self, now: float) -> None:
        if now < self._sign_in_at:
            return
        self._sign_in_at = now + SIGN_IN_EVERY_S
        until = self._board.signed_in_until = self._signed_in_until()
        if until is None or until - now > self._rules.sign_in_s:
            self._book.end("sign_in", "the sign-in to Globus is valid again")
            return
        ends = "has ended" if until <= now else "ends"
        self._book.begin("sign_in", f"the sign-in to Globus {ends} {clock_time(until)}: sign in again", until=until)

    def _look_at_silence(self, now: float, summary: Summary) -> None:
        if not self._rules.silence_s:
            return
        tiles = sum(summary.counts.values()) + summary.gone + summary.superseded
        if tiles != self._tiles:
            if self._tiles is not None:
                self._book.end("silence", "new tiles come again")
                self._new_tile_at = now
            self._tiles = tiles
        elif now - self._new_tile_at >= self._rules.silence_s:
            self._book.begin("silence", f"no new tile since {clock_time(self._new_tile_at)}")
