"""The launches for one extent: which kernel of cuda/ runs when, on what memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import FocusParams
from mhfd.kernel import power
from mhfd.kernel.fused import pairs
from mhfd.kernel.fused.device import Device
from mhfd.kernel.fused.layout import (
    AFTER,
    BEFORE,
    Extent,
    MemoryLayout,
    Window,
    constants,
    fits_shared,
    level_cols,
    level_rows,
    merge_shared,
    peak_shared,
    rank_shared,
    smooth_quads,
    smooth_shared,
    smooth_stride,
)
from mhfd.kernel.fused.source import (
    BLOCK,
    CHUNK_COLS,
    CHUNK_ROWS,
    COARSE_BINS,
    FEATURE,
    FINE_BITS,
    MEDIANS,
    MERGE_GROUPS,
    MERGE_SIDE,
    PAIR_GROUPS,
    PAIR_THREADS,
    PEAK_ROWS,
    SMOOTH_COLS,
    SMOOTH_GROUPS,
    SMOOTH_ROWS,
    STATE,
    SUMS,
    WIDTH,
    ceil_div,
)
from mhfd.kernel.measures import Covariances, FeatureList, Measures, NoiseModel, summarise
from mhfd.kernel.pixels import Pixels, row_blocks
from mhfd.kernel.plan import Decimate, Smooth
from mhfd.spectrum import BLOCK_PX, CELLS, Spectrum


@dataclass
class Waiting:
    """Responses of successive scales at one level, one plane after the other, that wait to be merged."""

    level: int
    first: int
    address: np.generic
    count: int = 0


def taken(waiting: list[Waiting], level: int) -> Waiting:
    """The first that wait, taken off the list; none of them unless they are of this level."""
    return waiting.pop(0) if waiting and waiting[0].level == level else Waiting(level, 0, np.uint64(0))


class Work:
    """Launches the kernels for one extent; each phase is a method that waits for nothing."""

    def __init__(self, device: Device, extent: Extent, plan_of_memory: MemoryLayout, features: bool) -> None:
        self.device, self.extent, self.layout, self.features = device, extent, plan_of_memory, features
        self.memory = device.empty(plan_of_memory.nbytes)
        self.stream = device.stream()
        self._constants, self._places = constants(extent)
        self._in_image: tuple[int, int] | None = None
        self.stream.upload(self.at("constants"), self._constants)

    def at(self, name: str, offset: int = 0) -> int:
        """Address of a place in memory."""
        return self.memory.address + self.layout.places[name][0] + offset

    def _constant(self, name: str) -> np.generic:
        address: np.generic = np.uint64(self.at("constants", self._places[name]))
        return address

    def _launch(
        self,
        kernel: str,
        grid: tuple[int, int],
        block: tuple[int, int],
        *args: str | int | float | np.generic | None,
        shared: int = 0,
    ) -> None:
        """Launch over all tiles of the batch; a str names a place in memory, None is null, numbers get 32 bits."""
        typed = [self._argument(arg) for arg in args]
        self.stream.launch(kernel, (*grid, self.extent.batch), (*block, 1), typed, shared)

    def _argument(self, arg: str | int | float | np.generic | None) -> np.generic:
        typed: np.generic
        if isinstance(arg, np.generic):
            typed = arg
        elif isinstance(arg, str | None):
            typed = np.uint64(0 if arg is None else self.at(arg))
        else:
            typed = np.float32(arg) if isinstance(arg, float) else np.int32(arg)
        return typed

    # Copy in

    def reset(self) -> None:
        """Clear the results of the tile before."""
        self._in_image = None
        start, _ = self.layout.places["counts"]
        stop, size = self.layout.places["fine"]
        self.stream.zero(self.at("counts"), stop + size - start)

    def copy_in(self, tile: Pixels) -> None:
        """Copy a tile to the device if it is to stay there."""
        if self.layout.resident:
            for first, block in row_blocks(tile):
                self.stream.upload(self.at("raw", first * self.extent.shape[1] * self.extent.dtype.itemsize), block)

    def _raw(self, tile: Pixels, first: int, last: int) -> tuple[int, int]:
        """Have rows first .. last on the device: index of the first, and how many rows are there."""
        rows = self.extent.shape[0]
        if self.layout.resident:
            return first % rows, rows
        done = first
        while done < last:  # rows before and after the tile are those at its other end
            top = done % rows
            some = min(last - done, rows - top)
            at = self.at("raw", (done - first) * self.extent.shape[1] * self.extent.dtype.itemsize)
            self.stream.upload(at, tile[top : top + some])
            done += some
        return 0, last - first

    # Normalise, noise

    def greys(self, tile: Pixels) -> None:
        """Limits, mean and means of blocks of the tile as a whole."""
        self._limits(tile)
        kind, size = self.extent.dtype.str[1:], math.prod(self.extent.shape)
        for first, last in self._strips(0):
            self._normalise(tile, first, last, with_blocks=True)
        n_blocks = np.int64(math.prod(self.extent.blocks))
        self._launch(f"mean_{kind}", (1, 1), (WIDTH, 1), "states", "blocks", n_blocks, np.int64(size), shared=8 * WIDTH)

    def noise(self, tile: Pixels) -> None:
        """Noise, covariances and spectrum of the tile as a whole."""
        rows, cols = self.extent.shape
        spare = BEFORE + AFTER
        for first, last in self._strips(spare):
            at = self._chunks(tile, first, last)
            shared = max(8 * SUMS * CHUNK_COLS, 4 * 4 * COARSE_BINS)
            self._over_chunks("noise_coarse", at, "coarse", "partials", shared=shared)
            self._block_power(at)
        self._launch(
            "noise_bins", (MEDIANS, 1), (1024, 1), "states", "coarse", "partials", self.extent.chunks,
            np.int64(rows * cols), shared=8 * 1024,
        )  # fmt: skip
        for first, last in self._strips(spare):
            self._over_chunks("noise_fine", self._chunks(tile, first, last), "fine")
        shared = rank_shared(2**FINE_BITS)
        self._launch("noise_medians", (MEDIANS, 1), (1024, 1), "states", "fine", shared=shared)
        shared = 8 * WIDTH * SUMS
        self._launch("summary", (1, 1), (WIDTH, 1), "states", "partials", self.extent.chunks, rows, cols, shared=shared)
        grid = self.extent.grid
        if grid.rows:
            self._launch("cell_power", (CELLS * CELLS, 1), (128, 1), "powers", "cells", grid.rows, grid.cols)

    def _block_power(self, at: tuple[int, int, int, int]) -> None:
        """Power of the blocks of the spectrum that begin in rows first .. last; `at` as in `_over_chunks`."""
        origin, image_rows, first, last = at
        grid = self.extent.grid
        top, bottom = ceil_div(first, grid.step), min(grid.rows, ceil_div(last, grid.step))
        if top < bottom:
            tables = [self._constant(name) for name in ("window", "turns", "starts", "places", "weights")]
            self._launch(
                "block_power", (ceil_div(grid.cols, 2), bottom - top), (WIDTH, 1), "image", "blocks", "powers",
                *tables, origin, image_rows, top, grid.step, grid.rows, grid.cols, *self.extent.shape,
                shared=16 + 2 * 4 * BLOCK_PX * (BLOCK_PX + 1),
            )  # fmt: skip

    def _limits(self, tile: Pixels) -> None:
        rows, cols = self.extent.shape
        kind, (digits, bits) = self.extent.dtype.str[1:], self.extent.digits
        rank = math.floor(self.extent.params.saturate * rows * cols)
        step = rows if self.layout.resident else self.layout.raw_rows
        for digit in range(digits):
            histograms = "digits" if digit else "first_digit"
            for first in range(0, rows, step):
                last = min(first + step, rows)
                self._raw(tile, first, last)
                size = (last - first) * cols
                self._launch(
                    f"histogram_{kind}", (min(1024, ceil_div(size, 16 * WIDTH)), 1), (WIDTH, 1), "raw", "states",
                    histograms, np.int64(size), bits, bits * (digits - 1 - digit), int(not digit), shared=4 * WIDTH,
                )  # fmt: skip
            self._launch(
                "limits", (4, 1), (1024, 1), "states", histograms, np.int64(rank), np.int64(rows * cols), bits,
                int(not digit), shared=rank_shared(2**bits),
            )  # fmt: skip

    def _strips(self, spare: int) -> Iterator[tuple[int, int]]:
        """All rows of the tile, in pieces that leave room for `spare` more rows of the image."""
        rows = self.extent.shape[0]
        if self.layout.image_rows >= rows:
            yield 0, rows
            return
        step = (self.layout.image_rows - spare) // CHUNK_ROWS * CHUNK_ROWS
        for first in range(0, rows, step):
            yield first, min(first + step, rows)

    def _normalise(self, tile: Pixels, first: int, last: int, *, with_blocks: bool = False) -> None:
        """Make `image` hold these rows."""
        if self._in_image == (first, last):
            return
        self._in_image = first, last
        raw_first, raw_rows = self._raw(tile, first, last)
        cols, (block_rows, _) = self.extent.shape[1], self.extent.blocks
        self._launch(
            f"normalise_{self.extent.dtype.str[1:]}", (ceil_div(cols, 128), ceil_div(last - first, BLOCK)), (128, 1),
            "raw", "states", "image", "blocks" if with_blocks else None, raw_first, raw_rows, last - first, cols,
            first // BLOCK, block_rows, shared=8 * 128 + 4 * 256,
        )  # fmt: skip

    def _chunks(self, tile: Pixels, first: int, last: int) -> tuple[int, int, int, int]:
        """Normalise the rows that the chunks read: first and number of rows in `image`; first, last."""
        rows = self.extent.shape[0]
        start, stop = max(0, first - BEFORE), min(rows, last + AFTER)
        self._normalise(tile, start, stop)
        return start, stop - start, first, last

    def _over_chunks(self, kernel: str, at: tuple[int, int, int, int], *results: str, shared: int = 0) -> None:
        _, _, first, last = at
        rows, cols = self.extent.shape
        grid = ceil_div(cols, CHUNK_COLS), ceil_div(last - first, CHUNK_ROWS)
        self._launch(kernel, grid, (CHUNK_COLS, 1), "image", "states", *results, *at, rows, cols, shared=shared)

    # Responses

    def responses(self, tile: Pixels, window: Window) -> None:
        """Maximum over scale of the rows `window.maximum`, in `strength` and `scale`."""
        self._normalise(tile, *window.image)
        source, target = "even", "odd"
        fresh = True
        waiting: list[Waiting] = []
        for numbers, kept in self._launches(window):
            steps = [step for number in numbers if isinstance(step := self.extent.plan.steps[number], Smooth)]
            wanted = [step for step in steps if step.scale_index is not None]
            if wanted and not self._has_room(window, waiting, wanted[0].level, len(wanted)):
                fresh = self._merge(window, waiting, fresh)
            responses = [None if step.scale_index is None else self._wait(window, waiting, step) for step in steps]
            into, place = None if kept is None else target, self._kept(window, steps[-1].level, kept)
            match steps:
                case [step]:
                    self._smooth(window, numbers[0], step, responses[0], source, into, *place)
                case [first, second]:
                    self._pair(window, numbers, (first, second), responses, source, into, *place)
            source, target = target, source
        self._merge(window, waiting, fresh)

    def _size(self, window: Window, level: int) -> tuple[int, int]:
        first, last = level_rows(self.extent, window, level)
        return last - first, level_cols(self.extent, level)

    def _plane_bytes(self, window: Window, level: int) -> int:
        return 4 * self.extent.batch * math.prod(self._size(window, level))

    def _end(self, window: Window, waiting: list[Waiting]) -> int:
        """Bytes that waiting responses take."""
        return sum(each.count * self._plane_bytes(window, each.level) for each in waiting)

    def _has_room(self, window: Window, waiting: list[Waiting], level: int, count: int) -> bool:
        needed = self._end(window, waiting) + count * self._plane_bytes(window, level)
        return needed <= self.layout.places["responses"][1]

    def _wait(self, window: Window, waiting: list[Waiting], step: Smooth) -> np.generic:
        """Where to put the response of a step, which then waits."""
        address: np.generic = np.uint64(self.at("responses", self._end(window, waiting)))
        if not (waiting and waiting[-1].level == step.level):
            waiting.append(Waiting(step.level, step.scale_index or 0, address))
        waiting[-1].count += 1
        return address

    def _launches(self, window: Window) -> Iterator[tuple[list[int], int | None]]:
        """Launch by launch: numbers of the steps of the plan; the level at which their plane is kept, None: nowhere."""
        number, steps = 0, self.extent.plan.steps
        while number < len(steps):
            together = number + 1 < len(steps) and self._fit_together(window, steps[number], steps[number + 1])
            end = number + 1 + together
            kept = next((i for i in range(end, len(steps)) if isinstance(steps[i], Smooth)), None)
            yield list(range(number, end)), None if kept is None else steps[kept].level
            number = len(steps) if kept is None else kept

    def _fit_together(self, window: Window, first: Smooth | Decimate, second: Smooth | Decimate) -> bool:
        """Whether two steps run in one launch: it exists, keeps the device busy, and both responses have room."""
        blocks = math.prod(pairs.blocks(*self._size(window, first.level))) * self.extent.batch
        return blocks >= pairs.LEAST_BLOCKS and pairs.fits(first, second) and self._has_room(window, [], first.level, 2)

    def _kept(self, window: Window, level: int, kept: int | None) -> tuple[int, ...]:
        """How a step at one level leaves its plane at another, for `keep` of cascade.cu: from `shift` on."""
        if kept is None or kept == level:
            return 0, 0, 0, 0, 0
        shift = kept - level
        (top, _), (source_top, _) = (level_rows(self.extent, window, each) for each in (kept, level))
        left = 0 if level else -self.extent.plan.margin
        return shift, *self._size(window, kept), (top << shift) - source_top, left

    def _pair(
        self,
        window: Window,
        numbers: list[int],
        steps: tuple[Smooth, Smooth],
        responses: list[np.generic | None],
        source: str,
        target: str | None,
        *kept: int,
    ) -> None:
        """Run two steps."""
        first, second = steps
        rows, cols = self._size(window, first.level)
        self._launch(
            f"pair_{len(first.taps)}_{len(second.taps)}", pairs.blocks(rows, cols), (PAIR_THREADS, PAIR_GROUPS),
            "image" if first.from_image else source, responses[0], target, responses[1],
            *(self._constant(f"taps {number}") for number in numbers), "states", rows, cols,
            *pairs.arguments(first, second), int(self.extent.circular), int(first.from_image), *kept,
            shared=pairs.shared(first, second),
        )  # fmt: skip

    def _smooth(
        self,
        window: Window,
        number: int,
        step: Smooth,
        response: np.generic | None,
        source: str,
        target: str | None,
        *kept: int,
    ) -> None:
        """Run one step."""
        rows, cols = self._size(window, step.level)
        begin = "image" if step.from_image else source
        taps, count, circular = self._constant(f"taps {number}"), len(step.taps), int(self.extent.circular)
        shape, rest = (rows, cols, step.step), (circular, int(step.from_image))
        if fits_shared(step):
            groups = ceil_div(rows, SMOOTH_ROWS * step.step) * step.step
            grid = ceil_div(cols, SMOOTH_COLS), ceil_div(groups, SMOOTH_GROUPS)
            self._launch(
                f"smooth_{count}", grid, (SMOOTH_COLS, SMOOTH_GROUPS), begin, source, target, response, taps, "states",
                *shape, smooth_stride(step), smooth_quads(step), step.t, *rest, *kept, shared=smooth_shared(step),
            )  # fmt: skip
            return
        grid = rows, ceil_div(cols, WIDTH)
        self._launch("smooth_down", grid, (WIDTH, 1), begin, "changes", taps, "states", count, *shape, *rest)
        self._launch(
            "smooth_along", grid, (WIDTH, 1), begin, "changes", source, target, response, taps, "states", count, *shape,
            step.t, *rest, *kept,
        )  # fmt: skip

    def _merge(self, window: Window, waiting: list[Waiting], fresh: bool) -> bool:
        """Merge waiting responses into the maximum and clear them; True if it is still empty."""
        first, last = window.maximum
        rows, cols = last - first, self.extent.shape[1]
        polarity = ("dark", "bright", "both").index(self.extent.params.polarity)
        while waiting:
            finest = taken(waiting, 0)
            finer = taken(waiting, waiting[0].level if waiting else 1)
            coarser = taken(waiting, finer.level + 1)
            *on_every_pixel, _, top, _ = self._waited(window, finest)
            self._launch(
                f"merge_{finer.level}", (ceil_div(cols, MERGE_SIDE), ceil_div(rows, MERGE_SIDE)),
                (MERGE_SIDE, MERGE_GROUPS), *on_every_pixel, top, *self._waited(window, finer),
                *self._waited(window, coarser), "strength", "scale", rows, cols, polarity, int(fresh),
                shared=merge_shared(finer.level),
            )  # fmt: skip
            fresh = False
        return fresh

    def _waited(self, window: Window, what: Waiting) -> tuple[np.generic | int, ...]:
        """Where responses are, their distance, number, first scale, size of each, sample at pixel (0, 0)."""
        size, level = self._size(window, what.level), what.level
        top = (window.maximum[0] >> level) - level_rows(self.extent, window, level)[0]
        stride: np.generic = np.int64(self.extent.batch * math.prod(size))
        return what.address, stride, what.count, what.first, *size, top, self.extent.plan.margin >> level

    # Gather, peaks

    def gather(self, other: Work, window: Window) -> None:
        """Merge another device's maximum over larger scales, once that device has synchronised."""
        size = (window.maximum[1] - window.maximum[0]) * self.extent.shape[1]
        self.stream.fetch(self.at("even"), other.device, other.at("strength"), 4 * size)
        self.stream.fetch(self.at("odd"), other.device, other.at("scale"), 2 * size)
        self._launch(
            "merge_pair", (ceil_div(size, WIDTH), 1), (WIDTH, 1), "strength", "scale", "even", "odd", np.int64(size)
        )

    def peaks(self, window: Window) -> None:
        """Count the features of the core and, if wanted, list them."""
        (first, last), cols = window.core, self.extent.shape[1]
        robust, n_scales = self.extent.params.mode == "robust", self.extent.params.n_scales
        self._launch(
            "peaks", (ceil_div(cols, WIDTH), ceil_div(last - first, PEAK_ROWS)), (WIDTH, 1),
            "strength", "scale", "image", "states", self._constant("thresholds") if robust else None, "counts",
            "responses" if self.features else None, "found", *window.maximum, window.image[0],
            window.image[1] - window.image[0], first, last, self.extent.shape[0], cols, n_scales,
            shared=peak_shared(n_scales),
        )  # fmt: skip

    def copy_features(self, listed: NDArray[Any]) -> None:
        """Copy as many features of the window just searched, in any order, as there is room for."""
        self.stream.download(listed, self.at("responses"))

    def listed(self) -> NDArray[Any]:
        """The features of the window just searched, in any order."""
        found = np.zeros(1, np.uint32)
        self.stream.download(found, self.at("found"))
        self.stream.zero(self.at("found"), 4)
        self.stream.synchronize()
        features = np.empty(int(found[0]), FEATURE)
        if len(features):
            self.copy_features(features)
            self.stream.synchronize()
        return features

    # Numbers

    @property
    def result_bytes(self) -> int:
        """Size of what lies from the states to the counts."""
        start, size = self.layout.places["counts"]
        return start + size - self.layout.places["states"][0]

    def copy_out(self, results: NDArray[np.uint8]) -> None:
        """Copy all numbers of the batch, (result_bytes,)."""
        self.stream.download(results, self.at("states"))

    def all_numbers(self) -> list[Numbers]:
        """`copy_out`, then wait."""
        results = np.empty(self.result_bytes, np.uint8)
        self.copy_out(results)
        self.stream.synchronize()
        return self.numbers(results)

    def numbers(self, results: NDArray[np.uint8]) -> list[Numbers]:
        """The output of `copy_out`, tile by tile."""
        origin = self.layout.places["states"][0]

        def part(name: str, dtype: Any) -> NDArray[Any]:
            start, size = self.layout.places[name]
            values: NDArray[Any] = results[start - origin : start - origin + size].copy().view(dtype)
            return values.reshape(self.extent.batch, -1)

        extent = self.extent
        states, counts, cells = part("states", STATE), part("counts", np.uint32), part("cells", np.float64)
        blocks = part("blocks", np.float64).reshape(extent.batch, *extent.blocks)
        rows, cols = extent.shape[0] // BLOCK, extent.shape[1] // BLOCK
        means = blocks[:, :rows, :cols] / BLOCK**2
        cells = cells.reshape(extent.batch, CELLS, CELLS, -1)
        return [Numbers(extent, states[i, 0], counts[i], means[i], cells[i]) for i in range(extent.batch)]


@dataclass(frozen=True)
class Numbers:
    """A device's results for a tile."""

    extent: Extent
    state: Any  # a STATE
    counts: NDArray[np.uint32]  # features by scale
    means: NDArray[np.float64]  # of the blocks of the content
    cells: NDArray[np.float64]  # (CELLS, CELLS, power.KEPT + 1)


def all_measures(found: Sequence[Numbers]) -> list[Measures]:
    """The measures of tiles of one extent."""
    extent, means = found[0].extent, np.stack([each.means for each in found])
    spectra: list[Spectrum | None] = [None] * len(found)
    if extent.grid.rows:
        cells = np.stack([each.cells for each in found])
        spectra = power.spectra(cells[..., :-1], cells[..., -1], extent.grid, means)
    return [
        summarise(
            math.prod(extent.shape),
            each.counts.tolist(),
            NoiseModel(*(float(each.state[name]) for name in ("variance", "slope", "grey"))),
            Covariances.of(each.state["covariances"].tolist()),
            each.means,
            float(each.state["saturated"]),
            extent.params,
            spectrum,
        )
        for each, spectrum in zip(found, spectra, strict=True)
    ]


def feature_list(features: NDArray[Any], params: FocusParams) -> FeatureList:
    """Features in raster order."""
    places = features["row"].astype(np.int64) << 32 | features["col"]
    features = features[np.argsort(places)]  # of one number, a fifth of the time of lexsort
    index = features["scale"].astype(np.int64)
    return FeatureList(
        features["row"].astype(np.int64),
        features["col"].astype(np.int64),
        index,
        np.array(params.scales)[index],
        features["strength"].astype(np.float64),
    )
