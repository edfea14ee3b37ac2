"""The part of a page that is picture: without data bar, flat margins, and rows that the user leaves out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import FocusParams, Remark, TileError
from mhfd.images.margins import find_margins
from mhfd.images.metadata.header import ODD, Ifd, decoded, raw, sections
from mhfd.images.metadata.others import tescan_lines
from mhfd.images.metadata.quantity import positive
from mhfd.kernel.pixels import BLOCK_BYTES, Pixels

Array = NDArray[Any]

Box = tuple[int, int, int, int]
"""A part of a page: top, left, rows, columns."""


@dataclass(frozen=True)
class Choice:
    """The part of a page that is scored, None for all of it, and what a person should know of the rest."""

    box: Box | None = None
    remarks: tuple[Remark, ...] = ()


class Part:
    """Some rows and columns of `Pixels`, themselves `Pixels`."""

    def __init__(self, pixels: Pixels, box: Box) -> None:
        self._top, self._left, rows, cols = box
        self.shape = rows, cols
        self.dtype = pixels.dtype
        self.size = rows * cols
        self._pixels = pixels

    def __getitem__(self, rows: slice, /) -> Array:
        first, end, step = rows.indices(self.shape[0])
        if step != 1:
            raise ValueError(f"rows are read in order, not in steps of {step}")
        block = self._pixels[self._top + first : self._top + max(first, end)]
        return np.ascontiguousarray(block[:, self._left : self._left + self.shape[1]])


def part_of(pixels: Pixels, box: Box | None) -> Pixels:
    """The pixels in a box, as an array if the page is one."""
    if box is None:
        return pixels
    part = Part(pixels, box)
    return part[:] if isinstance(pixels, np.ndarray) else part


def choose(pixels: Pixels, told: Box | None, params: FocusParams, what: str, *, lossy: bool) -> Choice:
    """What to score of a page.

    Parameters
    ----------
    told : what the file's header calls picture
    what : the tile's name in messages

    Raises
    ------
    TileError
        "zero_size": nothing is left to score.
    """
    page_rows, page_cols = pixels.shape
    top, left, rows, cols = told or (0, 0, page_rows, page_cols)
    remarks = []
    if params.exclude_bottom_px is not None:
        rows = page_rows - top - params.exclude_bottom_px
    elif told is not None:
        text = f"the header calls {rows} x {cols} of {page_rows} x {page_cols} pixels picture; the rest is left out"
        remarks.append(Remark(code="data_bar", message=text))
    elif found := data_bar(pixels, lossy=lossy):
        rows -= found
        text = f"the last {found} of {page_rows} rows look like a data bar and are left out"
        remarks.append(Remark(code="data_bar", message=text))
    cut = max(0, params.exclude_top_px - top)
    top, rows = top + cut, rows - cut
    if rows <= 0:
        raise TileError("zero_size", f"{what} has {page_rows} rows, and all of them are to be left out")
    box = (top, left, rows, cols)
    if params.exclude_bottom_px is None:
        box, more = _without_margins(pixels, box, lossy=lossy)
        remarks += more
    return Choice(None if box == (0, 0, page_rows, page_cols) else box, tuple(remarks))


def _without_margins(pixels: Pixels, box: Box, *, lossy: bool) -> tuple[Box, list[Remark]]:
    top, left, rows, cols = box
    margins = find_margins(Part(pixels, box), lossy=lossy)
    sides = zip(margins.border, ("first {} rows", "first {} columns", "last {} rows", "last {} columns"), strict=True)
    remarks = []
    if border := [words.format(n) for n, words in sides if n]:
        text = f"the {' and the '.join(border)} are a border of one grey level and are left out"
        remarks.append(Remark(code="border", message=text))
    if margins.broken_top:
        remarks.append(broken_scan(f"the first {margins.top} of {rows} rows are"))
    if margins.broken_bottom:
        remarks.append(broken_scan(f"the last {margins.bottom} of {rows} rows are"))
    rows, cols = rows - margins.top - margins.bottom, cols - margins.left - margins.right
    return (top + margins.top, left + margins.left, rows, cols), remarks


def broken_scan(which_are: str) -> Remark:
    """The remark on constant rows: "the last 9 of 90 rows are"."""
    text = f"{which_are} constant, as after a scan that was broken off: take the tile again"
    return Remark(code="constant_rows", message=text)


# --- Data bars that a header tells of -----------------------------------------------------------------------------


def in_header(page: Ifd, first: Ifd) -> Box | None:
    """The part of a page that its header calls picture; None: all, or the header does not say.

    Parameters
    ----------
    first : the first page of its file, where stacks write their header once
    """
    try:
        rows, cols = _thermo(page, first) or _tescan(page, first) or (page.imagelength, page.imagewidth)
    except ODD:
        return None
    return None if (rows, cols) == (page.imagelength, page.imagewidth) else (0, 0, rows, cols)


def _thermo(page: Ifd, first: Ifd) -> tuple[int, int] | None:
    """Rows and columns that were scanned; `DatabarHeight` is 0 in files that have a bar, too."""
    home = _home(page, first, 34680, 34682)
    if home is None:
        return None
    told: dict[str, dict[str, str]] = {}
    for code in (34680, 34682):
        for title, section in sections(decoded(raw(home, code))).items():
            told.setdefault(title, {}).update(section)
    image, private = told.get("Image", {}), told.get("PrivateFei", {})
    page_rows, page_cols = page.imagelength, page.imagewidth
    rows, cols = (_whole(image.get(key)) for key in ("ResolutionY", "ResolutionX"))
    if rows is None and (bar := _whole(private.get("DatabarHeight"))):
        rows = page_rows - bar
    rows, cols = rows or page_rows, cols or page_cols
    # A page smaller than the scan is a part of it; one larger in both directions alike was enlarged.
    if rows < page_rows and cols < page_cols and abs(rows * page_cols - cols * page_rows) <= max(page_rows, page_cols):
        return None
    return min(rows, page_rows) if 2 * rows > page_rows else page_rows, (
        min(cols, page_cols) if 2 * cols > page_cols else page_cols
    )


def _tescan(page: Ifd, first: Ifd) -> tuple[int, int] | None:
    home = _home(page, first, 50431)
    if home is None:
        return None
    strip = r"^[ \t]*ImageStripSize[ \t]*=[ \t]*(\d{1,6})[ \t]*\r?$"
    heights = set(re.findall(strip, tescan_lines(home), re.MULTILINE))
    bar = int(heights.pop()) if len(heights) == 1 else 0
    return (page.imagelength - bar, page.imagewidth) if 0 < 2 * bar < page.imagelength else None


def _home(page: Ifd, first: Ifd, *codes: int) -> Ifd | None:
    return next((each for each in (page, first) if any(code in each.tags for code in codes)), None)


def _whole(value: str | None) -> int | None:
    number = positive(value)
    return int(number) if number is not None and number == number // 1 else None


# --- Data bars that no header tells of ----------------------------------------------------------------------------

LEAST_ROWS = 10  # a line of text with its margins
_MOST_OF_PAGE = 0.25
BELOW = 4  # rows of picture below a bar, where a program draws the bar over the picture
_ABOVE = 16  # rows above a bar that must be picture
_GROUND = 0.25  # of the pixels of each row of a bar are its ground, exactly; rows full of text have the least
_PLAIN = 0.9  # of the pixels of its first row
_PICTURE = 0.6  # of the pixels of a row of picture have the grey level of the bar's ground, at most
_JPEG_ERROR = 8  # grey levels by which a bar's ground may differ after JPEG, of 255


def data_bar(pixels: Pixels, *, lossy: bool) -> int:
    """Number of rows at the bottom, from the first row of a data bar on; 0 if there is none for sure.

    A bar is drawn by a program, and shows it: a ground of exactly one grey level, a straight edge across all columns,
    and marks of the lightest or the darkest level. A picture has noise, so this cuts no tissue; it leaves
    what does not look so, such as text without a ground.
    """
    rows, cols = pixels.shape
    most = int(rows * _MOST_OF_PAGE)
    if most < LEAST_ROWS or cols < 64:
        return 0
    ground = _ground_level(pixels[rows - LEAST_ROWS - BELOW : rows])
    if ground is None:
        return 0
    first = max(0, rows - most - _ABOVE)
    margin = _JPEG_ERROR if lossy else 0
    of_ground, plainest = np.empty(rows - first), np.empty(rows - first)
    step = max(1, BLOCK_BYTES // (cols * pixels.dtype.itemsize))
    for start in range(first, rows, step):
        block = pixels[start : min(start + step, rows)]
        here = slice(start - first, start - first + len(block))
        of_ground[here] = _share(block, ground, margin)
        plainest[here] = np.maximum(of_ground[here], _share(block, np.median(block, axis=1, keepdims=True), margin))
    top = _top_of_bar(of_ground, plainest, lossy=lossy)
    if top is None or not _has_marks(pixels[first + top - _ABOVE : rows], ground, lossy=lossy):
        return 0
    return rows - first - top


def _ground_level(last: Array) -> float | None:
    """The grey level that most of the last rows consist of; None if there is none."""
    if last.dtype == np.uint8 and _rows_of_one_level(last) < LEAST_ROWS // 2:
        return None
    medians = np.median(last, axis=1, keepdims=True)
    plain = medians[np.mean(last == medians, axis=1) > 0.5, 0]
    levels, counts = np.unique(plain, return_counts=True)
    return float(levels[counts.argmax()]) if len(plain) and counts.max() >= LEAST_ROWS // 2 else None


def _rows_of_one_level(rows: Array) -> int:
    """How many rows of uint8 have one level in more than half of their pixels."""
    by_row = np.arange(len(rows))[:, None] * 256 + rows
    counts = np.bincount(by_row.ravel(), minlength=256 * len(rows)).reshape(-1, 256)
    return int(np.count_nonzero(2 * counts.max(axis=1) > rows.shape[1]))


def _share(block: Array, level: Any, margin: int) -> Array:
    """Of each row, the share of pixels at a grey level."""
    same = block == level if margin == 0 else np.abs(block.astype(np.float32) - level) <= margin
    share: Array = np.mean(same, axis=1)
    return share


def _top_of_bar(of_ground: Array, plainest: Array, *, lossy: bool) -> int | None:
    """First row of the bar that reaches to the bottom; None if no row looks like one."""
    drawn = (of_ground >= _GROUND) | (plainest >= _PLAIN)
    below = next((n for n in range(BELOW + 1) if drawn[-1 - n]), None)
    if below is None:
        return None
    end = len(drawn) - below
    blurred = 8 if lossy else 0  # rows on either side of the edge that JPEG's blocks smear
    start = end
    while start > 0 and drawn[start - 1]:
        start -= 1
    for top in range(max(start, _ABOVE), end - LEAST_ROWS + 1):
        above = of_ground[top - _ABOVE : top - min(blurred, top - start)]
        if len(above) and np.all(above <= _PICTURE) and np.any(plainest[top : top + 1 + blurred] >= _PLAIN):
            return top
    return None


def _has_marks(bar_and_above: Array, ground: float, *, lossy: bool) -> bool:
    """True if a bar has text or lines of the lightest or the darkest level, on at least a fifth of its rows."""
    block = bar_and_above.astype(np.float64)
    low, high = float(block.min()), float(block.max())
    bar, span = block[_ABOVE:], high - low
    differ = np.abs(bar - ground) > (_JPEG_ERROR if lossy else 0)
    if span == 0 or not 0.005 <= differ.mean() <= 0.5:
        return False
    mark = high if high - ground >= ground - low else low
    full = np.abs(bar - mark) <= span / (8 if lossy else 16)  # the strokes of small letters are grey at their edges
    changes = np.count_nonzero(differ[:, 1:] != differ[:, :-1], axis=1)
    are_marks = np.count_nonzero(full) >= 0.1 * np.count_nonzero(differ)
    return bool(are_marks and np.mean(changes >= 8) >= 0.2)
