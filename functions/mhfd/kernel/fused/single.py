"""The measure on one device: whole tiles as recorded graphs, in batches, or large tiles in strips."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import FocusParams
from mhfd.kernel.fused.device import Device
from mhfd.kernel.fused.layout import GROUP, Extent, MemoryLayout, fit, layout
from mhfd.kernel.fused.numbers import all_measures, feature_list
from mhfd.kernel.fused.source import FEATURE, ceil_div
from mhfd.kernel.fused.work import Work
from mhfd.kernel.measures import FeatureList, Measures
from mhfd.kernel.pixels import Pixels

FREE_SHARE = 0.8
"""Largest part of the free memory to take: graphs, kernels and other processes need some."""

PINNED_BYTES = 2**26
"""Larger tiles are not read into pinned memory: they are few, and the system has to find it in one piece."""

PIXELS_PER_FEATURE = 32
"""The list of a tile with no more features comes with its numbers: one wait for all. Sharp tissue has one in 100."""

PROGRAMS_KEPT = 4
"""Kinds of batches (shape, type, parameters, number of tiles) whose memory and graph are kept for the next one."""


class Program:
    """A batch of whole tiles recorded once as a graph, with the host memory it copies from and to."""

    def __init__(self, device: Device, extent: Extent, plan_of_memory: MemoryLayout, features: bool) -> None:
        self.work = Work(device, extent, plan_of_memory, features)
        self._device = device
        self.lock = threading.RLock()  # one run at a time
        self.run: Run | None = None
        rows, cols = extent.shape
        pixels = device.pinned(extent.batch * rows * cols * extent.dtype.itemsize)
        self._tiles = pixels.view(extent.dtype).reshape(extent.batch, rows, cols)
        self._results = device.pinned(self.work.result_bytes)
        listed = ceil_div(rows * cols, PIXELS_PER_FEATURE) if features else 0
        self._listed = device.pinned(listed * FEATURE.itemsize).view(FEATURE)
        self._replay = self.work.stream.record(self._kernels)

    def _kernels(self) -> None:
        work, tile, (window,) = self.work, self._tiles[0], self.work.layout.windows
        work.reset()
        work.greys(tile)
        work.noise(tile)
        work.search(tile, window)
        work.copy_out(self._results)
        if len(self._listed):
            work.copy_features(self._listed)

    def start(self, tiles: Sequence[Pixels]) -> Run:
        """Start a batch once the one before is done."""
        with self.lock:
            self.settle()
            stream, address = self.work.stream, self.work.at("raw")
            marks, kept = [stream.mark()], []
            for place, tile in zip(self._tiles, tiles, strict=True):
                source = tile[0 : tile.shape[0]]
                if source.flags.c_contiguous and self._device.is_pinned(source):  # `memory` gave it
                    kept.append(source)
                else:
                    place[...] = source
                    source = place
                stream.upload(address, source)
                address += source.nbytes
            marks.append(stream.mark())
            self._replay()
            marks.append(stream.mark())
            self.run = Run(self, marks, kept)
            return self.run

    def measure(self, tile: Pixels) -> tuple[Measures, FeatureList]:
        """One tile, and its features."""
        with self.lock:
            (found,) = self.start([tile]).result()
            return found, feature_list(self._features(found.features), self.work.extent.params)

    def _features(self, count: int) -> NDArray[Any]:
        """The features of the tile just measured, in any order."""
        if count <= len(self._listed):
            return self._listed[:count]
        every = np.empty(count, FEATURE)
        self.work.copy_features(every)
        self.work.stream.synchronize()
        return every

    def settle(self) -> None:
        """Wait for the current run, if any: its memory may then be reused or freed."""
        with self.lock:
            if self.run:
                self.run.result()

    def finish(self) -> list[Measures]:
        """Wait for the device."""
        self.run = None
        self.work.stream.synchronize()
        return all_measures(self.work.numbers(self._results))


class Run:
    """One batch on its way through a `Program`."""

    def __init__(self, program: Program, marks: list[Any], tiles: list[NDArray[Any]]) -> None:
        self._program, self._marks = program, marks
        self._tiles = tiles  # copied from where they are, so they must stay
        self._measures: list[Measures] | None = None
        self.copy_ms = self.kernel_ms = 0.0

    def result(self) -> list[Measures]:
        with self._program.lock:
            if self._measures is None:
                self._measures = self._program.finish()
                self._tiles = []
                start, copied, done = self._marks
                self.copy_ms = self._program.work.stream.milliseconds(start, copied)
                self.kernel_ms = self._program.work.stream.milliseconds(copied, done)
            return self._measures


class Pending:
    """Measures that a device is working on.

    Attributes
    ----------
    copy_ms, kernel_ms : device time for all of them, once `result` has returned
    """

    def __init__(self, runs: Sequence[Run | list[Measures]]) -> None:
        self._runs = runs
        self.copy_ms = self.kernel_ms = 0.0

    def result(self) -> list[Measures]:
        """In the order of the tiles; waits for the device."""
        found = [m for run in self._runs for m in (run.result() if isinstance(run, Run) else run)]
        self.copy_ms = sum(run.copy_ms for run in self._runs if isinstance(run, Run))
        self.kernel_ms = sum(run.kernel_ms for run in self._runs if isinstance(run, Run))
        return found


class Fused:
    """The measure on one device, for any number of threads.

    Parameters
    ----------
    device : where
    max_bytes : most memory to take there; by default a share of what is free
    """

    def __init__(self, device: Device, max_bytes: int | None = None) -> None:
        self.hardware = device
        self._max_bytes = max_bytes
        self._lock = threading.RLock()  # of the programs that are kept
        self._programs: OrderedDict[tuple[Extent, bool], list[Program]] = OrderedDict()

    @property
    def device(self) -> str:
        """Name of the device."""
        return self.hardware.name

    def memory(self, nbytes: int) -> NDArray[np.uint8]:
        """(nbytes,) to read a tile into, from which the device copies without help."""
        return self.hardware.pinned(nbytes) if nbytes <= PINNED_BYTES else np.empty(nbytes, np.uint8)

    def measure(self, tile: Pixels, params: FocusParams) -> tuple[Measures, FeatureList]:
        """Every number of one tile; agrees with `reference.measure`.

        Parameters
        ----------
        tile : (rows, cols), finite, not empty, of any size and real type
        params : scales in pixels; `max_gpu_bytes` bounds the device memory, by strips of rows if need be

        Raises
        ------
        TileError
            "out_of_memory": not even a narrow strip fits into the memory allowed or free.
        BackendError
            the device failed.
        """
        tile = known_type(tile)
        extent = Extent.of(tile.shape, tile.dtype, params)
        if program := self._kept_program(extent, True, slots=1):
            return program.measure(tile)
        budget = self.budget(params)
        while True:
            memory = fit(extent, budget, True)
            try:
                if is_whole(memory):
                    return self._new_program(extent, memory, True).measure(tile)
                return self._by_strips(tile, extent, memory)
            except MemoryError:  # others took the memory
                self.release()
                budget = memory.nbytes * 3 // 4

    def submit(self, tiles: Sequence[Pixels], params: FocusParams) -> Pending:
        """Start measuring tiles of one shape and type as one batch; two batches run at a time.

        Returns before the numbers are known: submit the next batch before calling `result`. Other arguments and
        errors as in `measure`; a `TileError` concerns all of these tiles.
        """
        if len({(tile.shape, tile.dtype) for tile in tiles}) > 1:
            raise ValueError("the tiles of a batch must have one shape and one type: make a batch of each")
        left = [known_type(tile) for tile in tiles]
        runs: list[Run | list[Measures]] = []
        at_a_time = len(left)
        while left:
            some = left[:at_a_time]
            extent = Extent.of(some[0].shape, some[0].dtype, params, len(some))
            try:
                program = self._kept_program(extent, False, slots=2)
                if program is None:
                    memory = layout(extent, extent.shape[0], GROUP, True, False)
                    if 2 * memory.nbytes > self.budget(params, 2 * len(some)):
                        raise MemoryError
                    program = self._new_program(extent, memory, False)
                runs.append(program.start(some))
                left = left[len(some) :]
            except MemoryError:  # smaller batches, or one tile after the other
                self.release()
                at_a_time = len(some) // 2
                if not at_a_time:
                    runs += [[self.measure(tile, params)[0]] for tile in left]
                    break
        return Pending(runs)

    def takes_whole(self, tile: Pixels, params: FocusParams) -> bool:
        """True if the tile needs no strips here."""
        known = known_type(tile)
        return is_whole(fit(Extent.of(known.shape, known.dtype, params), self.budget(params), True))

    def budget(self, params: FocusParams, tiles: int = 1) -> int:
        """Bytes that `tiles` tiles may take on the device."""
        most = self._allowed()
        return most if params.max_gpu_bytes is None else min(most, params.max_gpu_bytes * tiles)

    def release(self) -> None:
        """Free the memory kept for further batches of the same kinds."""
        with self._lock:
            while self._programs:
                self._drop_oldest()

    def _drop_oldest(self) -> None:
        for program in self._programs.popitem(last=False)[1]:
            program.settle()

    def _allowed(self, held: int = 0) -> int:
        """Bytes that all programs may take together, including unlisted ones that hold `held` bytes."""
        if self._max_bytes is not None:
            return self._max_bytes
        return int(FREE_SHARE * (self.hardware.free_bytes() + self._kept() + held))

    def _kept(self) -> int:
        with self._lock:
            return sum(program.work.layout.nbytes for programs in self._programs.values() for program in programs)

    def _kept_program(self, extent: Extent, features: bool, slots: int) -> Program | None:
        """The program of an extent that was started longest ago; None while the extent has fewer than `slots`."""
        with self._lock:
            programs = self._programs.get((extent, features), [])
            if len(programs) < slots:
                return None
            self._programs.move_to_end((extent, features))
            programs.append(programs.pop(0))
            return programs[-1]

    def _new_program(self, extent: Extent, memory: MemoryLayout, features: bool) -> Program:
        """One more program for an extent; others, longest unused first, are dropped for it."""
        with self._lock:
            same = self._programs.pop((extent, features), [])
            needed = memory.nbytes * (1 + len(same))
            while self._programs and (
                len(self._programs) >= PROGRAMS_KEPT or self._kept() + needed > self._allowed(needed - memory.nbytes)
            ):
                self._drop_oldest()
            self._programs[extent, features] = [*same, Program(self.hardware, extent, memory, features)]
            return self._programs[extent, features][-1]

    def _by_strips(self, tile: Pixels, extent: Extent, memory: MemoryLayout) -> tuple[Measures, FeatureList]:
        self.release()
        work = Work(self.hardware, extent, memory, features=True)
        work.reset()
        work.copy_in(tile)
        work.greys(tile)
        work.noise(tile)
        features = []
        for window in memory.windows:
            work.responses(tile, window)
            work.peaks(window)
            features.append(work.listed())
        (found,) = all_measures(work.all_numbers())
        return found, feature_list(np.concatenate(features), extent.params)


def is_whole(memory: MemoryLayout) -> bool:
    """True if the tile is in memory as one piece, with its pixels."""
    (window, *others) = memory.windows
    return memory.resident and not others and window.image == window.core


@dataclass(frozen=True)
class Converted:
    """A tile read in another type, by rows."""

    tile: Pixels
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, int]:
        return self.tile.shape

    @property
    def size(self) -> int:
        return self.tile.size

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        return np.ascontiguousarray(self.tile[rows], self.dtype)


def known_type(tile: Pixels) -> Pixels:
    """The tile in a type that the CUDA source has, with contiguous rows, in this machine's byte order."""
    kind, size = tile.dtype.kind, tile.dtype.itemsize
    known = (kind in "iu" and size <= 2) or (kind == "f" and size in (4, 8))
    return Converted(tile, tile.dtype.newbyteorder("=") if known else np.dtype(np.float64))
