"""Pixels of tiles as pictures: which part to show, stretched to 8 bits, small ones of large tiles, PNG."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mhfd.contract import FocusResult
from mhfd.kernel.pixels import Pixels, thinned

Grey = NDArray[np.uint8]

CROP_PX = 256
"""Side of the part of a tile that is shown at full resolution."""

SATURATED = (0.175, 99.825)
"""Per cent: the darkest and the lightest pixels that are shown as black and white, as the measure has it."""


def corner(row: FocusResult, part: tuple[int, int] | None, side: int, shape: tuple[int, int]) -> tuple[int, int]:
    """Upper left corner, in pixels of the page, of a square round one part of a tile's map.

    Parameters
    ----------
    part : (row, col) in `blur_map_px`; None: the square is in the middle of the tile
    side : of the square, at most the page's
    shape : (rows, cols) of the page
    """
    if part is None or not row.blur_map_px:
        return (shape[0] - side) // 2, (shape[1] - side) // 2
    top, left, rows, cols = row.picture or (0, 0, *shape)
    middle = (
        top + (part[0] + 0.5) * rows / len(row.blur_map_px),
        left + (part[1] + 0.5) * cols / len(row.blur_map_px[0]),
    )
    y, x = (min(max(0, round(at - side / 2)), n - side) for at, n in zip(middle, shape, strict=True))
    return y, x


def cut(pixels: Pixels, top: int, left: int, side: int) -> NDArray[Any]:
    """A square of a tile at full resolution."""
    return np.asarray(pixels[top : top + side][:, left : left + side])


def sample(pixels: Pixels, longest_px: int) -> NDArray[Any]:
    """Every n-th pixel, eight times as many as a small picture needs at most: large tiles need not be in memory."""
    return thinned(pixels, max(1, max(pixels.shape) // (8 * longest_px)))


def stretched(
    pixels: NDArray[Any], longest_px: int | None = None, limits: tuple[float, float] | None = None
) -> Image.Image:
    """Grey pixels, stretched to 8 bits, and made smaller where a side is longer than `longest_px`.

    Parameters
    ----------
    limits : grey levels that become black and white; by default those of these pixels
    """
    low, high = np.percentile(pixels, SATURATED) if limits is None else limits
    grey = np.clip((pixels - low) / max(high - low, 1e-12), 0, 1)
    image = Image.fromarray(np.rint(grey * 255).astype(np.uint8))
    if longest_px:
        image.thumbnail((longest_px, longest_px))
    return image


def png(image: Image.Image) -> bytes:
    """The file of a picture."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def data_uri(image: Image.Image) -> str:
    """A picture inside a page."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode("ascii")
