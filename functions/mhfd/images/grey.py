"""The checks that every tile passes, read from a file or given as an array."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mhfd.contract import TileError
from mhfd.extras import install_hint

Array = np.ndarray[Any, np.dtype[Any]]

_USUAL = (np.dtype(np.uint8), np.dtype(np.uint16))


def grey_tile(pixels: Array, what: str, *, lossy: bool = False) -> Array:
    """Check that an array is a grey tile, and convert it to the kernel's form.

    Parameters
    ----------
    pixels : (rows, cols), or (rows, cols, channels) with 1 to 4 channels: grey, grey + alpha, RGB, RGB + alpha.
        Alpha is ignored. Equal colour channels are grey.
    what : its name in messages
    lossy : the channels went through JPEG or the like, and may differ by 1 % of the range, or more in one pixel of 1000

    Returns
    -------
    (rows, cols), C-contiguous, native byte order, finite: integers of up to 16 bits, float32 and float64
    unchanged, wider integers as float64, float16 as float32

    Raises
    ------
    TileError
        code "unsupported", "zero_size", "colour" or "not_finite".
    """
    is_usual = type(pixels) is np.ndarray and pixels.dtype in _USUAL and pixels.ndim == 2
    if is_usual and pixels.size and pixels.flags.c_contiguous:
        return pixels
    return with_extremes(pixels, what, lossy=lossy)[0]


def with_extremes(pixels: Array, what: str, *, lossy: bool = False) -> tuple[Array, float, float]:
    """`grey_tile`, with the smallest and the largest value of floating-point pixels (else 0, 0)."""
    if pixels.dtype.kind not in "iuf":
        raise TileError(
            "unsupported", f"{what} has pixels of type {pixels.dtype}; convert it to 8- or 16-bit grey, or to float"
        )
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 2, 3, 4)):
        raise TileError("unsupported", f"{what} has the shape {pixels.shape}; pass tiles one by one, as (rows, cols)")
    if pixels.size == 0:
        raise TileError("zero_size", f"{what} has the shape {pixels.shape}, so there are no pixels to score")
    if pixels.ndim == 3:
        lossy &= pixels.dtype.kind == "u"
        if pixels.shape[2] >= 3:
            check_colour(coloured(pixels, lossy), pixels.shape[:2], what, lossy)
        pixels = grey_channel(pixels)
    target = kernel_dtype(pixels.dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # overflow and NaN are reported just below
        tile: Array = np.ascontiguousarray(pixels, dtype=target)
        # NaN passes through both extremes, so no other array of the tile's size is needed.
        low, high = (float(tile.min()), float(tile.max())) if tile.dtype.kind == "f" else (0.0, 0.0)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise TileError("not_finite", f"{what} has NaN or infinite pixels; replace them, or write the tile again")
    check_range(low, high, what)
    return tile, low, high


def kernel_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type in which the kernel takes real pixels of a given type; native byte order."""
    if dtype.kind == "f":
        return np.dtype(np.float32 if dtype.itemsize <= 4 else np.float64)
    return dtype.newbyteorder("=") if dtype.itemsize <= 2 else np.dtype(np.float64)


def check_range(low: float, high: float, what: str) -> None:
    if math.isinf(high - low):
        raise TileError("unsupported", f"{what} has pixels from {low:g} to {high:g}, too far apart; scale them down")


def grey_channel(pixels: Array) -> Array:
    """The channel of (rows, cols, channels) taken as grey: green of RGB, which JPEG keeps closest."""
    return pixels[:, :, 0 if pixels.shape[2] < 3 else 1]


def coloured(pixels: Array, lossy: bool) -> int:
    """Number of pixels of (rows, cols, 3 or 4) whose colours differ; `lossy`: unsigned, by more than JPEG's errors."""
    red, green, blue = (pixels[:, :, channel] for channel in range(3))
    if lossy:
        spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
        return int(np.count_nonzero(spread > 3 * (np.iinfo(pixels.dtype).max // 255)))
    differ = (green != red) | (green != blue)
    if pixels.dtype.kind == "f":  # NaNs are reported as such, not as colour
        differ &= ~(np.isnan(red) & np.isnan(green) & np.isnan(blue))
    return int(np.count_nonzero(differ))


def check_colour(found: int, shape: tuple[int, ...], what: str, lossy: bool) -> None:
    """Refuse a (rows, cols) tile with too many `coloured` pixels."""
    if found > (math.prod(shape) // 1000 if lossy else 0):
        raise TileError("colour", f"{what} is a colour image; convert it to grey, or keep one channel")


def check_size(path: str, rows: int, cols: int, max_pixels: int) -> None:
    """Refuse a declared size of no pixels, or of more than `max_pixels`."""
    if rows <= 0 or cols <= 0:
        raise TileError("zero_size", f"{path} declares {rows} x {cols} pixels, so there is nothing to score")
    if rows * cols > max_pixels:
        raise TileError(
            "too_large", f"{path} declares {rows} x {cols} pixels; crop it, or raise max_pixels (now {max_pixels})"
        )


def through_palette(indices: Array, palette: Array, path: str) -> tuple[Array, Array]:
    """(rows, cols) grey values of palette indices, and of each row the number of coloured pixels.

    The palette is (entries, 3); entries that are not in use may have any colour.
    """
    if indices.size and int(indices.max()) >= len(palette):
        raise TileError("corrupt", f"{path} is damaged: it uses colours that its palette lacks; copy it again")
    coloured_entries = np.any(palette != palette[:, :1], axis=1)
    found = np.zeros(len(indices), np.int64)
    if coloured_entries.any():
        found = np.count_nonzero(coloured_entries[indices], axis=1)
    grey: Array = palette[:, 1][indices]
    return grey, found


def check_palette(found: int, shape: tuple[int, ...], path: str) -> None:
    """Refuse a (rows, cols) tile of which too many pixels have a coloured entry of its palette.

    Microscopes draw a mark in colour on a grey picture.
    """
    if found > math.prod(shape) // 1000:
        raise TileError("colour", f"{path} has a colour palette; convert it to grey")


def corrupt(path: str, reason: str) -> TileError:
    return TileError("corrupt", f"{path} is damaged: {reason}; copy it again, or open and save it in another program")


def truncated(path: str, reason: str) -> TileError:
    return TileError("truncated", f"{path} ends too early: {reason}; wait until it is written, or copy it again")


def missing_codec(path: str, compression: str) -> TileError:
    return TileError(
        "missing_codec", f"{path} has {compression} compression, which needs an extra: {install_hint('codecs')}"
    )
