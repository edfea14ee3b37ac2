"""Results as a strip: blur by tile, each with the mark of its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mhfd.contract import FocusResult, Verdict
from mhfd.extras import needed
from mhfd.show.marks import EDGE, MARKS, NO_VERDICT, SLANTED, told, word

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path

    from mhfd.show.figure import Drawn

LINES = "_x"
"""Markers without an area."""

Point = tuple[int, float | None]
"""Number of a tile, and its blur or score."""


def plot_results(results: Sequence[FocusResult]) -> Drawn:
    """A figure of all tiles in order; those without a number stand on the axis.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    needed("matplotlib", "notebook", "a plot")
    from mhfd.show.figure import new_figure, plain

    key = "blur_px" if any(row.blur_px is not None for row in results) else "focus_score"
    figure = new_figure(8, 2.6)
    axes = figure.add_subplot()
    by_verdict: dict[Verdict | None, list[Point]] = {}
    for number, row in enumerate(results):
        by_verdict.setdefault(row.verdict, []).append((number, getattr(row, key)))
    for verdict, count in [*told(row.verdict for row in results), (None, len(by_verdict.get(None, ())))]:
        if points := by_verdict.get(verdict):
            _draw(axes, verdict, points, f"{count} {word(verdict) if verdict else 'not judged'}")
    axes.set_ylim(bottom=0)
    axes.set(xlabel="tile", ylabel="blur, px" if key == "blur_px" else "focus score")
    plain(axes)
    if results:
        axes.legend(fontsize=8, frameon=False, ncols=7, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def _draw(axes: Axes, verdict: Verdict | None, points: Sequence[Point], label: str) -> None:
    mark = MARKS[verdict] if verdict else NO_VERDICT
    drawn = axes.scatter(
        [number for number, _ in points],
        [value or 0.0 for _, value in points],
        s=28,
        marker=_slanted() if mark.marker == SLANTED else mark.marker,
        c=mark.light,
        linewidths=1.8 if mark.marker in LINES else 0.6,
        label=label,
        clip_on=False,
        zorder=3,
    )
    if verdict == "cannot_tell":
        drawn.set_edgecolor(EDGE)


def _slanted() -> Path:
    """An ellipse that rises to the right."""
    from matplotlib.path import Path
    from matplotlib.transforms import Affine2D

    return Path.unit_circle().transformed(Affine2D().scale(1, 0.5).rotate_deg(45))
