"""The float32 path for processors: the cascade of `plan.py` in machine code, shared by threads, in bounded memory.

A tile that does not fit `max_bytes` is done in strips of rows. However it is cut, and however many threads share it,
every pixel gets the same bits: sums are formed row by row and added in order, and a strip includes the rows that its
responses depend on.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import FocusParams, TileError
from mhfd.kernel import compiled_loops as loops
from mhfd.kernel import compiled_power, power
from mhfd.kernel.loops.cascade import BLOCK_ROWS, cascade, rings_for
from mhfd.kernel.loops.interpolation import RING_ROWS, WIDTH, interpolate
from mhfd.kernel.loops.medians import bin_of, noise_medians, sample_of_noise
from mhfd.kernel.loops.noise import KINDS
from mhfd.kernel.loops.rows import LENGTH, pitch_of
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
from mhfd.kernel.pixels import Pixels
from mhfd.kernel.plan import CascadePlan, Smooth, interpolators, plan
from mhfd.kernel.threads import Share, Workers, aligned_empty
from mhfd.robust import NORMAL_MEDIAN
from mhfd.spectrum import BLOCK_PX, CELLS, HALF, Spectrum

Plane = NDArray[np.float32]
Index = NDArray[np.unsignedinteger[Any]]

MAX_BYTES = 2**31
"""Working memory of one tile by default."""

MIN_STRIP_ROWS = 64
"""Thinner strips would spend nearly all time on the rows around them."""

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
    sets = ((0, params.n_scales),) if scale_sets is None else tuple(scale_sets)
    cut = _strips((rows, cols), params, sets, MAX_BYTES if max_bytes is None else max_bytes, threads, strips)
    workers = Workers(threads, keep=cut.keep)
    image = CentredTile(tile, params.saturate, workers)
    noise, covariances, blocks, spectrum = _companions(image, cut, workers)
    lap("normalise and noise")
    found = [_features(image, cut, core, noise, params, workers, lap) for core in cut.cores]
    features = FeatureList(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
    by_scale = features.by_scale(params.n_scales)
    size = rows * cols
    return summarise(size, by_scale, noise, covariances, blocks, image.saturated, params, spectrum), features


# --- Strips of rows ---------------------------------------------------------------------------------------------


class _Strips:
    """A tile cut into strips of rows that fit the memory.

    Attributes
    ----------
    plans : a cascade for each range of scales
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
        at_least: int,
    ) -> None:
        self.plans = plans
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


@lru_cache(maxsize=64)
def _strips(
    shape: tuple[int, int],
    params: FocusParams,
    scale_sets: tuple[tuple[int, int], ...],
    max_bytes: int,
    threads: int,
    at_least: int,
) -> _Strips:
    plans = [plan(params, shape, first, last) for first, last in scale_sets]
    return _Strips(shape, params, plans, max_bytes, threads, at_least)


def _bytes_needed(window: tuple[int, int], params: FocusParams, plans: Sequence[CascadePlan], threads: int) -> int:
    """Peak memory for a window of rows of a tile, in bytes."""
    rows, cols = window
    pixels = rows * cols
    chunk = 4 * pixels + 16 * min(pixels, max(CHUNK_PX, cols))  # the image, and what it is made from
    held = pixels * (4 + 4 + _index_type(params).itemsize)  # image, strength, scale
    most, most_rings = 0, 0
    for each in plans:
        planes = [4 * math.prod(_level_shape(window, each, level)) for level in range(each.levels)]
        for group in _passes(each, params):
            source_and_responses = (1 + len(group.kept)) * planes[group.level] if group.level else 0
            target = 0 if group.next_level is None else planes[group.next_level]
            most = max(most, source_and_responses + target)
            most_rings = max(most_rings, int(rings_for(group.counts * group.spacings, group.from_source, rows)[3]))
    of_each_thread = 4 * (2 * BLOCK_ROWS + most_rings) * pitch_of(cols) + 2**20
    widest = max(pitch_of(min(cols, WIDTH)), int(LENGTH) * max(each.spacing for each in plans))
    of_each_thread += 4 * GROUP * RING_ROWS * widest
    tables = 2**22
    return max(held + most, chunk) + threads * of_each_thread + tables


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
            image = aligned_empty((len(rows), self.shape[1]))
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

    at_once = len(strips.cores) == 1

    def pass_over(core: range) -> list[NDArray[np.int32]]:
        """Covariances, block means and spectrum of a strip; and a sample of its noise, if it is the whole tile."""
        pixels, inner, top = within(core)
        whole = range(core.start // side, core.stop // side)
        transforms = _transforms(pixels, top, core, powers, workers.threads) if powers else iter(())
        shares = [
            Share(loops.covariance_rows, inner, pixels, _LAGS, products[top:]),
            Share(loops.block_sums, range(len(whole)), pixels[inner.start :], side, blocks[whole.start :]),
            *islice(transforms, 1),
        ]
        sample = [sample_of_noise(pixels, inner, margin, grey)] if at_once else []
        found = workers.run_all(*shares, *sample)
        for share in transforms:
            workers.run_all(share)
        return found[-1] if at_once else []

    sample = [counts for core in strips.cores for counts in pass_over(core)]
    # The running maximum is not there yet.
    room = workers.array("strength", (KINDS, rows * cols // KINDS) if at_once else (0, 0))
    sizes, medians = noise_medians(within, strips.cores, margin, grey, workers.run, sample, room)

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


def _transforms(pixels: Plane, top: int, core: range, sums: power.RowSums, threads: int) -> Iterator[Share]:
    """Shares of the rows of blocks that begin in a strip; each must be run before the next is asked for.

    Parameters
    ----------
    pixels : from row `top` of the tile on
    sums : where the blocks' power is added
    """
    grid = sums.grid
    rows = range(-(-core.start // grid.step), min(grid.rows, -(-core.stop // grid.step)))
    for first in range(rows.start, rows.stop, BLOCK_ROWS_AT_A_TIME * threads):
        some = range(first, min(rows.stop, first + BLOCK_ROWS_AT_A_TIME * threads))
        found = np.empty((len(some), CELLS, HALF, BLOCK_PX), np.float32)
        counts = np.empty((len(some), CELLS), np.int64)
        yield Share(
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
    strength, scale = into or (aligned_empty(image.shape), aligned_empty(image.shape, _index_type(params)))
    plane = image
    passes = _passes(steps, params)
    for k, group in enumerate(passes):
        if fresh and group.level and not passes[k - 1].level:
            strength.fill(-np.inf)
        shape = (0, 0) if group.next_level is None else _level_shape(image.shape, steps, group.next_level)
        final = workers.array(f"plane {k % 2}", shape)
        _smoothed(plane, group, final, steps, params, workers, (strength, scale), fresh)
        plane = final
        fresh = fresh and not group.kept.size
    return strength, scale


def _index_type(params: FocusParams) -> np.dtype[np.unsignedinteger[Any]]:
    return np.dtype(np.uint8 if params.n_scales <= 256 else np.uint16)


@dataclass(frozen=True, eq=False)
class _Pass:
    """Steps of one level that run together: arguments of `cascade`, one element or row a step.

    Attributes
    ----------
    kept : (n,) the scales whose responses they yield
    next_level : level of the plane that the next pass begins with; None after the last pass
    least : rows below which a part is not worth its own thread
    """

    level: int
    taps: Plane
    counts: NDArray[np.int64]
    spacings: NDArray[np.int64]
    from_source: NDArray[np.bool_]
    gains: NDArray[np.float32]
    slots: NDArray[np.int64]
    indices: Index
    kept: Index
    least: int
    next_level: int | None

    @classmethod
    def of(cls, steps: Sequence[Smooth], next_level: int | None, params: FocusParams) -> _Pass:
        dtype = _index_type(params)
        counts = [len(step.taps) for step in steps]
        taps = np.zeros((len(steps), max(counts)), np.float32)
        for row, step in zip(taps, steps, strict=True):
            row[: len(step.taps)] = step.taps
        kept = np.array([step.scale_index is not None for step in steps])
        sign = -1 if params.polarity == "bright" else 1
        return cls(
            level=steps[0].level,
            taps=taps,
            counts=np.array(counts),
            spacings=np.array([step.step for step in steps]),
            from_source=np.array([step is steps[0] or step.from_image for step in steps]),
            gains=np.array([sign * step.t for step in steps], np.float32),
            slots=np.where(kept, np.cumsum(kept) - 1, -1),
            indices=np.array([step.scale_index or 0 for step in steps], dtype),
            kept=np.array([step.scale_index for step in steps if step.scale_index is not None], dtype),
            # A part also computes the rows that its later steps reach for; it must be larger than those.
            least=1 + sum(step.reach for step in steps[1:] if not step.from_image),
            next_level=next_level,
        )


@lru_cache(maxsize=64)
def _passes(steps: CascadePlan, params: FocusParams) -> tuple[_Pass, ...]:
    """All steps of level 0 together, those of other levels in groups of GROUP or less."""
    groups: list[list[Smooth]] = []
    for level in range(steps.levels):
        own = [step for step in steps.steps if step.level == level and isinstance(step, Smooth)]
        length = GROUP if level else len(own)
        groups += [own[k : k + length] for k in range(0, len(own), length)]
    next_levels = [group[0].level for group in groups[1:]]
    return tuple(_Pass.of(*each, params) for each in zip(groups, [*next_levels, None], strict=True))


def _smoothed(
    plane: Plane,
    group: _Pass,
    final: Plane,
    steps: CascadePlan,
    params: FocusParams,
    workers: Workers,
    running: tuple[Plane, Index],
    fresh: bool,
) -> None:
    """Run steps of one level: responses into the running maximum, what the next pass begins with into `final`."""
    strength, scale = running
    level, both = group.level, params.polarity == "both"
    none = np.empty((0, plane.shape[1]), np.float32)
    responses = workers.array("responses", (len(group.kept) if level else 0, *plane.shape))
    workers.run(
        cascade,
        range(len(plane)),
        plane,
        group.taps,
        group.counts,
        group.spacings,
        group.from_source,
        group.gains,
        group.slots,
        params.mode == "paper" and level == 0,
        both,
        group.indices,
        fresh,
        none if level else strength,
        scale,
        responses,
        final,
        0 if level else -steps.margin,
        1 if group.next_level is None else 2 ** (group.next_level - level),
        least=group.least,
    )
    if level and group.kept.size:
        shared = steps.margin >> level, interpolators(level), both, strength, scale
        workers.run(interpolate, range(len(strength)), responses, group.kept, *shared)


def _level_shape(tile: tuple[int, int], steps: CascadePlan, level: int) -> tuple[int, int]:
    """Shape of the planes of a level for a tile or window of that shape."""
    margin = steps.margin >> level if level else 0
    rows, cols = (-(-side // 2**level) + 2 * margin for side in tile)
    return rows, cols


# --- Features ---------------------------------------------------------------------------------------------------


def _features(
    image: CentredTile,
    strips: _Strips,
    core: range,
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
    for k, each in enumerate(strips.plans):
        maximum_over_scale(pixels, each, params, workers, (strength, scale), fresh=k == 0)
    lap("responses")
    rows = image.shape[0]
    thresholds = np.zeros(params.n_scales)
    if params.mode == "robust":
        thresholds = params.k_noise * noise_gains(params.scales)
    variances = noise.at(np.array([0.0, 1.0])) ** 2  # the slope is not negative
    places, strengths = zip(
        *workers.run(
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
        ),
        strict=True,
    )
    y, x, index = np.concatenate(places, axis=1)
    y += around.start
    lap("peaks")
    return y, x, index, np.array(params.scales)[index], np.concatenate(strengths)
