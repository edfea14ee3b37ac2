"""Follows a run's ledger: what is new there becomes events, in one thread for all viewers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import PurePath

from mhfd.contract import FocusResult
from mhfd.judge import VerdictRule
from mhfd_client.judge.run import standard_of
from mhfd_client.ledger import NO_TIME, Brief, Decision, Json, Ledger, LedgerError, Marks, Run, Summary
from mhfd_client.views.page.columns import COMPARED, FLAGGED, MISSING_FROM, NOWHERE, VERDICTS, Columns, Places, Row
from mhfd_client.views.page.facts import alarm, health, label, limit
from mhfd_client.views.page.feed import Event, Feed
from mhfd_client.views.page.judging import Judge, Whole
from mhfd_client.views.page.state import StateOfRun, state_of
from mhfd_client.views.status import utc

LOOK_S = 0.25
ALARMS_TOLD = 20
ROWS_IN_A_BATCH = 200
BATCHES_BEFORE_RESET = 10
"""Where more is new at once, viewers fetch everything again."""

MISSING_SHOWN = 10_000

SLOW_LOOK_S = 2.0
"""Between two looks at what is not of single tiles: queue, disk, watch."""

OPEN = ("open", "retake")

log = logging.getLogger(__name__)


class Follower:
    """One run, followed from `start` to `close`. Any thread may read; only the follower's own writes.

    Attributes
    ----------
    columns, places : the tiles
    feed : what is new
    paths : of the tiles, by number
    readonly : for the greeting
    """

    def __init__(self, ledger: Ledger, run: Run, *, readonly: bool = False) -> None:
        self.ledger, self.run, self.readonly = ledger, run, readonly
        self.columns, self.places = Columns(), Places()
        self.feed = Feed(self.greeting)
        self._wake, self._closed = threading.Event(), threading.Event()
        self.judge = Judge(ledger, run.run_id, self._wake)
        self._positions: dict[int, Brief] = {}
        self._marks: Marks | None = None
        self._pending: dict[int, None] = {}
        self._decisions: dict[int, Decision] = {}
        self._unjudged: set[int] = set()
        self._said: dict[str, Json] = {}  # the last data of events of which only changes are sent
        self._alarms: dict[int, Json] = {}
        self._missing: dict[tuple[int, int, str], int] = {}  # section, place and name of missing tiles -> number
        self._missing_made = 0
        self._limit: Json = {}
        self._rule: Json = {}
        self._slow_s = 0.0
        self._pixel_nm: float | None = None
        self._summary: Summary | None = None
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

    def decision(self, tile_id: int) -> Decision | None:
        """The decision about a tile that counts."""
        return self._decisions.get(tile_id)

    def decisions(self) -> dict[int, Decision]:
        return dict(self._decisions)

    def counts(self) -> Json:
        """The numbers of tiles, as the event `counts` has them."""
        return dict(self._said.get("counts", {}))

    def brief(self, tile_id: int) -> Brief | None:
        return self._positions.get(tile_id)

    @property
    def max_blur_px(self) -> float:
        """The threshold that counts."""
        return standard_of(self.ledger, self.run.run_id).rule.max_blur_px

    def result(self, tile_id: int) -> FocusResult | None:
        """A scored tile's result, judged as the map shows it."""
        row = self.columns.row(tile_id)
        if row is None:
            return None
        return self.judge.result(tile_id, [each.n for each in self.columns.of_section(row.section) if each.time_s])

    def greeting(self) -> Sequence[Event]:
        """What a new viewer is told first."""
        found = [Event("hello", self._hello())]
        found += [Event(kind, self._said[kind]) for kind in ("counts", "state", "health") if kind in self._said]
        alarms = sorted(self._alarms.values(), key=lambda each: (each["ended"] is None, each["id"]))
        found += [Event("alarm", each) for each in alarms[-ALARMS_TOLD:]]
        if self._limit:
            found.append(Event("limit", self._limit))
        found += [Event("decision", self._decided(each)) for each in list(self._decisions.values())]
        return found

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
            self._take_changes(marks)
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
        marks = self.ledger.marks(run_id)
        briefs = self.ledger.briefs(run_id)
        self._positions = {each.tile_id: each for each in briefs}
        self.places.learn(each.position for each in briefs)
        self.places.learn(each.position for each in self.ledger.missing(run_id))
        standard = standard_of(self.ledger, run_id)
        self._rule = self.ledger.rule(run_id)
        self._limit = limit(self._rule, standard.rule, 0)
        told = {each.tile_id: each for each in self.ledger.said(run_id)}
        rows = []
        for brief in briefs:
            said = told.get(brief.tile_id)
            if said is not None and brief.state == "scored":
                rows.append(self._told(brief, said.verdict, said.details))
            else:
                rows.append(self._unjudged_row(brief, standard.rule))
        self.columns.fill(rows)
        self._look_for_missing()
        self._unjudged = {row.n for row in rows if row.verdict == "todo" and row.time_s is not None}
        for decision in self.ledger.decisions_after(run_id, 0):
            self._decisions[decision.tile_id] = decision
        for event in self.ledger.events(run_id, limit=100):
            self._alarms[event.event_id] = alarm(event, self._positions_by_name)
        self._marks = marks
        if any(brief.state == "scored" for brief in briefs):
            self._pixel_nm = self._pixel_size(next(each.tile_id for each in briefs if each.state == "scored"))
            self.judge.ask()
        self._look_at_run()

    def _pixel_size(self, tile_id: int) -> float | None:
        rows = self.ledger.get([tile_id])
        return (rows[0].result or {}).get("pixel_size_nm") if rows else None

    def _positions_by_name(self, name: str) -> int | None:
        return next((n for n, brief in self._positions.items() if brief.path == name), None)

    def _unjudged_row(self, brief: Brief, rule: VerdictRule | None = None) -> Row:
        verdict = "failed" if brief.state == "failed" else "todo"
        if (
            brief.state == "scored"
            and rule is not None
            and brief.content is not None
            and brief.content < rule.min_content
        ):
            verdict = "no_content"
        return self._row(brief, verdict)

    def _told(self, brief: Brief, verdict: str, details: Json) -> Row:
        row = self._row(brief, verdict if verdict in VERDICTS else "cannot_tell")
        return replace(
            row,
            blur_px=details.get("blur_px"),
            flag_px=details.get("flag_px") if verdict in COMPARED else None,
            remarks=len(details.get("remarks") or ()),
            defocus_um=details.get("defocus_um"),
        )

    def _row(self, brief: Brief, verdict: str) -> Row:
        section, position = self.places.place(brief.tile_id, brief.position)
        return Row(
            brief.tile_id, section, position, verdict, focus_score=brief.focus_score, time_s=brief.scored_at,
            mtime_ns=brief.taken[1],
        )  # fmt: skip

    def _judged(self, brief: Brief, result: FocusResult) -> Row:
        return replace(
            self._row(brief, result.verdict or "cannot_tell"),
            blur_px=result.blur_px,
            flag_px=result.flag_px if result.verdict in COMPARED else None,
            remarks=len(result.remarks),
            defocus_um=result.defocus_um,
        )

    def _take_changes(self, marks: Marks) -> None:
        before = self._marks
        run_id = self.run.run_id
        last_tile = before.last_tile if before else 0
        new = self.ledger.briefs(run_id, after=last_tile) if marks.last_tile > last_tile else []
        last_result = before.last_result if before else NO_TIME
        scored = self.ledger.briefs_scored_since(run_id, last_result) if marks.last_result > last_result else []
        if before is not None and marks.superseded != before.superseded:
            self._take_off(self.ledger.superseded_ids(run_id))
        version, cells = self.places.version, len(self.places.cells)
        self.places.learn(each.position for each in [*new, *scored])
        for brief in [*new, *scored]:
            self._positions[brief.tile_id] = brief
        if self.places.version != version:
            self._place_again()
        elif len(self.places.cells) != cells:  # new ones at the end: their labels
            self.feed.publish("hello", self._hello())
        for brief in new:
            self._put(self._unjudged_row(brief))
        failed = [each for each in scored if each.state == "failed"]
        for brief in failed:
            self._put(self._row(brief, "failed"))
        fresh = {each.tile_id: each for each in [*new, *scored] if each.state == "scored"}
        self._unjudged |= fresh.keys()
        for tile in self.judge.near(fresh):
            self._unjudged.discard(tile.tile_id)
            self._put(self._judged(fresh[tile.tile_id], tile.result))
        if self._pixel_nm is None and fresh:
            self._pixel_nm = self._pixel_size(next(iter(fresh)))
            if self._pixel_nm is not None:
                self.feed.publish("hello", self._hello())
        if before is None or marks.last_decision != before.last_decision:
            for decision in self.ledger.decisions_after(run_id, before.last_decision if before else 0):
                self._decisions[decision.tile_id] = decision
                self.feed.publish("decision", self._decided(decision))
        if before is not None and marks.noted_at != before.noted_at:
            self._take_rule()

    def _take_rule(self) -> None:
        rule = self.ledger.rule(self.run.run_id)
        if rule == self._rule:
            return
        self._rule = rule
        standard = standard_of(self.ledger, self.run.run_id)
        self._limit = limit(rule, standard.rule, self.columns.flagged_above(standard.rule.max_blur_px))
        self.feed.publish("limit", self._limit)
        self.judge.ask()

    def _take_off(self, gone: Iterable[int]) -> None:
        for n in gone:
            brief, row = self._positions.pop(n, None), self.columns.row(n)
            if brief is not None and row is not None:
                self._put(replace(row, verdict="later"))

    def _look_for_missing(self) -> None:
        """Missing tiles are rows, too, with numbers of their own."""
        missing = self.ledger.missing(self.run.run_id, MISSING_SHOWN)
        self.places.learn(each.position for each in missing)
        found: dict[tuple[int, int, str], None] = {}
        for each in missing:
            section, number = self.places.place(MISSING_FROM, each.position) if each.position else (NOWHERE, NOWHERE)
            found[section, number, each.name or ""] = None
        for key in self._missing.keys() - found.keys():
            n = self._missing.pop(key)
            if (row := self.columns.row(n)) is not None:
                self._put(replace(row, verdict="later"))
        for key in found.keys() - self._missing.keys():
            self._missing_made += 1
            n = self._missing[key] = MISSING_FROM + self._missing_made
            self._put(Row(n, key[0], key[1], "missing"))

    def _place_again(self) -> None:
        """The numbers of places have changed."""
        rows = [
            replace(row, section=place[0], position=place[1])
            for brief in self._positions.values()
            if (row := self.columns.row(brief.tile_id)) is not None
            for place in [self.places.place(brief.tile_id, brief.position)]
        ]
        self.columns.fill(rows)
        self._reset()

    def _take_whole(self, whole: Whole) -> None:
        first = bool(self._unjudged)
        for tile in whole.tiles:
            brief = self._positions.get(tile.tile_id)
            if brief is not None and brief.state == "scored":
                self._unjudged.discard(tile.tile_id)
                self._put(self._judged(brief, tile.result))
        rule = self.ledger.rule(self.run.run_id)
        flagged = self.columns.flagged_above(whole.standard.rule.max_blur_px)
        found = limit(rule, whole.standard.rule, flagged)
        if found != self._limit:
            self._limit = found
            self.feed.publish("limit", found)
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
        rows = sorted(self.columns.rows(self._pending), key=lambda row: row.verdict not in FLAGGED)[:ROWS_IN_A_BATCH]
        for row in rows:
            del self._pending[row.n]
        self.feed.publish("tiles", {"rows": [row.listed() for row in rows]})

    def _reset(self) -> None:
        self._pending.clear()
        self.feed.publish("reset", {})
        self.feed.publish("hello", self._hello())

    def _look_at_run(self) -> None:
        """Everything that is not of single tiles; what has changed is sent."""
        now = time.time()
        summary = self._summary = self.ledger.summary(self.run.run_id, now)
        self._look_for_missing()
        events = self.ledger.events(self.run.run_id, limit=100)
        for event in events:
            told = alarm(event, self._positions_by_name)
            if self._alarms.get(event.event_id) != told:
                self._alarms[event.event_id] = told
                self.feed.publish("alarm", told)
        self._say("counts", self._counts(summary))
        self._say("health", health(self.ledger, self.run, summary, events, now))
        found = state_of(self._state_of_run(summary, now))
        was = self._said.get("state", {})
        since = was.get("since") if was.get("code") == found.code else utc(now)
        self._say("state", {"code": found.code, "word": found.word, "text": found.text, "since": since})

    def _say(self, kind: str, data: Json) -> None:
        if self._said.get(kind) != data:
            self._said[kind] = data
            self.feed.publish(kind, data)

    def _counts(self, summary: Summary) -> Json:
        found = self.columns.counts()
        found["missing"] = summary.missing
        sections, positions = self.columns.last_section(), len(self.places.cells)
        here = len(self.columns.of_section(sections)) if sections is not None else 0
        found["later"] = max(0, positions - here) if positions else 0
        found["take_again"] = sum(
            (decision := self._decisions.get(n)) is None or decision.decision in OPEN
            for n in self.columns.of_verdicts(FLAGGED)
        )
        found["unjudged"] = len(self._unjudged)
        return found

    def _state_of_run(self, summary: Summary, now: float) -> StateOfRun:
        section = self.columns.last_section()
        return StateOfRun(
            folder=self.run.root,
            now=now,
            tiles=len(self._positions),
            scored=summary.counts.get("scored", 0),
            unjudged=len(self._unjudged),
            to_do=summary.to_do,
            last_scored_at=summary.last_scored_at,
            endpoint_away_since=self._said.get("health", {}).get("endpoint", {}).get("since"),
            watched=bool(self._said.get("health", {}).get("watched")),
            usual_px=self.columns.usual_blur(),
            max_blur_px=float(self._limit.get("max_blur_px") or 0.0),
            last=[] if section is None else self.columns.of_section(section),
            before=[] if section is None else self.columns.of_section(max(0, section - 1)),
            compared=sum(self.columns.counts()[each] for each in ("in_focus", "out_of_focus", "astigmatic")),
        )

    def _hello(self) -> Json:
        section = self.columns.last_section()
        return {
            "schema": 1,
            "seq": self.feed.seq,
            "run": PurePath(self.run.root).name or self.run.root,
            "folder": self.run.root,
            "planned": {
                "first": self.columns.first_section(),
                "sections": None if section is None else section - (self.columns.first_section() or 0) + 1,
                "positions": len(self.places.cells) or None,
                "columns": self.places.columns,
                "labels": [label(cell) for cell in self.places.cells],
            },
            "verdicts": VERDICTS,
            "max_blur_px": self._limit.get("max_blur_px"),
            "pixel_nm": self._pixel_nm,
            "readonly": self.readonly,
            "time": utc(time.time()),
        }

    def _decided(self, decision: Decision) -> Json:
        return {
            "n": decision.tile_id,
            "what": decision.decision,
            "by": decision.who,
            "at": utc(decision.decided_at),
            "seq_of": self.feed.seq,
        }
