"""How a run stands: numbers by verdict, and the tiles that a person should look at.

A watch judges its run as it grows, and leaves its word in the ledger. Where that holds it is taken, which costs as much
as there are bad tiles; else the run is judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Literal, get_args

from mhfd.contract import FocusResult, Verdict
from mhfd_client.judge.words import TO_LOOK_AT
from mhfd_client.ledger import Json, Ledger, Said, Summary, TileRow

if TYPE_CHECKING:
    from mhfd_client.judge.run import Tile

SILENT_S = 60.0
"""Without a heartbeat for so long, a watcher counts as dead."""

JUDGED_AT_MOST = 20_000
"""Results that are judged only to look how a run stands: it takes 0.35 ms each."""

_RESULT = frozenset(each.name for each in fields(FocusResult)) - {"path", "status", "error"}


@dataclass(frozen=True)
class Flagged:
    """A tile to look at.

    Attributes
    ----------
    result : judged
    """

    row: TileRow
    result: FocusResult


@dataclass(frozen=True)
class Standing:
    """A run as of one moment.

    Attributes
    ----------
    counts : tiles by verdict
    flagged : those to look at, by number, each in its newest generation
    verdicts : of tiles by number: of all that are scored, or of those that the watch spoke of
    source : whose word it is: that of the run's watch, or a judgement made now
    """

    counts: Mapping[Verdict, int]
    flagged: Mapping[int, Flagged]
    verdicts: Mapping[int, Verdict]
    source: Literal["watch", "judged"]


class Standings:
    """The standing of one run, for who asks again and again: it is judged only when it has changed."""

    def __init__(self, ledger: Ledger, run_id: int) -> None:
        self._ledger, self._run_id = ledger, run_id
        self._judged: tuple[object, Standing] | None = None

    def at(self, now: float) -> Standing | None:
        """The standing of the run; None where no watch has its word on it, and it is too large to be judged here."""
        summary = self._ledger.summary(self._run_id, now)
        if (word := word_of_watch(self._ledger, summary, now)) is not None:
            return word
        if summary.counts.get("scored", 0) > JUDGED_AT_MOST:
            return None
        state = (dict(summary.counts), summary.superseded, summary.last_scored_at, self._ledger.rule(self._run_id))
        if self._judged is None or self._judged[0] != state:
            self._judged = state, judged_now(self._ledger, self._run_id)
        return self._judged[1]


def standing(ledger: Ledger, run_id: int, now: float) -> Standing:
    """How a run stands, by the word of its watch or judged here, however many tiles it has."""
    return word_of_watch(ledger, ledger.summary(run_id, now), now) or judged_now(ledger, run_id)


def judged_now(ledger: Ledger, run_id: int) -> Standing:
    """How a run stands, judged as a whole."""
    if not ledger.summary(run_id).counts.get("scored"):
        return standing_of(ledger, run_id, [])
    from mhfd_client.judge.run import judge_run

    return standing_of(ledger, run_id, judge_run(ledger, run_id))


def standing_of(ledger: Ledger, run_id: int, tiles: Sequence[Tile]) -> Standing:
    """How a run stands, of which these are all scored tiles, judged."""
    verdicts: dict[int, Verdict] = {tile.tile_id: tile.result.verdict or "cannot_tell" for tile in tiles}
    looked_at = {tile.tile_id: tile.result for tile in tiles if tile.result.verdict in TO_LOOK_AT}
    flagged = {row.tile_id: Flagged(row, looked_at[row.tile_id]) for row in ledger.get(looked_at)}
    return _with_failed(ledger, run_id, Standing(Counter(verdicts.values()), flagged, verdicts, "judged"))


def counts_of_watch(ledger: Ledger, summary: Summary, now: float) -> Mapping[Verdict, int] | None:
    """The scored tiles of a run by verdict, as its watch said last; None where that does not hold, or not for all.

    However many tiles the run has, this costs next to nothing.
    """
    note = ledger.verdicts(summary.run_id)
    if note is None or not _holds(ledger, summary, *note, now):
        return None
    return {_verdict(verdict): int(n) for verdict, n in note[0].get("counts", {}).items()}


def word_of_watch(ledger: Ledger, summary: Summary, now: float) -> Standing | None:
    """What the watch of a run said last; None where that does not hold, or not for all results."""
    run_id = summary.run_id
    if (counts := counts_of_watch(ledger, summary, now)) is None:
        return None
    told = {each.tile_id: each for each in ledger.said(run_id)}
    rows = {row.tile_id: row for row in ledger.get([i for i, each in told.items() if each.verdict in TO_LOOK_AT])}
    flagged = {i: Flagged(row, as_told(row, told[i])) for i, row in rows.items() if _is_of(told[i], row)}
    verdicts: dict[int, Verdict] = {i: _verdict(each.verdict) for i, each in told.items()}
    return _with_failed(ledger, run_id, Standing(counts, flagged, verdicts, "watch"))


def renew_word(ledger: Ledger, run_id: int, tiles: Iterable[Tile]) -> None:
    """Bring the numbers in what was said of tiles to look at up to date. Verdicts that changed are left alone: news.

    Parameters
    ----------
    tiles : of the run, just judged as a whole
    """
    from mhfd_client.judge.run import judged_keys

    judged = {tile.tile_id: tile for tile in tiles if tile.result.verdict in TO_LOOK_AT}
    renewed = []
    for said in ledger.said(run_id, verdicts=TO_LOOK_AT):
        tile = judged.get(said.tile_id)
        if tile is not None and (tile.result.verdict, tile.tile_sha256) == (said.verdict, said.tile_sha256):
            details = {**said.details, **judged_keys(tile.result)}
            renewed += [replace(said, details=details)] if details != said.details else []
    ledger.say(run_id, renewed)


def watcher_lives(beat: Json | None, at: float | None, now: float) -> bool:
    """True if a watch gave its last sign of life a short while ago.

    Parameters
    ----------
    beat, at : its heartbeat, and when that was
    """
    return beat is not None and at is not None and not beat.get("ended") and now - at < SILENT_S


def _holds(ledger: Ledger, summary: Summary, note: Json, at: float, now: float) -> bool:
    """True if a watch's word is by the run's threshold; and the watch lives, or it is on all results there are."""
    rule = ledger.rule(summary.run_id)
    if note.get("max_blur_px") != rule.get("max_blur_px"):
        return False
    if watcher_lives(summary.heartbeat, summary.heartbeat_at, now):
        return True
    judged = sum(n for verdict, n in note.get("counts", {}).items() if verdict != "failed")
    covered = judged == summary.counts.get("scored", 0) and (summary.last_scored_at or 0.0) <= at
    others = (each for each in ledger.references(rule.get("instrument")) if each.run_id != summary.run_id)
    return covered and all(each.kept_at < at for each in others)


def _is_of(said: Said, row: TileRow) -> bool:
    """True if a word is still on the pixels that a tile has."""
    return row.state == "scored" and row.result is not None and said.tile_sha256 == row.tile_sha256


def as_told(row: TileRow, said: Said) -> FocusResult:
    """The result of a tile with what was said of it."""
    judged = {key: value for key, value in said.details.items() if key in _RESULT}
    return FocusResult.from_dict({**(row.result or {}), **judged, "path": row.name, "verdict": said.verdict})


def _with_failed(ledger: Ledger, run_id: int, found: Standing) -> Standing:
    """With the tiles that failed, which need no judgement."""
    rows = ledger.take(run_id, "failed", 2**62, order="newest", now=0.0)
    failed = {
        row.tile_id: Flagged(row, FocusResult.from_dict({**row.result, "path": row.name})) for row in rows if row.result
    }
    counts = {verdict: found.counts.get(verdict, 0) for verdict in get_args(Verdict)}
    return replace(
        found,
        counts={**counts, "failed": len(rows)},
        flagged={**found.flagged, **failed},
        verdicts={**found.verdicts, **dict.fromkeys(failed, "failed")},
    )


def _verdict(text: str) -> Verdict:
    return next((each for each in get_args(Verdict) if each == text), "cannot_tell")
