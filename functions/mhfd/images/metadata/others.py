"""Headers of few keys: TESCAN, OpenFIBSEM, Olympus, Gatan, ImageJ."""

from __future__ import annotations

import json
import re
from typing import Any

from mhfd.images.metadata.header import Header, Ifd, Page, decoded, raw
from mhfd.images.metadata.quantity import UNREADABLE, nm_per, number, place, positive, square


def tescan_lines(page: Ifd) -> str:
    """The key=value lines of tag 50431, which follow a preview image."""
    return raw(page, 50431, last=65536).decode("latin-1")


def tescan(page: Ifd) -> Header:
    """Tag 50431, in SI units."""
    told: dict[str, str] = {}
    for key, value in re.findall(r"^[ \t]*(\w+)[ \t]*=[ \t]*([^\r\n]*)", tescan_lines(page), re.MULTILINE):
        told[key] = value if told.get(key, value) == value else "given twice"
    return Header(
        vendor="tescan",
        pixel_size_nm=square(*(positive(told.get(f"PixelSize{axis}"), 1e9) for axis in "XY")),
        working_distance_mm=positive(told.get("WD"), 1e3),
        dwell_us=positive(told.get("DwellTime"), 1e6),
        stage_um=place(*(number(told.get(f"Stage{axis}"), 1e6) for axis in "XYZ")),
    )


def is_openfibsem(description: str) -> bool:
    return description.startswith("{") and '"microscope_state"' in description


def openfibsem(description: str) -> Header:
    """JSON, in SI units."""
    told = json.loads(description)
    state, image = told["microscope_state"], told["image"]
    beam = state[{"ELECTRON": "electron_beam", "ION": "ion_beam"}[image["beam_type"]]]
    columns, rows = image.get("resolution") or (None, None)
    return Header(
        vendor="openfibsem",
        pixel_size_nm=square(*(positive(told["pixel_size"][axis], 1e9) for axis in "xy")),
        working_distance_mm=positive(beam["working_distance"], 1e3),
        dwell_us=positive(beam["dwell_time"], 1e6),
        stage_um=place(*(number(state["stage_position"][axis], 1e6) for axis in "xyz")),
        sizes=((positive(columns), positive(rows)),),
    )


def olympus(page: Ifd) -> Header:
    """Tag 33560 of Olympus Soft Imaging Solutions (SIS), which tifffile reads: metres."""
    told = page.tags.valueof(33560)
    x, y = (told.get(key) if isinstance(told, dict) else None for key in ("pixelsizex", "pixelsizey"))
    return Header(vendor="olympus", pixel_size_nm=square(positive(x, 1e9), positive(y, 1e9)))


def gatan(page: Ifd) -> Header:
    """Tags 65003, 65004 (unit in x, y) and 65009, 65010 (pixel size in x, y) of DigitalMicrograph."""
    sides = ((65003, 65009), (65004, 65010))
    x, y = (positive(page.tags.valueof(size), nm_per(_text(page.tags.valueof(unit)))) for unit, size in sides)
    return Header(vendor="gatan", pixel_size_nm=square(x, y))


def is_imagej(description: str) -> bool:
    return description.startswith("ImageJ=")


def imagej_planes(description: str) -> int:
    """Planes that a description tells of; ImageJ writes a stack of over 4 GB as one page, the others without headers.

    Raises
    ------
    ValueError
        the number has too many digits.
    """
    told = (line.removeprefix("images=") for line in description.splitlines() if line.startswith("images="))
    return next((int(number) for number in told if number.isdecimal()), 1)


def imagej(page: Page) -> Header:
    """Lines of key=value; the resolution tags are pixels per `unit`."""
    told = dict(line.split("=", 1) for line in page.description(page.first).splitlines() if "=" in line)
    if "unit" not in told:
        return Header(vendor="imagej")
    home = page.home(282, 283) or page.page
    units = (told["unit"], told.get("yunit", told["unit"]))
    sides = (_side_nm(_unescaped(unit), home.tags.valueof(code)) for unit, code in zip(units, (282, 283), strict=True))
    return Header(vendor="imagej", pixel_size_nm=square(*sides))


def ratio(rational: Any) -> float | None:
    """Value of a TIFF rational; None if there is none, NaN for what is no number."""
    match rational:
        case None:
            return None
        case (int(numerator), int(denominator)) if denominator:
            return numerator / denominator
    return UNREADABLE


def _side_nm(unit: str, resolution: Any) -> float | None:
    pixels_per_unit = positive(ratio(resolution))
    if pixels_per_unit is None:
        return UNREADABLE  # a unit without a scale
    side = positive(1 / pixels_per_unit, nm_per(unit.strip()))
    # ImageJ takes inch and cm from an image's dots per inch, so they are believed as those are.
    dots = unit.strip().casefold() in ("inch", "inches", "in", "cm")
    return UNREADABLE if dots and side is not None and side >= 1000 else side


def _unescaped(text: str) -> str:
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), text)


def _text(value: Any) -> str:
    return (decoded(value) if isinstance(value, bytes) else str(value)).strip("\0 ")
