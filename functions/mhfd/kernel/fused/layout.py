"""The memory layout of an extent: one block, laid out before it is allocated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import FocusParams, TileError
from mhfd.kernel import power
from mhfd.kernel.fused.source import (
    BANKS,
    BLOCK,
    CHUNK_COLS,
    CHUNK_ROWS,
    COARSE_BINS,
    FEATURE,
    FINE_BITS,
    MEDIANS,
    MERGE_SIDE,
    SHARED_BYTES,
    SMOOTH_COLS,
    SMOOTH_GROUPS,
    SMOOTH_ROWS,
    SMOOTH_TAPS,
    SPECTRUM_SIZE,
    STATE,
    SUMS,
    ceil_div,
)
from mhfd.kernel.measures import LINE_LAGS, noise_gains
from mhfd.kernel.plan import HALF_WIDTH, CascadePlan, Smooth, plan
from mhfd.spectrum import BLOCK_PX, CELLS

STRIP_ROWS = 64
"""Strip heights are a multiple of this, and so of every spacing, CHUNK_ROWS and BLOCK."""

BEFORE, AFTER = 2, max(BLOCK_PX - 1, *LINE_LAGS)
"""Rows before and after a strip that the numbers beside its responses depend on."""

GROUP = 8
"""Responses at level 0 that are kept until merged; the same memory holds more of the coarser levels. The default
scales take as much as 7.9, so that one launch merges them."""


@dataclass(frozen=True)
class Extent:
    """Scales and rows that are measured in one block of memory.

    Attributes
    ----------
    shape, dtype : of a tile; dtype is one of the CUDA source's
    params : scales in pixels
    batch : tiles that are measured at the same time; more than one only as a whole
    first, last : scales whose responses are computed
    rows : rows of the tile that are searched for features
    align : extra rows of strips on either side; a multiple of the spacing of the plan's coarsest level
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    params: FocusParams
    batch: int
    first: int
    last: int
    rows: tuple[int, int]
    align: int

    @staticmethod
    def of(shape: tuple[int, int], dtype: np.dtype[Any], params: FocusParams, batch: int = 1) -> Extent:
        """All scales of whole tiles."""
        n = params.n_scales
        return Extent(shape, dtype, params, batch, 0, n, (0, shape[0]), plan(params, shape, close=True).spacing)

    @property
    def plan(self) -> CascadePlan:
        return plan(self.params, self.shape, self.first, self.last, close=True)

    @property
    def circular(self) -> bool:
        return self.params.mode == "paper"

    @property
    def digits(self) -> tuple[int, int]:
        """Number of digits of a pixel's key, bits of each; histograms find the limits digit by digit."""
        size = self.dtype.itemsize
        return (1, 8) if size == 1 else (size // 2, 16)

    @property
    def chunks(self) -> int:
        return ceil_div(self.shape[0], CHUNK_ROWS) * ceil_div(self.shape[1], CHUNK_COLS)

    @property
    def blocks(self) -> tuple[int, int]:
        return ceil_div(self.shape[0], BLOCK), ceil_div(self.shape[1], BLOCK)

    @property
    def grid(self) -> power.Grid:
        """The blocks of the spectrum; a tile may have none."""
        return power.Grid.of(self.shape) or power.Grid(0, 0, BLOCK_PX)


@dataclass(frozen=True)
class Window:
    """Rows of a tile that are in memory to find the features of `core`.

    Attributes
    ----------
    core : rows searched for features
    image : rows of the normalised tile and of level 0; in "paper" mode they may wrap around the ends
    maximum : rows of the maximum over scale: the core's and, within the tile, at least one more on either side
    """

    core: tuple[int, int]
    image: tuple[int, int]
    maximum: tuple[int, int]


def windows(extent: Extent, core_rows: int) -> list[Window]:
    """The strips of an extent; one if all rows of the tile are searched and fit `core_rows`."""
    rows, (first, last) = extent.shape[0], extent.rows
    if (first, last) == (0, rows) and core_rows >= rows:
        return [Window((0, rows), (0, rows), (0, rows))]
    found = []
    for top in range(first, last, core_rows):
        bottom = min(top + core_rows, last)
        start, stop = top - extent.plan.halo - extent.align, bottom + extent.plan.halo + extent.align
        if not extent.circular:
            start, stop = max(0, start), min(rows, stop)
        maximum = max(0, top - extent.align), min(rows, bottom + extent.align)
        found.append(Window((top, bottom), (start, stop), maximum))
    return found


def level_rows(extent: Extent, window: Window, level: int) -> tuple[int, int]:
    """First and last (exclusive) sample row of a level in a window; sample j is at pixel j x 2^level of the tile."""
    start, stop = window.image
    rows, margin = extent.shape[0], extent.plan.margin
    if level == 0:
        return start, stop
    end = ceil_div(rows, 1 << level) + (margin >> level)
    if (start, stop) == (0, rows):
        return -margin >> level, end
    if extent.circular:
        return max(start, -margin) >> level, min(stop >> level, end)
    return (start if start else -margin) >> level, stop >> level if stop < rows else end


def level_cols(extent: Extent, level: int) -> int:
    margin = extent.plan.margin >> level if level else 0
    return ceil_div(extent.shape[1], 1 << level) + 2 * margin


def wanted(extent: Extent, window: Window, level: int) -> tuple[int, int, int, int]:
    """Samples of a level's planes that the maximum is made from: first and last (exclusive) row, and column."""
    (first, last), (start, stop), cols = window.maximum, level_rows(extent, window, level), extent.shape[1]
    if level == 0:
        return first - start, last - start, 0, cols
    left, before, after = extent.plan.margin >> level, HALF_WIDTH - 1, HALF_WIDTH + 1
    return (
        max(0, (first >> level) - before - start),
        min((last - 1 >> level) + after, stop) - start,
        left - before,
        left + (cols - 1 >> level) + after,
    )


@dataclass(frozen=True)
class MemoryLayout:
    """Places in one block of memory, in bytes from its start.

    Attributes
    ----------
    windows : strips, or the tile as a whole
    group : responses at level 0 for which there is room
    resident : True if all of the tile's pixels stay on the device; else each pass copies them by strips
    image_rows, raw_rows : rows for which there is room
    places : name to (offset, bytes)
    nbytes : in all
    """

    windows: tuple[Window, ...]
    group: int
    resident: bool
    image_rows: int
    raw_rows: int
    places: dict[str, tuple[int, int]]
    nbytes: int


@lru_cache(maxsize=64)
def layout(extent: Extent, core_rows: int, group: int, resident: bool, features: bool) -> MemoryLayout:
    """Memory for an extent done in strips of `core_rows` with `group` responses of level 0 at a time."""
    strips = windows(extent, core_rows)
    cols, batch = extent.shape[1], extent.batch
    image_rows = max(w.image[1] - w.image[0] for w in strips)
    image_rows = max(image_rows, min(extent.shape[0], CHUNK_ROWS + BEFORE + AFTER))
    maximum = max(w.maximum[1] - w.maximum[0] for w in strips) * cols * batch
    raw_rows = extent.shape[0] if resident else image_rows
    plane = 4 * batch * max(samples(extent, w, level) for w in strips for level in range(extent.plan.levels))
    _, bits = extent.digits
    # The list of features takes the place of a plane that is done with: no more than one pixel in 2 x 2 is one.
    core = max(w.core[1] - w.core[0] for w in strips)
    listed = FEATURE.itemsize * ((core + 1) // 2) * ((cols + 1) // 2) if features else 0
    sizes = {
        # What the host reads, contiguous up to the counts.
        "states": STATE.itemsize * batch,
        "blocks": 8 * math.prod(extent.blocks) * batch,
        "cells": 8 * CELLS * CELLS * (power.KEPT + 1) * batch,
        # Zero at the start, contiguous from the counts on.
        "counts": 4 * extent.params.n_scales * batch,
        "found": 4,
        "first_digit": 4 * 2**bits * batch,
        "digits": 4 * 4 * 2**bits * batch if extent.digits[0] > 1 else 0,
        "coarse": 4 * 4 * COARSE_BINS * batch,
        "fine": 4 * MEDIANS * (2**FINE_BITS + 2**FINE_BITS // 256) * batch,
        "constants": constants(extent)[0].nbytes,
        "powers": 4 * SPECTRUM_SIZE * extent.grid.rows * extent.grid.cols * batch,
        "partials": 8 * SUMS * extent.chunks * batch,
        "raw": extent.dtype.itemsize * raw_rows * cols * batch,
        "image": 4 * image_rows * cols * batch,
        "even": max(plane, listed),
        "odd": max(plane, seam_bytes(extent.shape) * batch),
        "changes": plane if any(not fits_shared(step) for step in smooths(extent.plan)) else 0,
        "responses": max(group * 4 * image_rows * cols * batch, plane),
        "strength": 4 * maximum,
        "scale": 2 * maximum,
    }
    places, offset = {}, 0
    for name, size in sizes.items():
        places[name] = offset, size
        offset += ceil_div(size, 256) * 256  # alignment for copies and wide loads
    return MemoryLayout(tuple(strips), group, resident, image_rows, raw_rows, places, offset)


def samples(extent: Extent, window: Window, level: int) -> int:
    first, last = level_rows(extent, window, level)
    return (last - first) * level_cols(extent, level)


def smooths(steps: CascadePlan) -> list[Smooth]:
    return [step for step in steps.steps if isinstance(step, Smooth)]


def smooth_quads(step: Smooth, columns: int = SMOOTH_COLS) -> int:
    """Fours of columns `step` apart in a block that smooths `columns` columns, see `change_along` of cascade.cu."""
    return ceil_div(columns, 4 * step.step)


def smooth_stride(step: Smooth, columns: int = SMOOTH_COLS) -> int:
    """Distance in shared memory of neighbouring columns, see `smooth` of cascade.cu; a multiple of four."""
    return spread(4 * (smooth_quads(step, columns) + ceil_div(len(step.taps), 2)), step.step)


def spread(columns: int, step: int) -> int:
    """At least so many, that a warp's columns, every step-th of which are adjacent, lie in different banks."""
    apart = 4 * ceil_div(BANKS, 4 * step)
    return columns + (apart - columns) % BANKS if 1 < step <= 4 else columns


def smooth_shared(step: Smooth) -> int:
    """Bytes of shared memory of the kernel that does a step in one launch."""
    return 4 * 2 * SMOOTH_GROUPS * SMOOTH_ROWS * step.step * smooth_stride(step)


def fits_shared(step: Smooth) -> bool:
    return len(step.taps) <= SMOOTH_TAPS and smooth_shared(step) <= SHARED_BYTES


def merge_shared(level: int) -> int:
    """Bytes of shared memory of `merge_level` of maximum.cu; a coarser level takes no more."""
    cells = MERGE_SIDE >> level
    along = cells + 2 * HALF_WIDTH - 1
    return 4 * along * (along + (ceil_div(3 * cells, 2) << level))


def rank_shared(bins: int) -> int:
    """Bytes of shared memory of `find_rank` of common.cu."""
    return 2 * 24 + 4 * max(256, bins // 256)


def found_shared(n_scales: int, rows: int, cols: int) -> int:
    """Bytes of shared memory of what a block of features.cu has found: no two maxima touch."""
    return 4 * (n_scales + 1) + 8 * ceil_div(rows, 2) * ceil_div(cols, 2)


def search_shared(n_scales: int) -> int:
    """Bytes of shared memory of `search_block` of maximum.cu."""
    return 4 * MERGE_SIDE**2 + found_shared(n_scales, MERGE_SIDE, MERGE_SIDE)


def seam_blocks(shape: tuple[int, int]) -> tuple[int, int]:
    """Blocks of the maximum over scale of a whole tile, along each axis."""
    return ceil_div(shape[0], MERGE_SIDE), ceil_div(shape[1], MERGE_SIDE)


def seam_bytes(shape: tuple[int, int]) -> int:
    """Bytes of the lines of one tile (`lines_of` of features.cu)."""
    down, along = seam_blocks(shape)
    return 20 * (down * shape[1] + along * shape[0])


@lru_cache(maxsize=64)
def constants(extent: Extent) -> tuple[NDArray[np.uint8], dict[str, int]]:
    """Thresholds, what the spectrum needs, taps of each step, as bytes; the offset of each."""
    thresholds = extent.params.k_noise * noise_gains(extent.params.scales)
    parts: dict[str, NDArray[Any]] = {"thresholds": thresholds, **spectrum_tables()}
    parts |= {
        f"taps {i}": np.array(s.taps, np.float32) for i, s in enumerate(extent.plan.steps) if isinstance(s, Smooth)
    }
    places, offset = {}, 0
    for name, values in parts.items():
        places[name] = offset
        offset += values.nbytes
    return np.concatenate([values.view(np.uint8) for values in parts.values()]), places


@lru_cache(maxsize=1)
def spectrum_tables() -> dict[str, NDArray[Any]]:
    """What `block_power` of spectrum.cu reads: the arguments of these names; `turns` on a multiple of 8 bytes."""
    starts, frequencies, weights = power.table()
    content = [mask / mask.sum() for mask in power.content_masks()]
    for each in content:
        (found,) = np.nonzero(each.ravel())
        starts = np.append(starts, starts[-1] + len(found))
        frequencies, weights = np.append(frequencies, found), np.append(weights, each.ravel()[found])
    places = np.arange(BLOCK_PX).reshape(8, 8).T.ravel()  # octal digits exchanged
    down, along = np.divmod(frequencies, BLOCK_PX // 2 + 1)
    angles = -2 * np.pi * np.arange(BLOCK_PX) / BLOCK_PX
    return {
        "turns": np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32).ravel(),
        "window": power.hann_line().astype(np.float32),
        "starts": starts.astype(np.int32),
        "places": (places[down] * (BLOCK_PX + 1) + places[along]).astype(np.int32),
        "weights": weights.astype(np.float32),
    }


def fit(extent: Extent, budget: int, features: bool) -> MemoryLayout:
    """The roomiest layout within a budget of bytes: the fewest strips.

    Raises
    ------
    TileError
        "out_of_memory": not even the thinnest strip fits.
    """
    rows = extent.rows[1] - extent.rows[0]
    for group in (GROUP, 2):
        whole = layout(extent, rows, group, True, features)
        if whole.nbytes <= budget:
            return whole
    for group, resident in ((4, True), (1, True), (4, False), (1, False)):
        if resident and extent.dtype.itemsize * math.prod(extent.shape) > budget // 2:
            continue  # larger strips are worth more than pixels that need not be copied twice
        low, high = 0, ceil_div(rows, STRIP_ROWS) + 1  # strips of `low` fit, of `high` do not
        while high - low > 1:
            middle = (low + high) // 2
            fits = layout(extent, middle * STRIP_ROWS, group, resident, features).nbytes <= budget
            low, high = (middle, high) if fits else (low, middle)
        if low:
            return layout(extent, low * STRIP_ROWS, group, resident, features)
    needed = layout(extent, min(rows, STRIP_ROWS), 1, False, features).nbytes
    raise TileError(
        "out_of_memory",
        f"a tile of {extent.shape[0]} x {extent.shape[1]} px needs at least {needed} bytes on the GPU and may take "
        f"{budget}: raise max_gpu_bytes, free memory of the GPU, or lower max_t",
    )
