"""Figure 1: the features of one place in focus and out of focus; frames of a focal series, or tiles of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mhfd import find_features
from mhfd.contract import FocusParams, MhfdError, TileError, split_page
from mhfd.images import Tile
from mhfd.kernel.measures import FeatureList
from mhfd.readers.reading import read_tile
from mhfd.text import counted, visible
from mhfd_client.files.names import for_system
from mhfd_client.judge.calibration import FocalSeries
from mhfd_client.judge.run import judge_run
from mhfd_client.judge.words import told_px
from mhfd_client.ledger import Ledger, Run, TileRow
from mhfd_client.views.figures.drawn import Drawn
from mhfd_client.views.figures.style import INK, PAPER, VERMILION, canvas, minus, styled
from mhfd_client.views.page.pictures import MAX_PIXELS, NoPictureError, file_of, limits_of
from mhfd_client.views.panels import scale_bar
from mhfd_client.views.picture import cut

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDE_PX = 160
"""Of the part of a tile that is shown: at one column's width two such parts show every pixel."""

STEPS = 4
"""The part with the most features is looked for in steps of this share of its side."""

TRIED = 20
"""Tiles out of focus that are looked at for a sharp one of the same place, the most blurred first."""

LOOKED_BACK = 100
"""Tiles of the same place that are looked at for a sharp one."""


class NoPairError(MhfdError):
    """There are no two tiles to show beside each other; the message says why."""


@dataclass(frozen=True)
class Shown:
    """A tile to show.

    Attributes
    ----------
    panel : what it is: "in focus"
    name : public name of the tile, in the table
    says : where it is from, and how blurred it is
    """

    panel: str
    name: str
    says: str
    file: Path
    page: int = 0
    pixel_size_nm: float | None = None


@dataclass(frozen=True)
class Pair:
    """One place, in focus and out of focus."""

    sharp: Shown
    blurred: Shown
    params: FocusParams


class Line(NamedTuple):
    """A line of the table: the part of a tile that is shown with its features' number, or one of these features.

    Attributes
    ----------
    x_px, y_px : of a feature, in pixels of the tile; of a part its upper left corner
    size_px : radius of a feature's circle; side of a part
    features, features_in_tile : in the part, and in the whole tile
    """

    item: str
    panel: str
    file: str
    x_px: int
    y_px: int
    size_px: float
    features: int | None = None
    features_in_tile: int | None = None


def figure_1(pair: Pair) -> Drawn:
    """The same part of two tiles, with a circle round each feature (paper, fig. 1).

    Raises
    ------
    NoPairError
        A tile cannot be read.
    """
    shown = pair.sharp, pair.blurred
    try:
        tiles = [read_tile(for_system(each.file), each.page, max_pixels=MAX_PIXELS) for each in shown]
        found = [
            find_features(for_system(each.file), pair.params, page=each.page, pixel_size_nm=each.pixel_size_nm)
            for each in shown
        ]
    except TileError as error:
        raise NoPairError(error.message) from error
    rows, cols = np.minimum(tiles[0].pixels.shape, tiles[1].pixels.shape).tolist()
    side = min(SIDE_PX, rows, cols)
    top, left = _fullest(found[0], side, rows, cols)
    limits = limits_of(tiles[0].pixels)  # of both: how dark a blurred tile looks is a part of how it looks
    lines: list[Line] = []
    with styled():
        page = canvas(50)
        for axes, each, tile, features in zip(page.subplots(1, 2), shown, tiles, found, strict=True):
            here = list(_lines(each, features, top, left, side))
            lines += here
            _draw(axes, tile, each, here, limits)
    return Drawn("figure-1", f"features of {pair.sharp.name} and of {pair.blurred.name}", page, Line._fields, lines)


def pair_of_series(found: FocalSeries) -> Pair:
    """The sharpest and the most blurred frame.

    Raises
    ------
    NoPairError
        It is not known which these are.
    """
    series = found.series
    if series.d is None:
        raise NoPairError(series.fit.declined or "the frames of this series cannot be compared")
    origin, known = found.origin_um(), found.series.fit.best is not None

    def shown(panel: str, which: int) -> Shown:
        row, distance = found.rows[series.used[which]], found.distances_um[series.used[which]]
        says = f"f − f′ = {distance - origin:+.1f} µm" if known else f"working distance {distance:.6g} µm"
        file, page = split_page(row.path)
        return Shown(panel, row.path, minus(says), Path(file), page, row.pixel_size_nm)

    names = ("in focus", "out of focus") if known else ("sharpest frame", "most blurred frame")
    return Pair(shown(names[0], int(series.d.argmin())), shown(names[1], int(series.d.argmax())), FocusParams())


def pair_of_run(ledger: Ledger, run: Run) -> Pair:
    """The most blurred tile of a run that has a sharp one at its place in an earlier section, and this one.

    Raises
    ------
    NoPairError
        There are no such two.
    """
    judged = {tile.tile_id: tile.result for tile in judge_run(ledger, run.run_id)}
    blurred = sorted(
        (i for i, result in judged.items() if result.verdict == "out_of_focus"),
        key=lambda i: -(told_px(judged[i]) or 0.0),
    )
    why = f"no tile of {run.root} is out of focus"

    def shown(panel: str, row: TileRow) -> Shown:
        result = judged[row.tile_id]
        section = row.position.section if row.position else None
        says = f"section {section}, blur {result.blur_px or 0:.1f} px"
        return Shown(panel, row.name, says, file_of(Path(run.root), row), row.page, result.pixel_size_nm)

    rows = {row.tile_id: row for row in ledger.get(blurred[:TRIED])}
    for row in (rows[i] for i in blurred[:TRIED] if i in rows):
        why = f"no tile of {run.root} that is out of focus has a sharp one at its place in an earlier section"
        try:
            for other in ledger.same_place(row, LOOKED_BACK):
                if other.tile_id in judged and judged[other.tile_id].verdict == "in_focus":
                    return Pair(shown("in focus", other), shown("out of focus", row), run.params)
        except NoPictureError as error:
            why = str(error)
    raise NoPairError(why)


def _fullest(features: FeatureList, side: int, rows: int, cols: int) -> tuple[int, int]:
    """Upper left corner of the square with the most features."""
    step = max(1, side // STEPS)
    tops, lefts = (range(0, n - side + 1, step) for n in (rows, cols))
    return max(
        ((top, left) for top in tops for left in lefts),
        key=lambda corner: int(_inside(features, corner[0], corner[1], side).sum()),
    )


def _inside(features: FeatureList, top: int, left: int, side: int) -> NDArray[np.bool_]:
    """(n,) which features lie in a square."""
    down, along = features.rows - top, features.cols - left
    return np.asarray((down >= 0) & (down < side) & (along >= 0) & (along < side))


def _lines(shown: Shown, features: FeatureList, top: int, left: int, side: int) -> Iterator[Line]:
    inside = np.flatnonzero(_inside(features, top, left, side))
    yield Line("part", shown.panel, shown.name, left, top, side, len(inside), len(features))
    for i in inside:
        x, y, radius = int(features.cols[i]), int(features.rows[i]), float(features.radii_px[i])
        yield Line("feature", shown.panel, shown.name, x, y, radius)


def _draw(axes: Axes, tile: Tile, shown: Shown, lines: list[Line], limits: tuple[float, float]) -> None:
    from matplotlib.collections import EllipseCollection
    from matplotlib.patheffects import withStroke

    part, circles = lines[0], lines[1:]
    side = int(part.size_px)
    # A pixel's middle is at its whole number, so the picture begins half a pixel before the first.
    x, y = part.x_px - 0.5, part.y_px - 0.5
    pixels = cut(tile.pixels, part.y_px, part.x_px, side)
    extent = x, x + side, y + side, y
    axes.imshow(pixels, "gray", vmin=limits[0], vmax=limits[1], extent=extent, interpolation="none")
    # Dark on light, light on dark: seen in grey too.
    outlined, bar_outlined = ([withStroke(linewidth=width, foreground=PAPER)] for width in (1.3, 4.0))
    widths = [2 * each.size_px for each in circles]
    axes.add_collection(
        EllipseCollection(
            widths, widths, np.zeros(len(widths)), units="xy", facecolors="none", edgecolors=VERMILION, linewidths=0.6,
            path_effects=outlined,
            offsets=np.array([(each.x_px, each.y_px) for each in circles]).reshape(-1, 2),
            offset_transform=axes.transData,
        )
    )  # fmt: skip
    if bar := scale_bar(side, shown.pixel_size_nm or tile.pixel_size_nm):
        begin, low, text = x + 0.05 * side, y + 0.94 * side, bar[1].replace("um", "µm")
        plate = {"facecolor": PAPER, "edgecolor": "none", "pad": 1}
        axes.text(begin, low - 0.035 * side, text, va="bottom", bbox=plate)
        axes.plot([begin, begin + bar[0]], [low, low], color=INK, linewidth=1.5, path_effects=bar_outlined)
    axes.set(xticks=[], yticks=[], xlim=extent[:2], ylim=extent[2:])
    axes.spines[:].set_visible(False)
    title = f"{part.panel}: {counted(part.features or 0, 'feature')}", shown.says
    axes.set_title("\n".join(map(visible, title)), loc="left")
