"""A tile's power spectrum, compact: what a verdict needs to say how blurred it is, without its pixels.

The tile is cut into blocks of 64 x 64 px under a Hann window (Welch 1967). Of the blocks with content the mean power is
kept by frequency and direction, and by frequency for each cell of a 4 x 4 map. The frequency axes are left out: offsets
of rows and curtains live there. What the noise contributes is kept as it is along two edges of the frequency plane, so
that it can be taken off later (`Spectrum.noise`).
"""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import ParamsError
from mhfd.text import shown

Array = NDArray[np.float64]

BLOCK_PX = 64
"""Side of a block."""

OVERLAP_BELOW_PX = 512
"""Blocks overlap by half where the tile's shorter side is less: a small tile has few."""

BINS = 14
BINS_PER_OCTAVE = 4
FREQUENCY_EDGES = 0.5 * 2.0 ** (np.arange(-BINS, 1) / BINS_PER_OCTAVE)
"""(BINS + 1,) in cycles a pixel, up to Nyquist. Lower frequencies a block does not resolve."""

FREQUENCIES = np.sqrt(FREQUENCY_EDGES[1:] * FREQUENCY_EDGES[:-1])
"""(BINS,) the middle of each bin, cycles a pixel."""

DIRECTIONS_DEG = (0, 45, 90, 135)
"""Of the variation: 0 along the rows, 90 down the columns; each stands for 22.5 degrees on either side."""

CELLS = 4
"""The map of a tile has CELLS x CELLS cells."""

EDGE = 0.42
"""Cycles a pixel. Beyond it, in one axis, there is little but noise."""

HALF = BLOCK_PX // 2 + 1
"""Frequencies of a block along an axis, 0 to 1/2 cycles a pixel."""

SLOW_BINS = 8
SLOW_EDGES = 2.0 ** (np.arange(-SLOW_BINS, 1) / BINS_PER_OCTAVE) / 32
"""(SLOW_BINS + 1,) cycles a pixel, up to the highest that means of 16 x 16 px have: too slow for blur to change."""

LEAST_BLOCKS = 3
"""Blocks with content that a spectrum is made of, at least."""

_FORMAT = "1:"
_SIZES = (len(DIRECTIONS_DEG) * BINS, CELLS * CELLS * BINS, HALF, HALF, CELLS * CELLS, SLOW_BINS, 2)
_PLACES = [slice(sum(_SIZES[:i]), sum(_SIZES[: i + 1])) for i in range(len(_SIZES))]
_BYTES = 2 * sum(_SIZES)
_MOST = 70.0  # largest logarithm: power that is 0 or infinite becomes a number that can be reckoned with


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Mean power of the blocks with content, in squares of the normalised tile's range; NaN where there is none.

    Attributes
    ----------
    by_direction : (4, BINS) noise included; directions as in DIRECTIONS_DEG
    by_cell : (CELLS, CELLS, BINS) over all directions, noise included
    along_rows : (HALF,) by frequency along the rows, where that down the columns is at least EDGE
    along_cols : (HALF,) by frequency down the columns, where that along the rows is at least EDGE
    blocks : (CELLS, CELLS) number of blocks with content
    share : part of the tile's blocks that have content
    slow : (SLOW_BINS,) power of the means of 16 x 16 px
    skewness : of those means
    """

    by_direction: Array
    by_cell: Array
    along_rows: Array
    along_cols: Array
    blocks: Array
    share: float
    slow: Array
    skewness: float

    def __eq__(self, other: object) -> bool:
        """True if all numbers have the same bits; unknown equals unknown."""
        if not isinstance(other, Spectrum):
            return NotImplemented
        pairs = ((getattr(self, name), getattr(other, name)) for name in self.__dataclass_fields__)
        return all(np.array_equal(one, two, equal_nan=True) for one, two in pairs)

    __hash__ = None  # type: ignore[assignment]

    @property
    def isotropic(self) -> Array:
        """(BINS,) mean power over all directions, noise included."""
        weights = bin_sizes()
        return np.asarray((weights * np.nan_to_num(self.by_direction)).sum(0) / weights.sum(0))

    def noise(self) -> Array:
        """(4, BINS) the part of `by_direction` that is noise."""
        return noise_power(self.along_rows, self.along_cols)

    def pack(self) -> str:
        """As text, for a row: logarithms as 16-bit floats, in base 64; power keeps 0.4 %, below 1e-7 0.8 %."""
        power = (self.by_direction, self.by_cell, self.along_rows, self.along_cols, self.slow)
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.clip(np.log(np.concatenate([each.ravel() for each in power])), -_MOST, _MOST)
        slow = len(logs) - self.slow.size
        values = np.concatenate([logs[:slow], self.blocks.ravel(), logs[slow:], [self.skewness, self.share]])
        return _FORMAT + base64.b64encode(np.clip(values, -6e4, 6e4).astype("<f2").tobytes()).decode()

    @classmethod
    def unpack(cls, text: str) -> Spectrum:
        """Read what `pack` wrote.

        Raises
        ------
        ParamsError
            it is not such a text.
        """
        try:
            if not text.startswith(_FORMAT):
                raise ValueError
            data = base64.b64decode(text[len(_FORMAT) :], validate=True)
            if len(data) != _BYTES:
                raise ValueError
            values = np.frombuffer(data, "<f2").astype(np.float64)
            directions, cells, rows, cols, blocks, slow, rest = (values[place] for place in _PLACES)
            if not (np.isfinite(blocks).all() and (blocks >= 0).all() and 0 <= rest[1] <= 1):
                raise ValueError
        except (ValueError, binascii.Error):
            raise ParamsError(f"{shown(text)} is not a spectrum that this version of mhfd can read") from None
        power = np.exp(np.clip(values, -_MOST, _MOST))  # the whole at once: long runs have 10^5 rows
        directions, cells, rows, cols, _, slow, _ = (power[place] for place in _PLACES)
        return cls(
            by_direction=directions.reshape(-1, BINS),
            by_cell=cells.reshape(CELLS, CELLS, BINS),
            along_rows=rows,
            along_cols=cols,
            blocks=blocks.reshape(CELLS, CELLS),
            slow=slow,
            skewness=float(rest[0]),
            share=float(rest[1]),
        )


# --- The frequency plane of a block ---------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def plane() -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Of each frequency of `rfft2` of a block its bin, its direction, and how often it counts; each (BLOCK_PX, HALF).

    Bin -1 is none: the axes and their neighbours, and what lies outside the bins. A frequency stands for its negative
    too, and counts twice, but for those that are their own.
    """
    fy, fx = np.fft.fftfreq(BLOCK_PX)[:, None], np.fft.rfftfreq(BLOCK_PX)[None]
    f = np.hypot(fy, fx)
    with np.errstate(divide="ignore"):  # 1e-9: the lowest edge is one of the frequencies
        bins = np.floor(BINS_PER_OCTAVE * np.log2(2 * f) + BINS + 1e-9)
    off_axes = (np.abs(fx) >= 1.6 / BLOCK_PX) & (np.abs(fy) >= 1.6 / BLOCK_PX)
    bins = np.where(off_axes & (bins >= 0) & (bins < BINS), bins, -1).astype(np.int64)
    angle = np.degrees(np.arctan2(fy, fx))  # -90 to 90
    direction = np.floor((angle + 180 / 8) / 45).astype(np.int64) % 4
    twice = np.where((fx > 0) & (fx < 0.5), 2.0, 1.0) * np.ones((BLOCK_PX, 1))
    return bins, direction, twice


@lru_cache(maxsize=1)
def bin_sizes() -> Array:
    """(4, BINS) frequencies that a bin holds in each direction, negative ones counted."""
    bins, direction, twice = plane()
    sizes = np.zeros((4, BINS))
    np.add.at(sizes, (direction[bins >= 0], bins[bins >= 0]), twice[bins >= 0])
    return sizes


@lru_cache(maxsize=1)
def projection() -> Array:
    """(4 BINS + 2 HALF, BLOCK_PX HALF) from the power of a block, as `rfft2` orders it, to what a spectrum keeps.

    Rows: the bins of the first direction, of the second, ...; then `along_rows`; then `along_cols`.
    """
    bins, direction, twice = plane()
    fy = np.abs(np.fft.fftfreq(BLOCK_PX))
    matrix = np.zeros((4 * BINS + 2 * HALF, BLOCK_PX, HALF))
    for d in range(4):
        for k in range(BINS):
            matrix[d * BINS + k] = np.where((bins == k) & (direction == d), twice, 0)
    for x in range(HALF):
        matrix[4 * BINS + x, fy >= EDGE, x] = 1
        matrix[4 * BINS + HALF + x, np.rint(fy * BLOCK_PX) == x, math.ceil(EDGE * BLOCK_PX) :] = 1
    flat = matrix.reshape(len(matrix), -1)
    return np.asarray(flat / np.maximum(flat.sum(1, keepdims=True), 1))


@lru_cache(maxsize=1)
def edge_weights() -> tuple[Array, Array]:
    """(4, BINS, HALF) twice: the share of each frequency along the rows, and down the columns, in a bin."""
    bins, direction, twice = plane()
    fx = np.broadcast_to(np.arange(HALF)[None], bins.shape)
    fy = np.broadcast_to(np.rint(np.abs(np.fft.fftfreq(BLOCK_PX)) * BLOCK_PX).astype(int)[:, None], bins.shape)
    found = []
    for each in (fx, fy):
        weights = np.zeros((4, BINS, HALF))
        np.add.at(weights, (direction[bins >= 0], bins[bins >= 0], each[bins >= 0]), twice[bins >= 0])
        found.append(weights / np.maximum(weights.sum(-1, keepdims=True), 1))
    return found[0], found[1]


def noise_power(along_rows: Array, along_cols: Array) -> Array:
    """(..., 4, BINS) noise by direction and frequency, from the edges of the frequency plane, each (..., HALF).

    The detector's noise is white, or its neighbours are correlated along the scan. So along an edge it is what exceeds
    the tissue's own power, which falls off alike in both axes.
    """
    corner = along_rows[..., _CORNER].mean(-1)[..., None]
    rows, cols = _smooth(along_rows), _smooth(along_cols)
    # Tissue has no preferred axis: what both edges have beyond the corner is tissue, and it falls with frequency.
    tissue = np.minimum.accumulate(np.maximum(np.minimum(rows, cols) - corner, 0), axis=-1)
    of_rows, of_cols = (np.maximum(each - tissue, 0.2 * corner) for each in (rows, cols))
    for each in (of_rows, of_cols):
        each[..., :2] = each[..., 2:4].mean(-1)[..., None]
    along, down = edge_weights()
    both = np.einsum("dkf,...f->...dk", along, of_rows) + np.einsum("dkf,...f->...dk", down, of_cols)
    return np.asarray(np.maximum(both - corner[..., None], 0.2 * corner[..., None]))


_CORNER = slice(math.ceil(EDGE * BLOCK_PX), None)


def _smooth(values: Array) -> Array:
    """Weighted mean of five neighbours along the last axis, fewer at the ends."""
    weights = np.array([1.0, 2.0, 3.0, 2.0, 1.0])
    return np.asarray(_filtered(values, weights) / _filtered(np.ones_like(values), weights))


def _filtered(values: Array, weights: Array) -> Array:
    ends = [(0, 0)] * (values.ndim - 1) + [(2, 2)]
    return np.asarray(np.lib.stride_tricks.sliding_window_view(np.pad(values, ends), len(weights), axis=-1) @ weights)
