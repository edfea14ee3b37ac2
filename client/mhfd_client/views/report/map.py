"""The map of a run: sections across, places down, a cell a tile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mhfd_client.ledger import Missing
from mhfd_client.views.marks import MARKS
from mhfd_client.views.picture import data_uri
from mhfd_client.views.report.axis import MISSING, Axis
from mhfd_client.views.report.model import Entry
from mhfd_client.views.status import place_name

WIDEST = 4096
"""Columns of the picture; of more sections several share one, and the worst tile is seen."""

MARKS_AT_MOST = 2000
ALL_MARKED = 600
"""Up to so many tiles each has its shape; of more only those to look at."""

SPECIAL = ("failed", "out_of_focus", "astigmatic", "missing", "cannot_tell")
"""Tiles that have their shape at any size, the worst first."""

ROW_PX = (3, 22)
HEIGHT_PX = 220
LABELS = 8


@dataclass(frozen=True)
class Spot:
    """A mark on the map; per cent from the left, pixels from the top."""

    verdict: str
    x: float
    y: float
    title: str
    hollow: bool = False


@dataclass(frozen=True)
class Map:
    """A map.

    Attributes
    ----------
    light, dark : the picture, a pixel a tile, for either ground
    height : in pixels of the page
    labels : y and text of some places
    left_out : marks that there is no room for
    """

    light: str
    dark: str
    height: int
    spots: tuple[Spot, ...]
    labels: tuple[tuple[float, str], ...]
    left_out: int = 0


def draw_map(axis: Axis, entries: Iterable[Entry], missing: Iterable[Missing]) -> Map:
    """The map, coloured by verdict."""
    tiles = [(entry.number, entry.verdict, entry) for entry in entries if entry.number in axis.places]
    gaps = [(MISSING - k, each) for k, each in enumerate(missing) if MISSING - k in axis.places]
    row_px = min(max(HEIGHT_PX / axis.positions, ROW_PX[0]), ROW_PX[1])
    marked = [each for each in tiles if each[1] in SPECIAL or len(tiles) <= ALL_MARKED]
    spots = [
        _spot(axis, number, row_px, verdict, entry.name, hollow=entry.state in ("accept", "ignore"))
        for number, verdict, entry in marked
    ]
    spots += [_spot(axis, number, row_px, "missing", _missing_name(each)) for number, each in gaps]
    order = {verdict: k for k, verdict in enumerate(SPECIAL)}
    spots.sort(key=lambda spot: order.get(spot.verdict, len(order)))
    cells = [(axis.places[number], verdict) for number, verdict, _ in tiles]
    return Map(
        _picture(axis, cells, 0),
        _picture(axis, cells, 1),
        round(row_px * axis.positions),
        tuple(spots[:MARKS_AT_MOST]),
        tuple(_labels(axis, row_px)),
        max(0, len(spots) - MARKS_AT_MOST),
    )


def _missing_name(missing: Missing) -> str:
    return missing.name or place_name(missing.position)


def _spot(axis: Axis, number: int, row_px: float, verdict: str, name: str, *, hollow: bool = False) -> Spot:
    section, place = axis.places[number]
    y = round((place + 0.5) * row_px, 1)
    return Spot(verdict, round(axis.middle(section), 3), y, f"{name}: {MARKS[verdict].word}", hollow)


def _picture(axis: Axis, cells: Iterable[tuple[tuple[int, int], str]], ground: int) -> str:
    """A PNG with a pixel a tile; where there is no tile it is clear.

    Parameters
    ----------
    ground : 0 light, 1 dark
    """
    share = -(-axis.sections // WIDEST)
    keys = list(MARKS)
    worst = {key: len(SPECIAL) - k for k, key in enumerate(SPECIAL)}
    found = np.full((axis.positions, -(-axis.sections // share)), len(keys), np.uint8)
    for (section, place), verdict in sorted(cells, key=lambda cell: worst.get(cell[1], 0)):
        found[place, (section - axis.first) // share] = keys.index(verdict)
    image = Image.fromarray(found).convert("P")
    colours = [MARKS[key].cells[ground] or "#000000" for key in keys] + ["#000000"]
    image.putpalette([int(colour[at : at + 2], 16) for colour in colours for at in (1, 3, 5)])
    image.info["transparency"] = len(keys)
    return data_uri(image)


def _labels(axis: Axis, row_px: float) -> Iterable[tuple[float, str]]:
    every = max(1, -(-len(axis.labels) // LABELS), round(16 / row_px))
    return ((round((k + 0.5) * row_px, 1), axis.labels[k]) for k in range(0, len(axis.labels), every))
