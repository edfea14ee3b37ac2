"""Step 6: power of the blocks with content, by cell of the map (`mhfd.spectrum`; docs/measure.md).

All fast kernels meet at `Sums`: what is kept of the blocks' power, added up by cell. Here is the array code that makes
them, and what becomes of them on the host. `xp` is NumPy or CuPy, and `fft` the transforms that belong to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.kernel.fft import LIBRARY
from mhfd.kernel.measures import CONTENT_BLOCK_PX
from mhfd.spectrum import (
    BINS,
    BLOCK_PX,
    CELLS,
    HALF,
    LEAST_BLOCKS,
    OVERLAP_BELOW_PX,
    SLOW_BINS,
    SLOW_EDGES,
    Spectrum,
    bin_sizes,
    projection,
)

Array = Any
"""An array of `xp`."""

CONTENT_RATIO = 3.0
"""A block has content where its slow variation has so many times the power of its finest ..."""

CONTENT_POWER = 1e-9
"""... and more than this: what a flat block has is rounding."""

LEAST_MEANS = 8
"""Means of 16 px along each axis that the slow spectrum needs."""

BLOCKS_AT_A_TIME = 32
"""Blocks that NumPy transforms together."""

KEPT = 4 * BINS + 2 * HALF
"""Numbers that are kept of a block's power: the rows of `spectrum.projection`."""


@dataclass(frozen=True)
class Grid:
    """The blocks of a tile: (rows, cols) of them, whose first pixels lie `step` apart."""

    rows: int
    cols: int
    step: int

    @classmethod
    def of(cls, shape: tuple[int, int]) -> Grid | None:
        """None for a tile that holds no block."""
        if min(shape) < BLOCK_PX:
            return None
        step = BLOCK_PX // 2 if min(shape) < OVERLAP_BELOW_PX else BLOCK_PX
        return cls((shape[0] - BLOCK_PX) // step + 1, (shape[1] - BLOCK_PX) // step + 1, step)

    def cell_of_row(self, row: int) -> int:
        """Row of the map that a row of blocks belongs to."""
        return row * CELLS // self.rows


@dataclass(frozen=True)
class Sums:
    """What the blocks with content add up to.

    Attributes
    ----------
    kept : (CELLS, CELLS, KEPT) sums of what is kept of their power
    counts : (CELLS, CELLS) their number
    """

    kept: NDArray[np.float64]
    counts: NDArray[np.float64]


# --- Array code -----------------------------------------------------------------------------------------------------


def tile_spectrum(image: Array, means: NDArray[Any], xp: Any = np, fft: Any = LIBRARY) -> Spectrum | None:
    """The spectrum of a normalised tile, (rows, cols) float32; on the device in one go, else by rows of blocks."""
    grid = Grid.of(image.shape)
    return None if grid is None else spectrum(tile_sums(image, grid, xp, fft), grid, means)


def tile_sums(image: Array, grid: Grid, xp: Any = np, fft: Any = LIBRARY) -> Sums:
    """`Sums` of a tile, (rows, cols) float32."""
    whole = RowSums(grid)
    # Few enough blocks to stay in a processor's cache.
    at_a_time = max(1, BLOCKS_AT_A_TIME // grid.cols) if xp is np else grid.rows
    for row in range(0, grid.rows, at_a_time):
        rows = min(at_a_time, grid.rows - row)
        pixels = image[row * grid.step : (row + rows - 1) * grid.step + BLOCK_PX]
        power, found = row_power(pixels, grid, rows, xp, fft)
        if xp is not np:
            power, found = power.get(), found.get()  # waits for the device
        whole.add(row, power, found)
    return whole.result()


def row_power(pixels: Array, grid: Grid, rows: int = 1, xp: Any = np, fft: Any = LIBRARY) -> tuple[Array, Array]:
    """Power of neighbouring rows of blocks, added up by the columns of the map.

    Parameters
    ----------
    pixels : ((rows - 1) step + BLOCK_PX, cols) normalised, float32, C-contiguous

    Returns
    -------
    (rows, CELLS, BLOCK_PX HALF) sums over the blocks with content, and (rows, CELLS) how many those are
    """
    down, along = pixels.strides
    blocks = xp.lib.stride_tricks.as_strided(
        pixels, (rows, grid.cols, BLOCK_PX, BLOCK_PX), (down * grid.step, along * grid.step, down, along)
    )
    window, content, cells = (xp.asarray(each) for each in (_window(), _content_weights(), _cells(grid.cols)))
    blocks = (blocks - blocks.mean(axis=(2, 3), keepdims=True)) * window
    transform = fft.rfft2(blocks, axes=(2, 3)).reshape(rows, grid.cols, BLOCK_PX * HALF)
    power = transform.real * transform.real
    power += transform.imag * transform.imag
    means = power @ content
    slow, fine = means[:, :, 0], means[:, :, 1]
    chosen = cells * ((slow > CONTENT_RATIO * fine) & (slow > CONTENT_POWER))[:, None, :]
    return chosen @ power, chosen.sum(axis=2)


class RowSums:
    """Adds up rows of blocks in order, in float64: however they are shared out, the bits are the same."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self._power, self._counts = np.zeros((CELLS, CELLS, BLOCK_PX * HALF)), np.zeros((CELLS, CELLS))

    def add(self, first: int, power: NDArray[Any], counts: NDArray[Any]) -> None:
        """Add rows of blocks from row `first` on, as `row_power` returns them."""
        for row, (each, count) in enumerate(zip(power, counts, strict=True), start=first):
            cell = self.grid.cell_of_row(row)
            self._power[cell] += each
            self._counts[cell] += count

    def result(self) -> Sums:
        return Sums(project(self._power), self._counts)


def project(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """(.., KEPT) from (.., BLOCK_PX HALF): what is kept of a block's power."""
    starts, frequencies, weights = table()
    known = np.diff(starts) > 0
    kept = np.zeros((*power.shape[:-1], KEPT))
    kept[..., known] = np.add.reduceat(power[..., frequencies] * weights, starts[:-1][known], axis=-1)
    return kept


# --- From the sums to the spectrum ----------------------------------------------------------------------------------


def spectrum(sums: Sums, grid: Grid, means: NDArray[Any]) -> Spectrum | None:
    """A tile's spectrum from what its blocks add up to; None where too few have content.

    Parameters
    ----------
    means : (rows // 16, cols // 16) means of the normalised tile's blocks of 16 px
    """
    return spectra(sums.kept[None], sums.counts[None], grid, means[None])[0]


def spectra(
    kept: NDArray[np.float64], counts: NDArray[np.float64], grid: Grid, means: NDArray[Any]
) -> list[Spectrum | None]:
    """`spectrum` of n tiles of one shape at once; each argument with a first axis (n,)."""
    sizes, totals = bin_sizes(), counts.sum((1, 2))
    by_direction = kept[..., : 4 * BINS].reshape(*counts.shape, 4, BINS)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = kept.sum((1, 2)) / totals[:, None]
        by_cell = np.einsum("nijdb,db->nijb", by_direction, sizes / sizes.sum(0)) / counts[..., None]
    directions = np.where(sizes > 0, mean[:, : 4 * BINS].reshape(-1, 4, BINS), np.nan)
    slow, skewness = _slow(means), _skewness(means)
    return [
        Spectrum(
            by_direction=directions[k],
            by_cell=by_cell[k],
            along_rows=mean[k, 4 * BINS : 4 * BINS + HALF],
            along_cols=mean[k, 4 * BINS + HALF :],
            blocks=counts[k],
            share=float(total) / (grid.rows * grid.cols),
            slow=slow[k],
            skewness=float(skewness[k]),
        )
        if total >= LEAST_BLOCKS
        else None
        for k, total in enumerate(totals)
    ]


def _slow(means: NDArray[Any]) -> NDArray[np.float64]:
    """(n, SLOW_BINS) power by frequency of (n, ..) means of 16 px; NaN for small tiles."""
    if min(means.shape[1:]) < LEAST_MEANS:
        return np.full((len(means), SLOW_BINS), np.nan)
    window, weights, known = _slow_weights(means.shape[1:])
    apart = (means - means.mean((1, 2), keepdims=True)).astype(np.float32)
    transform = LIBRARY.rfft2(apart * window, axes=(1, 2)).reshape(len(means), -1)
    power = transform.real * transform.real + transform.imag * transform.imag
    # One product a tile: its bits must not depend on how many others there are.
    found = np.stack([each @ weights for each in power]).astype(np.float64)
    return np.where(known, found, np.nan)  # a small tile lacks the lowest frequencies


@lru_cache(maxsize=8)
def _slow_weights(shape: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Hann window of unit energy, (frequencies of `rfft2`, SLOW_BINS) their weights in each bin's mean, and which bins
    have any."""
    rows, cols = shape
    window = np.outer(*(np.hanning(n + 1)[:-1] for n in shape))
    fy, fx = np.abs(np.fft.fftfreq(rows))[:, None], np.fft.rfftfreq(cols)[None]
    bins = np.digitize(np.hypot(fy, fx) / CONTENT_BLOCK_PX, SLOW_EDGES) - 1
    bins[(fx < 1.6 / cols) | (fy < 1.6 / rows)] = -1
    twice = np.where((fx > 0) & (fx < 0.5), 2.0, np.ones((rows, 1)))
    weights = np.where(bins.ravel()[:, None] == np.arange(SLOW_BINS), twice.ravel()[:, None], 0)
    weights /= np.maximum(weights.sum(axis=0), 1)
    window /= np.sqrt((window**2).sum())
    return window.astype(np.float32), weights.astype(np.float32), np.asarray(weights.any(axis=0))


def _skewness(means: NDArray[Any]) -> NDArray[np.float64]:
    """(n,) of (n, ..) means; 0 where they are all alike, NaN for small tiles."""
    if min(means.shape[1:]) < LEAST_MEANS:
        return np.full(len(means), np.nan)
    apart = means - means.mean((1, 2), keepdims=True)
    square = apart * apart
    variance = square.mean((1, 2))
    return np.asarray((square * apart).mean((1, 2)) / np.where(variance > 1e-12, variance, np.inf) ** 1.5)


# --- Tables ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def hann() -> NDArray[np.float64]:
    """(BLOCK_PX, BLOCK_PX) periodic Hann window, of unit energy: power is then that of a pixel's variation."""
    return np.outer(hann_line(), hann_line())


def hann_line() -> NDArray[np.float64]:
    """(BLOCK_PX,) of which it is the product along both axes."""
    line = np.hanning(BLOCK_PX + 1)[:-1]
    return np.asarray(line / np.sqrt((line**2).sum()))


@lru_cache(maxsize=1)
def table() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """`projection`, of which nearly all is zero, by rows.

    Returns
    -------
    (KEPT + 1,) where each row begins, (n,) the frequencies it takes, and (n,) their weights
    """
    rows, frequencies = np.nonzero(projection())
    return np.searchsorted(rows, np.arange(KEPT + 1)), frequencies, projection()[rows, frequencies]


@lru_cache(maxsize=1)
def content_masks() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(BLOCK_PX, HALF) the frequencies of slow variation, and of the finest, that tell whether a block has content."""
    fy, fx = np.abs(np.fft.fftfreq(BLOCK_PX))[:, None], np.fft.rfftfreq(BLOCK_PX)[None]
    return (np.hypot(fy, fx) < 0.08) & (fx > 0.02) & (fy > 0.02), (fy >= 0.42) & (fx >= 0.1)


@lru_cache(maxsize=1)
def _window() -> NDArray[np.float32]:
    return np.asarray(hann(), np.float32)


@lru_cache(maxsize=1)
def _content_weights() -> NDArray[np.float32]:
    """(BLOCK_PX HALF, 2) that make a block's power the means over `content_masks`."""
    return np.stack([(mask / mask.sum()).ravel() for mask in content_masks()], axis=1).astype(np.float32)


@lru_cache(maxsize=8)
def _cells(cols: int) -> NDArray[np.float32]:
    """(CELLS, cols) 1 where a column of blocks belongs to a column of the map."""
    return np.asarray(np.arange(cols) * CELLS // cols == np.arange(CELLS)[:, None], np.float32)
