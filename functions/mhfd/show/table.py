"""Results as a small table in HTML. File names and messages come from outside: each is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mhfd.contract import TO_LOOK_AT, FocusResult
from mhfd.show.marks import counts_html, mark_html, style_sheet, told, word
from mhfd.text import counted, visible

MOST_ROWS = 20
"""Of more tiles, those to look at are shown first."""

MEASURES = (
    ("blur px", "blur_px", ".1f"),
    ("focus score", "focus_score", ".2f"),
    ("features/Mpx", "features_per_mpx", ".0f"),
    ("scale px", "characteristic_scale_px", ".1f"),
    ("noise", "noise", ".3f"),
)
"""Heading, key of a result, format."""

_LEFT = ' style="text-align:left"'


def results_html(results: Sequence[FocusResult]) -> str:
    """A line with the numbers by verdict, and a row a tile, at most MOST_ROWS of them."""
    shown = chosen(results)
    heads = "".join(f"<th>{heading}</th>" for heading, _, _ in MEASURES)
    rows = "".join(_row(number, results[number]) for number in shown)
    rest = len(results) - len(shown)
    more = f"<p>{counted(rest, 'more tile')}; <code>.to_pandas()</code> has all</p>" if rest else ""
    return (
        f"{style_sheet()}<p>{counts_html(len(results), told(row.verdict for row in results))}</p>"
        f"<table><thead><tr><th></th><th{_LEFT}>tile</th><th{_LEFT}>verdict</th>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table>{more}"
    )


def chosen(results: Sequence[FocusResult]) -> list[int]:
    """The numbers of the tiles that are shown, in order."""
    rank = sorted(range(len(results)), key=lambda number: results[number].verdict not in TO_LOOK_AT)
    return sorted(rank[:MOST_ROWS])


def name_html(text: str) -> str:
    """A file name; one that is written from right to left does not turn what stands beside it."""
    return f"<bdi>{escape(visible(text))}</bdi>"


def _row(number: int, row: FocusResult) -> str:
    verdict = f"{mark_html(row.verdict)} {word(row.verdict)}" if row.verdict else ""
    cells = f"<td>{number}</td><td{_LEFT}>{name_html(row.path or 'array')}</td><td{_LEFT}>{verdict}</td>"
    if row.error is not None:
        return f"<tr>{cells}<td{_LEFT} colspan={len(MEASURES)}>{escape(visible(row.error.message))}</td></tr>"
    numbers = ((getattr(row, name), spec) for _, name, spec in MEASURES)
    measures = "".join(f"<td>{'' if value is None else format(value, spec)}</td>" for value, spec in numbers)
    return f"<tr>{cells}{measures}</tr>"
