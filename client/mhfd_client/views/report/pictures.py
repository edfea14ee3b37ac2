"""The pictures of a report: parts of tiles pixel for pixel. A file that is gone is a sentence instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd import find_features
from mhfd.contract import FocusParams, FocusResult, MhfdError, TileError
from mhfd.images import Tile
from mhfd.readers.reading import read_tile
from mhfd.scoring.identity import tile_sha256
from mhfd_client.files.names import for_system
from mhfd_client.judge.words import region
from mhfd_client.views.page.pictures import MAX_PIXELS, RESIDENT_BYTES, Limits, NoPictureError, limits_of
from mhfd_client.views.picture import CROP_PX, corner, cut, data_uri, stretched
from mhfd_client.views.report.model import Again, Entry, Source

CIRCLES_AT_MOST = 1000


@dataclass(frozen=True)
class Crop:
    """A part of a tile, pixel for pixel; or why it is not shown.

    Attributes
    ----------
    uri : the PNG; "" where there is none
    lack : why there is none
    rows, cols : of the picture
    """

    uri: str = ""
    lack: str = ""
    rows: int = CROP_PX
    cols: int = CROP_PX


@dataclass(frozen=True)
class Counted:
    """A part of a tile with its features.

    Attributes
    ----------
    circles : x, y and radius in pixels of the picture
    more : features in this part that have no circle
    """

    entry: Entry
    crop: Crop
    circles: tuple[tuple[float, float, float], ...]
    more: int = 0


def pair(again: Again) -> tuple[Crop, Crop]:
    """The most blurred part of a tile, and the same part of a sharp one, with the same black and white."""
    if again.tile is None:
        return Crop(lack="not shown"), Crop(lack="not shown")
    nothing = Crop(lack=again.beside)
    try:
        tile = _read(again.tile)
    except NoPictureError as error:
        return Crop(lack=str(error)), nothing if again.sharp is None else _alone(again.sharp, again.entry.result)
    if again.sharp is None:
        return _crop(tile, again.entry.result, limits_of(tile.pixels)), nothing
    try:
        sharp = _read(again.sharp)
    except NoPictureError as error:
        return _crop(tile, again.entry.result, limits_of(tile.pixels)), Crop(lack=str(error))
    one, other = limits_of(tile.pixels), limits_of(sharp.pixels)
    limits = min(one[0], other[0]), max(one[1], other[1])  # of both, so that neither is clipped
    return _crop(tile, again.entry.result, limits), _crop(sharp, again.entry.result, limits)


def counted(entry: Entry, source: Source, params: FocusParams) -> Counted | None:
    """The most blurred part of a tile, else its middle, with a circle round each feature; None where it is gone."""
    result = entry.result
    if result is None:
        return None
    try:
        tile = _read(source)
        backend = "numpy" if result.provenance.backend == "numpy" else "auto"  # an endpoint's GPU may not be here
        file = for_system(source.find())
        features = find_features(file, params, backend, page=source.page, pixel_size_nm=result.pixel_size_nm)
    except (MhfdError, OSError):
        return None
    side = min(CROP_PX, *tile.pixels.shape)
    top, left = corner(result, result.worst_block if region(result) else None, side, tile.pixels.shape)
    inside = (
        (features.rows >= top) & (features.rows < top + side) & (features.cols >= left) & (features.cols < left + side)
    )
    circles = zip(
        (features.cols[inside] - left + 0.5).tolist(),
        (features.rows[inside] - top + 0.5).tolist(),
        features.radii_px[inside].round(2).tolist(),
        strict=True,
    )
    shown = tuple(circles)
    picture = stretched(cut(tile.pixels, top, left, side))
    crop = Crop(data_uri(picture), rows=side, cols=side)
    return Counted(entry, crop, shown[:CIRCLES_AT_MOST], max(0, len(shown) - CIRCLES_AT_MOST))


def _read(source: Source) -> Tile:
    """The tile that was scored.

    Raises
    ------
    NoPictureError
        It is gone, or another by now.
    """
    file = source.find()
    try:
        tile = read_tile(for_system(file), source.page, max_pixels=MAX_PIXELS, max_resident_bytes=RESIDENT_BYTES)
        changed = source.tile_sha256 is not None and source.tile_sha256 != tile_sha256(tile.pixels)
    except TileError as error:
        raise NoPictureError(f"{source.name} cannot be read any more: {error.message}") from error
    if changed:
        raise NoPictureError(f"{source.name} was written again since; what was scored is gone")
    return tile


def _alone(source: Source, result: FocusResult | None) -> Crop:
    try:
        tile = _read(source)
    except NoPictureError as error:
        return Crop(lack=str(error))
    return _crop(tile, result, limits_of(tile.pixels))


def _crop(tile: Tile, result: FocusResult | None, limits: Limits) -> Crop:
    """The part where the tile of this result is most blurred."""
    side = min(CROP_PX, *tile.pixels.shape)
    part = result.worst_block if result else None
    top, left = corner(result, part, side, tile.pixels.shape) if result else (0, 0)
    pixels: NDArray[Any] = np.asarray(cut(tile.pixels, top, left, side), np.float64)
    return Crop(data_uri(stretched(pixels, limits=limits)), rows=pixels.shape[0], cols=pixels.shape[1])
