"""Microscope settings in image files: vendor headers to pixel size and `Acquisition`.

Many programs write headers, so nothing here raises: missing, odd or senseless values are None.
"""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tifffile import TiffPage

from mhfd.contract import Acquisition

_NM = {
    "m": 1e9, "cm": 1e7, "mm": 1e6, "\u03bcm": 1e3, "um": 1e3, "micron": 1e3, "microns": 1e3, "micrometer": 1e3,
    "nm": 1.0, "\u00e5": 0.1, "angstrom": 0.1, "pm": 1e-3, "fm": 1e-6, "inch": 2.54e7, "in": 2.54e7,
}  # fmt: skip
_US = {"s": 1e6, "ms": 1e3, "\u03bcs": 1.0, "us": 1.0, "ns": 1e-3}

# Errors that an odd header can raise: wrong type, missing key, broken XML or JSON, endless nesting.
_ODD = (ArithmeticError, AttributeError, LookupError, RecursionError, SyntaxError, TypeError, ValueError)


@dataclass(frozen=True, kw_only=True)
class Page:
    """The place of a header: the page itself, else the file's first page (stacks write it once)."""

    page: TiffPage
    first: TiffPage
    ifd: int  # the page's number in the file, which OME-XML refers to
    file_name: str

    def tag(self, code: int) -> Any:
        value = self.page.tags.valueof(code)
        return self.first.tags.valueof(code) if value is None else value

    @property
    def description(self) -> str:
        text = self.tag(270)
        return text if isinstance(text, str) else ""


@dataclass(frozen=True, kw_only=True)
class Header:
    """One vendor's header in our units; None for missing values."""

    vendor: str | None = None
    pixel_size_nm: float | None = None
    working_distance_mm: float | None = None
    dwell_us: float | None = None
    stage_um: tuple[float, float, float] | None = None


def from_tiff(page: Page, *, lossy: bool) -> tuple[float | None, Acquisition]:
    """Pixel size in nanometres, or None, and acquisition of one page of a TIFF file.

    The vendor's header comes first; the TIFF resolution tags count only if it gives no pixel size.
    """
    header = next((found for read in _READERS if (found := _try(read, page)) is not None), Header())
    if header.pixel_size_nm is None:
        header = replace(header, pixel_size_nm=_try(_from_resolution_tags, page))
    return header.pixel_size_nm, Acquisition(
        format="tiff",
        lossy=lossy,
        vendor=header.vendor,
        working_distance_mm=header.working_distance_mm,
        dwell_us=header.dwell_us,
        stage_um=header.stage_um,
    )


def pixel_size_from_dpi(x_dpi: Any, y_dpi: Any) -> float | None:
    """Pixel size in nanometres from pixels per inch; None if a microscope cannot have it.

    Cameras, printers and viewers fill this field in with 72, 96, 300 or 2400 dpi, and scanners of negatives
    go to about 12000 dpi (2 um), so only a pixel below 1 um (25400 dpi) is believed.
    """
    x, y = _positive(x_dpi), _positive(y_dpi)
    size = _square(_NM["inch"] / x if x else None, _NM["inch"] / y if y else None)
    return size if size is not None and size < 1000 else None


def _try(read: Callable[[Page], Any], page: Page) -> Any:
    try:
        return read(page)
    except _ODD:
        return None


def _zeiss(page: Page) -> Header | None:
    meta = page.tag(34118)
    if not isinstance(meta, dict):
        return None

    def quantity(key: str, units: dict[str, float]) -> float | None:
        match meta.get(key):  # ("WD", 5.2, "mm")
            case (_, value, str(unit)):
                return _finite(value, units.get(unit.casefold()))
        return None

    pixel_nm = quantity("ap_image_pixel_size", _NM) or quantity("ap_pixel_size", _NM)
    return Header(
        vendor="zeiss",
        pixel_size_nm=_square(pixel_nm, pixel_nm),
        working_distance_mm=_positive(quantity("ap_wd", _NM), 1e-6),
        dwell_us=_positive(quantity("dp_dwell_time", _US)),  # as stated, before the scanner's own averaging
        stage_um=_stage(*(quantity(f"ap_stage_at_{axis}", _NM) for axis in "xyz"), scale=1e-3),
    )


def _fei(page: Page) -> Header | None:
    parts = [value for code in (34680, 34682) if isinstance(value := page.tag(code), dict)]
    if not parts:
        return None

    def first(*places: tuple[str, str]) -> Any:
        values = (part[group].get(key) for group, key in places for part in parts if group in part)
        return next((value for value in values if value not in (None, "")), None)

    # A dual-beam instrument has one section for each beam; [Beam] names those of this image.
    beam, scan = str(first(("Beam", "Beam")) or "EBeam"), str(first(("Beam", "Scan")) or "EScan")
    return Header(
        vendor="fei",
        pixel_size_nm=_square(
            _positive(first((scan, "PixelWidth"), ("Scan", "PixelWidth")), 1e9),
            _positive(first((scan, "PixelHeight"), ("Scan", "PixelHeight")), 1e9),
        ),
        working_distance_mm=_positive(first((beam, "WD"), ("Stage", "WorkingDistance")), 1e3),
        dwell_us=_positive(first((scan, "Dwell"), ("Scan", "Dwelltime")), 1e6),
        stage_um=_stage(*(first(("Stage", f"Stage{a}"), (beam, f"Stage{a}")) for a in "XYZ"), scale=1e6),
    )


def _tescan(page: Page) -> Header | None:
    block = page.tag(50431)  # a preview image, then key=value lines in SI units
    if not isinstance(block, bytes):
        return None
    meta = dict(re.findall(r"^\s*(\w+)=([^\r\n]*)", block[-65536:].decode("latin-1"), re.MULTILINE))
    return Header(
        vendor="tescan",
        pixel_size_nm=_square(_positive(meta.get("PixelSizeX"), 1e9), _positive(meta.get("PixelSizeY"), 1e9)),
        working_distance_mm=_positive(meta.get("WD"), 1e3),
        dwell_us=_positive(meta.get("DwellTime"), 1e6),
        stage_um=_stage(*(meta.get(f"Stage{axis}") for axis in "XYZ"), scale=1e6),
    )


def _openfibsem(page: Page) -> Header | None:
    if not page.description.startswith("{") or '"microscope_state"' not in page.description:
        return None
    meta = json.loads(page.description)
    state = meta["microscope_state"]
    beam = state["ion_beam" if meta["image"]["beam_type"] == "ION" else "electron_beam"]
    return Header(
        vendor="openfibsem",
        pixel_size_nm=_square(*(_positive(meta["pixel_size"][axis], 1e9) for axis in "xy")),
        working_distance_mm=_positive(beam["working_distance"], 1e3),
        dwell_us=_positive(beam["dwell_time"], 1e6),
        stage_um=_stage(*(state["stage_position"][axis] for axis in "xyz"), scale=1e6),
    )


def _ome(page: Page) -> Header | None:
    xml = page.first.description
    if not xml.rstrip().endswith("OME>") or "<!DOCTYPE" in xml:  # OME-XML has no document type; entity bombs do
        return None
    found = [pixels for image in ET.fromstring(xml).findall("{*}Image") for pixels in image.findall("{*}Pixels")]
    # One file may hold several images; if no TiffData names this page it is the first one.
    pixels, plane = next(
        ((p, plane) for p in found if (plane := _ome_plane(p, page)) is not None),
        (found[0], None),
    )

    def length_nm(element: ET.Element, key: str, unit: str) -> float | None:
        return _finite(element.get(key), _NM.get(element.get(f"{key}Unit", unit).casefold()))

    stage = None
    if plane is not None:
        # Without a unit OME positions are in a frame of their own, which we cannot place.
        stage = _stage(*(length_nm(plane, f"Position{axis}", "reference frame") for axis in "XYZ"), scale=1e-3)
    sizes = (length_nm(pixels, f"PhysicalSize{axis}", "um") for axis in "XY")
    return Header(vendor="ome", pixel_size_nm=_square(*sizes), stage_um=stage)


def _ome_plane(pixels: ET.Element, page: Page) -> ET.Element | None:
    """The Plane element of this page: TiffData maps pages to (z, c, t), Plane gives the positions."""
    axes = pixels.get("DimensionOrder", "XYZCT")[2:]
    sizes = [int(pixels.get(f"Size{axis}", 1)) for axis in axes]
    for data in pixels.findall("{*}TiffData"):
        uuid = data.find("{*}UUID")
        if uuid is not None and uuid.get("FileName", page.file_name) != page.file_name:
            continue
        step = page.ifd - int(data.get("IFD", 0))
        if not 0 <= step < int(data.get("PlaneCount", 1 if "IFD" in data.attrib else math.prod(sizes))):
            continue
        where, carry = {}, step
        for axis, size in zip(axes, sizes, strict=True):
            carry, rest = divmod(carry + int(data.get(f"First{axis}", 0)), size)
            where[f"The{axis}"] = rest
        planes = pixels.findall("{*}Plane")
        return next((p for p in planes if all(int(p.get(key, 0)) == at for key, at in where.items())), pixels)
    return None


def _imagej(page: Page) -> Header | None:
    text = page.first.description
    if not text.startswith("ImageJ="):
        return None
    meta = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    unit = meta.get("unit", "").replace("\\u00B5", "\u00b5").casefold()
    nm, x, y = _NM.get(unit), *(_positive(_ratio(page.tag(code))) for code in (282, 283))  # x, y: pixels per unit
    return Header(vendor="imagej", pixel_size_nm=_square(nm / x, nm / y) if nm and x and y else None)


_READERS = (_zeiss, _fei, _tescan, _openfibsem, _ome, _imagej)


def _from_resolution_tags(page: Page) -> float | None:
    units_per_inch = {2: 1.0, 3: 2.54}.get(int(page.page.tags.valueof(296, default=2)))  # the standard's default: inch
    x, y = (_ratio(page.page.tags.valueof(code)) for code in (282, 283))
    return pixel_size_from_dpi(_finite(x, units_per_inch), _finite(y, units_per_inch))


def _ratio(rational: Any) -> float | None:
    match rational:
        case (int(numerator), int(denominator)) if denominator:
            return numerator / denominator
    return None


def _finite(value: Any, scale: float | None = 1.0) -> float | None:
    """`value` times `scale` as a finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or scale is None:
        return None
    try:
        number = float(value) * scale
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _positive(value: Any, scale: float = 1.0) -> float | None:
    number = _finite(value, scale)
    return number if number is not None and number > 0 else None


def _square(x_nm: float | None, y_nm: float | None) -> float | None:
    """One pixel size from two: the geometric mean, which keeps the area and so features per area.

    A tilted sample makes the sides differ by some ten per cent; a factor of two is a wrong header, and
    so is a size outside 1 pm to 1 mm.
    """
    x, y = x_nm or y_nm, y_nm or x_nm
    if x is None or y is None or x <= 0 or y <= 0 or not 0.5 < x / y < 2:
        return None
    size = math.sqrt(x * y)
    return size if 1e-3 <= size <= 1e6 else None


def _stage(x: Any, y: Any, z: Any, *, scale: float) -> tuple[float, float, float] | None:
    """(x, y, z); z is 0 if only x and y are known."""
    at_x, at_y, at_z = _finite(x, scale), _finite(y, scale), _finite(z, scale)
    return None if at_x is None or at_y is None else (at_x, at_y, at_z or 0.0)
