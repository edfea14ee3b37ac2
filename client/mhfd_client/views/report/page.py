"""A report -> HTML. Names and messages come from outside: Jinja2 escapes each, after it was made `visible`.

The page's own policy lets a browser fetch nothing, and run one script, named by its hash, that sorts and filters
the table, which without scripts is a plain one.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mhfd.text import json_text, visible
from mhfd_client.files.whole import write_whole
from mhfd_client.judge.words import blur_in_numbers, blur_in_words
from mhfd_client.ledger import Missing
from mhfd_client.naming.position import Position
from mhfd_client.views.listing import write_csv
from mhfd_client.views.marks import INKS, MARKS
from mhfd_client.views.page.places import label
from mhfd_client.views.report.axis import axis_of
from mhfd_client.views.report.calibration import draw_curve
from mhfd_client.views.report.chart import FOOT_PX, HEIGHT_PX, KINDS, TOP_PX, draw_chart
from mhfd_client.views.report.map import draw_map
from mhfd_client.views.report.model import Entry, Report, confusion, is_flagged
from mhfd_client.views.report.pictures import counted, pair
from mhfd_client.views.retakes import COLUMNS, cells
from mhfd_client.views.status import place_name

ROWS_AT_MOST = 5000
"""Of the table of all tiles, those to look at first."""

LISTED_AT_MOST = 500
"""Of every other list."""

PRINTED_ROWS = 200
CELL_CHARACTERS = 400
"""Of remarks in the table."""


def write_report(report: Report, path: Path) -> None:
    """Write `render_report` to a file."""
    write_whole(path, render_report(report))


def render_report(report: Report) -> str:
    """The report as one HTML file, with all pictures in it."""
    environment = _environment()
    style = Markup(environment.get_template("report.css.j2").render(marks=MARKS, inks=INKS, printed=PRINTED_ROWS))
    script = Markup(files("mhfd_client.views").joinpath("templates/report/tiles.js").read_text("utf-8"))
    axis = axis_of(report.entries, report.missing)
    rows = sorted(report.entries, key=lambda entry: not (is_flagged(entry) or entry.state))  # stable: else as taken
    shown = [counted(entry, source, report.params) for entry, source in report.shown]
    page = environment.get_template("page.html.j2").render(
        report=report,
        style=style,
        style_hash=_source_hash(style),
        script=script,
        script_hash=_source_hash(script),
        counts=report.counts(),
        kinds=KINDS,
        pairs=[(again, *pair(again)) for again in report.again if again.tile is not None],
        unseen=[again for again in report.again if again.tile is None],
        listed=LISTED_AT_MOST,
        json=Markup.escape(json_text(report.copied, indent=1)),
        csv=_csv(report),
        axis=axis,
        map=draw_map(axis, report.entries, report.missing) if axis.places else None,
        chart=draw_chart(axis, report.entries, report.alarms, report.rule.max_blur_px),
        size={"height": HEIGHT_PX, "top": TOP_PX, "foot": FOOT_PX},
        missing=_missing(report.missing),
        curves=[draw_curve(each, report.rule.max_blur_px) for each in report.calibrations],
        params={name: value for name, value in report.params.to_dict().items() if value is not None},
        shown=[each for each in shown if each is not None],
        confusion=confusion(((each.name, each.verdict) for each in report.entries), report.truth or {}),
        rows=rows[:ROWS_AT_MOST],
        rows_left_out=max(0, len(rows) - ROWS_AT_MOST),
        printed=PRINTED_ROWS,
    )
    return str(page)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mhfd_client.views", "templates/report"),
        autoescape=True,
        finalize=_printed,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number,
        "blur": blur_in_words,
        "blur_numbers": blur_in_numbers,
        "time": lambda at: f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}",
        "place": _place,
        "position": place_name,
        "remarks": _remarks,
    }
    environment.globals |= {"marks": MARKS}
    return environment


def _printed(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _source_hash(text: str) -> str:
    """The text of an element as a Content-Security-Policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


def _number(value: float | None, spec: str) -> str:
    return "–" if value is None else format(value, spec)


def _place(position: Position | None) -> str:
    """Within a section: "r0 c1"."""
    return label(position.cell) if position is not None else ""


def _remarks(entry: Entry) -> str:
    result = entry.result
    if result is None:
        return ""
    told = [f"{result.error.message} ({result.error.code})"] if result.error else []
    told += [f"{remark.message} ({remark.code})" for remark in result.remarks]
    text = visible("; ".join(told))
    return text if len(text) <= CELL_CHARACTERS else f"{text[: CELL_CHARACTERS - 3]}..."


def _missing(missing: Sequence[Missing]) -> list[tuple[str, list[str]]]:
    """By reason: the names, or places, of the tiles that are missing."""
    found: dict[str, list[str]] = {}
    for each in missing:
        found.setdefault(each.why, []).append(each.name or place_name(each.position))
    return sorted(found.items(), key=lambda item: -len(item[1]))


def _csv(report: Report) -> Markup:
    """In lines: the cells are made visible, each by itself."""
    out = io.BytesIO()
    write_csv(COLUMNS, map(cells, report.copied), out)
    return Markup.escape(out.getvalue().decode())
