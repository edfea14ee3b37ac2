"""Headers of Thermo Fisher and FEI: an INI text (tags 34680, 34682), XML (tag 34683), or both. All in SI units."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import TypeVar

from mhfd.images.metadata.header import ODD, Header, Ifd, Size, at, decoded, parse_xml, raw, sections, text_at
from mhfd.images.metadata.quantity import UNREADABLE, alike, number, place, positive, square

_Section = dict[str, str]
_Value = TypeVar("_Value")


def fei(page: Ifd) -> Header:
    """Values of the INI text, and of the XML where the text has no such key; both must agree on the pixel size."""
    ini, xml = _from_ini(page), _from_xml(page)
    sizes = [header.pixel_size_nm for header in (ini, xml) if header.pixel_size_nm is not None]
    return Header(
        vendor="fei",
        pixel_size_nm=_agreed(sizes),
        working_distance_mm=_first(ini.working_distance_mm, xml.working_distance_mm),
        dwell_us=_first(ini.dwell_us, xml.dwell_us),
        stage_um=_first(ini.stage_um, xml.stage_um),
        sizes=ini.sizes + xml.sizes,
    )


def _from_ini(page: Ifd) -> Header:
    told: dict[str, _Section] = {}
    for code in (34680, 34682):
        for title, section in sections(decoded(raw(page, code))).items():
            told.setdefault(title, {}).update(section)
    # A dual-beam instrument has one section for each beam; [Beam] names those of this image.
    beam, scan = _named(told, "Beam", ("EBeam", "IBeam")), _named(told, "Scan", ("EScan", "IScan"))
    scans = (scan, told.get("Scan", {}))
    stage = next((part for part in (told.get("Stage", {}), beam) if "StageX" in part or "StageY" in part), {})
    pixels = [
        size
        for part in scans
        if (size := square(*(positive(part.get(f"Pixel{side}"), 1e9) for side in ("Width", "Height")))) is not None
    ]
    image = told.get("Image", {})
    return Header(
        pixel_size_nm=_agreed(pixels),
        working_distance_mm=positive(_first(beam.get("WD"), told.get("Stage", {}).get("WorkingDistance")), 1e3),
        dwell_us=positive(_first(scan.get("Dwell"), told.get("Scan", {}).get("Dwelltime")), 1e6),
        stage_um=place(*(number(stage.get(f"Stage{axis}"), 1e6) for axis in "XYZ")),
        # ResolutionX is that of the whole frame, and the page may be a part of it; the field is that of the page.
        sizes=((positive(image.get("ResolutionX")), positive(image.get("ResolutionY"))), *map(_field, scans)),
    )


def _from_xml(page: Ifd) -> Header:
    text = decoded(raw(page, 34683))
    if not text.strip():  # as beside an INI text
        return Header()
    try:
        root = parse_xml(text)
    except ODD:
        return Header(pixel_size_nm=UNREADABLE)
    size = (positive(text_at(root, f"BinaryResult/ImageSize/{axis}")) for axis in "XY")
    return Header(
        pixel_size_nm=square(*(_pixel_nm(root, axis) for axis in "XY")),
        working_distance_mm=positive(text_at(root, "Optics/WorkingDistance"), 1e3),
        dwell_us=positive(text_at(root, "ScanSettings/DwellTime"), 1e6),
        stage_um=place(*(number(text_at(root, f"StageSettings/StagePosition/{axis}"), 1e6) for axis in "XYZ")),
        sizes=((next(size), next(size)),),
    )


def _pixel_nm(root: ET.Element, axis: str) -> float | None:
    element = at(root, f"BinaryResult/PixelSize/{axis}")
    if element is None:
        return None
    metres = element.get("unit", "m") == "m" and element.get("unitPrefixPower", "1") == "1"
    return positive((element.text or "").strip(), 1e9 if metres else None)  # diffraction patterns are in 1/m


def _named(told: dict[str, _Section], kind: str, choices: Iterable[str]) -> _Section:
    """The section that [Beam] names; where it names none, the only one of the choices."""
    if name := told.get("Beam", {}).get(kind):
        return told.get(name, {})
    there = [told[name] for name in choices if name in told]
    return there[0] if len(there) == 1 else {}


def _field(scan: _Section) -> Size:
    """Columns and rows of the scanned field."""
    sides = (("HorFieldsize", "PixelWidth"), ("VerFieldsize", "PixelHeight"))
    fields = ((positive(scan.get(field)), positive(scan.get(pixel))) for field, pixel in sides)
    columns, rows = (field / pixel if field and pixel else None for field, pixel in fields)
    return columns, rows


def _agreed(pixels: list[float]) -> float | None:
    """The size that all places give; places that disagree cannot be read."""
    if not pixels:
        return None
    return pixels[0] if alike(pixels) else UNREADABLE


def _first(value: _Value | None, other: _Value | None) -> _Value | None:
    return other if value is None else value
