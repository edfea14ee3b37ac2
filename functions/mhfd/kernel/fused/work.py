"""The launches for one extent: which kernel of cuda/ runs when, on what memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.kernel.fused.cascade import Cascade
from mhfd.kernel.fused.device import Device
from mhfd.kernel.fused.launcher import Launcher
from mhfd.kernel.fused.layout import (
    AFTER,
    BEFORE,
    Extent,
    MemoryLayout,
    Window,
    found_shared,
    rank_shared,
    seam_blocks,
)
from mhfd.kernel.fused.numbers import Numbers
from mhfd.kernel.fused.source import (
    BLOCK,
    CHUNK_COLS,
    CHUNK_ROWS,
    COARSE_BINS,
    FEATURE,
    FINE_BITS,
    MEDIANS,
    PEAK_ROWS,
    STATE,
    SUMS,
    WIDTH,
    ceil_div,
)
from mhfd.kernel.pixels import Pixels, row_blocks
from mhfd.spectrum import BLOCK_PX, CELLS


class Work(Launcher):
    """The launches for one extent; each phase is a method that waits for nothing."""

    def __init__(self, device: Device, extent: Extent, plan_of_memory: MemoryLayout, features: bool) -> None:
        super().__init__(device, extent, plan_of_memory)
        self.features = features
        self._in_image: tuple[int, int] | None = None

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
        self.launch(f"mean_{kind}", (1, 1), (WIDTH, 1), "states", "blocks", n_blocks, np.int64(size), shared=8 * WIDTH)

    def noise(self, tile: Pixels) -> None:
        """Noise, covariances and spectrum of the tile as a whole."""
        rows, cols = self.extent.shape
        spare = BEFORE + AFTER
        for first, last in self._strips(spare):
            at = self._chunks(tile, first, last)
            shared = max(8 * SUMS * CHUNK_COLS, 4 * 4 * COARSE_BINS)
            self._over_chunks("noise_coarse", at, "coarse", "partials", shared=shared)
            self._block_power(at)
        self.launch(
            "noise_bins", (MEDIANS, 1), (1024, 1), "states", "coarse", "partials", self.extent.chunks,
            np.int64(rows * cols), shared=8 * 1024,
        )  # fmt: skip
        for first, last in self._strips(spare):
            self._over_chunks("noise_fine", self._chunks(tile, first, last), "fine")
        shared = rank_shared(2**FINE_BITS)
        self.launch("noise_medians", (MEDIANS, 1), (1024, 1), "states", "fine", shared=shared)
        shared = 8 * WIDTH * SUMS
        self.launch("summary", (1, 1), (WIDTH, 1), "states", "partials", self.extent.chunks, rows, cols, shared=shared)
        grid = self.extent.grid
        if grid.rows:
            self.launch("cell_power", (CELLS * CELLS, 1), (128, 1), "powers", "cells", grid.rows, grid.cols)

    def _block_power(self, at: tuple[int, int, int, int]) -> None:
        """Power of the blocks of the spectrum that begin in rows first .. last; `at` as in `_over_chunks`."""
        origin, image_rows, first, last = at
        grid = self.extent.grid
        top, bottom = ceil_div(first, grid.step), min(grid.rows, ceil_div(last, grid.step))
        if top < bottom:
            tables = [self.constant(name) for name in ("window", "turns", "starts", "places", "weights")]
            self.launch(
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
                self.launch(
                    f"histogram_{kind}", (min(1024, ceil_div(size, 16 * WIDTH)), 1), (WIDTH, 1), "raw", "states",
                    histograms, np.int64(size), bits, bits * (digits - 1 - digit), int(not digit), shared=4 * WIDTH,
                )  # fmt: skip
            self.launch(
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
        self.launch(
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
        self.launch(kernel, grid, (CHUNK_COLS, 1), "image", "states", *results, *at, rows, cols, shared=shared)

    # Responses

    def responses(self, tile: Pixels, window: Window) -> None:
        """Maximum over scale of the rows `window.maximum`, in `strength` and `scale`."""
        self._normalise(tile, *window.image)
        Cascade(self).run(window)

    def search(self, tile: Pixels, window: Window) -> None:
        """`responses` and `peaks` of a tile that one window holds, at once: the maximum stays in no memory."""
        self._normalise(tile, *window.image)
        (rows, cols), n_scales = self.extent.shape, self.extent.params.n_scales
        search = "odd", *self._search(), n_scales
        Cascade(self).run(window, search)
        down, along = seam_blocks(self.extent.shape)
        if down + along > 2:
            self.launch(
                "seams", (ceil_div(max(rows, cols), WIDTH), down + along - 2), (WIDTH, 1), *search, rows, cols,
                shared=found_shared(n_scales, 2, WIDTH),
            )  # fmt: skip

    # Gather, peaks

    def gather(self, other: Work, window: Window) -> None:
        """Merge another device's maximum over larger scales, once that device has synchronised."""
        size = (window.maximum[1] - window.maximum[0]) * self.extent.shape[1]
        self.stream.fetch(self.at("even"), other.device, other.at("strength"), 4 * size)
        self.stream.fetch(self.at("odd"), other.device, other.at("scale"), 2 * size)
        self.launch(
            "merge_pair", (ceil_div(size, WIDTH), 1), (WIDTH, 1), "strength", "scale", "even", "odd", np.int64(size)
        )

    def peaks(self, window: Window) -> None:
        """Count the features of the core and, if wanted, list them."""
        (first, last), cols, n_scales = window.core, self.extent.shape[1], self.extent.params.n_scales
        self.launch(
            "peaks", (ceil_div(cols, WIDTH), ceil_div(last - first, PEAK_ROWS)), (WIDTH, 1), "strength", "scale",
            *self._search(), *window.maximum, window.image[0], window.image[1] - window.image[0], first, last,
            self.extent.shape[0], cols, n_scales, shared=found_shared(n_scales, PEAK_ROWS, WIDTH),
        )  # fmt: skip

    def _search(self) -> tuple[str | np.generic | None, ...]:
        """From `image` to `found` of features.cu. Nothing reads the plane any more that the list takes."""
        thresholds = self.constant("thresholds") if self.extent.params.mode == "robust" else None
        return "image", "states", thresholds, "counts", "even" if self.features else None, "found"

    def copy_features(self, listed: NDArray[Any]) -> None:
        """Copy as many features of the window just searched, in any order, as there is room for."""
        self.stream.download(listed, self.at("even"))

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
