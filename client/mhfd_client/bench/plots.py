"""The figures as pictures; matplotlib is loaded when one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mhfd_client.bench.plan import FILES_LAPS
from mhfd_client.bench.race import Summary
from mhfd_client.bench.tables import Report, number
from mhfd_client.views.figures.drawn import Drawn, write
from mhfd_client.views.figures.speed import figure_3a, figure_3b, figure_4, label
from mhfd_client.views.figures.style import BLUE, GREY, HATCHES, INK, RAMP, canvas, legend_below, plain_ticks, styled

FILES_COLUMNS = ("contestant", "device", "side_px", "n_scales", "lap", "tiles_per_s")
FILES_NAMES = dict(zip(FILES_LAPS, ("files to numbers", "kernel alone", "readers alone"), strict=True))
RIVAL_COLUMNS = ("contestant", "device", "side_px", "n_scales", "median_ms", "ratio")


def draw(report: Report, folder: Path) -> list[Path]:
    """Write figure-3a.png, .svg and .csv, and so on, for the figures measured.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    times = report.summaries
    figures = (
        *(figure_3a(times), figure_3b(times), figure_4(times)),
        figure_rivals(report.of("rivals")),
        figure_files(report.of("files")),
    )
    return [file for figure in figures if figure for file in write(figure, folder)]


def figure_rivals(rows: Sequence[Summary]) -> Drawn | None:
    """A bar a contestant, the fastest first; None without any."""
    rows = sorted((row for row in rows if row.lap == "kernel"), key=lambda row: row.median_ms)
    if not rows:
        return None
    lines = [(row.contestant, row.device, row.side, row.n_scales, row.median_ms, row.ratio) for row in rows]
    with styled():
        page = canvas(20 + 8 * len(rows))
        axes = page.subplots()
        colours = [BLUE if row.contestant.startswith("mhfd") else GREY for row in rows]
        axes.barh(range(len(rows)), [row.median_ms for row in rows], color=colours, height=0.4)
        for i, row in enumerate(rows):  # over its bar: names are long
            ratio = f", {number(row.ratio)} x" if row.ratio else ""
            name = label(row.contestant, row.device)
            axes.annotate(f"{name}: {number(row.median_ms)} ms{ratio}", (0, i - 0.27), fontsize=6.5, va="bottom",
                          xycoords=("axes fraction", "data"))  # fmt: skip
        side = rows[0].side
        axes.set(
            xscale="log",
            xlim=(rows[0].median_ms / 3, rows[-1].median_ms * 1.5),
            xlabel="kernel time, ms (x: times the fastest of mhfd)",
            title=f"tiles of {side} x {side} px, {rows[0].n_scales} scales",
            yticks=[],
        )
        plain_ticks(axes.xaxis)
        axes.set_ylim(len(rows) - 0.6, -0.75)
        axes.spines["left"].set_visible(False)
    return Drawn("figure-rivals", f"{len(rows)} programs", page, RIVAL_COLUMNS, lines)


def figure_files(rows: Sequence[Summary]) -> Drawn | None:
    """Three bars a backend: the rate from files to numbers, and those of its parts alone; None without any."""
    if not rows:
        return None
    lines = [(row.contestant, row.device, row.side, row.n_scales, row.lap, 1e3 / row.median_ms) for row in rows]
    names = list(dict.fromkeys(row.contestant for row in rows))
    with styled():
        page = canvas(30 + 14 * len(names))
        axes = page.subplots()
        for k, lap in enumerate(FILES_LAPS):
            here = [1e3 / row.median_ms for name in names for row in rows if (row.contestant, row.lap) == (name, lap)]
            places = [i + 0.2 * k for i in range(len(names))]
            axes.barh(
                places, here, height=0.18, color=RAMP[k], hatch=HATCHES[k], edgecolor=INK, linewidth=0.4,
                label=FILES_NAMES[lap],
            )  # fmt: skip
            for rate, place in zip(here, places, strict=True):
                axes.annotate(f" {number(rate)}", (rate, place), fontsize=6.5, va="center")
        for i, name in enumerate(names):
            device = next(row.device for row in rows if row.contestant == name)
            axes.annotate(label(name, device), (0, i - 0.15), fontsize=6.5, va="bottom",
                          xycoords=("axes fraction", "data"))  # fmt: skip
        title = f"tiles of {rows[0].side} x {rows[0].side} px, {rows[0].n_scales} scales"
        rates = [line[-1] for line in lines]
        limits = min(rates) / 3, max(rates) * 2
        axes.set(xscale="log", xlim=limits, xlabel="tiles a second", title=title, yticks=[])
        plain_ticks(axes.xaxis)
        axes.set_ylim(len(names) - 0.4, -0.5)
        axes.spines["left"].set_visible(False)
        legend_below(axes, columns=3)
    return Drawn("figure-files", f"{len(names)} backends", page, FILES_COLUMNS, lines)
