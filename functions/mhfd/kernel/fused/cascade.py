"""The launches of the cascade: planes smoothed step by step, their responses merged into the maximum over scale."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mhfd.kernel.fused import pairs
from mhfd.kernel.fused.launcher import Argument, Launcher
from mhfd.kernel.fused.layout import (
    Window,
    fits_shared,
    level_cols,
    level_rows,
    merge_shared,
    search_shared,
    smooth_quads,
    smooth_shared,
    smooth_stride,
    wanted,
)
from mhfd.kernel.fused.source import (
    MERGE_GROUPS,
    MERGE_SIDE,
    PAIR_GROUPS,
    PAIR_THREADS,
    SMOOTH_COLS,
    SMOOTH_GROUPS,
    SMOOTH_ROWS,
    WIDTH,
    ceil_div,
)
from mhfd.kernel.plan import Decimate, Smooth

MOST_FINEST = 31
"""Planes of level 0 that may wait: as many as `folded` has bits."""


NO_SEARCH: tuple[Argument, ...] = (None,) * 7 + (0,)
"""What a launch gets that makes the maximum over scale only."""


@dataclass
class Waiting:
    """Responses of successive scales at one level that wait to be merged.

    Attributes
    ----------
    level, first : the first scale
    address : of `count` planes, one after the other
    folded : bit i is set if plane i holds two scales (cuda/pair.cu)
    """

    level: int
    first: int
    address: np.generic
    count: int = 0
    folded: int = 0


def taken(waiting: list[Waiting], level: int) -> Waiting:
    """The first that wait, taken off the list; none of them unless they are of this level."""
    return waiting.pop(0) if waiting and waiting[0].level == level else Waiting(level, 0, np.uint64(0))


class Cascade:
    """Launches the steps of the plan for one extent."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher, self._extent = launcher, launcher.extent
        self._polarity = ("dark", "bright", "both").index(launcher.extent.params.polarity)
        self._sign = -1 if launcher.extent.params.polarity == "bright" else 1  # of the responses that count

    def run(self, window: Window, search: Sequence[Argument] = NO_SEARCH) -> None:
        """Maximum over scale of the rows `window.maximum`, in `strength` and `scale`; `image` holds what it reads.

        `search`: from `seams` on, what the last launch needs to search that maximum for features (cuda/maximum.cu);
        then it leaves only the seams between its blocks.
        """
        source, target = "even", "odd"
        fresh = True
        waiting: list[Waiting] = []
        for numbers, kept in self.launches(window):
            steps = [step for number in numbers if isinstance(step := self._extent.plan.steps[number], Smooth)]
            if not self._has_room(window, waiting, steps):
                fresh = self._merge(window, waiting, fresh)
            responses = self._wait(window, waiting, steps)
            into, place = None if kept is None else target, self._kept(window, steps[-1].level, kept)
            match steps:
                case [step]:
                    self._smooth(window, numbers[0], step, responses[0], source, into, *place)
                case [first, second]:
                    self._pair(window, numbers, (first, second), responses, source, into, *place)
            source, target = target, source
        self._merge(window, waiting, fresh, search)

    def _folds(self, steps: Sequence[Smooth]) -> bool:
        """Whether a launch writes two responses as one plane (cuda/pair.cu): none is interpolated, signs are free."""
        two = len(steps) == 2 and all(step.level == 0 and step.scale_index is not None for step in steps)
        return two and self._extent.params.polarity != "both"

    def _size(self, window: Window, level: int) -> tuple[int, int]:
        first, last = level_rows(self._extent, window, level)
        return last - first, level_cols(self._extent, level)

    def _plane_bytes(self, window: Window, level: int) -> int:
        return 4 * self._extent.batch * math.prod(self._size(window, level))

    def _end(self, window: Window, waiting: list[Waiting]) -> int:
        """Bytes that waiting responses take."""
        return sum(each.count * self._plane_bytes(window, each.level) for each in waiting)

    def _has_room(self, window: Window, waiting: list[Waiting], steps: Sequence[Smooth]) -> bool:
        """Whether the responses of a launch have room beside those that wait."""
        level, count = steps[0].level, 1 if self._folds(steps) else sum(step.scale_index is not None for step in steps)
        needed = self._end(window, waiting) + count * self._plane_bytes(window, level)
        finest = count + sum(each.count for each in waiting if each.level == level == 0)
        return not count or (needed <= self._launcher.layout.places["responses"][1] and finest <= MOST_FINEST)

    def _wait(self, window: Window, waiting: list[Waiting], steps: Sequence[Smooth]) -> list[np.generic | None]:
        """Where a launch is to put the response of each step, which then waits."""
        addresses: list[np.generic | None] = []
        for step in steps:
            if step.scale_index is None:
                addresses.append(None)
            elif addresses and self._folds(steps):
                addresses.append(addresses[-1])
                waiting[-1].folded |= 1 << (waiting[-1].count - 1)
            else:
                address: np.generic = np.uint64(self._launcher.at("responses", self._end(window, waiting)))
                if not (waiting and waiting[-1].level == step.level):
                    waiting.append(Waiting(step.level, step.scale_index, address))
                waiting[-1].count += 1
                addresses.append(address)
        return addresses

    def launches(self, window: Window) -> Iterator[tuple[list[int], int | None]]:
        """Launch by launch: numbers of the steps of the plan; the level at which their plane is kept, None: nowhere."""
        number, steps = 0, self._extent.plan.steps
        while number < len(steps):
            together = number + 1 < len(steps) and self._fit_together(window, steps[number], steps[number + 1])
            end = number + 1 + together
            kept = next((i for i in range(end, len(steps)) if isinstance(steps[i], Smooth)), None)
            yield list(range(number, end)), None if kept is None else steps[kept].level
            number = len(steps) if kept is None else kept

    def _fit_together(self, window: Window, first: Smooth | Decimate, second: Smooth | Decimate) -> bool:
        """Whether two steps run in one launch: it exists, keeps the device busy, and both responses have room."""
        steps = [step for step in (first, second) if isinstance(step, Smooth)]
        busy = pairs.best_span(*self._size(window, first.level), self._extent.batch) is not None
        return busy and pairs.fits(first, second) and self._has_room(window, [], steps)

    def _kept(self, window: Window, level: int, kept: int | None) -> tuple[int, ...]:
        """How a step at one level leaves its plane at another, for `keep` of cascade.cu: from `shift` on."""
        if kept is None or kept == level:
            return 0, 0, 0, 0, 0
        shift = kept - level
        (top, _), (source_top, _) = (level_rows(self._extent, window, each) for each in (kept, level))
        left = 0 if level else -self._extent.plan.margin
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
        span = pairs.best_span(rows, cols, self._extent.batch)
        assert span is not None  # `_fit_together`
        self._launcher.launch(
            f"pair_{len(first.taps)}_{len(second.taps)}", pairs.blocks(rows, cols, span), (PAIR_THREADS, PAIR_GROUPS),
            "image" if first.from_image else source, responses[0], target, responses[1],
            *(self._launcher.constant(f"taps {number}") for number in numbers), "states", rows, cols, span,
            *pairs.arguments(first, second, self._sign if self._folds(steps) else 1), int(self._extent.circular),
            int(first.from_image), *wanted(self._extent, window, first.level), *kept,
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
        taps, count, circular = self._launcher.constant(f"taps {number}"), len(step.taps), int(self._extent.circular)
        shape, rest = (rows, cols, step.step), (circular, int(step.from_image))
        response_and_kept = (*wanted(self._extent, window, step.level), *kept)
        if fits_shared(step):
            groups = ceil_div(rows, SMOOTH_ROWS * step.step) * step.step
            grid = ceil_div(cols, SMOOTH_COLS), ceil_div(groups, SMOOTH_GROUPS)
            self._launcher.launch(
                f"smooth_{count}", grid, (SMOOTH_COLS, SMOOTH_GROUPS), begin, source, target, response, taps, "states",
                *shape, smooth_stride(step), smooth_quads(step), step.t, *rest, *response_and_kept,
                shared=smooth_shared(step),
            )  # fmt: skip
            return
        grid = rows, ceil_div(cols, WIDTH)
        self._launcher.launch("smooth_down", grid, (WIDTH, 1), begin, "changes", taps, "states", count, *shape, *rest)
        self._launcher.launch(
            "smooth_along", grid, (WIDTH, 1), begin, "changes", source, target, response, taps, "states", count, *shape,
            step.t, *rest, *response_and_kept,
        )  # fmt: skip

    def _merge(
        self, window: Window, waiting: list[Waiting], fresh: bool, search: Sequence[Argument] = NO_SEARCH
    ) -> bool:
        """Merge waiting responses into the maximum and clear them; True if it is still empty."""
        first, last = window.maximum
        rows, cols = last - first, self._extent.shape[1]
        while waiting:
            finest = taken(waiting, 0)
            finer = taken(waiting, waiting[0].level if waiting else 1)
            coarser = taken(waiting, finer.level + 1)
            address, stride, count, *rest, _, top, _ = self._waited(window, finest)
            self._launcher.launch(
                f"merge_{finer.level}", (ceil_div(cols, MERGE_SIDE), ceil_div(rows, MERGE_SIDE)),
                (MERGE_SIDE, MERGE_GROUPS), address, stride, count, finest.folded, *rest, top,
                *self._waited(window, finer), *self._waited(window, coarser), "strength", "scale", rows, cols,
                self._polarity, int(fresh), *(NO_SEARCH if waiting else search),
                shared=max(merge_shared(finer.level), search_shared(self._extent.params.n_scales)),
            )  # fmt: skip
            fresh = False
        return fresh

    def _waited(self, window: Window, what: Waiting) -> tuple[np.generic | int, ...]:
        """Where responses are, their distance, number, first scale, size of each, sample at pixel (0, 0)."""
        size, level = self._size(window, what.level), what.level
        top = (window.maximum[0] >> level) - level_rows(self._extent, window, level)[0]
        stride: np.generic = np.int64(self._extent.batch * math.prod(size))
        return what.address, stride, what.count, what.first, *size, top, self._extent.plan.margin >> level
