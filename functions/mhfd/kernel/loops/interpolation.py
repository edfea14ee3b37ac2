"""Responses of a coarse level, interpolated to every pixel and merged into the maximum over scale."""

# mypy: allow-untyped-defs, allow-untyped-calls
# numba infers the types of the loops from their arguments.

from __future__ import annotations

import numpy as np

from mhfd.kernel.compiled_loops import compiled
from mhfd.kernel.loops.rows import CHUNK, LENGTH, ONE, THREE, TWO, aligned, get, merge, pitch_of, put
from mhfd.kernel.loops.vectors import interleave_high, interleave_low, load, spread, store, times, times_plus
from mhfd.kernel.plan import HALF_WIDTH

STRIP_ROWS = 128
"""Rows that are interpolated and compared at a time: few enough to stay in the processor's cache."""

_TAPS = 2 * HALF_WIDTH


@compiled
def _blend(plane, at, apart, weights):
    """Sum of _TAPS times LENGTH samples, each time `apart` further on, times their weights."""
    a, b, c, d = get(plane, at)
    w = spread(weights[0])
    a, b, c, d = times(w, a), times(w, b), times(w, c), times(w, d)
    for k in range(1, _TAPS):
        at += apart
        w = spread(weights[k])
        a = times_plus(w, load(plane, at), a)
        b = times_plus(w, load(plane, at + ONE), b)
        c = times_plus(w, load(plane, at + TWO), c)
        d = times_plus(w, load(plane, at + THREE), d)
    return a, b, c, d


@compiled
def _blend_row(plane, at, apart, weights, target, to, first, last):
    for x in range(np.uint64(first), np.uint64(last), LENGTH):
        a, b, c, d = _blend(plane, at + x, apart, weights)
        put(target, to + x, a, b, c, d)


@compiled
def _interleave(phases, long, spacing, samples, fine, to):
    """fine[to + spacing q + p] = phases[p long + q]"""
    n = np.uint64(long)
    if spacing == 2:
        for q in range(np.uint64(0), np.uint64(samples), ONE):
            a, b = load(phases, q), load(phases, n + q)
            at = to + np.uint64(2) * q
            store(fine, at, interleave_low(a, b))
            store(fine, at + ONE, interleave_high(a, b))
    elif spacing == 4:
        for q in range(np.uint64(0), np.uint64(samples), ONE):
            a, b, c, d = load(phases, q), load(phases, n + q), load(phases, n + n + q), load(phases, n + n + n + q)
            e, f, g, h = interleave_low(a, c), interleave_high(a, c), interleave_low(b, d), interleave_high(b, d)
            put(
                fine,
                to + np.uint64(4) * q,
                interleave_low(e, g),
                interleave_high(e, g),
                interleave_low(f, h),
                interleave_high(f, h),
            )
    else:
        for q in range(samples):
            for p in range(spacing):
                fine[to + q * spacing + p] = phases[p * long + q]


@compiled
def interpolate(responses, indices, margin, weights, both, strength, scale, first, last):
    """Interpolate responses of a coarse level, along rows, then down, and merge them into the maximum.

    Parameters
    ----------
    responses : (n, rows, cols) at the level, of ascending scales
    indices : (n,) those scales, of the type of `scale`
    margin : samples of the level before the tile
    weights : (spacing, 2 HALF_WIDTH), see `plan.interpolators`
    both, strength, scale : as in `cascade`
    """
    spacing = weights.shape[0]
    cols = strength.shape[1]
    samples = -(-cols // spacing)
    long = -(-samples // 64) * 64  # `_blend_row` has no remainder
    phases = aligned(spacing * long)
    source = aligned(long + _TAPS + 64)
    pitch = max(pitch_of(cols), spacing * long + 16)
    fine = aligned((STRIP_ROWS // spacing + _TAPS + 1) * pitch)
    blend = aligned(CHUNK + 64)
    one = np.float32(1)
    before = HALF_WIDTH - 1
    left = margin - before
    strength, scale = strength.reshape(-1), scale.reshape(-1)
    for top in range(first, last, STRIP_ROWS):
        bottom = min(top + STRIP_ROWS, last)
        start, stop = top // spacing, (bottom - 1) // spacing + _TAPS
        for i in range(indices.size):
            for j in range(start, stop):
                row = responses[i, left + j, left : left + samples + _TAPS - 1]
                for q in range(np.uint64(row.size)):
                    source[q] = row[q]
                for q in range(np.uint64(samples)):
                    phases[q] = source[np.uint64(before) + q]
                for p in range(1, spacing):
                    _blend_row(source, np.uint64(0), np.uint64(1), weights[p], phases, np.uint64(p * long), 0, samples)
                _interleave(phases, long, spacing, samples, fine, np.uint64((j - start) * pitch))
            for x in range(0, cols, CHUNK):
                width = min(CHUNK, cols - x)
                for y in range(top, bottom):
                    p, at, here = y % spacing, np.uint64((y // spacing - start) * pitch + x), np.uint64(y * cols + x)
                    if p == 0:
                        merge(fine, at + np.uint64(before * pitch), one, indices[i], both, strength, scale, here, width)
                    else:
                        _blend_row(fine, at, np.uint64(pitch), weights[p], blend, np.uint64(0), 0, width)
                        merge(blend, np.uint64(0), one, indices[i], both, strength, scale, here, width)
