"""Zeiss ATLAS: Tile_r1-c1_S_000_1752450056.tif, loose or in a folder for each section.

The number after the section is a time stamp: the same position with a later one is a re-acquisition.
"""

from __future__ import annotations

import re
from pathlib import Path

from mhfd_client.naming.parts import number, split
from mhfd_client.naming.position import Position

_TILE = re.compile(r"Tile_r([0-9]{1,9})-c([0-9]{1,9})(?:_(.*))?\.tiff?", re.IGNORECASE | re.DOTALL)
_LABEL = re.compile(r"(?:^|_)(?:S|sec|section)_?([0-9]{1,9})(?:_([0-9]{1,20}))?$", re.IGNORECASE)
_LAST_NUMBER = re.compile(r"(?<![0-9])([0-9]{1,9})$")  # Tile_r1-c1_series_050.tif
_FOLDER = re.compile(r"(?:^|_)(?:S|sec|section)_?([0-9]{1,9})(?![0-9])", re.IGNORECASE)


class AtlasLayout:
    """Mosaic tiles as ATLAS and WaferMapper name them; other images are overviews and stitched mosaics."""

    name = "atlas"

    def position(self, path: str) -> Position | None:
        folder, name = split(path)
        if (match := _TILE.fullmatch(name)) is None:
            return None
        row, col, label = match.groups(default="")
        section = _LABEL.search(label) or _LAST_NUMBER.search(label) or _FOLDER.search(split(folder)[1])
        return Position(section=number(section[1]) if section else None, row=number(row), col=number(col))

    def taken(self, path: str) -> str:
        match = _TILE.fullmatch(split(path)[1])
        label = _LABEL.search(match[3] or "") if match else None
        return label[2].zfill(20) if label and label[2] else ""

    def claims(self, path: str) -> bool:
        """True if ATLAS wrote this image, judging by its name."""
        return self.position(path) is not None

    def listed(self, root: Path) -> None:
        return None
