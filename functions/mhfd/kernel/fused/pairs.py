"""Which steps of the cascade run two in a launch (cuda/pair.cu), and the room that they take."""

from __future__ import annotations

import math

from mhfd.kernel.fused.layout import smooth_quads, smooth_stride, spread
from mhfd.kernel.fused.source import (
    PAIR_COLS,
    PAIR_GROUPS,
    PAIR_SHARED_BYTES,
    PAIR_THREADS,
    PAIRS,
    SMOOTH_ROWS,
    ceil_div,
)
from mhfd.kernel.plan import Decimate, Smooth

PAIR_ROWS = PAIR_GROUPS * SMOOTH_ROWS

SPANS = 256, 128
"""Rows of a block, the best first: at the start of a block rows are made that another block makes, too."""

LEAST_BLOCKS = 256
"""With fewer blocks than this a GPU is not busy: one tile is done step by step, in many more blocks."""


def columns(second: Smooth) -> int:
    """Columns that the first step does for the second one."""
    return PAIR_COLS + 2 * second.reach


def changes_stride(first: Smooth, second: Smooth) -> int:
    """As `smooth_stride`, for what has no neighbours on either side."""
    return spread(4 * smooth_quads(first, columns(second)), first.step)


def sizes(first: Smooth, second: Smooth) -> tuple[int, int]:
    """Floats of `sums` and of `changes` of pair.cu."""
    line, last = smooth_stride(first, columns(second)), second.step * smooth_stride(second, PAIR_COLS)
    changes = changes_stride(first, second)
    return PAIR_ROWS * max(first.step * line, last), PAIR_ROWS * max(first.step * changes, last)


def shared(first: Smooth, second: Smooth) -> int:
    """Bytes of shared memory of `pair` of pair.cu."""
    return 4 * (sum(sizes(first, second)) + (2 * second.reach + PAIR_ROWS) * columns(second))


def blocks(rows: int, cols: int, span: int) -> tuple[int, int]:
    return ceil_div(cols, PAIR_COLS), ceil_div(rows, span)


def best_span(rows: int, cols: int, batch: int) -> int | None:
    """Rows of a block for planes of a batch; None if no span keeps a GPU busy."""
    return next((span for span in SPANS if batch * math.prod(blocks(rows, cols, span)) >= LEAST_BLOCKS), None)


def fits(first: Smooth | Decimate, second: Smooth | Decimate) -> bool:
    """Whether a kernel does both steps at once."""
    return (
        isinstance(first, Smooth)
        and isinstance(second, Smooth)
        and (len(first.taps), len(second.taps)) in PAIRS
        and not second.from_image
        and not (first.from_image and first.scale_index is not None)  # a response beside the plane before
        and all(PAIR_GROUPS % step.step == 0 for step in (first, second))
        and columns(second) <= PAIR_THREADS
        and shared(first, second) <= PAIR_SHARED_BYTES
    )


def arguments(first: Smooth, second: Smooth, sign: int) -> tuple[int | float, ...]:
    """From `step` to `changes_size` of pair.cu; responses times `sign`."""
    between = columns(second)
    return (
        first.step, smooth_stride(first, between), changes_stride(first, second),
        smooth_quads(first, between), sign * first.t, second.step, smooth_stride(second, PAIR_COLS),
        smooth_quads(second, PAIR_COLS), sign * second.t, *sizes(first, second),
    )  # fmt: skip
