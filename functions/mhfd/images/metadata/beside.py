"""The text file that JEOL and Hitachi write beside a picture: tile.txt beside tile.tif."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from mhfd.images.metadata.header import ODD, Header, decoded, sections
from mhfd.images.metadata.quantity import UNREADABLE, nm_per, number, place, positive, quantity, square

_MAX_BYTES = 2**16


def beside(path: str) -> Header | None:
    """Header from the text beside `path`; None if there is none of these vendors'."""
    try:
        text = _text_beside(Path(name_beside(path)))
        if re.search(r"^(?:\$CM_|\$\$[SE]M_)", text, re.MULTILINE):
            return _jeol(text)
        if text.lstrip().startswith("[SemImageFile]"):
            return _hitachi(sections(text)["SemImageFile"])
    except (OSError, *ODD):
        pass
    return None


def name_beside(path: str) -> str:
    """Where such a text would lie."""
    root, suffix = os.path.splitext(path)  # noqa: PTH122 - asked for every tile, and a tenth of the time
    return root + (".TXT" if suffix.isupper() else ".txt")


def _text_beside(beside: Path) -> str:
    """Only a small, plain file: a link could lead out of the folders that may be read, a pipe would wait for ever."""
    status = beside.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
        return ""
    with beside.open("rb") as file:
        return decoded(file.read(_MAX_BYTES))


def _jeol(text: str) -> Header:
    """Lines of "$KEY value": the scale bar is SM_MICRON_BAR pixels long and stands for SM_MICRON_MARKER, "1um"."""
    told = {key: value.strip() for key, value in re.findall(r"^\$+(\w+)[ \t]*([^\r\n]*)", text, re.MULTILINE)}
    stage = [number(value, 1e3) for value in told.get("CM_STAGE_POS", "").split()[:3]]
    size = [positive(value) for value in told.get("CM_FULL_SIZE", "").split()[:2]]
    return Header(
        vendor="jeol",
        pixel_size_nm=_jeol_pixel_nm(told),
        working_distance_mm=positive(told.get("SM_WD")),
        stage_um=place(*stage) if len(stage) == 3 else None,
        sizes=((size[0], size[1]),) if len(size) == 2 else (),
    )


def _jeol_pixel_nm(told: dict[str, str]) -> float | None:
    if "SM_MICRON_BAR" in told or "SM_MICRON_MARKER" in told:
        marker = re.fullmatch(r"([\d.]+)\s*([^\d\s.]\S*)", told.get("SM_MICRON_MARKER", ""))
        pixels = positive(told.get("SM_MICRON_BAR"))
        length_nm = positive(marker[1], nm_per(marker[2])) if marker else None
        side = length_nm / pixels if length_nm and pixels else UNREADABLE
        return square(side, side)
    per_m = [positive(told.get(f"EM_PIXELSPERMETER_{axis}")) for axis in "XY"]
    x, y = (1e9 / each if each else each for each in per_m)
    return square(x, y)


def _hitachi(told: Mapping[str, str]) -> Header:
    """PixelSize is in nanometres; WorkingDistance has its unit with it, "8100 um"."""
    pixel_nm = positive(told.get("PixelSize"))
    wd_nm = quantity(told.get("WorkingDistance"), nm_per)
    size = re.fullmatch(r"(\d+)x(\d+)", told.get("DataSize", ""))
    return Header(
        vendor="hitachi",
        pixel_size_nm=square(pixel_nm, pixel_nm),
        working_distance_mm=None if wd_nm is None else wd_nm * 1e-6,
        sizes=((positive(size[1]), positive(size[2])),) if size else (),
    )
