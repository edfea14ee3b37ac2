"""A verdict's shape, word and colours, the same in every view: nobody has to tell verdicts apart by hue alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mhfd.contract import Verdict
from mhfd.show import marks


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


def _of(verdict: Verdict, cells: tuple[str, str] | None = None, line: float | None = None) -> Mark:
    """That of a verdict, as notebooks have it, and its cells on a map; by default of its own colours."""
    mark = marks.MARKS[verdict]
    colours = mark.light, mark.dark
    return Mark(marks.word(verdict), mark.shape, colours, cells or colours, line)


MARKS: Mapping[str, Mark] = {
    "todo": Mark("to do", marks.MARKS["in_focus"].shape, ("#555c66", "#a2aab4"), ("#ffffff", "#171b20"), 1.8),
    "in_focus": _of("in_focus", ("#bad4ea", "#20435f")),
    "out_of_focus": _of("out_of_focus"),
    "astigmatic": _of("astigmatic"),
    "no_content": _of("no_content", ("#dad6cf", "#35322e")),
    "cannot_tell": _of("cannot_tell"),
    "failed": _of("failed", line=2.6),
    "missing": Mark("missing", "M2.5 2.5h11v11h-11z", ("#15181c", "#f0f2f4"), ("", ""), 1.6),
}
"""By the names of the contract, and of what is no verdict; in the order in which they are listed."""

INKS: Mapping[str, tuple[str, str]] = {
    "ground": ("#f6f7f8", "#0f1215"),
    "raised": ("#ffffff", "#171b20"),
    "line": ("#d9dce0", "#2b3138"),
    "ink": ("#15181c", "#e8ebee"),
    "soft": ("#555c66", "#a2aab4"),
    "band": ("#d3d6da", "#353c45"),
    "edge": (marks.EDGE, marks.MARKS["cannot_tell"].dark),
}
"""Everything that is no verdict, on light and on dark ground; `edge` is the outline of "cannot tell"."""


def mark_of(verdict: str | None) -> str:
    """The key in `MARKS` for a verdict; "cannot_tell" for one that this version does not know."""
    return verdict if verdict is not None and verdict in MARKS else "cannot_tell"
