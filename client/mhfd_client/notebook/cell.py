"""The HTML of a cell that follows a run. Names and messages come from outside: each is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape

from mhfd.show.marks import counts_html, mark_html, mark_path, style_sheet
from mhfd.show.table import name_html
from mhfd.text import counted, visible
from mhfd_client.judge.run import Tile
from mhfd_client.ledger import Json
from mhfd_client.views.status import local, place_name

WIDTH, HEIGHT, LEFT, TOP = 720, 120, 40, 12
"""Of the strip, and its margins, in pixels."""


def run_html(status: Json, tiles: Sequence[Tile], limit_px: float) -> str:
    """How a run stands.

    Parameters
    ----------
    status : as `read_status` makes it
    tiles : the last ones, judged, in the order in which they were taken
    limit_px : blur beyond which a tile is out of focus
    """
    lines = "".join(f"<p>{line}</p>" for line in _lines(status) if line)
    return style_sheet() + lines + _table(status) + strip_svg(tiles, limit_px)


def trouble_html(message: str) -> str:
    """What stands in the cell while the ledger cannot be read."""
    return f"<p>{plain(message)}; trying again</p>"


def strip_svg(tiles: Sequence[Tile], limit_px: float) -> str:
    """Blur by tile, as the threshold compares it, each with the mark of its verdict; the threshold as a line."""
    if not tiles:
        return ""
    most_px = max(1.2 * limit_px, *(tile.result.flag_px or 0.0 for tile in tiles))
    bottom, step = HEIGHT - TOP, (WIDTH - LEFT - TOP) / max(1, len(tiles))

    def height(blur_px: float) -> str:
        return f"{bottom - (bottom - TOP) * blur_px / most_px:.1f}"

    def label(blur_px: float) -> str:
        return (
            f'<text x="{LEFT - 6}" y="{height(blur_px)}" text-anchor="end" dominant-baseline="central" font-size="11" '
            f'fill="currentColor">{blur_px:.1f}</text>'
        )

    marks = "".join(
        f'<g transform="translate({LEFT + (i + 0.5) * step:.1f} {height(tile.result.flag_px or 0.0)})">'
        + mark_path(
            tile.result.verdict or "cannot_tell",
            f"<title>{plain(tile.name)}</title>",
            transform="scale(.7) translate(-8 -8)",  # about the middle of its box
        )
        + "</g>"
        for i, tile in enumerate(tiles)
    )
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="blur of the last {counted(len(tiles), "tile")}">'
        f'<path d="M{LEFT} {bottom}H{WIDTH - TOP}" stroke="currentColor" opacity=".4"/>'
        f'<path d="M{LEFT} {height(limit_px)}H{WIDTH - TOP}" stroke="currentColor" stroke-dasharray="4 4"/>'
        f"{label(0.0)}{label(limit_px)}{marks}</svg>"
        f"<p>blur in px, as the threshold (dashed) compares it, of the last {counted(len(tiles), 'tile')}</p>"
    )


def plain(text: str) -> str:
    """A text from outside, to be read and not obeyed."""
    return escape(visible(text))


def _lines(status: Json) -> Iterator[str]:
    counts = status["counts"]
    folder = re.split(r"[\\/]", status["run"]["folder"].rstrip("\\/"))[-1] or "the run"
    yield f"<b>{name_html(folder)}</b>, {_watch(status)}; at {local(status['time'])}"
    n = counts["scored"] + counts["failed"]
    yield counts_html(n, (status["verdicts"] or {}).items())
    rest = [
        f"{status[key]:,} {what}"
        for key, what in (("to_do", "to do"), ("missing", "missing"), ("stalled", "stalled"), ("superseded", "retaken"))
        if status[key]
    ]
    if status["per_minute"]:
        rest.append(f"{status['per_minute']:g} a minute")
    yield ", ".join(rest)
    if status["verdicts"] is None:
        yield "Too many tiles to judge here, and no word of a watch: see `mhfd export`."
    for event in status["events"]:
        yield f"! {plain(event['text'])}, since {local(event['since'])}"


def _watch(status: Json) -> str:
    watcher = status["watcher"]
    if watcher is None:
        return "no watch yet"
    if watcher["alive"]:
        return f"watched since {local(watcher['since'])}"
    return f"no watch is running; last sign of one {local(watcher['last_sign_at'])}"


def _table(status: Json) -> str:
    """The last tiles to look at, the newest first."""
    listed = status["tiles_to_look_at"]
    if not listed:
        return ""
    rows = "".join(
        f"<tr><td>{mark_html(each['verdict'])}</td>"
        + "".join(
            f'<td style="text-align:left">{text}</td>'
            for text in (
                name_html(each["tile"]),
                plain(place_name(each["position"])) if each["position"] else "",
                plain(each["reason"]),
                plain(each["decision"]),
            )
        )
        + "</tr>"
        for each in listed
    )
    more = status["to_look_at"] - len(listed)
    rest = f"<p>and {more:,} more</p>" if more else ""
    return f"<table><tbody>{rows}</tbody></table>{rest}"
