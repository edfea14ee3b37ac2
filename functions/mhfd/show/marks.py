"""The mark of each verdict: a shape and a colour of its own, so that none is told by its hue alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mhfd.contract import Verdict
from mhfd.text import counted


@dataclass(frozen=True)
class Mark:
    """How a verdict looks; the live page has the same shapes and colours.

    Attributes
    ----------
    shape : a path of SVG in a box of 16 x 16
    marker : in matplotlib
    light, dark : its colour on light and on dark ground
    """

    shape: str
    marker: str
    light: str
    dark: str


SLANTED = "slanted ellipse"
"""A marker that matplotlib has no letter for."""

MARKS: Mapping[Verdict, Mark] = {
    "in_focus": Mark("M8 3.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 1 1 0-9z", "o", "#3583c4", "#4e94ce"),
    "out_of_focus": Mark("M8 1.5 15 14H1z", "^", "#c8400a", "#f4632a"),
    "astigmatic": Mark("M2.5 13.5A7.78 3.9 -45 1 1 13.5 2.5 7.78 3.9 -45 1 1 2.5 13.5z", SLANTED, "#4f1d78", "#d8bcfa"),
    "no_content": Mark("M2 6.75h12v2.5H2z", "_", "#7d7b76", "#928e87"),
    "cannot_tell": Mark("M8 1.5 14.5 8 8 14.5 1.5 8z", "D", "#f0c419", "#ffe27a"),
    "failed": Mark("M3 3l10 10M13 3 3 13", "x", "#15181c", "#f0f2f4"),
}

NO_VERDICT = Mark("", ".", "#555c66", "#a2aab4")
"""Of a tile that nobody has judged."""

EDGE = "#6b5200"
"""Round the yellow mark, on light ground."""

_DARK = ("[data-jp-theme-light=false]", ".vscode-dark", "[data-theme=dark]")
"""How JupyterLab, VS Code and the notebook's pages tell a dark theme."""


def word(verdict: Verdict) -> str:
    """A verdict for people: "out of focus"."""
    return verdict.replace("_", " ")


def told(verdicts: Iterable[Verdict | None]) -> list[tuple[Verdict, int]]:
    """The verdicts that there are, and of how many tiles each; in the order of `MARKS`."""
    counts = Counter(verdicts)
    return [(verdict, counts[verdict]) for verdict in MARKS if counts[verdict]]


def style_sheet() -> str:
    """The colours of the marks in HTML, for light and dark themes; without it they keep their shapes."""
    light = "".join(f".mhfd-{verdict}{{{_paint(verdict, mark.light)}}}" for verdict, mark in MARKS.items())
    dark = "".join(
        f"{','.join(f'{theme} .mhfd-{verdict}' for theme in _DARK)}{{{_paint(verdict, mark.dark)}}}"
        for verdict, mark in MARKS.items()
    )
    return f"<style>{light}.mhfd-cannot_tell{{stroke:{EDGE}}}{dark}</style>"


def _paint(verdict: Verdict, colour: str) -> str:
    return f"fill:none;stroke:{colour};stroke-width:2.6" if verdict == "failed" else f"fill:{colour}"


def mark_html(verdict: Verdict | None) -> str:
    """The mark as an element; nothing without a verdict."""
    if verdict is None:
        return ""
    return f'<svg width="12" height="12" viewBox="0 0 16 16" aria-hidden="true">{mark_path(verdict)}</svg>'


def mark_path(verdict: Verdict, inside: str = "", **attributes: str) -> str:
    """The mark as a path of SVG in a box of 16 x 16."""
    more = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f'<path class="mhfd-{verdict}" d="{MARKS[verdict].shape}"{more}>{inside}</path>'


def counts_html(n: int, counts: Iterable[tuple[Verdict, int]]) -> str:
    """A line: how many tiles there are, and how many of them have which verdict."""
    parts = [f"{mark_html(verdict)} {count:,} {word(verdict)}" for verdict, count in counts if count]
    return f"{counted(n, 'tile')}{': ' if parts else ''}{', '.join(parts)}"
