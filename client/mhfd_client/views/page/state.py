"""How a run stands, in one word and one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from statistics import median
from typing import Literal

from mhfd.judge.reference import LEAST_TILES
from mhfd.text import counted
from mhfd_client.views.page.columns import COMPARED, Row

Code = Literal["in_focus", "drifting", "out_of_focus", "waiting", "silent", "learning", "ready"]

SILENT_S = 60.0
LEAST_OF_SECTION = 4
"""Tiles of a section that tell how it stands; before, the section before counts too."""

DRIFT = 0.3
"""Of the threshold: the median blur of a section that is this much above the usual drifts."""


@dataclass(frozen=True)
class StateOfRun:
    """What the word is made of.

    Attributes
    ----------
    unjudged : tiles that are scored, and not yet judged
    compared : tiles that the judge could compare with a reference
    endpoint_away_since : ISO 8601; None while it answers
    watched : a watch is alive
    usual_px : median blur of the sharp tiles
    last, before : the tiles of the last section, and of the one before
    """

    folder: str
    now: float
    tiles: int
    scored: int
    unjudged: int
    compared: int
    to_do: int
    last_scored_at: float | None
    endpoint_away_since: str | None
    watched: bool
    usual_px: float | None
    max_blur_px: float
    last: Sequence[Row]
    before: Sequence[Row]


@dataclass(frozen=True)
class Word:
    """The state: a code, the word for people, and a sentence."""

    code: Code
    word: str
    text: str


def state_of(run: StateOfRun) -> Word:
    """The first of these that holds: nothing there, endpoint away, silent, learning, blurred, drifting, in focus."""
    if not run.tiles:
        return Word("ready", "Ready", f"No tile yet. {'Watching' if run.watched else 'Nobody watches'} {run.folder}")
    if run.endpoint_away_since is not None:
        waiting = counted(run.to_do, "tile waits", "tiles wait")
        return Word("waiting", "Waiting", f"No score since {_clock(run.last_scored_at)}. {waiting}; nothing is lost.")
    if run.unjudged > max(LEAST_TILES, run.scored // 2):
        return Word("learning", "Learning", f"{run.unjudged:,} of {run.scored:,} tiles are being judged.")
    if run.last_scored_at is None or run.now - run.last_scored_at > SILENT_S:
        since = "yet" if run.last_scored_at is None else f"since {_clock(run.last_scored_at, run.now)}"
        who = "" if run.watched else " No watch is running."
        return Word("silent", "Silent", f"No score {since}.{who}")
    if not run.compared:
        return Word(
            "learning", "Learning",
            f"A reference needs {counted(LEAST_TILES, 'tile')} with content; {run.scored} scored so far.",
        )  # fmt: skip
    return _by_blur(run)


def _by_blur(run: StateOfRun) -> Word:
    rows, which = [row for row in run.last if row.verdict in COMPARED], "Last section"
    if len(rows) < LEAST_OF_SECTION:
        rows, which = [row for row in [*run.before, *run.last] if row.verdict in COMPARED], "Last sections"
    blurs = [row.blur_px for row in rows if row.blur_px is not None]
    if not blurs:
        return Word("learning", "Learning", "Nothing in the last section can be compared.")
    blur, usual = median(blurs), run.usual_px
    text = f"{which}: blur {blur:.2f} px" + (f", usual {usual:.2f}." if usual is not None else ".")
    if sum(row.verdict != "in_focus" for row in rows) * 2 > len(rows):
        return Word("out_of_focus", "Out of focus", text)
    if usual is not None and blur - usual > DRIFT * run.max_blur_px:
        return Word("drifting", "Drifting", text)
    return Word("in_focus", "In focus", text)


def _clock(at: float | None, now: float | None = None) -> str:
    """The time of day of this machine, with the date if that is another day."""
    if at is None:
        return "the start"
    then = datetime.fromtimestamp(at, timezone.utc).astimezone()
    if now is not None and now - at > 86_400:
        return f"{then:%Y-%m-%d %H:%M}"
    return f"{then:%H:%M}"
