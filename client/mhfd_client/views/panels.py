"""The picture of an explanation: the whole tile with its map of blur, its most blurred part, a sharp tile beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from mhfd.contract import ExitCode, FocusResult, MhfdError, TileError
from mhfd.images import Tile
from mhfd.readers.reading import read_tile
from mhfd.scoring.identity import tile_sha256
from mhfd.text import visible
from mhfd_client.files.whole import write_whole, written
from mhfd_client.judge.explain import Explanation, Past
from mhfd_client.views.drawing import INK, PAPER, Box, Drawing, Label, Photo, as_image, as_svg, shortened, wrapped
from mhfd_client.views.explain import lines, part_text
from mhfd_client.views.picture import CROP_PX, corner, cut, png, sample, stretched

SIDE, GAP = 512, 24
"""Of a panel, and between panels."""

TITLE, TEXT, NUMBER = 22, 17, 20
WORST, SHOWN = "#d55e00", "#0072b2"
"""Vermilion and blue of Okabe and Ito: told apart by the colour-blind, and in grey."""

LINE = 4
BARS_NM = tuple(m * 10**e for e in range(1, 7) for m in (1, 2, 5))


class PictureError(MhfdError):
    """A picture cannot be made; the message says why."""

    exit_code = ExitCode.FAILED_TILES


@dataclass(frozen=True)
class Crop:
    """The part of a tile that is shown: upper left corner and side, in pixels of the page."""

    top: int
    left: int
    side: int


def write_picture(told: Explanation, file: Path) -> None:
    """Write the picture as PNG, SVG or HTML, by the file's name.

    Raises
    ------
    PictureError
        The tile cannot be read any more.
    """
    drawing = draw(told)
    kind = file.suffix.lower()
    if kind == ".svg":
        write_whole(file, str(as_svg(drawing)))
    elif kind == ".html":
        environment = Environment(
            loader=PackageLoader("mhfd_client.views"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        page = environment.get_template("explain.html.j2")
        write_whole(file, page.render(title=visible(told.tile), drawing=as_svg(drawing)))
    else:
        with written(file) as out:
            out.write(png(as_image(drawing)))


def draw(told: Explanation) -> Drawing:
    """The panels side by side, under the verdict and over what else is said of the tile."""
    try:
        tile = read_tile(_file(told, told.path), told.page)
    except TileError as error:
        raise PictureError(f"there is no picture without the file: {error}") from error
    side = min(CROP_PX, *tile.pixels.shape)
    result = told.result
    crop = Crop(*corner(result, result.worst_block, side, tile.pixels.shape), side) if result else Crop(0, 0, side)
    width = 3 * SIDE + 4 * GAP
    first, *more = lines(told)
    title = wrapped(first, width - 2 * GAP, TITLE)
    said = [part for line in more for part in wrapped(line, width - 2 * GAP, TEXT)]
    top = 2 * GAP + 1.4 * TITLE * len(title) + 1.5 * TEXT
    below = top + SIDE + GAP
    items = (
        *(Label(GAP, GAP + (i + 0.5) * 1.4 * TITLE, line, TITLE) for i, line in enumerate(title)),
        *_overview(told, tile, crop, GAP, top),
        *_part(told, tile, crop, _here(told, tile), 2 * GAP + SIDE, top),
        *_beside(told, crop, 3 * GAP + 2 * SIDE, top),
        *(Label(GAP, below + (i + 0.5) * 1.5 * TEXT, line, TEXT) for i, line in enumerate(said)),
    )
    return Drawing(width, round(below + GAP + 1.5 * TEXT * len(said)), items)


def _overview(told: Explanation, tile: Tile, crop: Crop, x: float, y: float) -> Iterator[Photo | Box | Label]:
    """The whole tile, the blur of each part as a number, and a frame round the part that is shown beside it."""
    rows, cols = tile.pixels.shape
    image = stretched(sample(tile.pixels, SIDE), SIDE)
    scale = SIDE / max(rows, cols)
    yield _caption("whole tile, blur by part in px", x, y)
    yield Photo(x, y, cols * scale, rows * scale, image)
    yield from _frame(x + crop.left * scale, y + crop.top * scale, crop.side * scale, crop.side * scale, SHOWN)
    if told.result is None or not told.result.blur_map_px:
        return
    grid = told.result.blur_map_px
    top, left, scored_rows, scored_cols = told.result.picture or (0, 0, rows, cols)
    high, wide = scored_rows * scale / len(grid), scored_cols * scale / len(grid[0])
    for r, line in enumerate(grid):
        for c, blur_px in enumerate(line):
            at = x + left * scale + c * wide, y + top * scale + r * high
            if (r, c) == told.result.worst_block:
                yield from _frame(*at, wide, high, WORST)
            text = part_text(blur_px, worst=(r, c) == told.result.worst_block).strip()
            yield from _plate(text, at[0] + wide / 2, at[1] + high / 2)


def _part(told: Explanation, tile: Tile, crop: Crop, caption: str, x: float, y: float) -> Iterator[Photo | Box | Label]:
    """A part of a tile at full resolution, with a bar of known length."""
    image = stretched(cut(tile.pixels, crop.top, crop.left, crop.side))
    yield _caption(caption, x, y)
    yield Photo(x, y, SIDE, SIDE, image)
    pixel_size_nm = (told.result.pixel_size_nm if told.result else None) or tile.pixel_size_nm
    if bar := scale_bar(crop.side, pixel_size_nm):
        length, text = SIDE / crop.side * bar[0], bar[1]
        yield Box(x + 8, y + SIDE - 48, max(length + 16, 72), 40, PAPER)
        yield Box(x + 16, y + SIDE - 18, length, 5, INK)
        yield Label(x + 16, y + SIDE - 33, text, TEXT)


def scale_bar(side: int, pixel_size_nm: float | None) -> tuple[float, str] | None:
    """A round length of at most a third of a square's side, in pixels and in words; None where it is not known."""
    if not pixel_size_nm:
        return None
    bar_nm = max((each for each in BARS_NM if each / pixel_size_nm <= side / 3), default=None)
    if bar_nm is None:
        return None
    return bar_nm / pixel_size_nm, f"{bar_nm / 1000:g} um" if bar_nm >= 1000 else f"{bar_nm} nm"


def _beside(told: Explanation, crop: Crop, x: float, y: float) -> Iterator[Photo | Box | Label]:
    """The same place in a sharp tile; a note where there is none."""
    other = told.beside
    note = "there is no sharp tile to show beside it"
    if other is not None:
        try:
            tile = read_tile(_file(told, other.path), other.page)
            if min(tile.pixels.shape) >= crop.side:
                rows, cols = tile.pixels.shape
                top, left = min(crop.top, rows - crop.side), min(crop.left, cols - crop.side)
                yield from _part(told, tile, Crop(top, left, crop.side), _there(told, other), x, y)
                return
        except TileError:
            note = f"{other.tile} cannot be read any more"
    yield Box(x, y, SIDE, SIDE, INK, 1)
    yield Label(x + SIDE / 2, y + SIDE / 2, shortened(note, SIDE - 20, TEXT), TEXT, "middle")


def _here(told: Explanation, tile: Tile) -> str:
    """What stands over the tile's own part."""
    result: FocusResult | None = told.result
    if result is None or not result.blur_map_px or result.worst_block is None:
        return "the blue frame"
    r, c = result.worst_block
    blur_px = result.blur_map_px[r][c]
    caption = "the blue frame" + ("" if blur_px is None else f", {blur_px:.1f} px where most blurred")
    sha256 = result.provenance.tile_sha256
    changed = sha256 is not None and sha256 != tile_sha256(tile.pixels)
    return f"{caption} (the file has changed since)" if changed else caption


def _there(told: Explanation, other: Past) -> str:
    same = told.history and other.section is not None and told.position and other.section != told.position["section"]
    where = f"same place in section {other.section}" if same else "same part of a sharp tile"
    blur = "" if other.blur_px is None else f", {other.blur_px:.1f} px"
    return f"{where}{blur}: {other.tile}"


def _caption(text: str, x: float, y: float) -> Label:
    return Label(x, y - TEXT, shortened(text, SIDE, TEXT), TEXT)


def _frame(x: float, y: float, width: float, height: float, colour: str) -> Iterator[Box]:
    """An outline that is seen on dark and on light."""
    yield Box(x - 1, y - 1, width + 2, height + 2, PAPER, LINE + 2)
    yield Box(x, y, width, height, colour, LINE)


def _plate(text: str, x: float, y: float) -> Iterator[Box | Label]:
    """A number in black on white."""
    width = 12 * len(text) + 8
    yield Box(x - width / 2, y - NUMBER / 2 - 3, width, NUMBER + 6, PAPER)
    yield Label(x, y, text, NUMBER, "middle")


def _file(told: Explanation, path: str) -> Path:
    return Path(told.folder or "", path)
