"""Results -> one HTML file that needs nothing else: no network, no scripts, pictures inside.

Names, messages and what files' headers say come from outside. Jinja2 escapes every value, in text and in attributes,
and each is made `visible` first; the page's own policy lets a browser run no script and fetch nothing.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mhfd import find_features
from mhfd.contract import FocusParams, FocusResult, TileError, Verdict, split_page
from mhfd.images import read_tile
from mhfd.text import visible
from mhfd_client.files.whole import write_whole
from mhfd_client.judge.words import blur_in_numbers, blur_in_words, region, told_px
from mhfd_client.views.picture import CROP_PX, corner, cut, data_uri, sample, stretched

THUMBNAIL_PX = 220
PICTURES_AT_MOST = 24

COLOURS: Mapping[Verdict, str] = {
    "in_focus": "#2a9d4a",
    "out_of_focus": "#d1344b",
    "astigmatic": "#9b3fbf",
    "no_content": "#8a94a6",
    "cannot_tell": "#c98a00",
    "failed": "#e0662f",
}

ALARMS = ("out_of_focus", "astigmatic")


@dataclass(frozen=True)
class Picture:
    """A PNG as a data URI, and what belongs under it."""

    result: FocusResult
    uri: str
    side_px: int
    circles: tuple[tuple[float, float, float], ...] = ()  # x, y, radius in pixels of the picture
    share: float = 1.0  # of the tile's features that the picture shows


@dataclass(frozen=True)
class Dot:
    """A tile in the chart of scores: place in per cent of the chart, from the lower left."""

    result: FocusResult
    x: float
    y: float


def write_report(
    results: Sequence[FocusResult],
    path: Path,
    *,
    title: str,
    params: FocusParams | None = None,
    truth: Mapping[str, str] | None = None,
) -> None:
    """Write `render_report` to an HTML file."""
    write_whole(path, render_report(results, title=title, params=params, truth=truth))


def render_report(
    results: Sequence[FocusResult],
    *,
    title: str,
    params: FocusParams | None = None,
    truth: Mapping[str, str] | None = None,
) -> str:
    """The report of one scoring, as HTML.

    Parameters
    ----------
    results : judged results; the files they name are read again for the pictures, where they still can be
    title : shown on top
    params : the features drawn over the pictures are those of these parameters
    truth : kind of each tile ("good", "bad", "blank") by path, when it is known
    """
    alarms = _worst_first(results)
    environment = _environment()
    style = Markup(environment.get_template("report.css.j2").render(colours=COLOURS))
    return environment.get_template("report.html.j2").render(
        title=title,
        style=style,
        style_hash=_source_hash(style),
        results=results,
        counts=Counter(_kind(row.verdict) for row in results),
        colours=COLOURS,
        dots=_dots(results),
        ticks=_ticks(results),
        compared=_compared(results, alarms, params),
        alarms=[picture for row in alarms[:PICTURES_AT_MOST] if (picture := _thumbnail(row))],
        n_alarms=len(alarms),
        truth=truth,
        confusion=confusion(results, truth) if truth else None,
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mhfd_client.views"),
        autoescape=True,
        finalize=_printed,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"number": _number, "kind": _kind, "blur": blur_in_words, "blur_numbers": blur_in_numbers}
    return environment


def confusion(results: Sequence[FocusResult], truth: Mapping[str, str]) -> dict[str, Counter[str]]:
    """How many tiles of each true kind got each verdict: {kind: {verdict: count}}."""
    table: dict[str, Counter[str]] = {}
    for row in results:
        if row.path in truth:
            table.setdefault(truth[row.path], Counter())[_kind(row.verdict)] += 1
    return table


def _worst_first(results: Sequence[FocusResult]) -> list[FocusResult]:
    """By blur; tiles of which only the score is known come after."""
    alarms = (row for row in results if row.verdict in ALARMS)
    return sorted(alarms, key=lambda row: (-(told_px(row) or 0.0), row.focus_score or 0.0))


def _compared(
    results: Sequence[FocusResult], alarms: Sequence[FocusResult], params: FocusParams | None
) -> list[Picture]:
    """A typical sharp tile beside the worst one, with their features."""
    sharp = sorted((row for row in results if row.verdict == "in_focus"), key=lambda row: row.focus_score or 0.0)
    chosen = [*sharp[len(sharp) // 2 :][:1], *alarms[:1]]
    return [picture for row in chosen if (picture := _with_features(row, params or FocusParams()))]


def _with_features(row: FocusResult, params: FocusParams) -> Picture | None:
    """The most blurred part of a tile, else its middle, at full resolution; a circle round each feature."""
    file, page = split_page(row.path)
    try:
        tile = read_tile(file, page)
        backend = "numpy" if row.provenance.backend == "numpy" else "auto"  # an endpoint's GPU may not be here
        features = find_features(file, params, backend, page=page, pixel_size_nm=row.pixel_size_nm)
        side = min(CROP_PX, *tile.pixels.shape)
        top, left = corner(row, row.worst_block if region(row) else None, side, tile.pixels.shape)
        shown = cut(tile.pixels, top, left, side)
    except TileError:
        return None
    inside = (
        (features.rows >= top) & (features.rows < top + side) & (features.cols >= left) & (features.cols < left + side)
    )
    # A disc of radius r answers most strongly near t = r / sqrt(2).
    circles = zip(
        (features.cols[inside] - left + 0.5).tolist(),
        (features.rows[inside] - top + 0.5).tolist(),
        (math.sqrt(2) * features.scales_px[inside]).round(2).tolist(),
        strict=True,
    )
    share = float(np.mean(inside)) if len(features) else 1.0
    return Picture(row, data_uri(stretched(shown)), side, tuple(circles), share)


def _thumbnail(row: FocusResult) -> Picture | None:
    file, page = split_page(row.path)
    try:
        pixels = sample(read_tile(file, page).pixels, THUMBNAIL_PX)
    except TileError:
        return None
    return Picture(row, data_uri(stretched(pixels, THUMBNAIL_PX)), THUMBNAIL_PX)


def _dots(results: Sequence[FocusResult]) -> list[Dot]:
    """Tiles in the order given, scores on a logarithmic axis; tiles without a score are left out."""
    low, high = _range(results)
    span = math.log(high / low)
    dots = []
    for i, row in enumerate(results):
        if row.focus_score is not None:
            height = math.log(min(max(row.focus_score, low), high) / low) / span
            dots.append(Dot(row, x=100 * (i + 0.5) / len(results), y=100 * height))
    return dots


def _ticks(results: Sequence[FocusResult]) -> list[tuple[float, float]]:
    """(score, height in per cent) of the axis' round numbers."""
    low, high = _range(results)
    candidates = [m * 10.0**e for e in range(-2, 4) for m in (1, 2, 5)]
    return [(c, 100 * math.log(c / low) / math.log(high / low)) for c in candidates if low <= c <= high]


def _range(results: Sequence[FocusResult]) -> tuple[float, float]:
    scores = [row.focus_score for row in results if row.focus_score]
    return max(0.05, 0.8 * min(scores, default=0.1)), max(1.25 * max(scores, default=10.0), 0.1)


def _printed(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _kind(verdict: str | None) -> str:
    """The class in the style sheet for a verdict."""
    return verdict if verdict is not None and verdict in COLOURS else "cannot_tell"


def _source_hash(text: str) -> str:
    """The text of an element as a Content-Security-Policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


def _number(value: float | None, spec: str) -> str:
    return "–" if value is None else format(value, spec)
