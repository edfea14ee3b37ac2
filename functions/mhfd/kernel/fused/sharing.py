"""One tile on several devices: by scales, as in the paper, or by strips."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import FocusParams
from mhfd.kernel.fused.layout import STRIP_ROWS, Extent, fit, layout
from mhfd.kernel.fused.numbers import all_measures, feature_list
from mhfd.kernel.fused.single import Fused, known_type
from mhfd.kernel.fused.work import Work
from mhfd.kernel.measures import FeatureList, Measures
from mhfd.kernel.partition import row_ranges, scale_ranges
from mhfd.kernel.pixels import Pixels

Partition = Literal["scales", "strips"]


@dataclass(frozen=True)
class Phase:
    """A phase of one device, in seconds since all devices began."""

    device: int
    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Shared:
    """One tile measured by several devices.

    Attributes
    ----------
    phases : by device and time, named "copy in", "normalise and noise", "responses", "gather", "peaks"
    """

    measures: Measures
    features: FeatureList
    phases: tuple[Phase, ...]


def measure_on(devices: Sequence[Fused], tile: Pixels, params: FocusParams, partition: Partition) -> Shared:
    """`Fused.measure` of one tile on several devices, each in its own thread; a device may be listed more than once.

    Parameters
    ----------
    partition : "scales": each device makes the maximum over some of the scales, and the first gathers one maximum
        and one scale a pixel from each (the paper's filter partition); "strips": each does some of the rows
    """
    tile = known_type(tile)
    everything = Extent.of(tile.shape, tile.dtype, params)
    if partition == "scales":
        ranges = scale_ranges(params, tile.shape, len(devices))
        tasks = [replace(everything, first=first, last=last) for first, last in ranges]
        align = max(extent.plan.spacing for extent in tasks)
        tasks = [replace(extent, align=align) for extent in tasks]
    else:
        tasks = [replace(everything, rows=rows) for rows in row_ranges(tile.shape[0], len(devices), STRIP_ROWS)]
    used = devices[: len(tasks)]
    shares = [used.count(device) for device in used]  # of the memory of a device that is listed more than once
    for device in used:
        device.release()
    budgets = [device.budget(params) // share for device, share in zip(used, shares, strict=True)]
    while True:
        layouts = [fit(extent, budget, True) for extent, budget in zip(tasks, budgets, strict=True)]
        if partition == "scales":  # the same strips everywhere
            height = min(memory.windows[0].core[1] - memory.windows[0].core[0] for memory in layouts)
            layouts = [
                layout(extent, height, memory.group, memory.resident, True)
                for extent, memory in zip(tasks, layouts, strict=True)
            ]
        try:
            works = [
                Work(device.hardware, extent, memory, features=True)
                for device, extent, memory in zip(used, tasks, layouts, strict=True)
            ]
            break
        except MemoryError:  # others took the memory
            budgets = [memory.nbytes * 3 // 4 for memory in layouts]
    team = _Team(works, tile, gathering=partition == "scales")
    features = team.run()
    numbers = [work.all_numbers()[0] for work in (works[:1] if team.gathering else works)]
    counts = np.sum([each.counts for each in numbers], axis=0)
    return Shared(
        all_measures([replace(numbers[0], counts=counts)])[0],
        feature_list(np.concatenate(features), params),
        tuple(sorted(team.phases, key=lambda phase: (phase.device, phase.start_s))),
    )


class _Team:
    """Devices that work on one tile at the same time."""

    def __init__(self, works: list[Work], tile: Pixels, *, gathering: bool) -> None:
        self.works, self.tile, self.gathering = works, tile, gathering
        self.phases: list[Phase] = []
        self._barrier = threading.Barrier(len(works))
        self._began = perf_counter()

    def run(self) -> list[NDArray[Any]]:
        """All features, strip by strip."""
        with ThreadPoolExecutor(len(self.works)) as threads:
            futures = [threads.submit(self._run_or_abort, number) for number in range(len(self.works))]
        errors = [error for future in futures if (error := future.exception())]
        for error in errors:
            if not isinstance(error, threading.BrokenBarrierError):  # only another device's failure breaks it
                raise error
        return [found for future in futures for found in future.result()]

    def _run_or_abort(self, number: int) -> list[NDArray[Any]]:
        try:
            return self._run(number, self.works[number])
        except BaseException:  # the others must not wait for this device for ever
            self._barrier.abort()
            raise

    def _run(self, number: int, work: Work) -> list[NDArray[Any]]:
        """Do one device's share; the features it has found."""

        def timed(name: str, *steps: Callable[[], None]) -> None:
            start = perf_counter()
            for step in steps:
                step()
            work.stream.synchronize()
            self.phases.append(Phase(number, name, start - self._began, perf_counter() - self._began))

        tile, features = self.tile, []
        first = number == 0 or not self.gathering  # searches for peaks
        timed("copy in", work.reset, lambda: work.copy_in(tile))
        timed("normalise and noise", lambda: work.greys(tile), *([lambda: work.noise(tile)] if first else []))
        for window in work.layout.windows:
            timed("responses", partial(work.responses, tile, window))
            if self.gathering:
                self._barrier.wait()  # until all maxima are there
                if first:
                    timed("gather", *(partial(work.gather, other, window) for other in self.works[1:]))
                self._barrier.wait()  # until they have been fetched
            if first:
                timed("peaks", partial(work.peaks, window))
                features.append(work.listed())
        return features
