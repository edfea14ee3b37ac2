"""Any folder of images without a microscope's own names; also what `mhfd simulate` writes."""

from __future__ import annotations

import re
from pathlib import Path

from mhfd_client.naming.parts import number, split
from mhfd_client.naming.position import Position

_PART = re.compile(r"(?:^|[_\-. ])(s|sec|section|slice|z|r|row|c|col)[_\- ]?([0-9]{1,9})(?=[_\-. ]|$)", re.IGNORECASE)
_FOLDER = re.compile(r"(?:s|sec|section|slice|z)?[_\- ]?([0-9]{1,6})", re.IGNORECASE)  # eight digits are a date


class PlainLayout:
    """Every image is a tile. Its section is taken from the name or the folder if it is obvious."""

    name = "plain"

    def position(self, path: str) -> Position:
        folder, name = split(path)
        told = _parts(name)
        section = told["s"] if "s" in told else _of_folder(folder)
        if section is None or told.get("r") is None or told.get("c") is None:
            return Position(section=section)
        return Position(section=section, row=told["r"], col=told["c"])  # as in s0001_r0_c1.tif

    def taken(self, path: str) -> str:
        return ""

    def listed(self, root: Path) -> None:
        return None


def _parts(name: str) -> dict[str, int | None]:
    """Section "s", row "r" and column "c" of the name; None for one with two different values."""
    told: dict[str, int | None] = {}
    for word, digits in _PART.findall(name):
        letter = word[0].lower().replace("z", "s")
        value = number(digits)
        told[letter] = value if told.get(letter, value) == value else None
    return told


def _of_folder(folder: str) -> int | None:
    for part in reversed(folder.split("/")):
        if match := _FOLDER.fullmatch(part):
            return number(match[1])
    return None
