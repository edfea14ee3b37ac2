"""Figures 2a and 2b: how the count falls with the distance from focus, in a focal series.

The fits are those of `mhfd calibrate`. What is drawn is a table first, so that a picture and its numbers cannot differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mhfd.text import counted
from mhfd_client.judge.calibration import FocalSeries, Law
from mhfd_client.views.figures.drawn import Drawn
from mhfd_client.views.figures.style import (
    BLUE,
    GREY,
    INK,
    LINE,
    VERMILION,
    canvas,
    legend_below,
    minus,
    plain_ticks,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVE_POINTS = 61
COUNTS = (("features", "o", "-", BLUE), ("count as published", "^", "--", VERMILION))
"""Of a frame, as they are drawn: name, marker, line, colour."""


class Point(NamedTuple):
    """A line of figure 2a's table: a frame, a point of the parabola, or an end of the interval of best focus."""

    item: str
    file: str | None
    working_distance_um: float
    from_focus_um: float
    features: int | None = None
    d_px2: float | None = None
    d_error_px2: float | None = None


class LawPoint(NamedTuple):
    """A line of figure 2b's table: a count of a frame, or an end of the line of a law."""

    item: str
    file: str | None
    from_focus_um: float
    features: float
    r: float | None = None
    slope_per_um: float | None = None
    intercept: float | None = None


def figure_2a(found: FocalSeries) -> Drawn:
    """Features by distance from focus, over D of the same frames with its parabola (paper, fig. 2a)."""
    points = points_of(found)
    known = any(each.d_px2 is not None for each in points)
    with styled():
        page = canvas(80 if known else 50)
        if known:
            top, below = page.subplots(2, 1, sharex=True)
            _draw_d(below, points)
        else:
            top = below = page.subplots()
        _draw_counts(top, points)
        below.set_xlabel(_from(found, signed=True))
    return Drawn(
        "figure-2a",
        f"features and D of {counted(len(found.rows), 'frame')} against the distance from {_where(found)}",
        page,
        Point._fields,
        points,
    )


def figure_2b(found: FocalSeries) -> Drawn:
    """Both counts by the distance from focus, with their log-linear laws (paper, fig. 2b)."""
    lines = list(law_lines(found))
    with styled():
        page = canvas(65)
        axes = page.subplots()
        draw_laws(axes, found, lines)
        legend_below(axes)
    law, _ = found.laws()
    told = "no law: fewer than three counts above 0" if law is None else f"r = {law.r:.4f}, {law.slope:+.3g} a um"
    return Drawn(
        "figure-2b", f"ln(features) against the distance from {_where(found)}: {told}", page, LawPoint._fields, lines
    )


def draw_series(found: FocalSeries, left: Axes, right: Axes) -> None:
    """D by distance, and the counts with their laws."""
    _draw_d(left, points_of(found))
    left.set_xlabel(_from(found, signed=True))
    draw_laws(right, found, list(law_lines(found)))
    legend_below(right)


def points_of(found: FocalSeries) -> list[Point]:
    """What figure 2a shows: the frames by distance, then the fit, where there is one."""
    series, fit, origin = found.series, found.series.fit, found.origin_um()
    of_used = {i: k for k, i in enumerate(series.used)}
    points = []
    for i, (row, distance) in enumerate(zip(found.rows, found.distances_um, strict=True)):
        known = series.d is not None and series.error is not None and i in of_used
        points.append(
            Point(
                "frame", row.path, distance, distance - origin, row.features,
                float(series.d[of_used[i]]) if known and series.d is not None else None,
                float(series.error[of_used[i]]) if known and series.error is not None else None,
            )
        )  # fmt: skip
    if fit.best and fit.k and fit.floor is not None:
        low, high = found.distances_um[0], found.distances_um[-1]
        for i in range(CURVE_POINTS):
            at = low + (high - low) * i / (CURVE_POINTS - 1)
            d = (fit.k.value * (at - fit.best.value)) ** 2 + fit.floor
            points.append(Point("parabola", None, at, at - origin, d_px2=d))
        points += [Point("best focus, 95 %", None, end, end - origin) for end in (fit.best.low, fit.best.high)]
    return points


def law_lines(found: FocalSeries) -> Iterator[LawPoint]:
    """What figure 2b shows, each count of each frame, then the ends of the lines with their laws."""
    away = found.from_focus()
    counts: tuple[Sequence[int | None], ...] = ([row.features for row in found.rows], found.paper)
    for (name, *_), values, law in zip(COUNTS, counts, found.laws(), strict=True):
        for row, x, n in zip(found.rows, away, values, strict=True):
            if n:  # a logarithm has no place for 0
                yield LawPoint(name, row.path, x, n)
        if law is not None:
            for x in (min(away), max(away)):
                yield LawPoint(f"{name}, law", None, x, _at(law, x), law.r, law.slope, law.intercept)


def draw_laws(axes: Axes, found: FocalSeries, lines: Sequence[LawPoint]) -> None:
    """Draw `law_lines` on a logarithmic axis; the legend has each r."""
    for (name, marker, dash, colour), law in zip(COUNTS, found.laws(), strict=True):
        points, ends = ([line for line in lines if line.item == item] for item in (name, f"{name}, law"))
        if not points:
            continue
        label = name if law is None else minus(f"{name}: r = {law.r:.4f}, slope {law.slope:+.3g} per µm")
        axes.plot(*_xy(points), marker=marker, linestyle="none", color=colour, markerfacecolor="white", label=label)
        if ends:
            axes.plot(*_xy(ends), linestyle=dash, color=colour)
    axes.set(xlabel=_from(found, signed=False), ylabel="features (log scale)", yscale="log")
    plain_ticks(axes.yaxis, subs=(1.0, 2.0, 5.0))
    axes.grid(axis="y")


def _draw_counts(axes: Axes, points: Sequence[Point]) -> None:
    frames = [each for each in points if each.item == "frame"]
    axes.plot(
        [each.from_focus_um for each in frames],
        [math.nan if each.features is None else each.features for each in frames],
        color=BLUE,
        marker="o",
    )
    axes.set(ylabel="features")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")


def _draw_d(axes: Axes, points: Sequence[Point]) -> None:
    frames = [each for each in points if each.item == "frame" and each.d_px2 is not None]
    curve = [each for each in points if each.item == "parabola"]
    best = [each.from_focus_um for each in points if each.item.startswith("best focus")]
    if best:
        axes.axvspan(*best, color=LINE, linewidth=0)
    axes.plot([each.from_focus_um for each in curve], [each.d_px2 or 0.0 for each in curve], color=GREY)
    axes.errorbar(
        [each.from_focus_um for each in frames],
        [each.d_px2 or 0.0 for each in frames],
        [each.d_error_px2 or 0.0 for each in frames],
        fmt="s", color=INK, markerfacecolor="white", capsize=1.5, elinewidth=0.6,
    )  # fmt: skip
    axes.set(ylabel="D, px²")
    axes.grid(axis="y")


def _from(found: FocalSeries, *, signed: bool) -> str:
    """The axis of distances."""
    origin = found.origin_um()
    if found.series.fit.best is None:
        return minus(f"µm from {_where(found)} (at {origin:.6g} µm)")
    return f"{'f − f′' if signed else '|f − f′|'}, µm (f′ = {origin:.6g} µm)"


def _where(found: FocalSeries) -> str:
    """What distances count from."""
    return "the sharpest frame" if found.series.fit.best is None else "focus"


def _at(law: Law, x: float) -> float:
    return math.exp(law.intercept + law.slope * x)


def _xy(lines: Sequence[LawPoint]) -> tuple[list[float], list[float]]:
    return [line.from_focus_um for line in lines], [line.features for line in lines]
