r"""Zeiss MultiSEM: 181_S181R1/000001/001_000001_001_2019-01-14T1653216213670.bmp, one folder a section, one an mFOV.

The name is section as acquired, mFOV, beam, time; the section's own number is in its folder's name ("181_S181R1",
"008_s_4"). Each section has full_image_coordinates.txt ("000001\001_000001_001_....bmp", x, y, z; tabs between),
each mFOV image_coordinates.txt.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from mhfd_client.naming.lists import GrowingFiles, inside
from mhfd_client.naming.parts import number, split
from mhfd_client.naming.position import Position

_TILE = re.compile(
    r"([0-9]{3,9})_([0-9]{6})_([0-9]{3})_([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{1,20})\.(?:bmp|png|tiff?|jpe?g)",
    re.IGNORECASE,
)
_MFOV = re.compile(r"[0-9]{6}")
_SECTION = re.compile(r"[0-9]{1,9}_S_?([0-9]{1,9})(?:R([0-9]{1,3}))?|([0-9]{1,9})", re.IGNORECASE)
_THUMBNAIL = "thumbnail_"
_WHOLE, _PART = "full_image_coordinates.txt", "image_coordinates.txt"
_DEPTH = 3  # run / section / mFOV, and one folder above for a plate


class MultiSemLayout:
    """A run of a MultiSEM; `grid` is the mFOV, counted from 1 000 001 in region 2, 2 000 001 in region 3."""

    name = "multisem"

    def __init__(self) -> None:
        self._files = GrowingFiles()

    def position(self, path: str) -> Position | None:
        folder, name = split(path)
        if (match := _TILE.fullmatch(name)) is None:
            return None
        acquired, mfov, beam, _ = match.groups()
        above, last = split(folder)
        if _MFOV.fullmatch(last):
            last = split(above)[1]
        section = _SECTION.fullmatch(last)
        region = int(section[2]) if section and section[2] else 1
        return Position(
            section=number((section[1] or section[3]) if section else acquired),
            grid=max(region - 1, 0) * 1_000_000 + int(mfov),
            tile=int(beam),
        )

    def taken(self, path: str) -> str:
        match = _TILE.fullmatch(split(path)[1])
        return match[4] if match else ""

    def claims(self, path: str) -> bool:
        """True if a MultiSEM wrote this image, tile or thumbnail."""
        return _TILE.fullmatch(split(path)[1].lower().removeprefix(_THUMBNAIL)) is not None

    def listed(self, root: Path) -> Iterator[str] | None:
        lists = sorted(_lists(root, _DEPTH))
        return self._new(root, lists) if lists else None

    def _new(self, root: Path, lists: list[Path]) -> Iterator[str]:
        for file in lists:
            folder = file.parent.relative_to(root).as_posix()
            for line in self._files.new_lines(file):
                name = inside(line.partition("\t")[0])
                path = name if folder == "." or name is None else f"{folder}/{name}"
                if path and self.position(path):
                    yield path


def _lists(folder: Path, depth: int) -> Iterator[Path]:
    """The list of each section, or of its mFOVs while it has none."""
    try:
        with os.scandir(folder) as entries:
            found = {entry.name: entry.is_dir() for entry in entries}
    except OSError:
        return  # gone, or away briefly; the next call looks again
    for name in (_WHOLE, _PART):
        if name in found:
            yield folder / name
            return
    if depth:
        for name, is_folder in found.items():
            if is_folder:
                yield from _lists(folder / name, depth - 1)
