"""Headers of Zeiss: SmartSEM, and ATLAS of Fibics."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from mhfd.images.metadata.header import Header, Ifd, at, decoded, parse_xml, raw, text_at
from mhfd.images.metadata.quantity import UNREADABLE, alike, nm_per, number, place, positive, quantity, square, us_per

_ASKED = {
    "AP_IMAGE_PIXEL_SIZE", "AP_WIDTH", "AP_HEIGHT", "AP_WD", "AP_STAGE_AT_X", "AP_STAGE_AT_Y", "AP_STAGE_AT_Z",
    "DP_IMAGE_STORE", "DP_DWELL_TIME",
}  # fmt: skip
"""Of SmartSEM's 400 keys."""


def smartsem(page: Ifd) -> Header:
    """Tag 34118: a line with a key such as AP_WD, then a line for people, "WD = 5.2 mm"."""
    lines = [line.strip() for line in decoded(raw(page, 34118)).splitlines()]
    told = {
        key: re.split(r"[=:]", line, maxsplit=1)[-1].strip()
        for key, line in zip(lines, [*lines[1:], ""], strict=True)
        if key in _ASKED
    }

    def length_nm(key: str) -> float | None:
        return quantity(told.get(key), nm_per)

    store = re.fullmatch(r"(\d+) ?\* ?(\d+)", told.get("DP_IMAGE_STORE", ""))
    columns, rows = (positive(store[1]), positive(store[2])) if store else (None, None)
    # AP_PIXEL_SIZE is that of a screen 1024 pixels wide, and so not asked.
    pixel_nm = length_nm("AP_IMAGE_PIXEL_SIZE")
    if pixel_nm is None:
        pixel_nm = _from_field(
            length_nm("AP_WIDTH"), length_nm("AP_HEIGHT"), columns or page.imagewidth, rows or page.imagelength
        )
    wd_nm = length_nm("AP_WD")
    return Header(
        vendor="zeiss",
        pixel_size_nm=square(pixel_nm, pixel_nm),
        working_distance_mm=None if wd_nm is None else wd_nm * 1e-6,
        dwell_us=quantity(told.get("DP_DWELL_TIME"), us_per),  # as stated, before the scanner's own averaging
        stage_um=place(*(_um(length_nm(f"AP_STAGE_AT_{axis}")) for axis in "XYZ")),
        sizes=((columns, rows),),
    )


def fibics(page: Ifd) -> Header:
    """Tag 51023, XML: the scan's steps from pixel to pixel are the vectors U and V, in micrometres."""
    root = parse_xml(decoded(raw(page, 51023)))

    def read(path: str, per: Callable[[str], float | None], unit: str) -> float | None:
        element = at(root, path)
        return None if element is None else number((element.text or "").strip(), per(element.get("units", unit)))

    u, v = (_length(*(read(f"Scan/{vector}{axis}", nm_per, "um") for axis in "xy")) for vector in "UV")
    columns, rows = (positive(text_at(root, f"Image/{side}")) for side in ("Width", "Height"))
    if u is None and v is None:
        width, height = (read(f"Scan/FOV_{axis}", nm_per, "um") for axis in "XY")
        u = v = _from_field(width, height, columns or page.imagewidth, rows or page.imagelength)
    return Header(
        vendor="fibics",
        pixel_size_nm=square(u, v),
        dwell_us=read("Scan/Dwell", us_per, "ns"),
        stage_um=place(*(_um(read(f"Stage/{axis}", nm_per, "um")) for axis in "XYZ")),
        sizes=((columns, rows),),
    )


def _from_field(width_nm: float | None, height_nm: float | None, columns: float, rows: float) -> float | None:
    """Pixel size from the size of the field; sides that disagree show that the page was cut."""
    sides = [side / n for side, n in ((width_nm, columns), (height_nm, rows)) if side is not None]
    if not sides:
        return None
    return sides[0] if alike(sides) else UNREADABLE


def _length(x: float | None, y: float | None) -> float | None:
    """Length of a vector; one that lacks a part is unreadable."""
    if x is None and y is None:
        return None
    return UNREADABLE if x is None or y is None else math.hypot(x, y)


def _um(nm: float | None) -> float | None:
    return None if nm is None else nm * 1e-3
