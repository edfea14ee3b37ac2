"""SBEMimage: tiles/g0000/t0065/mystack_g0000_t0065_s00314.ome.tif, and lists of tiles in meta/logs.

Grid, tile and slice have at least 4, 4 and 5 digits. On arrays of sections there is no slice: the tile is
tiles/a0003/r0001/t0002/mystack_a0003_r0001_t0002.ome.tif, a the section, r the region of interest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mhfd_client.naming.lists import GrowingFiles, inside
from mhfd_client.naming.parts import number, split
from mhfd_client.naming.position import Position

_TILE = re.compile(
    r".+_(?:g(?P<grid>[0-9]{4,9})|a(?P<array>[0-9]{4,9})(?:_r(?P<roi>[0-9]{4,9}))?)"
    r"_t(?P<tile>[0-9]{4,9})(?:_s(?P<slice>[0-9]{5,9}))?(?:\.ome)?\.tiff?",
    re.IGNORECASE | re.DOTALL,
)
_OVERVIEW = re.compile(r"(?:^|_)ov[0-9]{3}(?:_s[0-9]{5}|\.)", re.IGNORECASE)
_PREVIEW = re.compile(r"(?:^|_)[ag][0-9]{4}(?:_r[0-9]{4})?_t[0-9]{4}", re.IGNORECASE)
_ASIDE = frozenset({"workspace", "reslices", "rejected"})  # previews and refused images, named much like tiles
_ONLY_HERE = ("overviews/stub", "overviews/debris", "workspace/reslices", "workspace/viewport", "tiles/rejected")


def tile_id(path: str) -> str | None:
    """The id that SBEMimage itself gives a tile, in its log and its metadata: grid, tile and slice, "0000.0065.00314".

    None for other files, and for tiles of arrays: their ids count grids through all sections, which names do not tell.
    """
    match = _TILE.fullmatch(split(path)[1])
    if match is None or not match["grid"] or not match["slice"]:
        return None
    return f"{int(match['grid']):04}.{int(match['tile']):04}.{int(match['slice']):05}"


def tile_key(path: str) -> str | None:
    """How SBEMimage's dialogs take a tile in a list: grid and tile, "0.65"; None where `tile_id` is."""
    return None if (found := tile_id(path)) is None else ".".join(str(int(each)) for each in found.split(".")[:2])


class SbemImageLayout:
    """A base directory of SBEMimage."""

    name = "sbemimage"

    def __init__(self) -> None:
        self._files = GrowingFiles()

    def position(self, path: str) -> Position | None:
        folder, name = split(path)
        match = _TILE.fullmatch(name)
        if match is None or split(folder)[1].lower() in _ASIDE:
            return None
        if match["grid"] and not match["slice"]:
            return None  # a preview or a reslice
        return Position(
            section=number(match["slice"] or match["array"]),
            grid=number(match["grid"] or match["roi"]),
            tile=number(match["tile"]),
        )

    def taken(self, path: str) -> str:
        return ""

    def claims(self, path: str) -> bool:
        """True if SBEMimage wrote this image, tile or not."""
        folder, name = split(path)
        if _TILE.fullmatch(name) or _OVERVIEW.search(name) or folder.lower().endswith(_ONLY_HERE):
            return True
        return split(folder)[1].lower() in _ASIDE and _PREVIEW.search(name) is not None

    def listed(self, root: Path) -> Iterator[str] | None:
        lists = sorted((root / "meta" / "logs").glob("imagelist_[0-9]*.txt"))  # imagelist_ov_... are the overviews
        return self._new(lists) if lists else None

    def _new(self, lists: list[Path]) -> Iterator[str]:
        for file in lists:
            for line in self._files.new_lines(file):  # path;x;y;z;slice, positions in nm
                path = inside(line.partition(";")[0])
                if path and self.position(path):
                    yield path
