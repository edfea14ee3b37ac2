"""Follows a run's ledger: what is new there becomes events, in one thread for all viewers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from mhfd.contract import FocusResult
from mhfd_client.judge.explain import Explanation, explain
from mhfd_client.judge.retakes import TO_DO, Retake, retake_list
from mhfd_client.judge.run import Tile, standard_of
from mhfd_client.judge.standing import Standing, as_told, standing_of, word_of_watch
from mhfd_client.ledger import NO_TIME, Brief, Json, Ledger, LedgerError, Marks, Missing, Run, Said, Summary, TileRow
from mhfd_client.views.page import events, missing, rows
from mhfd_client.views.page.columns import COMPARED, FLAGGED, NOWHERE, Columns, Row
from mhfd_client.views.page.decided import Decided
from mhfd_client.views.page.feed import Event, Feed
from mhfd_client.views.page.judging import Judge, Whole
from mhfd_client.views.page.places import Places
from mhfd_client.views.page.state import StateOfRun, state_of
from mhfd_client.views.status import utc

LOOK_S = 0.25
ROWS_IN_A_BATCH = 200
BATCHES_BEFORE_RESET = 10
"""Where more is new at once, viewers fetch everything again."""

SLOW_LOOK_S = 2.0
"""Between two looks at what is not of single tiles: queue, disk, watch."""

log = logging.getLogger(__name__)


class Follower:
    """One run, followed from `start` to `close`. Any thread may read; only the follower's own writes.

    Attributes
    ----------
    columns, places : the tiles
    decided : what people decided about them
    judge : what is said of them
    feed : what is new
    readonly : for the greeting
    trouble : why the ledger could not be read the last time
    """

    def __init__(self, ledger: Ledger, run: Run, *, readonly: bool = False) -> None:
        self.ledger, self.run, self.readonly = ledger, run, readonly
        self.columns, self.places = Columns(), Places()
        self.decided = Decided(ledger, run.run_id)
        self.feed = Feed(self.greeting)
        self._wake, self._closed = threading.Event(), threading.Event()
        self.judge = Judge(ledger, run.run_id, self._wake)
        self._missing = missing.MissingRows()
        self._marks: Marks | None = None
        self._pending: dict[int, None] = {}
        self._unjudged: set[int] = set()
        self._words: dict[int, Said] = {}  # of the watch, until the run is judged as a whole
        self._said: dict[str, Json] = {}  # the last data of events of which only changes are sent
        self._alarms: dict[int, Json] = {}
        self._rule: Json = {}
        self._slow_s = 0.0
        self._pixel_nm: float | None = None
        self.trouble: str | None = None
        self._thread = threading.Thread(target=self._work, name="mhfd-follow", daemon=True)

    # --- for other threads

    def start(self) -> Follower:
        """Read all tiles, then follow."""
        self._load()
        self.judge.start()
        self._thread.start()
        return self

    def close(self) -> None:
        self._closed.set()
        self._wake.set()
        self.feed.close()
        if self._thread.is_alive():
            self._thread.join(2.0)
        self.judge.close()

    def look(self) -> None:
        """Look now: something was written."""
        self._wake.set()

    def packed(self, after: int = 0) -> bytes:
        """All tiles, as `Columns.packed` writes them."""
        return self.columns.packed(self.feed.seq, after=after)

    def counts(self) -> Json:
        """The numbers of tiles, as the event `counts` has them."""
        return dict(self._said.get("counts", {}))

    def place(self, row: TileRow) -> tuple[int, int]:
        """Section and place of a tile, also of one that was taken again before the page was opened."""
        if (known := self.columns.row(row.tile_id)) is not None:
            return known.section, known.position
        position = row.position
        return self.places.place(row.tile_id, position.section, position.cell) if position else (NOWHERE, NOWHERE)

    def missing(self, n: int) -> Missing | None:
        """The missing tile that has this number on the map."""
        return self._missing.of(n)

    def result(self, tile_id: int) -> FocusResult | None:
        """A scored tile's result, judged as the map shows it."""
        if (found := self.judge.result(tile_id)) is not None:
            return found
        rows = [row for row in self.ledger.get([tile_id]) if row.state == "scored"]
        if rows and tile_id in self._words:
            return as_told(rows[0], self._words[tile_id])
        return next((tile.result for tile in self._beside(tile_id) if tile.tile_id == tile_id), None) if rows else None

    def explained(self, row: TileRow) -> Explanation:
        """What `mhfd explain` says of a tile of the run."""
        if self.judge.is_whole:
            return explain(self.ledger, self.run, row, self.judge.tiles(), self.judge.references)
        found = explain(self.ledger, self.run, row, self._beside(row.tile_id), ())
        told = self._words.get(row.tile_id)
        return found if told is None or found.result is None else replace(found, result=as_told(row, told))

    def retakes(self) -> list[Retake]:
        """The list of `mhfd retakes`, with what is closed."""
        return retake_list(self.ledger, self.run.run_id, self._standing())

    def _standing(self) -> Standing:
        run_id, now = self.run.run_id, time.time()
        if not self.judge.is_whole:
            word = word_of_watch(self.ledger, self.ledger.summary(run_id, now), now)
            if word is not None:
                return replace(word, source="judged")  # what it leaves open is told when the run is judged
        return standing_of(self.ledger, run_id, self.judge.tiles())

    def _beside(self, tile_id: int) -> Sequence[Tile]:
        """A tile and those of its section, judged."""
        row = self.columns.row(tile_id)
        around = [] if row is None else [each.n for each in self.columns.of_section(row.section) if each.time_s]
        return self.judge.beside_each_other({*around, tile_id})

    def greeting(self) -> Sequence[Event]:
        """What a new viewer is told first."""
        found = [Event("hello", self._hello())]
        found += [Event(kind, self._said[kind]) for kind in ("counts", "state", "health") if kind in self._said]
        alarms = sorted(self._alarms.values(), key=lambda each: (each["ended"] is None, each["id"]))
        found += [Event("alarm", each) for each in alarms[-events.ALARMS_TOLD :]]
        found += [Event("limit", self._said["limit"])] if "limit" in self._said else []
        return [*found, *(Event("decision", events.decided(each, self.feed.seq)) for each in self.decided.all())]

    # --- the follower's thread

    def _work(self) -> None:
        while not self._closed.is_set():
            try:
                self._step()
                self.trouble = None
            except LedgerError as error:  # away, busy: the next look may do better
                if self.trouble is None:
                    log.warning("%s", error)
                self.trouble = str(error)
            self._wake.wait(LOOK_S)
            self._wake.clear()

    def _step(self) -> None:
        if (whole := self.judge.judged()) is not None:
            self._take_whole(whole)
        marks = self.ledger.marks(self.run.run_id)
        if marks != self._marks:
            self._take_changes(marks, self._marks)
        self.judge.ask_if_due()
        self._send_rows()
        now_s = time.monotonic()
        if now_s >= self._slow_s or marks != self._marks:
            self._slow_s = now_s + SLOW_LOOK_S
            self._look_at_run()
        self._marks = marks

    def _load(self) -> None:
        """All tiles, with the verdicts that are stored; the others are judged later."""
        run_id = self.run.run_id
        self._marks = self.ledger.marks(run_id)
        briefs = self.ledger.briefs(run_id)
        self._words = {each.tile_id: each for each in self.ledger.said(run_id)}
        self._rule = self.ledger.rule(run_id)
        rule = standard_of(self.ledger, run_id).rule
        self.columns.load(rows.table_of(briefs, self._words.values(), self.places, rule))
        self._unjudged = self.columns.scored() & set(self.columns.of_verdicts(("todo",)))
        self.decided.look()
        if (scored := next((each.tile_id for each in briefs if each.state == "scored"), None)) is not None:
            self._learn_pixel_size(scored)
            self.judge.ask()
        self._tell_limit()
        self._look_at_run()

    def _learn_pixel_size(self, tile_id: int) -> None:
        found = self.ledger.get([tile_id])
        self._pixel_nm = (found[0].result or {}).get("pixel_size_nm") if found else None

    # --- Tiles

    def _take_changes(self, marks: Marks, before: Marks | None) -> None:
        run_id = self.run.run_id
        last_tile, last_result = (before.last_tile, before.last_result) if before else (0, NO_TIME)
        new = self.ledger.briefs(run_id, after=last_tile) if marks.last_tile > last_tile else []
        scored = self.ledger.briefs_scored_since(run_id, last_result) if marks.last_result > last_result else []
        superseded = before is not None and marks.superseded != before.superseded
        if superseded:
            self._take_off(self.ledger.superseded_ids(run_id))
        self._learn_places([*new, *scored])
        self._take_rows(new, scored)
        if before is None or superseded or marks.last_decision != before.last_decision or self.decided.waits:
            for decision in self.decided.look():
                self.feed.publish("decision", events.decided(decision, self.feed.seq))
        if before is not None and marks.noted_at != before.noted_at:
            self._take_rule()

    def _take_rows(self, new: Sequence[Brief], scored: Sequence[Brief]) -> None:
        fresh = {each.tile_id: rows.unjudged(each, self.places) for each in [*new, *scored]}
        waiting = {each.tile_id for each in [*new, *scored] if each.state == "scored"}
        self._unjudged |= waiting
        for n, row in fresh.items():
            if n not in waiting or n not in self.columns:
                self._put(row)
        for tile in self.judge.near(waiting):
            self._unjudged.discard(tile.tile_id)
            self._put(rows.judged(fresh[tile.tile_id], tile.result))
        if self._pixel_nm is None and waiting:
            self._learn_pixel_size(next(iter(waiting)))
            if self._pixel_nm is not None:
                self.feed.publish("hello", self._hello())

    def _learn_places(self, briefs: Iterable[Brief]) -> None:
        version, cells = self.places.version, len(self.places.cells)
        self.places.learn(each.cell for each in briefs)
        if self.places.version != version:
            self._place_again()
        elif len(self.places.cells) != cells:  # new ones at the end: their labels
            self.feed.publish("hello", self._hello())

    def _place_again(self) -> None:
        """The numbers of places have changed."""
        briefs = [each for each in self.ledger.briefs(self.run.run_id) if each.tile_id in self.columns]
        placed = [self.places.place(each.tile_id, each.section, each.cell) for each in briefs]
        self.columns.change(
            [each.tile_id for each in briefs],
            {"section": [section for section, _ in placed], "position": [position for _, position in placed]},
        )
        self._missing = missing.MissingRows()
        self._take_off(self.columns.of_verdicts(("missing",)))
        self._look_for_missing()
        self._reset()

    def _take_off(self, gone: Iterable[int]) -> None:
        for row in self.columns.rows(gone):
            if row.verdict != "later":
                self.judge.forget(row.n)
                self._put(replace(row, verdict="later"))

    def _look_for_missing(self) -> None:
        wanted, gone = self._missing.take(self.ledger.missing(self.run.run_id, missing.SHOWN), self.places)
        self._take_off(gone)
        for row in wanted:
            self._put(row)

    def _take_whole(self, whole: Whole) -> None:
        first = bool(self._unjudged)
        scored = self.columns.scored()
        tiles = [tile for tile in whole.tiles if tile.tile_id in scored]
        numbers = [tile.tile_id for tile in tiles]
        self._pending |= dict.fromkeys(self.columns.change(numbers, rows.judged_columns(tiles)))
        self._unjudged -= set(numbers)
        self._words.clear()
        self._tell_limit()
        if first or self._pending:
            self._look_at_run()

    def _put(self, row: Row) -> None:
        if self.columns.put(row):
            self._pending[row.n] = None

    def _send_rows(self) -> None:
        """One batch, the worst first; or a "reset" where that would take long."""
        if len(self._pending) > ROWS_IN_A_BATCH * BATCHES_BEFORE_RESET:
            self._reset()
            return
        if not self._pending:
            return
        ordered = sorted(self.columns.rows(self._pending), key=lambda row: row.verdict not in FLAGGED)
        batch = ordered[:ROWS_IN_A_BATCH]
        for row in batch:
            del self._pending[row.n]
        self.feed.publish("tiles", {"rows": [row.listed() for row in batch]})

    def _reset(self) -> None:
        self._pending.clear()
        self.feed.publish("reset", {})
        self.feed.publish("hello", self._hello())

    # --- The run

    def _take_rule(self) -> None:
        rule = self.ledger.rule(self.run.run_id)
        if rule != self._rule:
            self._rule = rule
            self._tell_limit()
            self.judge.ask()

    def _tell_limit(self) -> None:
        rule = standard_of(self.ledger, self.run.run_id).rule
        self._say("limit", events.limit(self._rule, rule, self.columns.flagged_above(rule.max_blur_px)))

    def _look_at_run(self) -> None:
        """Everything that is not of single tiles; what has changed is sent."""
        now, run_id = time.time(), self.run.run_id
        summary = self.ledger.summary(run_id, now)
        self._look_for_missing()
        standing = self.ledger.events(run_id, open_only=True)
        for told in events.alarms(
            [*self.ledger.events(run_id, limit=events.LOOKED_AT), *standing], self.columns.newest_at
        ):
            if self._alarms.get(told["id"]) != told:
                self._alarms[told["id"]] = told
                self.feed.publish("alarm", told)
        self._say("counts", self._counts(summary))
        self._say("health", events.health(self.ledger, self.run, summary, standing, now))
        found = state_of(self._state_of_run(summary, now))
        was = self._said.get("state", {})
        since = was.get("since") if was.get("code") == found.code else utc(now)
        self._say("state", {"code": found.code, "word": found.word, "text": found.text, "since": since})

    def _say(self, kind: str, data: Json) -> None:
        if self._said.get(kind) != data:
            self._said[kind] = data
            self.feed.publish(kind, data)

    def _counts(self, summary: Summary) -> Json:
        sections, positions = self.columns.sections(), len(self.places.cells)
        here = len(self.columns.of_section(sections[1])) if sections else 0
        return {
            **self.columns.counts(),
            "missing": summary.missing,
            "later": max(0, positions - here),
            "take_again": sum(
                (decision := self.decided.of(n)) is None or decision.decision in TO_DO
                for n in self.columns.of_verdicts(FLAGGED)
            ),
            "unjudged": len(self._unjudged),
        }

    def _state_of_run(self, summary: Summary, now: float) -> StateOfRun:
        sections, health, counts = self.columns.sections(), self._said["health"], self.columns.counts()
        return StateOfRun(
            folder=self.run.root,
            now=now,
            tiles=sum(counts.values()) - counts["later"] - counts["missing"],
            scored=summary.counts.get("scored", 0),
            unjudged=len(self._unjudged),
            to_do=summary.to_do,
            last_scored_at=summary.last_scored_at,
            endpoint_away_since=health["endpoint"]["since"],
            watched=health["watched"],
            usual_px=self.columns.usual_blur(),
            max_blur_px=self._said["limit"]["max_blur_px"],
            last=self.columns.of_section(sections[1]) if sections else [],
            before=self.columns.of_section(max(0, sections[1] - 1)) if sections else [],
            compared=sum(counts[each] for each in COMPARED),
        )

    def _hello(self) -> Json:
        return events.hello(
            self.run,
            self.feed.seq,
            events.planned(self.places, self.columns.sections()),
            max_blur_px=self._said.get("limit", {}).get("max_blur_px"),
            pixel_nm=self._pixel_nm,
            readonly=self.readonly,
        )
