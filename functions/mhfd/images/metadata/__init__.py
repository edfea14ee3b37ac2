"""Microscope settings in image files: vendor headers to pixel size and `Acquisition`.

Many programs write headers, so nothing here raises: missing, odd or senseless values are None.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mhfd.contract import Acquisition
from mhfd.images.metadata.beside import beside
from mhfd.images.metadata.fei import fei
from mhfd.images.metadata.header import ODD, Header, Ifd, Page
from mhfd.images.metadata.ome import is_ome, ome
from mhfd.images.metadata.others import gatan, imagej, is_imagej, is_openfibsem, olympus, openfibsem, ratio, tescan
from mhfd.images.metadata.quantity import UNREADABLE, number, positive, square, within
from mhfd.images.metadata.zeiss import fibics, smartsem

__all__ = ["Page", "from_picture", "from_tiff", "pixel_size_from_dpi"]

_NM_PER_INCH = 2.54e7

# Tags of one vendor each. ATLAS leads, for it scans by itself: what SmartSEM says beside it is not of this image.
_VENDORS: tuple[tuple[str, tuple[int, ...], Callable[[Ifd], Header]], ...] = (
    ("fibics", (51023,), fibics),
    ("zeiss", (34118,), smartsem),
    ("fei", (34680, 34682, 34683), fei),
    ("tescan", (50431,), tescan),
    ("olympus", (33560,), olympus),
)


def from_tiff(page: Page, *, lossy: bool) -> tuple[float | None, Acquisition]:
    """Pixel size in nanometres, or None, and acquisition of one page of a TIFF file.

    A vendor's header comes first, then a vendor's text beside the file, then the TIFF resolution tags; each counts
    only if those before have no key for the pixel size. A key that cannot be read is never replaced by another.
    """
    header = _in_tiff(page) or beside(page.path) or Header()
    size_nm = _of_this_picture(header, *page.shape)
    if size_nm is None:
        size_nm = _try(_from_resolution_tags, page.page)
    return _known(size_nm), _acquisition(header, format_="tiff", lossy=lossy)


def from_picture(
    path: str, *, dpi: tuple[Any, Any], shape: tuple[int, int], format_: str, lossy: bool
) -> tuple[float | None, Acquisition]:
    """As `from_tiff`, of a PNG, BMP or JPEG file: from the text beside it, else from its dots per inch."""
    header = beside(path) or Header()
    size_nm = _of_this_picture(header, *shape)
    if size_nm is None:
        size_nm = pixel_size_from_dpi(*dpi)
    return _known(size_nm), _acquisition(header, format_=format_, lossy=lossy)


def pixel_size_from_dpi(x_dpi: Any, y_dpi: Any) -> float | None:
    """Pixel size in nanometres from pixels per inch; None if a microscope cannot have it.

    Cameras, printers and viewers fill this field in with 72, 96, 300 or 2400 dpi, and scanners of negatives
    go to about 12000 dpi (2 um), so only a pixel below 1 um (25400 dpi) is believed.
    """
    x, y = (_NM_PER_INCH / each if each else each for each in (positive(x_dpi), positive(y_dpi)))
    size = square(x, y)
    return size if size is not None and size < 1000 else None


def _in_tiff(page: Page) -> Header | None:
    for vendor, codes, read in _VENDORS:
        if (home := page.home(*codes)) is not None:
            return _private(home, page, _try(read, home) or Header(vendor=vendor))
    for each in (page.page, page.first):
        if is_openfibsem(text := page.description(each)):
            return _private(each, page, _try(openfibsem, text) or Header(vendor="openfibsem"))
    description = page.description(page.first)
    if is_ome(description):
        return _try(ome, page) or Header(vendor="ome", pixel_size_nm=UNREADABLE)
    if is_imagej(description):
        return _try(imagej, page) or Header(vendor="imagej", pixel_size_nm=UNREADABLE)
    if (home := page.home(65009)) is not None and 65003 in home.tags:  # 65009 alone is another program's
        return _private(home, page, _try(gatan, home) or Header(vendor="gatan"))
    return None


def _private(home: Ifd, page: Page, header: Header) -> Header:
    """A header that is the microscope's own: if it has no pixel size, the resolution tags are those of a print."""
    if header.pixel_size_nm is None:
        header = replace(header, pixel_size_nm=UNREADABLE)
    if home is not page.page and not _stated(header):
        header = replace(header, sizes=((home.imagewidth, home.imagelength),))
    return header


def _of_this_picture(header: Header, rows: int, columns: int) -> float | None:
    """The header's pixel size; unreadable if it may be that of a picture of another scale."""
    across = [columns / wide for wide, _ in _stated(header)]
    down = [rows / high if high else None for _, high in _stated(header)]
    if not across or any(0.99 < each < 1.01 for each in across):
        return header.pixel_size_nm
    # Cutting a picture keeps its pixel size, and rarely its proportions; a smaller copy keeps its proportions.
    cut = all(y is not None and not 0.9 < x / y < 1.1 for x, y in zip(across, down, strict=True))
    return header.pixel_size_nm if cut or header.pixel_size_nm is None else UNREADABLE


def _stated(header: Header) -> list[tuple[float, float | None]]:
    """Columns and rows of the picture that the header describes, as far as they make sense."""
    return [(wide, within(high, 1, 1e9)) for columns, high in header.sizes if (wide := within(columns, 1, 1e9))]


def _acquisition(header: Header, *, format_: str, lossy: bool) -> Acquisition:
    stage_um = header.stage_um
    return Acquisition(
        format=format_,
        lossy=lossy,
        vendor=header.vendor,
        working_distance_mm=within(header.working_distance_mm, 1e-6, 1e3),
        dwell_us=within(header.dwell_us, 1e-6, 1e9),
        stage_um=None if stage_um is None or any(map(math.isnan, stage_um)) else stage_um,
    )


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _try(read: Callable[[Any], Any], source: Any) -> Any:
    try:
        return read(source)
    except ODD:
        return None


def _from_resolution_tags(page: Ifd) -> float | None:
    units_per_inch = {2: 1.0, 3: 2.54}.get(int(page.tags.valueof(296, default=2)))  # the standard's default: inch
    x, y = (ratio(page.tags.valueof(code)) for code in (282, 283))
    return pixel_size_from_dpi(number(x, units_per_inch), number(y, units_per_inch))
