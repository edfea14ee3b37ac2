"""Spectra of tiles whose blur, noise and tissue are known: by formula, without pixels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mhfd._version import __version__
from mhfd.contract import FocusResult, Provenance
from mhfd.spectrum import BINS, BLOCK_PX, CELLS, FREQUENCIES, HALF, SLOW_EDGES, Spectrum, bin_sizes, projection

Array = NDArray[np.float64]

ABOUT = Provenance(mhfd=__version__, params_sha256="0", backend="numpy", device="cpu")
SIDE = 1024
BLOCKS = 16
"""Blocks of a cell in a tile of SIDE x SIDE px."""

INDEPENDENT = 0.35
"""Of the frequencies of a block under a Hann window: neighbours are correlated."""

_TEXTURE = 0.15 * np.sqrt(0.02 / FREQUENCIES)
"""(BINS,) deviation of ln(power) from tile to tile of one tissue."""

_WHITE = 2e-4


@dataclass(frozen=True)
class Tissue:
    """Of power strength * f^-slope, f in cycles a pixel.

    Attributes
    ----------
    skewness : of means of 16 px
    """

    strength: float = 1.5e-5
    slope: float = 2.4
    skewness: float = 0.3


PLAIN = Tissue()
OTHER = Tissue(strength=3e-5, slope=2.8, skewness=1.3)


@dataclass(frozen=True)
class Smear:
    """More blur in one direction, `deg` from the rows: astigmatism, drift."""

    px: float
    deg: float


def spectrum(
    rng: np.random.Generator | None,
    sigma_px: ArrayLike = 0.0,
    tissue: Tissue = PLAIN,
    *,
    smear: Smear = Smear(0, 0),
    white: float = _WHITE,
    in_rows: float = 0.0,
    blocks: int = BLOCKS,
) -> Spectrum:
    """The spectrum of a tile of tissue.

    Parameters
    ----------
    rng : for what chance gives to so many blocks, and to tissue; None: the expected spectrum
    sigma_px : Gaussian blur of the tile, or (CELLS, CELLS) of its parts
    white, in_rows : variance of the noise, white and correlated along the rows
    blocks : with content, of each cell
    """
    sigmas = np.broadcast_to(np.asarray(sigma_px, float), (CELLS, CELLS)).ravel()
    signal = np.array([_signal(float(each), tissue, smear) for each in sigmas])
    noise = _noise(white, in_rows)
    middle = np.sqrt(SLOW_EDGES[1:] * SLOW_EDGES[:-1])
    slow = tissue.strength * middle**-tissue.slope * np.exp(-((2 * np.pi * middle) ** 2) * np.mean(sigmas**2))
    skewness = tissue.skewness
    cells = signal + noise
    if rng is not None:
        texture = np.append(np.tile(rng.normal(0, _TEXTURE), 4), np.zeros(2 * HALF))
        shape = INDEPENDENT * blocks * _counts()
        cells = (signal * np.exp(texture) + noise) * rng.gamma(shape, 1 / shape, cells.shape)
        slow = slow * np.exp(rng.normal(0, 0.25, slow.shape))
        skewness += rng.normal(0, 0.12)
    whole, sizes = cells.mean(0), bin_sizes()
    by_cell = (cells[:, : 4 * BINS].reshape(CELLS, CELLS, 4, BINS) * sizes).sum(2) / sizes.sum(0)
    return Spectrum(
        by_direction=np.where(sizes > 0, whole[: 4 * BINS].reshape(4, BINS), np.nan),
        by_cell=np.asarray(by_cell),
        along_rows=whole[4 * BINS : 4 * BINS + HALF],
        along_cols=whole[4 * BINS + HALF :],
        blocks=np.full((CELLS, CELLS), float(blocks)),
        share=1.0,
        slow=slow,
        skewness=skewness,
    )


def row(found: Spectrum | None, path: str = "t.tif", **keys: Any) -> FocusResult:
    """The result of a tile that has this spectrum.

    Parameters
    ----------
    keys : of the result, other than usual
    """
    known: dict[str, Any] = {
        "path": path, "status": "scored", "provenance": ABOUT, "shape": (SIDE, SIDE), "dtype": "uint8",
        "pixel_size_nm": 4.0, "focus_score": 5.0, "content": 0.9, "anisotropy": 0.05,
        "spectrum": found.pack() if found else None,
    }  # fmt: skip
    return FocusResult(**{**known, **keys})


def run(rng: np.random.Generator, sigmas_px: Iterable[ArrayLike], tissue: Tissue = PLAIN) -> list[FocusResult]:
    """The results of tiles of these blurs, in order."""
    return [row(spectrum(rng, sigma, tissue), f"t{i}.tif") for i, sigma in enumerate(sigmas_px)]


def _kept(power: Array) -> Array:
    """What a spectrum keeps of power by frequency."""
    return np.asarray(projection() @ np.broadcast_to(power, (BLOCK_PX, HALF)).ravel())


@cache
def _signal(sigma_px: float, tissue: Tissue, smear: Smear) -> Array:
    fy, fx = np.fft.fftfreq(BLOCK_PX)[:, None], np.fft.rfftfreq(BLOCK_PX)[None]
    f2 = np.maximum(fy**2 + fx**2, 1e-6)
    along = np.cos(np.radians(smear.deg)) * fx + np.sin(np.radians(smear.deg)) * fy
    blur = np.exp(-4 * np.pi**2 * (sigma_px**2 * f2 + smear.px**2 * along**2))
    return _kept(tissue.strength * f2 ** (-tissue.slope / 2) * blur)


@cache
def _noise(white: float, in_rows: float) -> Array:
    of_pairs = 2 * np.cos(np.pi * np.fft.rfftfreq(BLOCK_PX)) ** 2  # each the mean of two neighbours
    return _kept(white + in_rows * of_pairs[None])


@cache
def _counts() -> Array:
    """Frequencies that each number of `_kept` is the mean of; one and its negative are one."""
    edges = (projection()[4 * BINS :] > 0).sum(1)
    return np.asarray(np.maximum(np.append(bin_sizes().ravel() / 2, edges), 1.0))
