"""Figures 3a, 3b and 4: time by number of scales, by side of the tile, by phase; from the tables of `mhfd bench`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from mhfd.text import counted, visible
from mhfd_client.views.drawing import shortened
from mhfd_client.views.figures.drawn import Drawn
from mhfd_client.views.figures.style import (
    COLOURS,
    DASHES,
    HATCHES,
    INK,
    MARKERS,
    RAMP,
    SOFT,
    canvas,
    legend_below,
    plain_ticks,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Varied = Literal["side_px", "n_scales"]

KERNEL = "kernel"
"""The lap that figures 3a and 3b show: from an array where the contestant computes to the numbers."""

GUIDE = 8
"""The slope that the paper found is drawn over this factor in x."""

LABEL_PT, LABEL_SIZE = 208, 7.7
"""Room for a name beside its mark in the legend, and the size at which the font that measures is as wide as ours."""

LINE_MM, BAR_MM = 4.0, 9.0
"""Height of a line of the legend, and of a bar."""


class Point(NamedTuple):
    """A line of the tables of figures 3a and 3b: a time, or an end of the slope that the paper found."""

    item: str
    device: str | None
    side_px: int | None
    n_scales: int | None
    median_ms: float
    q1_ms: float | None
    q3_ms: float | None


class Piece(NamedTuple):
    """A line of the table of figure 4: a phase, and where its piece of the bar begins and ends."""

    item: str
    device: str
    side_px: int
    n_scales: int
    phase: str
    from_ms: float
    to_ms: float


class Time(Protocol):
    """One contestant's time for one kind of tile, as `mhfd bench` sums it up.

    Attributes
    ----------
    figure : of the paper: "3a", "3b", "4"
    lap : what was timed; in figure 4 the phase
    median_ms, q1_ms, q3_ms : median and quartiles, milliseconds a tile
    """

    @property
    def figure(self) -> str: ...
    @property
    def contestant(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def side(self) -> int: ...
    @property
    def n_scales(self) -> int: ...
    @property
    def lap(self) -> str: ...
    @property
    def median_ms(self) -> float: ...
    @property
    def q1_ms(self) -> float: ...
    @property
    def q3_ms(self) -> float: ...


def figure_3a(times: Sequence[Time]) -> Drawn | None:
    """Time by number of scales (paper, fig. 3a); None without such times."""
    rows = _kernel_times(times, "3a")
    return _curves("figure-3a", rows, "n_scales", 1, "linear") if rows else None


def figure_3b(times: Sequence[Time]) -> Drawn | None:
    """Time by side of the tile (paper, fig. 3b); None without such times."""
    rows = _kernel_times(times, "3b")
    return _curves("figure-3b", rows, "side_px", 2, "quadratic") if rows else None


def figure_4(times: Sequence[Time]) -> Drawn | None:
    """The phases of one tile that devices share (paper, fig. 4); None without such times."""
    rows = [each for each in times if each.figure == "4"]
    if not rows:
        return None
    pieces = list(_pieces(rows))
    bars = list(dict.fromkeys(piece[:4] for piece in pieces))
    phases = list(dict.fromkeys(piece.phase for piece in pieces))
    with styled():
        page = canvas(14 + BAR_MM * len(bars) + LINE_MM * (len(phases) + 2))
        axes = page.subplots()
        for k, phase in enumerate(phases):
            here = [piece for piece in pieces if piece.phase == phase]
            axes.barh(
                [bars.index(piece[:4]) for piece in here],
                [piece.to_ms - piece.from_ms for piece in here],
                left=[piece.from_ms for piece in here],
                height=0.42,
                color=RAMP[k % len(RAMP)],
                hatch=HATCHES[k % len(HATCHES)],
                edgecolor=INK,
                linewidth=0.4,
                label=visible(phase),
            )
        for i, (item, device, *_) in enumerate(bars):  # over its bar: names are long
            axes.text(0, i - 0.28, label(item, device), fontsize=6.5, va="bottom")
        axes.set(xlabel="time, ms (medians)", yticks=[], title=_setting(rows, "side", "n_scales"))
        axes.set_ylim(len(bars) - 0.6, -0.75)
        axes.spines["left"].set_visible(False)
        legend_below(axes, columns=2)
    return Drawn(
        "figure-4", f"{counted(len(phases), 'phase')} of a tile that devices share", page, Piece._fields, pieces
    )


def _kernel_times(times: Sequence[Time], figure: str) -> list[Time]:
    """Those that a logarithmic axis has a place for."""
    return [each for each in times if each.figure == figure and each.lap == KERNEL and each.median_ms > 0]


def _curves(name: str, rows: Sequence[Time], varied: Varied, power: int, growth: str) -> Drawn:
    """A curve for each contestant, and the slope that the paper found."""
    points = [
        Point(each.contestant, each.device, each.side, each.n_scales, each.median_ms, each.q1_ms, each.q3_ms)
        for each in rows
    ]
    guide = list(_guide(points, varied, power, f"slope of {growth} growth"))
    curves = list(dict.fromkeys((each.contestant, each.device) for each in rows))
    with styled():
        page = canvas(55 + LINE_MM * (len(curves) + bool(guide)))
        axes = page.subplots()
        for k, curve in enumerate(curves):
            here = sorted((each for each in points if each[:2] == curve), key=lambda each: _x(each, varied))
            axes.errorbar(
                [_x(each, varied) for each in here],
                [each.median_ms for each in here],
                [
                    [each.median_ms - (each.q1_ms or 0.0) for each in here],
                    [(each.q3_ms or 0.0) - each.median_ms for each in here],
                ],
                label=label(*curve),
                color=COLOURS[k % len(COLOURS)],
                marker=MARKERS[k % len(MARKERS)],
                linestyle=DASHES[k % len(DASHES)],
                markerfacecolor="white",
                capsize=1.5,
                elinewidth=0.6,
            )
        if guide:
            # As a curve with errors, which the legend has in their order, after the lines without.
            xs, ys = [_x(each, varied) for each in guide], [each.median_ms for each in guide]
            axes.errorbar(xs, ys, color=SOFT, linestyle=(0, (1, 2)), label=guide[0].item)
        _log_axes(axes, sorted({_x(each, varied) for each in points}))
        what, fixed = ("side of the tile, px", "n_scales") if varied == "side_px" else ("number of scales", "side")
        axes.set(xlabel=what, ylabel="kernel time, ms", title=f"{_setting(rows, fixed)}: medians and quartiles")
        legend_below(axes)
    said = f"time by {what.partition(',')[0]}, {counted(len(curves), 'program')}"
    return Drawn(name, said, page, Point._fields, [*points, *guide])


def _guide(points: Sequence[Point], varied: Varied, power: int, name: str) -> Iterator[Point]:
    """Two points below the end of the lowest curve; none where nothing is varied."""
    xs = [_x(each, varied) for each in points]
    last = max(xs)
    first = max(min(xs), last // GUIDE)
    if first == last:
        return
    lowest = min(each.median_ms for each, x in zip(points, xs, strict=True) if x == last) / 2
    for x in (first, last):
        at = {"side_px": None, "n_scales": None, varied: x}
        yield Point(name, None, at["side_px"], at["n_scales"], lowest * (x / last) ** power, None, None)


def _x(point: Point, varied: Varied) -> int:
    value = point.side_px if varied == "side_px" else point.n_scales
    assert value is not None
    return value


def _pieces(rows: Sequence[Time]) -> Iterator[Piece]:
    """The pieces of each bar, one after the other."""
    reached: dict[tuple[str, str, int, int], float] = {}
    for each in rows:
        bar = each.contestant, each.device, each.side, each.n_scales
        begin = reached.get(bar, 0.0)
        reached[bar] = begin + each.median_ms
        yield Piece(*bar, each.lap, begin, reached[bar])


def _log_axes(axes: Axes, ticks: Sequence[int]) -> None:
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
    axes.set_xticks([], minor=True)
    plain_ticks(axes.yaxis)
    axes.grid(which="major")


def _setting(rows: Sequence[Time], *fixed: str) -> str:
    """What all times have in common."""
    parts = []
    for name in fixed:
        values = sorted({int(getattr(each, name)) for each in rows})
        told = ", ".join(map(str, values))
        parts.append(f"{told} scales" if name == "n_scales" else f"tiles of {told} x {told} px")
    return ", ".join(parts)


def label(contestant: str, device: str) -> str:
    """A name that fits into a line of a figure."""
    return shortened(f"{contestant} ({device})", LABEL_PT, LABEL_SIZE)
