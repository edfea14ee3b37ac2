"""A verdict's shape, word and colours, the same in every view: nobody has to tell verdicts apart by hue alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DOT = "M8 3.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 1 1 0-9z"


@dataclass(frozen=True)
class Mark:
    """How one verdict looks.

    Attributes
    ----------
    shape : path of an SVG, in a box of 16 x 16
    colours : of the mark, on light and on dark ground
    cells : of a cell of a map, on light and on dark ground; "" where a map shows a gap
    line : width of the outline; None: the shape is filled
    """

    word: str
    shape: str
    colours: tuple[str, str]
    cells: tuple[str, str]
    line: float | None = None


MARKS: Mapping[str, Mark] = {
    "todo": Mark("to do", DOT, ("#555c66", "#a2aab4"), ("#ffffff", "#171b20"), 1.8),
    "in_focus": Mark("in focus", DOT, ("#3583c4", "#4e94ce"), ("#bad4ea", "#20435f")),
    "out_of_focus": Mark("out of focus", "M8 1.5 15 14H1z", ("#c8400a", "#f4632a"), ("#c8400a", "#f4632a")),
    "astigmatic": Mark(
        "astigmatic", "M2.5 13.5A7.78 3.9 -45 1 1 13.5 2.5 7.78 3.9 -45 1 1 2.5 13.5z",
        ("#4f1d78", "#d8bcfa"), ("#4f1d78", "#d8bcfa"),
    ),
    "no_content": Mark("no content", "M2 6.75h12v2.5H2z", ("#7d7b76", "#928e87"), ("#dad6cf", "#35322e")),
    "cannot_tell": Mark(
        "cannot tell", "M8 1.5 14.5 8 8 14.5 1.5 8z", ("#f0c419", "#ffe27a"), ("#f0c419", "#ffe27a")
    ),
    "failed": Mark("failed", "M3 3l10 10M13 3 3 13", ("#15181c", "#f0f2f4"), ("#15181c", "#f0f2f4"), 2.6),
    "missing": Mark("missing", "M2.5 2.5h11v11h-11z", ("#15181c", "#f0f2f4"), ("", ""), 1.6),
}  # fmt: skip
"""By the names of the contract, and of what is no verdict; in the order in which they are listed."""

INKS: Mapping[str, tuple[str, str]] = {
    "ground": ("#f6f7f8", "#0f1215"),
    "raised": ("#ffffff", "#171b20"),
    "line": ("#d9dce0", "#2b3138"),
    "ink": ("#15181c", "#e8ebee"),
    "soft": ("#555c66", "#a2aab4"),
    "band": ("#d3d6da", "#353c45"),
    "edge": ("#6b5200", "#ffe27a"),
}
"""Everything that is no verdict, on light and on dark ground; `edge` is the outline of "cannot tell"."""


def mark_of(verdict: str | None) -> str:
    """The key in `MARKS` for a verdict; "cannot_tell" for one that this version does not know."""
    return verdict if verdict is not None and verdict in MARKS else "cannot_tell"
