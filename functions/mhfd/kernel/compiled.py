"""The float32 path for processors: the cascade of `plan.py` in machine code, shared by threads, in bounded memory.

A tile that does not fit `max_bytes` is done in strips of rows. However it is cut, and however many threads share it,
every pixel gets the same bits: sums are formed row by row and added in order, and a strip includes the rows that its
responses depend on.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import FocusParams, TileError
from mhfd.kernel import compiled_loops as loops
from mhfd.kernel import compiled_power, power
from mhfd.kernel.loops.cascade import BLOCK_ROWS, cascade, rings_for
from mhfd.kernel.loops.interpolation import STRIP_ROWS, interpolate
from mhfd.kernel.loops.medians import bin_of, noise_medians
from mhfd.kernel.loops.noise import KINDS
from mhfd.kernel.loops.rows import pitch_of
from mhfd.kernel.measures import (
    CONTENT_BLOCK_PX,
    LINE_LAGS,
    MEAN_MARGIN,
    MIN_RESPONSE,
    Covariances,
    FeatureList,
    Measures,
    NoiseModel,
    Shade,
    noise_gains,
    noise_model,
    row_noise_factor,
    summarise,
)
from mhfd.kernel.partition import row_ranges
from mhfd.kernel.pixels import Pixels
from mhfd.kernel.plan import CascadePlan, Smooth, interpolators, plan
from mhfd.robust import NORMAL_MEDIAN
from mhfd.spectrum import BLOCK_PX, CELLS, HALF, Spectrum

Plane = NDArray[np.float32]
Index = NDArray[np.unsignedinteger[Any]]

MAX_BYTES = 2**31
"""Working memory of one tile by default."""

MIN_STRIP_ROWS = 64
"""Thinner strips would spend nearly all time on the rows around them."""

CACHE_LINE = 64
"""Bytes."""

GROUP = 8
"""Responses of a coarse level that are interpolated and compared together."""

KEPT_BYTES = 2**26
"""A tile that needs no more keeps its memory for the next."""

CHUNK_PX = 2**20
"""Pixels read from the tile at a time; one row where that is more."""

BLOCK_ROWS_AT_A_TIME = 8
"""Rows of blocks of the spectrum that each thread does at a time."""

_KNOWN_TYPES = [np.dtype(code) for code in ("u1", "i1", "u2", "i2", "f4", "f8")]

_DIAGONALS = [(1, 1), (2, 2), (1, -1), (2, -2)]
_LAGS = np.array([*((lag, 0) for lag in LINE_LAGS), *((0, lag) for lag in LINE_LAGS), *_DIAGONALS])


_BEFORE, _AFTER = 2, max(BLOCK_PX - 1, int(_LAGS.max()))
"""Rows before and after a strip that the numbers beside its responses depend on."""


class _Kept(threading.local):
    """Memory that a calling thread keeps from tile to tile."""

    def __init__(self) -> None:
        self.blocks: dict[str, NDArray[np.uint8]] = {}


_kept = _Kept()


class Workers:
    """Threads that share the rows of a plane, and the memory for their results.

    Parameters
    ----------
    threads : how many work at a time, including the calling one
    keep : `array` reuses the calling thread's memory: the system clears fresh memory first, which takes a tenth of
        a tile's time.
    """

    def __init__(self, threads: int, *, keep: bool = False) -> None:
        self.threads, self._keep = threads, keep
        self._pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool:
            self._pool.shutdown()

    def run(self, loop: Callable[..., Any], rows: range, *arguments: Any, least: int = 1) -> list[Any]:
        """Results of `loop(*arguments, first, last)` for consecutive parts of the rows, in order.

        Parameters
        ----------
        least : rows below which a part is not worth its own thread
        """
        count = max(1, min(self.threads, len(rows) // least))
        parts = [(rows.start + a, rows.start + b) for a, b in row_ranges(len(rows), count, 1)]
        others = [self._pool.submit(loop, *arguments, *part) for part in parts[1:]] if self._pool else []
        own = loop(*arguments, *parts[0])
        return [own, *(other.result() for other in others)]

    def array(self, name: str, shape: tuple[int, ...], dtype: Any = np.float32) -> NDArray[Any]:
        """An uninitialised array, valid until the next of that name."""
        if not self._keep:
            return _aligned(shape, dtype)
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if name not in _kept.blocks or _kept.blocks[name].size < size:
            _kept.blocks[name] = _aligned((size,), np.uint8)
        array: NDArray[Any] = _kept.blocks[name][:size].view(dtype).reshape(shape)
        return array


def _aligned(shape: tuple[int, ...], dtype: Any = np.float32) -> NDArray[Any]:
    """An uninitialised array that begins at a line of the cache: vectors that cross lines cost twice."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.empty(size + CACHE_LINE, np.uint8)
    skip = -room.ctypes.data % CACHE_LINE
    array: NDArray[Any] = room[skip : skip + size].view(dtype).reshape(shape)
    return array


def measure(
    tile: Pixels,
    params: FocusParams,
    *,
    threads: int = 1,
    max_bytes: int | None = None,
    scale_sets: Sequence[tuple[int, int]] | None = None,
    strips: int = 1,
    lap: Callable[[str], None] = lambda phase: None,
) -> tuple[Measures, FeatureList]:
    """Every number of one tile; agrees with `reference.measure`.

    Parameters
    ----------
    tile : (rows, cols) of any real type, finite, not empty; read by slices of rows, several times
    params : scales in pixels
    threads : how many work at a time; does not change the result
    max_bytes : working memory beside the tile, 2 GiB if None; does not change the result
    scale_sets : ranges (first, last) of scales in ascending order, each with its own cascade; by default one for all
    strips : number of strips of rows, roughly, even where fewer would fit the memory
    lap : called with the name of each phase when it ends: "normalise and noise", then, by strip, "responses", "peaks"

    Raises
    ------
    TileError
        `max_bytes` does not suffice for a strip of the tile ("out_of_memory")
    """
    rows, cols = tile.shape
    sets = [(0, params.n_scales)] if scale_sets is None else scale_sets
    plans = [plan(params, (rows, cols), first, last) for first, last in sets]
    cut = _Strips((rows, cols), params, plans, MAX_BYTES if max_bytes is None else max_bytes, threads, strips)
    with Workers(threads, keep=cut.keep) as workers:
        image = CentredTile(tile, params.saturate, workers)
        noise, covariances, blocks, spectrum = _companions(image, cut, workers)
        lap("normalise and noise")
        found = [_features(image, cut, core, plans, noise, params, workers, lap) for core in cut.cores]
    features = FeatureList(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
    by_scale = features.by_scale(params.n_scales)
    size = rows * cols
    return summarise(size, by_scale, noise, covariances, blocks, image.saturated, params, spectrum), features


# --- Strips of rows ---------------------------------------------------------------------------------------------


class _Strips:
    """A tile cut into strips of rows that fit the memory.

    Attributes
    ----------
    cores : the rows of each strip; one for the whole tile where that fits
    keep : True if memory may be kept: arrays not needed at the same time need not share it
    """

    def __init__(
        self,
        shape: tuple[int, int],
        params: FocusParams,
        plans: Sequence[CascadePlan],
        max_bytes: int,
        threads: int,
        at_least: int = 1,
    ) -> None:
        self._rows, cols = shape
        self._circular = params.mode == "paper"
        spacing = max(each.spacing for each in plans)
        # One row more than the responses depend on, for the maximum over 3 x 3 pixels.
        self._halo = -(-(max(each.halo for each in plans) + 1) // spacing) * spacing
        unit = max(spacing, CONTENT_BLOCK_PX)  # both are powers of two

        def needed(height: int) -> int:
            window = height + max(2 * self._halo, _BEFORE + _AFTER)
            if not self._circular:
                window = min(window, self._rows)
            return _bytes_needed((window, cols), params, plans, threads)

        height = self._rows
        if needed(height) > max_bytes:
            height = unit * bisect_right(range(unit, self._rows, unit), max_bytes, key=needed)
        if height < min(MIN_STRIP_ROWS, self._rows):
            least = needed(min(MIN_STRIP_ROWS, self._rows))
            raise TileError(
                "out_of_memory",
                f"a tile of {self._rows} x {cols} pixels needs {least} bytes of memory for Gaussians of up to "
                f"{params.max_t:g} px, but max_host_bytes is {max_bytes}: allow more, or lower max_t",
            )
        height = min(height, -(-self._rows // (at_least * unit)) * unit)
        # All arrays of all levels, side by side, take less than twice what is needed at a time.
        self.keep = height == self._rows and 2 * needed(height) <= min(max_bytes, 2 * KEPT_BYTES)
        self.cores = [range(top, min(top + height, self._rows)) for top in range(0, self._rows, height)]

    def around(self, core: range) -> range:
        """The rows that the responses of a strip and of the rows next to it depend on, a multiple of the spacing.

        In paper mode they extend beyond the ends of the periodic tile, in one piece, so that every strip sees the
        same.
        """
        rows = range(core.start - self._halo, core.stop + self._halo)
        return rows if self._circular else self.clipped(rows)

    def clipped(self, rows: range) -> range:
        """The rows that lie in the tile."""
        return range(max(0, rows.start), min(self._rows, rows.stop))


def _bytes_needed(window: tuple[int, int], params: FocusParams, plans: Sequence[CascadePlan], threads: int) -> int:
    """Peak memory for a window of rows of a tile, in bytes."""
    rows, cols = window
    pixels = rows * cols
    chunk = 4 * pixels + 16 * min(pixels, max(CHUNK_PX, cols))  # the image, and what it is made from
    most = 0
    for each in plans:
        below = 0  # plane of the level before
        for level in range(each.levels):
            plane = 4 * math.prod(_level_shape(window, each, level))
            scales = sum(step.level == level and isinstance(step, Smooth) for step in each.steps)
            group = min(GROUP, scales) if level else 0
            wanted = level > 0 or each.levels > 1
            most = max(most, below + plane, plane * ((level > 0) + wanted + group))
            below = plane
    held = pixels * (4 + 4 + _index_type(params).itemsize)  # image, strength, scale
    most_rings = max(
        _ring_rows([step for step in each.steps if isinstance(step, Smooth) and step.level == level], rows)
        for each in plans
        for level in range(each.levels)
    )
    of_each_thread = 4 * (STRIP_ROWS + BLOCK_ROWS + most_rings) * pitch_of(cols) + 2**20
    tables = 2**22
    return max(held + most, chunk) + threads * of_each_thread + tables


def _ring_rows(steps: Sequence[Smooth], rows: int) -> int:
    """Rows that the cascade keeps for steps of one level."""
    reach = np.array([step.reach for step in steps], np.int64)
    starts = np.array([k == 0 or step.from_image for k, step in enumerate(steps)])
    return int(rings_for(reach, starts, rows)[3]) if steps else 0


# --- Grey levels ------------------------------------------------------------------------------------------------


class CentredTile:
    """A tile normalised to [0, 1] minus its mean, as float32 rows made on request.

    Attributes
    ----------
    shape : (rows, cols)
    mean : what was subtracted
    rest : the exact mean minus `mean`, which is a float32
    saturated : fraction of the pixels at the tile's own grey limits
    """

    def __init__(self, tile: Pixels, saturate: float, workers: Workers) -> None:
        rows, cols = tile.shape
        self.shape = (rows, cols)
        self._tile, self._workers = tile, workers
        self._made: tuple[range, Plane] | None = None
        self._table: Plane | None = None
        rank = math.floor(saturate * tile.size)
        limit = self._limit_levels if self._working_type().kind in "iu" else self._limit_numbers
        mean = limit(rank)
        self.mean = np.float32(mean)
        self.rest = mean - float(self.mean)
        if self._table is not None:
            self._table -= self.mean

    def _limit_levels(self, rank: int) -> float:
        """Exact limits and mean of integers, from their histogram."""
        size = math.prod(self.shape)
        self._lowest, levels = int(np.iinfo(self._tile.dtype).min), 256**self._tile.dtype.itemsize
        histogram = np.zeros(levels, np.int64)
        for _, pixels in self._chunks(0, self.shape[0]):
            for counts in self._workers.run(loops.count_levels, range(len(pixels)), pixels, self._lowest, levels):
                histogram += counts.sum(axis=0)
        present, below = np.flatnonzero(histogram), np.cumsum(histogram)
        lowest, highest = int(present[0]), int(present[-1])
        low, high = (int(place) for place in np.searchsorted(below, (rank, size - 1 - rank), side="right"))
        if low == high:
            low, high = lowest, highest
        self.saturated = 1.0 if low == high else float(histogram[lowest] + histogram[highest]) / size
        self._table = np.clip((np.arange(levels) - low) / max(1, high - low), 0, 1).astype(np.float32)
        return float(histogram @ self._table.astype(np.float64)) / size

    def _limit_numbers(self, rank: int) -> float:
        """Exact limits and mean of floating-point numbers."""
        size = math.prod(self.shape)
        (lowest, low, high, highest), at_limits = self._order_statistics((0, rank, size - 1 - rank, size - 1))
        if low == high:
            low, high = lowest, highest
        self.saturated = 1.0 if low == high else at_limits / size
        self._low, self._extent = low, (high - low) or 1.0
        self.mean = np.float32(0)
        sums = np.empty(self.shape[0])
        for first, pixels in self._chunks(0, self.shape[0]):
            image = np.empty(pixels.shape, np.float32)
            self._fill(image, pixels)
            self._workers.run(loops.row_sums, range(len(pixels)), image, sums[first:])
        return float(sums.sum()) / size

    def _order_statistics(self, ranks: tuple[int, ...]) -> tuple[list[float], int]:
        """The numbers of those ranks, and how many equal the first or the last of them.

        Found by digits of 16 bits, in a few passes over the tile.
        """
        bits = 8 * self._working_type().itemsize
        top = np.uint64(1 << (bits - 1))
        left, keys, counts = list(ranks), [0] * len(ranks), [0] * len(ranks)
        for shift in range(bits - 16, -1, -16):
            prefixes = sorted(set(keys))
            histograms = np.zeros((len(prefixes), 65536), np.int64)
            for _, pixels in self._chunks(0, self.shape[0]):
                words = pixels.view(f"u{bits // 8}")
                arguments = words, top, np.uint64(shift), np.array(prefixes, np.uint64)
                for found in self._workers.run(loops.count_digits, range(len(words)), *arguments):
                    histograms += found
            for k, rank in enumerate(left):
                histogram = histograms[prefixes.index(keys[k])]
                digit, left[k] = bin_of(rank, histogram)
                keys[k], counts[k] = keys[k] << 16 | digit, int(histogram[digit])
        ordered = np.array(keys, f"u{bits // 8}")
        sign = ordered.dtype.type(top)
        numbers = np.where(ordered & sign, ordered ^ sign, ~ordered).view(f"f{bits // 8}")
        return [float(number) for number in numbers], counts[0] + counts[-1]

    def window(self, rows: range) -> Plane:
        """(len(rows), cols) centred image of rows; beyond the tile's ends, the tile repeats itself.

        The latest window is cached.
        """
        if self._made is None or self._made[0] != rows:
            self._made = None  # its memory is needed
            image = _aligned((len(rows), self.shape[1]))
            done = 0
            while done < len(rows):
                top = (rows.start + done) % self.shape[0]
                for _, pixels in self._chunks(top, min(self.shape[0], top + len(rows) - done)):
                    self._fill(image[done : done + len(pixels)], pixels)
                    done += len(pixels)
            self._made = rows, image
        return self._made[1]

    def _fill(self, image: Plane, pixels: NDArray[Any]) -> None:
        if self._table is not None:
            self._workers.run(loops.look_up, range(len(pixels)), pixels, self._lowest, self._table, image)
        else:
            limits = self._low, self._extent, self.mean
            self._workers.run(loops.rescale, range(len(pixels)), pixels, *limits, image)

    def _chunks(self, first: int, last: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """The tile's own pixels, a few rows at a time: (first row, pixels)."""
        height = max(1, CHUNK_PX // self.shape[1])
        for top in range(first, last, height):
            yield top, np.require(self._tile[top : min(top + height, last)], self._working_type(), ["C", "A"])

    def _working_type(self) -> np.dtype[Any]:
        """The tile's type if the loops take it, else float64, which holds any grey level."""
        native = self._tile.dtype.newbyteorder("=")
        return native if native in _KNOWN_TYPES else np.dtype(np.float64)


# --- Noise, covariances, block means, spectrum ------------------------------------------------------------------


def _companions(
    image: CentredTile, strips: _Strips, workers: Workers
) -> tuple[NoiseModel, Covariances, NDArray[np.float64], Spectrum | None]:
    """Noise, covariances, block means, spectrum; see `fourier.estimate_noise` and `fourier.autocovariances`."""
    rows, cols = image.shape
    side = CONTENT_BLOCK_PX
    margin = np.float32(MEAN_MARGIN + image.rest)
    grey = np.empty((rows, 3))
    products = np.empty((rows, len(_LAGS)))
    blocks = np.empty((rows // side, cols // side))
    grid = power.Grid.of(image.shape)
    powers = power.RowSums(grid) if grid else None

    def within(core: range) -> tuple[Plane, range, int]:
        """A window with all rows that the numbers of a strip need, the strip in it, and its first row."""
        window = strips.clipped(range(core.start - _BEFORE, core.stop + _AFTER))
        return image.window(window), range(core.start - window.start, core.stop - window.start), window.start

    for core in strips.cores:
        pixels, inner, top = within(core)
        workers.run(loops.covariance_rows, inner, pixels, _LAGS, products[top:])
        whole = range(core.start // side, core.stop // side)
        if whole:
            workers.run(loops.block_sums, range(len(whole)), pixels[inner.start :], side, blocks[whole.start :])
        if powers:
            _add_power(pixels, top, core, powers, workers)
        del pixels

    # The running maximum is not there yet.
    room = workers.array("strength", (KINDS, rows * cols // KINDS)) if len(strips.cores) == 1 else None
    sizes, medians = noise_medians(within, strips.cores, margin, grey, workers.run, room)

    def variance(kind: int, gain: float) -> float:
        """Variance of the noise, from the median of magnitudes whose variance is `gain` times it."""
        return (medians[kind] / NORMAL_MEDIAN) ** 2 / gain

    factor = row_noise_factor(variance(0, 70 * 70), variance(3, 70 * 6), variance(4, 70 * 6))
    sums = grey.sum(axis=0)
    shades = [
        Shade(sizes[kind] / (rows * cols), float(image.mean) + float(sums[kind]) / sizes[kind], variance(kind, 70 * 70))
        for kind in (1, 2)
        if sizes[kind]
    ]
    covariances = [
        float(total) / pairs if (pairs := max(0, rows - dy) * max(0, cols - abs(dx))) else 0.0
        for total, (dy, dx) in zip(products.sum(axis=0), _LAGS.tolist(), strict=True)
    ]
    means = blocks / side**2 + float(image.mean)
    spectrum = power.spectrum(powers.result(), powers.grid, means) if powers else None
    return noise_model(shades, factor), Covariances.of(covariances), means, spectrum


def _add_power(pixels: Plane, top: int, core: range, sums: power.RowSums, workers: Workers) -> None:
    """Add the rows of blocks that begin in a strip; row 0 of `pixels` is row `top` of the tile."""
    grid = sums.grid
    rows = range(-(-core.start // grid.step), min(grid.rows, -(-core.stop // grid.step)))
    for first in range(rows.start, rows.stop, BLOCK_ROWS_AT_A_TIME * workers.threads):
        some = range(first, min(rows.stop, first + BLOCK_ROWS_AT_A_TIME * workers.threads))
        found = np.empty((len(some), CELLS, HALF, BLOCK_PX), np.float32)
        counts = np.empty((len(some), CELLS), np.int64)
        workers.run(
            compiled_power.block_power,
            range(len(some)),
            pixels[first * grid.step - top :],
            grid.step,
            grid.cols,
            *compiled_power.tables(),
            found.reshape(len(some), CELLS, -1),
            counts,
        )
        sums.add(first, found.swapaxes(2, 3).reshape(len(some), CELLS, -1), counts)


# --- The cascade ------------------------------------------------------------------------------------------------


def maximum_over_scale(
    image: Plane,
    steps: CascadePlan,
    params: FocusParams,
    workers: Workers,
    into: tuple[Plane, Index] | None = None,
    *,
    fresh: bool = True,
) -> tuple[Plane, Index]:
    """M = max_i D_i and A = argmax_i D_i over the scales of a plan, each (rows, cols); the first of equals.

    Parameters
    ----------
    image : (rows, cols) centred tile, or a window of its rows that begins at a multiple of `steps.spacing`; within
        `steps.halo` of an end where the tile goes on, M and A are not valid
    into : where to put M and A
    fresh : False if `into` holds M and A of smaller scales, to compare with

    Returns
    -------
    M, and A as uint8, or as uint16 for more than 256 scales
    """
    strength, scale = into or (_aligned(image.shape), _aligned(image.shape, _index_type(params)))
    plane = image
    planes = 0
    for level in range(steps.levels):
        own = [step for step in steps.steps if step.level == level and isinstance(step, Smooth)]
        if level:
            plane = _decimated(plane, image.shape, steps, level, params, workers)
        if fresh and level == 1:
            strength.fill(-np.inf)
        for group in _groups(own) if level else [own]:
            more = level + 1 < steps.levels or group[-1] is not own[-1]
            planes += 1
            final = workers.array(f"plane {level} {planes % 2}", plane.shape if more else (0, plane.shape[1]))
            _smoothed(plane, group, final, steps, params, workers, (strength, scale), fresh)
            plane = final
        fresh = fresh and all(step.scale_index is None for step in own)
    return strength, scale


def _index_type(params: FocusParams) -> np.dtype[np.unsignedinteger[Any]]:
    return np.dtype(np.uint8 if params.n_scales <= 256 else np.uint16)


def _groups(steps: list[Smooth]) -> list[list[Smooth]]:
    """Steps in groups of GROUP or less."""
    return [steps[k : k + GROUP] for k in range(0, len(steps), GROUP)]


def _smoothed(
    plane: Plane,
    group: list[Smooth],
    final: Plane,
    steps: CascadePlan,
    params: FocusParams,
    workers: Workers,
    running: tuple[Plane, Index],
    fresh: bool,
) -> None:
    """Run steps of one level: responses into the running maximum, the last plane into `final`."""
    strength, scale = running
    level, both = group[0].level, params.polarity == "both"
    kept = [step.scale_index for step in group if step.scale_index is not None]
    slots = np.cumsum([step.scale_index is not None for step in group]) - 1
    slots[[step.scale_index is None for step in group]] = -1
    counts = [len(step.taps) for step in group]
    taps = np.zeros((len(group), max(counts)), np.float32)
    for row, step in zip(taps, group, strict=True):
        row[: len(step.taps)] = step.taps
    sign = -1 if params.polarity == "bright" else 1
    none = np.empty((0, plane.shape[1]), np.float32)
    responses = workers.array("responses", (len(kept) if level else 0, *plane.shape))
    workers.run(
        cascade,
        range(len(plane)),
        plane,
        taps,
        np.array(counts),
        np.array([step.step for step in group]),
        np.array([step is group[0] or step.from_image for step in group]),
        np.array([sign * step.t for step in group], np.float32),
        slots,
        params.mode == "paper" and level == 0,
        both,
        np.array([step.scale_index or 0 for step in group], scale.dtype),
        fresh,
        none if level else strength,
        scale,
        responses,
        final,
        # A part also computes the rows that its later steps reach for; it must be larger than those.
        least=1 + sum(step.reach for step in group[1:] if not step.from_image),
    )
    if level and kept:
        indices = np.array(kept, scale.dtype)
        shared = steps.margin >> level, interpolators(level), both, strength, scale
        workers.run(interpolate, range(len(strength)), responses, indices, *shared)


def _level_shape(tile: tuple[int, int], steps: CascadePlan, level: int) -> tuple[int, int]:
    """Shape of the planes of a level for a tile or window of that shape."""
    margin = steps.margin >> level if level else 0
    rows, cols = (-(-side // 2**level) + 2 * margin for side in tile)
    return rows, cols


def _decimated(
    plane: Plane, tile: tuple[int, int], steps: CascadePlan, level: int, params: FocusParams, workers: Workers
) -> Plane:
    """Every second sample of the previous level's plane; level 1 gets its margin by the boundary rule."""
    target = workers.array(f"decimated {level}", _level_shape(tile, steps, level))
    start = -2 * (steps.margin >> 1) if level == 1 else 0
    circular = params.mode == "paper" and level == 1
    workers.run(loops.decimate, range(len(target)), plane, start, circular, target)
    return target


# --- Features ---------------------------------------------------------------------------------------------------


def _features(
    image: CentredTile,
    strips: _Strips,
    core: range,
    plans: Sequence[CascadePlan],
    noise: NoiseModel,
    params: FocusParams,
    workers: Workers,
    lap: Callable[[str], None],
) -> tuple[NDArray[Any], ...]:
    """The features of a strip: the attributes of a `FeatureList`, in order."""
    around = strips.around(core)
    pixels = image.window(around)
    strength = workers.array("strength", pixels.shape)
    scale = workers.array("scale", pixels.shape, _index_type(params))
    for k, each in enumerate(plans):
        maximum_over_scale(pixels, each, params, workers, (strength, scale), fresh=k == 0)
    lap("responses")
    rows, cols = image.shape
    thresholds = np.zeros(params.n_scales)
    if params.mode == "robust":
        thresholds = params.k_noise * noise_gains(params.scales)
    variances = noise.at(np.array([0.0, 1.0])) ** 2  # the slope is not negative
    places = np.concatenate(
        workers.run(
            loops.find_peaks,
            range(core.start - around.start, core.stop - around.start),
            strength,
            scale,
            pixels,
            max(0, -around.start),
            min(len(around), rows - around.start),
            np.float32(MIN_RESPONSE),
            np.array([noise.variance, noise.slope, noise.grey - float(image.mean), *variances]),
            thresholds,
        )
    )
    y = places // cols
    index = scale.ravel()[places].astype(np.int64)
    strengths = strength.ravel()[places].astype(np.float64)
    lap("peaks")
    return y + around.start, places - y * cols, index, np.array(params.scales)[index], strengths
