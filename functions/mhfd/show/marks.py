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
    glyph : in text
    marker : in matplotlib
    light, dark : its colour on light and on dark ground
    """

    glyph: str
    marker: str
    light: str
    dark: str


MARKS: Mapping[Verdict, Mark] = {
    "in_focus": Mark("●", "o", "#3583c4", "#4e94ce"),
    "out_of_focus": Mark("▲", "^", "#c8400a", "#f4632a"),
    "astigmatic": Mark("⬮", "d", "#4f1d78", "#d8bcfa"),
    "no_content": Mark("▬", "_", "#7d7b76", "#928e87"),
    "cannot_tell": Mark("◆", "D", "#f0c419", "#ffe27a"),
    "failed": Mark("✕", "x", "#15181c", "#f0f2f4"),
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
    light = "".join(f".mhfd-{verdict}{{color:{mark.light};fill:{mark.light}}}" for verdict, mark in MARKS.items())
    dark = "".join(
        f"{','.join(f'{theme} .mhfd-{verdict}' for theme in _DARK)}{{color:{mark.dark};fill:{mark.dark}}}"
        for verdict, mark in MARKS.items()
    )
    return f"<style>{light}.mhfd-cannot_tell{{-webkit-text-stroke:.6px {EDGE}}}{dark}</style>"


def mark_html(verdict: Verdict | None) -> str:
    """The mark as an element; nothing without a verdict."""
    return f'<span class="mhfd-{verdict}" aria-hidden="true">{MARKS[verdict].glyph}</span>' if verdict else ""


def counts_html(n: int, counts: Iterable[tuple[Verdict, int]]) -> str:
    """A line: how many tiles there are, and how many of them have which verdict."""
    parts = [f"{mark_html(verdict)} {count:,} {word(verdict)}" for verdict, count in counts if count]
    return f"{counted(n, 'tile')}{': ' if parts else ''}{', '.join(parts)}"
