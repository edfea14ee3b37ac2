"""Rows as they come in -> tiles to look at now, corrections of what was said of earlier ones, and how the run goes.

A verdict compares a tile with the sharp ones of its run, so it may change when more of them are there. After new rows
the run is judged again, by the function that `mhfd export` has (run.py): at the end both say the same. What was said is
in the ledger, so a process that ends, however, leaves the next one nothing to guess.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median

from mhfd.contract import FocusResult, Verdict
from mhfd.judge import Reference, references_of
from mhfd.judge.trend import Share, Trend, counts, followed
from mhfd_client.config import AlertSettings
from mhfd_client.judge.events import Entry, EventBook
from mhfd_client.judge.run import SCORED, Tile, judge_run, judged_keys, keep, standard_of, tile_of
from mhfd_client.judge.standing import renew_word
from mhfd_client.judge.usual import Alike
from mhfd_client.judge.words import TO_LOOK_AT, blur_in_words, size_in_words
from mhfd_client.ledger import Json, Ledger, Said, TileRow
from mhfd_client.naming.position import Position

log = logging.getLogger(__name__)

SAID = 100_000  # tiles that something was said of, remembered
AT_ONCE = 500  # a run with more scored tiles is judged as a whole only when it has grown by a share,
GROWTH = 0.02  # this one,
SHARE_OF_TIME = 10  # and when so many times as long has passed as that took last; and at the end. Until then
NEAR = 200  # new tiles are judged beside so many before them, and by the run's reference
LAST = 5  # tiles whose median blur an event names


@dataclass(frozen=True, slots=True)
class News:
    """A result that was stored, as far as the judge does not look it up; message: of a failed tile, else None."""

    tile_id: int
    name: str
    position: Position | None
    message: str | None

    @classmethod
    def of(cls, row: TileRow, result: FocusResult) -> News:
        return cls(row.tile_id, row.name, row.position, result.error.message if result.error else None)


@dataclass(frozen=True)
class Alert:
    """One thing to say of a tile.

    Attributes
    ----------
    was : the verdict that was said of it before; None if nothing was
    detail : how blurred it is, and where
    message : of a failed tile
    position : None where the name tells none
    limit : "threshold 1.1 px": the blur beyond which a tile is flagged; "" where no blur is known
    usual : "0.3 px (1 nm)": the median blur of the sharp tiles before it; "" where that is not known
    reference : what it was compared with
    numbers : blur_px, blur_nm, usual_px, where they are known
    at : when this was found, Unix seconds
    retaken : other pixels than those of which something was said before
    standing : an earlier process has said so already
    """

    path: str
    verdict: Verdict
    was: Verdict | None = None
    focus_score: float | None = None
    detail: str = ""
    message: str | None = None
    position: Position | None = None
    limit: str = ""
    usual: str = ""
    reference: str | None = None
    numbers: Json = field(default_factory=dict)
    at: float = 0.0
    retaken: bool = False
    standing: bool = False

    def __str__(self) -> str:
        """What, which tile, where it is, and why: "out of focus: a.tif (section 3, row 0, col 1: blur 2.9 px, ...)"."""
        where = str(self.position) if self.position else ""
        if self.verdict == "failed":
            return f"{self._what}: {self.path}{f' ({where})' if where else ''}: {self.message}"
        why = ", ".join(self._why())
        return f"{self._what}: {self.path} ({where}{': ' if where and why else ''}{why})"

    @property
    def _is_only_scored(self) -> bool:
        """True for a tile that failed before, and that there are too few tiles yet to compare with."""
        return self.was == "failed" and self.verdict == "cannot_tell"

    @property
    def _what(self) -> str:
        verdict = "scored" if self._is_only_scored else self.verdict.replace("_", " ")
        return f"{'still ' if self.standing else 'now ' if self.was is not None else ''}{verdict}"

    def _why(self) -> Iterator[str]:
        if self.retaken:
            yield "taken again"
        if self.was is not None:
            yield f"was {self.was.replace('_', ' ')}"
        if self._is_only_scored:
            return
        if self.detail:
            yield self.detail
            if self.limit:
                yield self.limit
            if self.usual:
                yield f"usual here {self.usual}"
        if self.focus_score is not None:
            yield f"focus score {self.focus_score:.3g}"
        if self.reference:
            yield f"compared with {self.reference}"

    @property
    def line(self) -> str:
        """The sentence with the time, local, at which this was found."""
        return f"{time.strftime('%H:%M:%S', time.localtime(self.at))} {self}"

    def as_json(self) -> Json:
        """For the log, as plain JSON types."""
        return {
            "name": self.path, "verdict": self.verdict, "was": self.was, "detail": self.detail, "usual": self.usual,
            "limit": self.limit, "reference": self.reference, "focus_score": self.focus_score, "message": self.message,
            "position": asdict(self.position) if self.position else None, "retaken": self.retaken,
            "standing": self.standing,
            **self.numbers,
        }  # fmt: skip


@dataclass(frozen=True)
class _Word:
    """What was said last of a tile.

    Attributes
    ----------
    tile_sha256 : of which pixels; None: it failed
    event_id : of the bundle that told it on channels
    details : as in `Said`
    """

    tile_id: int
    verdict: Verdict
    tile_sha256: str | None
    event_id: int | None
    details: Json

    @classmethod
    def of(cls, said: Said) -> _Word:
        verdict: Verdict = said.verdict  # type: ignore[assignment]  # what `_remember` stored
        return cls(said.tile_id, verdict, said.tile_sha256, said.details.get("event"), said.details)


@dataclass(frozen=True)
class _Found:
    """An alert, and what the ledger keeps of it."""

    alert: Alert
    tile_id: int
    tile_sha256: str | None
    details: Json


class Alerts:
    """Judges the tiles of one run; any thread may call it.

    Parameters
    ----------
    book : where the run's events go; by default nobody is told of them
    """

    def __init__(
        self,
        ledger: Ledger,
        run_id: int,
        book: EventBook | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger, self._run_id, self._clock = ledger, run_id, clock
        self._book = book or EventBook(ledger, run_id, AlertSettings(), clock=clock)
        self._rule = ledger.rule(run_id)
        self._standard = standard_of(ledger, run_id)
        self._said: OrderedDict[str, _Word] = OrderedDict()
        self._count = self._added = 0  # scored tiles when the run was last judged as a whole, and those since
        self._again_s = 0.0  # not judged as a whole before, monotonic
        self._near: deque[Tile] = deque(maxlen=NEAR)
        self._references: list[Reference] = []  # the run's own
        self._trend, self._share = Trend(), Share(self._book.rules.k, self._book.rules.n)
        self._lock = threading.Lock()
        self._recall()

    @property
    def trend(self) -> Trend:
        return self._trend

    def start(self) -> list[Alert]:
        """What an earlier process said that still holds, what it did not come to say, and what has changed since."""
        with self._lock:
            rows = {row.tile_id: row for row in self._ledger.get([word.tile_id for word in self._said.values()])}
            standing = [self._again(name, word, rows.get(word.tile_id)) for name, word in self._said.items()]
            found = self._judge_all() if self._has_results() else []
            changed = {alert.path for alert in found}
            return [*(alert for alert in standing if alert.path not in changed), *found]

    def add(self, news: Sequence[News]) -> list[Alert]:
        """What to say now that these results are stored. If the ledger is full, the same call works later."""
        with self._lock:
            alerts = self._remember([self._failed(each, each.message) for each in news if each.message is not None])
            failed_before = self._ledger.failed_before([each.tile_id for each in news])
            scored = [each for each in news if each.message is None]
            for each in scored:
                if each.tile_id in failed_before and each.name not in self._said:  # by a mhfd that remembered nothing
                    self._said[each.name] = _Word(each.tile_id, "failed", None, None, {})
            return alerts + (self._judge([each.tile_id for each in scored]) if scored else [])

    def renew(self) -> list[Alert]:
        """What to say since the run's thresholds were changed, as somebody may on its page; nothing if they were not.

        If the ledger is full, the same call works later.
        """
        with self._lock:
            rule = self._ledger.rule(self._run_id)
            if rule == self._rule:
                return []
            self._standard = standard_of(self._ledger, self._run_id)
            found = self._judge_all() if self._has_results() else []
            self._rule = rule
            return found

    def settle(self) -> list[Alert]:
        """What to say at the end of a run: it is judged once more."""
        with self._lock:
            return self._judge_all()

    def keep(self) -> None:
        """Keep the sharp tiles of the run for later ones, as it was judged last."""
        keep(self._ledger, self._run_id, self._standard.instrument, self._references)

    # --- What was said ----------------------------------------------------------------------------------------------

    def _recall(self) -> None:
        for said in reversed(self._ledger.said(self._run_id, generations=True)):  # the last word on a name counts
            name = str(said.details.get("name", ""))
            self._said.pop(name, None)
            if name and said.verdict in TO_LOOK_AT:
                self._keep(name, _Word.of(said))

    def _keep(self, name: str, word: _Word) -> None:
        self._said.pop(name, None)
        self._said[name] = word
        if len(self._said) > SAID:
            self._said.popitem(last=False)

    def _again(self, name: str, word: _Word, row: TileRow | None) -> Alert:
        """What was said, once more."""
        kept = word.details
        return Alert(
            name, word.verdict, focus_score=kept.get("focus_score"), detail=str(kept.get("detail", "")),
            message=kept.get("message"), position=row.position if row else None, limit=str(kept.get("limit", "")),
            usual=str(kept.get("usual", "")), reference=kept.get("reference"), at=self._clock(), standing=True,
        )  # fmt: skip

    def _remember(self, found: Sequence[_Found]) -> list[Alert]:
        """Store what is said, and let it wait for its channels: all or nothing."""
        if not found:
            return []
        with self._ledger.transaction():
            events = self._bundle(found)
            said = [
                Said(
                    each.tile_id, each.alert.verdict, self._clock(), each.tile_sha256, {**each.details, "event": event}
                )
                for each, event in zip(found, events, strict=True)
            ]
            self._ledger.say(self._run_id, said)
        for each, kept in zip(found, said, strict=True):
            self._said.pop(each.alert.path, None)
            if each.alert.verdict in TO_LOOK_AT:
                self._keep(each.alert.path, _Word.of(kept))
        return [each.alert for each in found]

    def _bundle(self, found: Sequence[_Found]) -> list[int | None]:
        """Of each alert the event that tells it, or that told the first word."""
        before = {each.alert.path: self._said[each.alert.path] for each in found if each.alert.was is not None}
        taken_back = self._book.correct(
            Entry(word.tile_id, each.alert.line, word.event_id)
            for each in found
            if (word := before.get(each.alert.path)) is not None
        )
        events: dict[str, int | None] = {path: word.event_id for path, word in before.items()}
        fresh = [
            each
            for each in found
            if each.alert.path not in before
            or (before[each.alert.path].tile_id in taken_back and each.alert.verdict in TO_LOOK_AT)
        ]
        for kind in ("failed", "tiles"):
            here = [each for each in fresh if (each.alert.verdict == "failed") == (kind == "failed")]
            event = self._book.gather(kind, [Entry(each.tile_id, each.alert.line) for each in here])
            events |= {each.alert.path: event for each in here}
        return [events[each.alert.path] for each in found]

    # --- What is to be said -----------------------------------------------------------------------------------------

    def _failed(self, news: News, message: str) -> _Found:
        alert = Alert(news.name, "failed", message=message, position=news.position, at=self._clock())
        return _Found(alert, news.tile_id, None, {"name": news.name, "was": None, "message": message})

    def _has_results(self) -> bool:
        return next(self._ledger.rows(self._run_id, states=SCORED, limit=1), None) is not None

    def _judge(self, fresh: Sequence[int]) -> list[Alert]:
        added = self._added + len(fresh)
        if self._count + added <= AT_ONCE or (added >= GROWTH * self._count and time.monotonic() >= self._again_s):
            return self._judge_all()
        before = {tile.tile_id for tile in self._near}
        near = [*self._near, *(tile for tile in map(tile_of, self._ledger.get(fresh)) if tile)]
        judged = self._standard.judge(near, self._references)
        new = [tile for tile in judged if tile.tile_id not in before]
        alerts = self._remember(self._compare(new, judged))
        self._added = added
        self._near.extend(near[len(self._near) :])
        self._follow(new, judged, self._trend, self._share)
        return alerts

    def _judge_all(self) -> list[Alert]:
        begun_s = time.monotonic()
        tiles = judge_run(self._ledger, self._run_id, self._standard)
        alerts = self._remember(self._compare(tiles, tiles))
        self._count, self._added = len(tiles), 0
        self._near = deque(tiles[-NEAR:], maxlen=NEAR)
        self._references = references_of([tile.result for tile in tiles], name="this run") if tiles else []
        renew_word(self._ledger, self._run_id, tiles)
        self._store_numbers(tiles)
        self._follow(tiles, tiles, Trend(), replace(self._share, last=(), many=False))
        ended_s = time.monotonic()
        self._again_s = ended_s + SHARE_OF_TIME * (ended_s - begun_s)
        return alerts

    def _compare(self, tiles: Iterable[Tile], judged: Sequence[Tile]) -> list[_Found]:
        """What is to be said of tiles beyond what was said.

        Parameters
        ----------
        judged : these and those around them, in the order in which they were taken
        """
        return list(self._compared(tiles, judged))

    def _compared(self, tiles: Iterable[Tile], judged: Sequence[Tile]) -> Iterator[_Found]:
        for tile in tiles:
            row, before = tile.result, self._said.get(tile.name)
            verdict: Verdict = row.verdict or "cannot_tell"
            was = before.verdict if before is not None and before.verdict != verdict else None
            is_news = before is None or was is not None or before.tile_sha256 != tile.tile_sha256  # or taken again
            if (verdict in TO_LOOK_AT and is_news) or was is not None:
                retaken = before is not None and before.tile_sha256 not in (None, tile.tile_sha256)
                yield self._told(tile, verdict, was, Alike(tile, judged).usual().blur_px, retaken=retaken)

    def _told(
        self, tile: Tile, verdict: Verdict, was: Verdict | None, usual_px: float | None, *, retaken: bool
    ) -> _Found:
        row, usual = tile.result, _size(usual_px, tile.result.pixel_size_nm)
        limit = f"threshold {self._standard.rule.max_blur_px:.2g} px" if row.blur_px is not None else ""
        (stored,) = self._ledger.get([tile.tile_id])
        alert = Alert(
            tile.name, verdict, was, row.focus_score, blur_in_words(row), position=stored.position, limit=limit,
            usual=usual, reference=row.reference, at=self._clock(), retaken=retaken,
            numbers={"blur_px": row.blur_px, "blur_nm": row.blur_nm, "usual_px": usual_px},
        )  # fmt: skip
        details = {
            **judged_keys(row), "name": tile.name, "was": was,
            "detail": alert.detail, "limit": limit, "usual": usual, "focus_score": row.focus_score,
        }  # fmt: skip
        return _Found(alert, tile.tile_id, tile.tile_sha256, details)

    # --- How the run goes -------------------------------------------------------------------------------------------

    def _store_numbers(self, tiles: Sequence[Tile]) -> None:
        """The tiles by verdict, for `mhfd status`."""
        failed = self._ledger.summary(self._run_id).counts.get("failed", 0)
        by_verdict = Counter(tile.result.verdict or "cannot_tell" for tile in tiles)
        found: Json = {
            "counts": {**by_verdict, **({"failed": failed} if failed else {})},
            "results": len(tiles) + failed,
            "max_blur_px": self._standard.rule.max_blur_px,
        }
        self._ledger.set_verdicts(self._run_id, found, self._clock())

    def _follow(self, tiles: Sequence[Tile], judged: Sequence[Tile], trend: Trend, share: Share) -> None:
        """Take these tiles into the trend, and let its events begin and end.

        Parameters
        ----------
        judged : as of `_compare`
        """
        trend, share = followed((tile.result for tile in tiles), trend, share)
        counted = [tile for tile in tiles if counts(tile.result)]
        if trend.worse:
            self._book.begin(
                "worsening", _worse_in_words(counted, judged), level_px2=round(trend.level, 3),
                tile_id=counted[-1].tile_id if counted else None,
            )  # fmt: skip
        else:
            self._book.end("worsening", f"focus is back: {_last_in_words(counted, judged)}")
        if share.many and not trend.worse:
            self._book.begin("many", f"{share.bad} of the last {len(share.last)} tiles are out of focus")
        elif not share.many:
            self._book.end("many", f"{share.bad} of the last {len(share.last)} tiles are out of focus")
        self._trend, self._share = trend, share


def _worse_in_words(tiles: Sequence[Tile], judged: Sequence[Tile]) -> str:
    last = f"; the last is {tiles[-1].name}" if tiles else ""
    return f"focus is getting worse: {_last_in_words(tiles, judged)}{last}"


def _last_in_words(tiles: Sequence[Tile], judged: Sequence[Tile]) -> str:
    """The blur of the last tiles, and what was usual before them."""
    last = tiles[-LAST:]
    if not last:
        return "no tile has been judged"
    size = last[-1].result.pixel_size_nm
    told = f"blur {_size(median(each.result.blur_px or 0.0 for each in last), size)} in the last {len(last)} tiles"
    usual = _size(Alike(last[0], judged).usual().blur_px, size)
    return f"{told}, usual here {usual}" if usual else told


def _size(px: float | None, pixel_size_nm: float | None) -> str:
    return "" if px is None else size_in_words(px, pixel_size_nm)
