"""Results -> alerts: tiles are judged as they come, and what goes wrong with the run itself becomes an event."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice

from mhfd.text import counted
from mhfd_client.config import AlertSettings
from mhfd_client.judge.alerts import Alert, Alerts, News
from mhfd_client.judge.events import EventBook
from mhfd_client.ledger import Ledger, Summary
from mhfd_client.notify.words import clock as clock_time
from mhfd_client.pipeline.context import Bell, Results
from mhfd_client.pipeline.notices import Board

log = logging.getLogger(__name__)

LOOK_S = 5.0
REST = 3.0
"""So many times as long as the judge last worked it rests, while results gather: many at once cost little more."""

MOST_REST_S = 2.0
AT_ONCE = 2000
"""Results judged together; between two such lots what was said is told."""

WAITING = 50_000
"""Results that wait for the judge; where there are more, the run is judged as a whole, from the ledger."""

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
        self._news: deque[News] = deque()  # of a result only what the judge cannot find in the ledger
        self._behind = False  # more came than is kept here: all is judged from the ledger
        self._lock = threading.Lock()
        self._rest_until_s = 0.0  # monotonic
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
            self._news.extend(News.of(row, result) for row, result in results)
            if len(self._news) > WAITING:
                self._behind = True
                self._news = deque(each for each in self._news if each.message is not None)
        self.bell.ring()

    def step(self) -> float:
        """Judge what has come, by the thresholds of now, and look at the run; the seconds until the next look."""
        if not self._started:
            self._start()
            self._started = True
        if (rest_s := self._rest_until_s - time.monotonic()) > 0:  # woken while it rests
            return rest_s
        self._say(self._alerts.renew())
        begun_s = time.monotonic()
        if self._judge():
            ended_s = time.monotonic()
            self._rest_until_s = ended_s + min(REST * (ended_s - begun_s), MOST_REST_S)
        self._look()
        return max(0.0, self._rest_until_s - time.monotonic()) if self._news else LOOK_S

    def finish(self) -> None:
        """At the end of the run: all is judged once more, and sharp tiles are kept for later runs."""
        while self._judge():
            pass
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

    def _judge(self) -> bool:
        """Judge some of what has come; False where there is nothing."""
        with self._lock:
            news, behind = list(islice(self._news, AT_ONCE)), self._behind
            self._behind = False
        if not news and not behind:
            return False
        try:
            self._say([*self._alerts.add(news), *(self._alerts.settle() if behind else ())])
        except BaseException:
            self._behind |= behind
            raise
        self._heard |= behind or any(each.message is None for each in news)
        with self._lock:  # only now: if the ledger was full, they are judged later
            judged = set(news)
            while self._news and self._news[0] in judged:
                self._news.popleft()
        return True

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
            text = f"endpoint '{self._endpoint}' does not answer since {clock_time(notice.since)}: {notice.text}"
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
