"""OME-XML in the description of a file's first page."""

from __future__ import annotations

import math
import re
import unicodedata
import xml.etree.ElementTree as ET

from mhfd.images.metadata.header import Header, Page, parse_xml
from mhfd.images.metadata.quantity import UNREADABLE, nm_per, number, place, positive, square


def is_ome(description: str) -> bool:
    head = description[:8192]  # comments may lead
    return head.lstrip().startswith("<") and re.search(r"<(?:\w+:)?OME[\s>]", head) is not None


def ome(page: Page) -> Header:
    """The image that this page belongs to; a page that none of several images claims has no pixel size."""
    root = parse_xml(page.description(page.first))
    images = [pixels for image in root.findall("{*}Image") for pixels in image.findall("{*}Pixels")]
    if not images:  # the images are described in another file
        return Header(vendor="ome")
    file_name = _name_in(images, page.file_name)
    found = []
    for pixels in images if file_name is not None else ():
        plane = _plane(pixels, page.ifd, file_name)
        if plane is not None:
            found.append(_header(pixels, plane))
    if not found and len(images) == 1 and images[0].find("{*}TiffData") is None:
        found = [_header(images[0], images[0])]
    if len({header.pixel_size_nm for header in found}) != 1:
        return Header(vendor="ome", pixel_size_nm=UNREADABLE)
    return found[0]


def _header(pixels: ET.Element, plane: ET.Element) -> Header:
    def length_nm(element: ET.Element, key: str, unit: str) -> float | None:
        return number(element.get(key), nm_per(element.get(f"{key}Unit", unit)))

    # Without a unit OME positions are in a frame of their own, which we cannot place.
    position = (length_nm(plane, f"Position{axis}", "reference frame") for axis in "XYZ")
    sides = (length_nm(pixels, f"PhysicalSize{axis}", "um") for axis in "XY")
    return Header(
        vendor="ome",
        pixel_size_nm=square(*sides),
        stage_um=place(*(None if nm is None else nm * 1e-3 for nm in position)),
        sizes=((positive(pixels.get("SizeX")), positive(pixels.get("SizeY"))),),
    )


def _name_in(images: list[ET.Element], file_name: str) -> str | None:
    """The name that the XML knows this file by, which may have been renamed since; None if no name can be it."""
    data = [each for pixels in images for each in pixels.findall("{*}TiffData")]
    names = {name for each in data if (name := _file_of(each)) is not None}
    if not names or file_name in names:
        return file_name
    same = [name for name in names if _plain(name) == _plain(file_name)]
    if len(same) == 1:
        return same[0]
    if len(names) == 1 and all(_file_of(each) is not None for each in data):
        return names.pop()
    # TiffData without a name is of this file.
    return file_name if any(_file_of(each) is None for each in data) else None


def _file_of(data: ET.Element) -> str | None:
    uuid = data.find("{*}UUID")
    name = None if uuid is None else uuid.get("FileName")
    return None if name is None else re.split(r"[/\\]", name)[-1]


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _plane(pixels: ET.Element, ifd: int, file_name: str | None) -> ET.Element | None:
    """The Plane element of this page: TiffData maps pages to (z, c, t), Plane gives the positions."""
    axes = pixels.get("DimensionOrder", "XYZCT")[2:]
    sizes = [int(pixels.get(f"Size{axis}", 1)) for axis in axes]
    for data in pixels.findall("{*}TiffData"):
        if _file_of(data) not in (None, file_name):
            continue
        step = ifd - int(data.get("IFD", 0))
        if not 0 <= step < int(data.get("PlaneCount", 1 if "IFD" in data.attrib else math.prod(sizes))):
            continue
        where, carry = {}, step
        for axis, size in zip(axes, sizes, strict=True):
            carry, rest = divmod(carry + int(data.get(f"First{axis}", 0)), size)
            where[f"The{axis}"] = rest
        planes = pixels.findall("{*}Plane")
        return next((p for p in planes if all(int(p.get(key, 0)) == at for key, at in where.items())), pixels)
    return None
