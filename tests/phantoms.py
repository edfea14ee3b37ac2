"""Drawn pictures, whose truth is known: discs, noise, textures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mhfd.contract import FocusParams
from mhfd.kernel.measures import FeatureList, Measures

Plane = NDArray[np.float64]
EmTile = Callable[[str], Path]  # the fixture of that name
Kernel = Callable[[NDArray[Any], FocusParams], tuple[Measures, FeatureList]]


def discs(
    shape: tuple[int, int],
    centres: Iterable[tuple[float, float]],
    radius: float,
    *,
    ground: float = 0.8,
    disc: float = 0.2,
    subpixels: int = 8,
) -> Plane:
    """Anti-aliased discs on flat ground: each pixel is the mean of `subpixels` squared samples.

    Parameters
    ----------
    centres : (row, column) in pixels; whole numbers are the middle of a pixel
    ground, disc : grey levels
    """
    offset = (np.arange(subpixels) + 0.5) / subpixels - 0.5
    y = (np.arange(shape[0])[:, None] + offset).reshape(-1, 1)
    x = (np.arange(shape[1])[:, None] + offset).reshape(1, -1)
    inside = np.zeros((y.size, x.size), dtype=bool)
    for row, col in centres:
        inside |= (y - row) ** 2 + (x - col) ** 2 <= radius**2
    cover = inside.reshape(shape[0], subpixels, shape[1], subpixels).mean(axis=(1, 3))
    return np.asarray(ground + (disc - ground) * cover)


def texture(shape: tuple[int, int], rng: np.random.Generator, *, finest: float = 4.0, coarsest: float = 64.0) -> Plane:
    """Random isotropic structure of unit deviation, periodic, of wavelengths from `finest` to `coarsest` px only."""
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
    band = (frequency >= 1 / coarsest) & (frequency <= 1 / finest)
    picture = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * band, s=shape)
    return np.asarray(picture / picture.std())


def blurred(picture: Plane, sigma: float) -> Plane:
    """`picture`, taken for periodic, defocused by a Gaussian of `sigma` px."""
    return np.asarray(ndimage.gaussian_filter(picture, sigma, mode="wrap")) if sigma else picture


def row_correlated(white: Plane) -> Plane:
    """Noise of a detector too slow for the scan: each pixel keeps a fifth of either neighbour in its row."""
    return np.asarray(ndimage.correlate1d(white, [0.2, 0.6, 0.2], axis=1, mode="wrap"))


def as_uint8(picture: Plane) -> NDArray[np.uint8]:
    """Grey levels 0 to 1 as 8 bits."""
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def grey_range(tile: NDArray[Any], saturate: float = FocusParams().saturate) -> float:
    """Grey levels between the limits that normalising a tile maps to 0 and 1."""
    grey = np.sort(tile, axis=None).astype(np.float64)
    rank = int(saturate * grey.size)
    return float(grey[-1 - rank] - grey[rank])


def grey_tissue(dtype: type = np.uint8, shape: tuple[int, int] = (192, 256)) -> NDArray[Any]:
    """Soft structure and noise about mid-grey, never at the darkest or lightest level of 8 bits."""
    rng = np.random.default_rng(4)
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape), 2)
    grey = smooth / smooth.std() * 30 + 128 + rng.normal(0, 4, shape)
    clipped: NDArray[Any] = np.clip(grey, 1, 254).astype(dtype)
    return clipped
