"""The chart of a run: blur, or the score where no blur is known, in the order in which tiles were taken."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from mhfd_client.judge.words import told_px
from mhfd_client.views.page.columns import COMPARED
from mhfd_client.views.report.axis import Axis
from mhfd_client.views.report.model import Alarm, Entry, is_flagged

HEIGHT_PX, TOP_PX, FOOT_PX = 230, 30, 22
LEAST_TOP_PX = 3.0
LEAST_IN_A_SECTION = 3
"""Tiles of which a spread is told."""

DOTS_AT_MOST = 600
MARKS_AT_MOST = 2000
LETTER = 0.75
"""Width of a letter in per cent of the chart's width, about: words that would lie over others are left out."""

KINDS = {
    "worsening": "Blur rising", "many": "Many flagged", "missing": "Missing", "endpoint": "Endpoint away",
    "sign_in": "Sign-in", "silence": "Silent",
}  # fmt: skip


@dataclass(frozen=True)
class Dot:
    """A tile; per cent from the left, pixels from the top.

    Attributes
    ----------
    over : its value, where that lies above the chart
    """

    verdict: str
    x: float
    y: float
    title: str
    hollow: bool = False
    over: str = ""


@dataclass(frozen=True)
class Moment:
    """When something happened; per cent from the left.

    Attributes
    ----------
    verdict : whose mark it has
    word : "" where there is no room for it
    is_left : mark and word stand to the left of it
    """

    verdict: str
    x: float
    word: str
    is_left: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes
    ----------
    measure : "blur" or "score"
    limit_y : of the threshold, px; None for scores
    ticks : y and text
    bands, curves : points of the spread (5 to 95 per cent) and of the median, "x,y x,y ..." with x in per cent of the
        width and y in pixels
    """

    measure: str
    top: float
    limit_y: float | None
    ticks: tuple[tuple[float, str], ...]
    bands: tuple[str, ...]
    curves: tuple[str, ...]
    dots: tuple[Dot, ...]
    marks: tuple[Dot, ...]
    moments: tuple[Moment, ...]
    left_out: int = 0


def draw_chart(axis: Axis, entries: Sequence[Entry], alarms: Sequence[Alarm], max_blur_px: float) -> Chart | None:
    """The chart; None where nothing is known of any tile."""
    placed = [entry for entry in entries if entry.number in axis.places and entry.result is not None]
    measure: str = "blur" if any(_blur(entry) is not None for entry in placed) else "score"
    value: Callable[[Entry], float | None] = _blur if measure == "blur" else _score
    known = [(entry, found) for entry in placed if (found := value(entry)) is not None]
    if not known:
        return None
    top = _top(measure, [found for _, found in known], max_blur_px)

    def up(found: float) -> float:
        return round(TOP_PX + (HEIGHT_PX - TOP_PX - FOOT_PX) * (1 - min(max(found / top, 0.0), 1.0)), 1)

    def dot(entry: Entry, found: float) -> Dot:
        name = f"{entry.name}: {found:.2f}{' px' if measure == 'blur' else ''}"
        hollow = entry.state in ("accept", "ignore")
        x = round(axis.across(entry.number), 3)
        return Dot(entry.verdict, x, up(found), name, hollow, f"{found:.1f}" if found > top else "")

    marked = [(entry, found) for entry, found in known if is_flagged(entry) or entry.verdict == "cannot_tell"]
    marked.sort(key=lambda each: -each[1])
    sharp = [(entry, found) for entry, found in known if entry.verdict == "in_focus"]
    spreads = list(_spreads(axis, [(entry, found) for entry, found in known if entry.verdict in COMPARED]))
    return Chart(
        measure,
        top,
        up(max_blur_px) if measure == "blur" else None,
        tuple((up(tick), f"{tick:g}") for tick in _ticks(top)),
        tuple(
            _points([*((x, up(high)) for x, _, _, high in run), *((x, up(low)) for x, low, _, _ in reversed(run))])
            for run in spreads
        ),
        tuple(_points((x, up(mid)) for x, _, mid, _ in run) for run in spreads),
        tuple(dot(entry, found) for entry, found in sharp) if len(sharp) <= DOTS_AT_MOST else (),
        tuple(dot(entry, found) for entry, found in marked[:MARKS_AT_MOST]),
        tuple(_moments(axis, placed, alarms)),
        max(0, len(marked) - MARKS_AT_MOST),
    )


def _blur(entry: Entry) -> float | None:
    return told_px(entry.result) if entry.result is not None else None


def _score(entry: Entry) -> float | None:
    return entry.result.focus_score if entry.result is not None else None


def _top(measure: str, values: Sequence[float], max_blur_px: float) -> float:
    if measure == "blur":
        return float(max(LEAST_TOP_PX, math.ceil(1.5 * max_blur_px)))
    return 1.15 * max(values) or 1.0


def _ticks(top: float) -> Iterator[float]:
    step = next(m * 10.0**e for e in range(-4, 6) for m in (1, 2, 5) if top / (m * 10.0**e) <= 5)
    return (k * step for k in range(int(top / step) + 1))


def _spreads(axis: Axis, known: Iterable[tuple[Entry, float]]) -> Iterator[list[tuple[float, float, float, float]]]:
    """Of sections without a gap between them: place, lowest twentieth, median, highest twentieth of each."""
    by_section: dict[int, list[float]] = {}
    for entry, found in known:
        by_section.setdefault(axis.places[entry.number][0], []).append(found)
    run: list[tuple[float, float, float, float]] = []
    last = None
    for section in sorted(by_section):
        values = sorted(by_section[section])
        if len(values) < LEAST_IN_A_SECTION:
            continue
        if last is not None and section != last + 1:
            yield run
            run = []
        end = len(values) - 1
        run.append((axis.middle(section), values[int(0.05 * end)], median(values), values[int(0.95 * end)]))
        last = section
    if run:
        yield run


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.3f},{y:.1f}" for x, y in points)


def _moments(axis: Axis, entries: Sequence[Entry], alarms: Sequence[Alarm]) -> Iterator[Moment]:
    """Begins of alarms, and where the focus came back; beside the last tile that had its result by then."""
    dated = sorted((entry.at, entry.number) for entry in entries if entry.at is not None)
    times = [at for at, _ in dated]
    told = [(alarm.began, alarm.kind, KINDS.get(alarm.kind, alarm.kind)) for alarm in alarms]
    told += [
        (alarm.ended, "refocus", "Focus back")
        for alarm in alarms
        if alarm.kind == "worsening" and alarm.ended is not None
    ]
    if not dated:
        return
    places = [
        (round(axis.across(dated[max(0, bisect_right(times, at) - 1)][1]), 3), at, kind, words)
        for at, kind, words in sorted(told)
    ]
    for k, (x, at, kind, words) in enumerate(places):
        word = f"{words} {datetime.fromtimestamp(at):%H:%M}"
        wide = LETTER * len(word) + 3
        is_left = x + wide > 100
        end = x - wide if is_left else x + wide
        others = (each[0] for i, each in enumerate(places) if i != k)
        room = not any(min(x, end) <= other <= max(x, end) for other in others)
        verdict = {"refocus": "in_focus", "missing": "missing"}.get(kind, "out_of_focus")
        yield Moment(verdict, x, word if room else "", is_left)
