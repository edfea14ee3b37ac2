"""A calibration for people: lines for a terminal, and a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from mhfd.contract import ParamsError
from mhfd.judge.focal import Interval
from mhfd_client.files.whole import written
from mhfd_client.judge.calibration import FocalSeries
from mhfd_client.judge.threshold import Point, Threshold
from mhfd_client.views.figures.focal import draw_series
from mhfd_client.views.figures.style import COLUMN_MM, Kind, canvas, check_matplotlib, saved, styled

AXES = ("along the rows", "at 45 degrees", "down the columns", "at 135 degrees")
SUFFIXES: dict[str, Kind] = {".png": "png", ".svg": "svg", ".pdf": "pdf"}
LINES = 12
"""Of a ROC table, at most."""


def series_lines(found: FocalSeries) -> Iterator[str]:
    """A focal series: its frames, then what they say."""
    series, fit = found.series, found.series.fit
    of_used = {i: k for k, i in enumerate(series.used)}
    yield f"{'distance um':>12}  {'D px^2':>8}  {'+-':>6}  {'features':>8}  {'paper':>8}  file"
    for i, (row, distance) in enumerate(zip(found.rows, found.distances_um, strict=True)):
        known = series.d is not None and series.error is not None and i in of_used
        d = f"{series.d[of_used[i]]:8.2f}" if known and series.d is not None else f"{'-':>8}"
        error = f"{series.error[of_used[i]]:6.2f}" if known and series.error is not None else f"{'-':>6}"
        yield f"{distance:12.3f}  {d}  {error}  {_count(row.features)}  {_count(found.paper[i])}  {row.path}"
    for row in found.failed:
        yield f"failed: {row.path}: {row.error.message if row.error else ''}"
    if fit.declined:
        yield f"declined: {fit.declined}"
    if fit.best:
        yield f"best focus: {_told(fit.best, 'um')}"
        for name, each in zip(AXES, fit.by_direction, strict=True):
            yield f"  {name}: {_told(each, 'um') if each else 'not known'}"
        for name, difference in zip(("rows - columns", "45 - 135 degrees"), fit.astigmatism, strict=True):
            if difference:
                yield f"astigmatism, {name}: {_told(difference, 'um')}"
    if fit.k:
        yield f"k: {_told(fit.k, 'px/um')}"
    if per_um := series.verdict_k():
        yield f"blur_px of verdicts: {_told(per_um, 'px/um')}"
    if fit.slope and not fit.best:
        yield f"slope of D: {_told(fit.slope, 'px^2/um')}"
    law, paper = found.laws()
    where = "|f - f'|" if fit.best else "distance from the sharpest frame"
    for name, each_law in (("features", law), ("the published count", paper)):
        if each_law:
            yield f"ln({name}) against {where}: r = {each_law.r:.4f}, {each_law.slope:+.3g} a um"


def _count(n: int | None) -> str:
    return f"{'-' if n is None else n:>8}"


def _told(each: Interval, unit: str) -> str:
    return f"{each.value:.4g} {unit} (95 %: {each.low:.4g} to {each.high:.4g})"


def threshold_lines(found: Threshold) -> Iterator[str]:
    """A ROC table, and what is chosen."""
    yield f"{found.good} good and {found.bad} bad tiles; area under the curve {found.auc:.3f}"
    yield f"{'max_blur_px':>11}  {'bad caught':>10}  {'good flagged':>12}"
    for point in _some(found.curve, found.chosen):
        mark = "  <- chosen" if point == found.chosen else ""
        yield f"{point.max_blur_px:11.3g}  {point.caught:10.1%}  {point.false:12.1%}{mark}"


def _some(curve: Sequence[Point], chosen: Point | None) -> list[Point]:
    every = math.ceil(len(curve) / LINES)
    some = [*curve[::every], curve[-1], *([chosen] if chosen else [])]
    return sorted(set(some), key=lambda point: point.max_blur_px)


def check_plot(path: Path) -> None:
    """Find out before the work is done that a picture cannot be drawn.

    Raises
    ------
    ParamsError
        matplotlib is not installed, or the suffix is none of SUFFIXES.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ParamsError(f"{path}: a picture is called *{', *'.join(SUFFIXES)}")
    check_matplotlib()


def draw(found: FocalSeries, path: Path) -> None:
    """D and its parabola by distance, and the counts by distance from focus (paper, fig. 2b)."""
    with styled():
        page = canvas(70, 2 * COLUMN_MM)
        draw_series(found, *page.subplots(1, 2))
    with written(path) as out:
        out.write(saved(page, SUFFIXES[path.suffix.lower()]))
