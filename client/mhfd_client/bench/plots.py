"""The figures as pictures; matplotlib is loaded when one is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mhfd_client.bench.plan import Figure
from mhfd_client.bench.race import Summary
from mhfd_client.bench.tables import Report, number, varied

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#777777", "#000000")  # Okabe and Ito
MARKERS = "osD^vP*X"


def draw(report: Report, folder: Path) -> list[Path]:
    """Write figure-3a.png and so on, for the figures measured.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    from matplotlib.figure import Figure as Canvas

    drawers: dict[Figure, Callable[[Any, list[Summary]], None]] = {
        "3a": _curve, "3b": _curve, "4": _phases, "rivals": _rivals,
    }  # fmt: skip
    written = []
    for figure, drawer in drawers.items():
        if rows := report.of(figure):
            canvas = Canvas(figsize=(7, 4.4), layout="constrained")
            axes = canvas.add_subplot()
            axes.spines[["top", "right"]].set_visible(False)
            drawer(axes, rows)
            canvas.supxlabel(report.machine["processor"], fontsize=7, color="#777777", x=0.99, ha="right")
            path = folder / f"figure-{figure}.png"
            canvas.savefig(path, dpi=150)
            written.append(path)
    return written


def _curve(axes: Any, rows: Sequence[Summary]) -> None:
    rows = [row for row in rows if row.lap == "kernel"]
    ticks = sorted({varied(row) for row in rows})
    for k, name in enumerate(dict.fromkeys(row.contestant for row in rows)):
        line = [row for row in rows if row.contestant == name]
        axes.errorbar(
            [varied(row) for row in line],
            [row.median_ms for row in line],
            [[row.median_ms - row.q1_ms for row in line], [row.q3_ms - row.median_ms for row in line]],
            label=f"{name} ({line[0].device})",
            color=COLOURS[k % len(COLOURS)],
            marker=MARKERS[k % len(MARKERS)],
            markersize=5,
            capsize=2,
        )
    axes.set(xscale="log", yscale="log", ylabel="kernel time, ms (median, quartiles)")
    axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
    axes.set_xticks([], minor=True)
    if rows[0].figure == "3a":
        axes.set(xlabel="number of scales", title=f"{rows[0].side} x {rows[0].side} px")
        _guide(axes, rows, 1, "linear")
    else:
        axes.set(xlabel="side of the tile, px", title=f"{rows[0].n_scales} scales")
        _guide(axes, rows, 2, "quadratic")
    axes.grid(which="major", color="#dddddd", linewidth=0.6)
    axes.legend(frameon=False, fontsize=8)


def _guide(axes: Any, rows: Sequence[Summary], power: int, name: str) -> None:
    """Draw the slope that the paper found, below the lowest curve."""
    first, last = min(map(varied, rows)), max(map(varied, rows))
    lowest = min(row.median_ms for row in rows if varied(row) == last) / 2
    axes.set_ylim(bottom=min(row.q1_ms for row in rows) / 3)
    heights = [lowest * (end / last) ** power for end in (first, last)]
    axes.plot([first, last], heights, color="#999999", linestyle=":", linewidth=1, label=f"slope of {name} growth")


def _phases(axes: Any, rows: Sequence[Summary]) -> None:
    names = list(dict.fromkeys(row.contestant for row in rows))
    left = dict.fromkeys(names, 0.0)
    for k, lap in enumerate(dict.fromkeys(row.lap for row in rows)):
        widths = {row.contestant: row.median_ms for row in rows if row.lap == lap}
        present = [name for name in names if name in widths]
        axes.barh(
            present,
            [widths[name] for name in present],
            left=[left[name] for name in present],
            label=lap,
            color=COLOURS[k % len(COLOURS)],
            height=0.5,
        )
        for name in present:
            left[name] += widths[name]
    axes.invert_yaxis()
    side = rows[0].side
    axes.set(xlabel="time, ms", title=f"one tile by two devices, {side} x {side} px, {rows[0].n_scales} scales")
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.16))


def _rivals(axes: Any, rows: Sequence[Summary]) -> None:
    rows = sorted((row for row in rows if row.lap == "kernel"), key=lambda row: row.median_ms)
    names = [f"{row.contestant} ({row.device})" for row in rows]
    colours = [COLOURS[0] if row.contestant.startswith("mhfd") else "#aaaaaa" for row in rows]
    bars = axes.barh(names, [row.median_ms for row in rows], color=colours, height=0.6)
    labels = [f"{number(row.median_ms)} ms" + (f"  ({number(row.ratio)} x)" if row.ratio else "") for row in rows]
    axes.bar_label(bars, labels, padding=4, fontsize=8)
    axes.invert_yaxis()
    side = rows[0].side
    axes.set(
        xscale="log",
        xlim=(rows[0].median_ms / 3, rows[-1].median_ms * 6),
        xlabel="kernel time, ms (in brackets, times the fastest of mhfd)",
        title=f"{side} x {side} px, {rows[0].n_scales} scales",
    )
