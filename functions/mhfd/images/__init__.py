"""Image files and arrays -> grey tiles, and the microscope's settings from the headers."""

from mhfd.contract import IMAGE_SUFFIXES
from mhfd.images.files import (
    DEFAULT_MAX_PIXELS,
    DEFAULT_MAX_RESIDENT_BYTES,
    Source,
    Tile,
    TileRows,
    count_tiles,
    read_only_tile,
    read_tile,
)
from mhfd.images.grey import grey_tile
from mhfd.images.member import Member

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "DEFAULT_MAX_RESIDENT_BYTES",
    "IMAGE_SUFFIXES",
    "Member",
    "Source",
    "Tile",
    "TileRows",
    "count_tiles",
    "grey_tile",
    "read_only_tile",
    "read_tile",
]
