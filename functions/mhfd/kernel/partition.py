"""How several devices share one tile: by scales, or by strips of rows."""

from __future__ import annotations

from itertools import pairwise

from mhfd.contract import FocusParams
from mhfd.kernel.plan import Smooth, plan

_INTERPOLATION = 3.0  # of one response to every pixel, in pairs of taps: it costs the same at every level


def scale_ranges(params: FocusParams, shape: tuple[int, int], parts: int) -> list[tuple[int, int]]:
    """Consecutive ranges (first, last) of scales of about equal cost, one a device: the paper's filter partition.

    With more parts than scales, only as many as there are scales.

    Parameters
    ----------
    shape : (rows, cols) of the tile
    """
    parts = min(parts, params.n_scales)
    cost = [_INTERPOLATION] * params.n_scales
    pending = 0.0
    for step in plan(params, shape).steps:
        if isinstance(step, Smooth):
            pending += 2 * len(step.taps) / 4**step.level
            if step.scale_index is not None:
                cost[step.scale_index] += pending
                pending = 0.0
    ranges = []
    first, left = 0, sum(cost)
    for part in range(parts, 0, -1):
        share, last, taken = left / part, first, 0.0
        # At least one scale each, and one for each of those that come after.
        while last == first or (last < params.n_scales - (part - 1) and taken + cost[last] / 2 <= share):
            taken += cost[last]
            last += 1
        last = params.n_scales if part == 1 else last
        ranges.append((first, last))
        first, left = last, left - taken
    return ranges


def row_ranges(rows: int, parts: int, multiple: int) -> list[tuple[int, int]]:
    """Consecutive ranges of rows of about equal height, bounded at multiples of `multiple`; fewer for small tiles."""
    blocks = -(-rows // multiple)
    parts = min(parts, blocks)
    edges = [min(rows, blocks * part // parts * multiple) for part in range(parts)] + [rows]
    return list(pairwise(edges))
