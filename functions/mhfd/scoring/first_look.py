"""The first look at a tile, one for all that may be odd: nearly all tiles pass, and need no other."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.ahead import Later
from mhfd.contract import FocusParams
from mhfd.images import Tile, blocks, margins, picture
from mhfd.robust import NORMAL_MEDIAN
from mhfd.scoring import rows, streaks

Array = NDArray[Any]

_LEAST_PX = 64  # of either axis
_WORD_BYTES = 8

_JPEG = (blocks.BAND_ROWS, blocks.SIDE, blocks.LEAST_STEP, blocks.SIGMAS, blocks.USUAL)
_ENDS = (margins.LEAST_PX, picture.LEAST_ROWS + picture.BELOW, picture.LEAST_ROWS // 2)
_STREAKS = (
    streaks.LESS_ROWS, streaks.CONTRAST, streaks.SIGMAS, streaks.ENOUGH_ROWS, streaks.LEAST_STREAKS, NORMAL_MEDIAN,
)  # fmt: skip


def grey_if_plain(tile: Tile, params: FocusParams) -> float | None:
    """Mean grey level of a tile that is picture as a whole, never was JPEG, and calls for no remark.

    None: it has to be looked at closely, or the loop is not compiled yet.
    """
    pixels, look = tile.pixels, _COMPILED.made
    if (
        look is None
        or not isinstance(pixels, np.ndarray)
        or pixels.dtype not in (np.uint8, np.uint16)
        or min(pixels.shape) < _LEAST_PX
        or tile.acquisition.lossy
        or tile.picture is not None
        or params.exclude_top_px
        or params.exclude_bottom_px is not None
    ):
        return None
    grey = look(pixels)
    return None if math.isnan(grey) else grey


def _compiled() -> Callable[[Array], float]:
    from mhfd.scoring import compiled_looks

    def look(pixels: Array) -> float:
        shape, first, weights = rows.sampled(pixels.shape[1])
        words = pixels.view(np.uint64) if _in_words(pixels, shape) else np.empty((0, 0), np.uint64)
        bands = blocks.band_starts(pixels.shape[0], blocks.few_bands(pixels.shape[1]))
        return float(compiled_looks.grey_if_plain(pixels, words, shape, first, weights, bands, _JPEG, _ENDS, _STREAKS))

    for dtype in (np.uint8, np.uint16):
        look(np.zeros((_LEAST_PX, _LEAST_PX), dtype))
    return look


_COMPILED = Later(_compiled)


def _in_words(pixels: Array, shape: tuple[int, int, int]) -> bool:
    _, samples, step = shape
    fit = pixels.itemsize == 1 and pixels.shape[1] % _WORD_BYTES == 0 and (samples, step) == (_WORD_BYTES, _WORD_BYTES)
    return fit and pixels.flags.c_contiguous and sys.byteorder == "little"
