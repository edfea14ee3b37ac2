"""Tiles and their features as layers of napari, which calls these functions by `napari.yaml`.

They take and return plain data, so nothing here imports napari. Annotations are evaluated, but for napari's own:
magicgui makes a widget of them.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mhfd.contract import IMAGE_SUFFIXES, FocusParams, Polarity
from mhfd.images import Tile
from mhfd.kernel.measures import FeatureList
from mhfd.kernel.pixels import thinned
from mhfd.readers.reading import count_tiles, read_tile
from mhfd.scoring.api import find_features
from mhfd.text import visible

if TYPE_CHECKING:
    import napari.layers  # type: ignore[import-not-found]
    import napari.types  # type: ignore[import-not-found]

Layer: TypeAlias = tuple[Any, dict[str, Any], str]
"""Data, keywords of the layer, its kind."""

FEATURE = "#f4632a"
LIMITS_PX = 1024
"""Limits of grey are taken from every n-th pixel of a larger tile."""


def reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[Layer]] | None:
    """`read_layers` if mhfd can read these files; napari asks."""
    paths = _listed(path)
    readable = paths and all(Path(each).suffix.lower() in IMAGE_SUFFIXES for each in paths)
    return read_layers if readable else None


def read_layers(path: str | Sequence[str]) -> list[Layer]:
    """An image layer for each page of the files, as mhfd scores them.

    Raises
    ------
    TileError
        a file cannot be read, or is not a grey tile.
    """
    files = _listed(path)
    return [image_layer(read_tile(file, page)) for file in files for page in range(count_tiles(file))]


def image_layer(tile: Tile) -> Layer:
    """A tile as a layer, in nanometres where its header says how large a pixel is."""
    grey = thinned(tile.pixels, max(1, max(tile.pixels.shape) // LIMITS_PX))
    clipped = FocusParams().saturate
    low, high = (float(each) for each in np.quantile(grey, (clipped, 1 - clipped)))
    keywords = {
        "name": visible(Path(tile.path).name),
        "contrast_limits": (low, max(high, low + 1e-6)),
        "metadata": {"path": tile.path, "pixel_size_nm": tile.pixel_size_nm},
        **_in_nm(tile.pixel_size_nm),
    }
    return np.asarray(tile.pixels[0 : tile.pixels.shape[0]]), keywords, "image"


def feature_layer(features: FeatureList, name: str, pixel_size_nm: float | None = None) -> Layer:
    """Features as points of the size of the blobs that they mark, each with its scale and strength."""
    keywords = {
        "name": visible(f"features of {name}"),
        "size": 2 * features.radii_px,
        "features": {"scale_px": features.scales_px, "strength": features.strengths},
        "face_color": "transparent",
        "border_color": FEATURE,
        "border_width": 0.08,  # of the size
        **_in_nm(pixel_size_nm),
    }
    return np.column_stack([features.rows, features.cols]), keywords, "points"


def features_of(
    image: "napari.layers.Image", polarity: Polarity = "dark", k_noise: float = 5.0, n_scales: int = 16
) -> "napari.types.LayerDataTuple":
    """The features of an image layer as a layer of points; the parameters are those of `FocusParams`."""
    params = FocusParams(polarity=polarity, k_noise=k_noise, n_scales=n_scales)
    found = find_features(np.asarray(image.data), params)
    return feature_layer(found, image.name, image.metadata.get("pixel_size_nm"))


def _in_nm(pixel_size_nm: float | None) -> dict[str, Any]:
    if pixel_size_nm is None:
        return {}
    return {"scale": (pixel_size_nm, pixel_size_nm), "units": ("nm", "nm")}


def _listed(path: str | Sequence[str]) -> list[str]:
    return [os.fspath(path)] if isinstance(path, str | os.PathLike) else [os.fspath(each) for each in path]
