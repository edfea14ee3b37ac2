"""Responses of a coarse level, interpolated to every pixel and merged into the maximum over scale."""

# mypy: allow-untyped-defs, allow-untyped-calls
# numba infers the types of the loops from their arguments.

from __future__ import annotations

import numpy as np

from mhfd.kernel.compiled_loops import compiled
from mhfd.kernel.loops.rows import LENGTH, ONE, THREE, TWO, aligned, get, put
from mhfd.kernel.loops.vectors import (
    absolute,
    either,
    greater,
    interleave_high,
    interleave_low,
    load,
    load_from,
    load_indices,
    spread,
    store,
    store_indices,
    times,
    times_plus,
)
from mhfd.kernel.plan import HALF_WIDTH

WIDTH = 1024
"""Columns that are done from top to bottom before those beside them, a multiple of every spacing."""

RING_ROWS = 32
"""Rows of the level, interpolated along, that are at hand, a power of two: at least `_BLOCK_ROWS` and those that the
taps reach. With WIDTH columns of each of the scales they stay in the processor's second cache."""

_TAPS = 2 * HALF_WIDTH

_BLOCK_ROWS = 8
"""Rows of the level that are done at a time: with LENGTH columns of each of the scales, and the rows that the taps
reach, they stay in the nearest cache."""


@compiled
def _blend(plane, start, at, first, weights, phase):
    """LENGTH pixels: the sum over k of weights[phase + k] times the samples from plane[start + at[first + k]] on."""
    w, row = spread(weights[phase]), at[first]
    a, b = times(w, load_from(plane, start, row)), times(w, load_from(plane, start + ONE, row))
    c, d = times(w, load_from(plane, start + TWO, row)), times(w, load_from(plane, start + THREE, row))
    for k in range(np.uint64(1), np.uint64(_TAPS)):
        w, row = spread(weights[phase + k]), at[first + k]
        a = times_plus(w, load_from(plane, start, row), a)
        b = times_plus(w, load_from(plane, start + ONE, row), b)
        c = times_plus(w, load_from(plane, start + TWO, row), c)
        d = times_plus(w, load_from(plane, start + THREE, row), d)
    return a, b, c, d


@compiled
def _blend_few(row, start, weights, phase):
    """`_blend` of neighbouring samples, for sixteen pixels."""
    total = times(spread(weights[phase]), load(row, start))
    for k in range(np.uint64(1), np.uint64(_TAPS)):
        total = times_plus(spread(weights[phase + k]), load(row, start + k), total)
    return total


@compiled
def _put_pairs(ring, at, a, b, c, d):
    """A sample of a, one of b, then the next of each; and the same of c and d."""
    put(ring, at, interleave_low(a, b), interleave_high(a, b), interleave_low(c, d), interleave_high(c, d))


@compiled
def _put_fours(ring, at, a, b, c, d):
    """A sample of each, then the next of each."""
    e, f, g, h = interleave_low(a, c), interleave_high(a, c), interleave_low(b, d), interleave_high(b, d)
    put(ring, at, interleave_low(e, g), interleave_high(e, g), interleave_low(f, h), interleave_high(f, h))


@compiled
def _interpolate_row(row, samples, weights, beside, source, pixels, ring, to, apart):
    """Interpolate along a row of a level, from its sample HALF_WIDTH - 1 on.

    Parameters
    ----------
    samples : from which pixels are made
    weights : flat
    beside : 0 .. _TAPS - 1
    source, pixels : scratch memory
    to, apart : pixel x goes to ring[to + (x // 64) * apart + x % 64]
    """
    spacing = weights.size // _TAPS
    zero, taps, copied = np.uint64(0), np.uint64(_TAPS), np.uint64(HALF_WIDTH - 1)
    for x in range(np.uint64(row.size)):
        source[x] = row[x]
    if spacing == 2:
        for q in range(zero, np.uint64(samples), LENGTH):
            a, b, c, d = get(source, q + copied)
            e, f, g, h = _blend(source, q, beside, zero, weights, taps)
            _put_pairs(ring, to, a, e, b, f)
            _put_pairs(ring, to + apart, c, g, d, h)
            to += apart + apart
    elif spacing == 4:
        for q in range(zero, np.uint64(samples), LENGTH):
            a, b, c, d = get(source, q + copied)
            e, f, g, h = _blend(source, q, beside, zero, weights, taps)
            i, j, k, m = _blend(source, q, beside, zero, weights, taps + taps)
            n, o, p, r = _blend(source, q, beside, zero, weights, taps + taps + taps)
            _put_fours(ring, to, a, e, i, n)
            _put_fours(ring, to + apart, b, f, j, o)
            _put_fours(ring, to + apart + apart, c, g, k, p)
            _put_fours(ring, to + apart + apart + apart, d, h, m, r)
            to += np.uint64(4) * apart
    else:
        for q in range(zero, np.uint64(samples), ONE):
            for phase in range(np.uint64(spacing)):
                store(pixels, phase * ONE, _blend_few(source, q, weights, phase * taps))
            x = q * np.uint64(spacing)
            for sample in range(min(ONE, np.uint64(samples) - q)):
                for phase in range(np.uint64(spacing)):
                    ring[to + x // LENGTH * apart + x % LENGTH] = pixels[phase * ONE + sample]
                    x += np.uint64(1)


@compiled
def _larger(value, index, both, largest, largest_index):
    """The larger of two, and its index; the second of equals."""
    if both:
        value = absolute(value)
    choice = greater(value, largest)
    return either(choice, value, largest), either(choice, index, largest_index)


@compiled
def _merge_all(ring, begin, apart, at, weights, indices, both, strength, scale, here, step, top, first, last):
    """Interpolate LENGTH pixels of rows first <= y < last at every scale, and merge them into the maximum.

    The maximum is read and written once. One call does all rows: a call costs as much as a row.

    Parameters
    ----------
    ring : interpolated along, by scales `apart` from each other, from `begin` on
    at : where its rows lie, _TAPS for each row of the level from `top` on
    weights : flat
    strength, scale : flat, from `here` on, rows `step` apart
    """
    spacing, taps, middle = np.uint64(weights.size // _TAPS), np.uint64(_TAPS), np.uint64(HALF_WIDTH - 1)
    for y in range(first, last):
        phase, rows = y % spacing * taps, (y // spacing - top) * taps
        m0, m1, m2, m3 = get(strength, here)
        i0, i1 = load_indices(scale, here), load_indices(scale, here + ONE)
        i2, i3 = load_indices(scale, here + TWO), load_indices(scale, here + THREE)
        for i in range(np.uint64(indices.size)):
            start, index = begin + i * apart, spread(np.float32(indices[i]))
            if phase == 0:
                a, b, c, d = get(ring, start + at[rows + middle])
            else:
                a, b, c, d = _blend(ring, start, at, rows, weights, phase)
            m0, i0 = _larger(a, index, both, m0, i0)
            m1, i1 = _larger(b, index, both, m1, i1)
            m2, i2 = _larger(c, index, both, m2, i2)
            m3, i3 = _larger(d, index, both, m3, i3)
        put(strength, here, m0, m1, m2, m3)
        store_indices(scale, here, i0)
        store_indices(scale, here + ONE, i1)
        store_indices(scale, here + TWO, i2)
        store_indices(scale, here + THREE, i3)
        here += step


@compiled
def _copy(source, at, step, target, to, apart, rows, samples):
    """Copy samples of rows that lie `step` apart to where they lie `apart`."""
    for y in range(np.uint64(rows)):
        for x in range(np.uint64(samples)):
            target[to + y * apart + x] = source[at + y * step + x]


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
    long = -(-min(cols, WIDTH) // (64 * spacing)) * 64
    source, pixels = aligned(long + _TAPS + 64), aligned(16 * spacing)
    # By LENGTH columns, then by scales, then by rows: what is read together lies together.
    of_scale, of_columns = np.uint64(RING_ROWS * 64), np.uint64(indices.size * RING_ROWS * 64)
    ring = aligned(spacing * long // 64 * indices.size * RING_ROWS * 64)
    beside, at = np.arange(_TAPS).astype(np.uint64), np.empty(_BLOCK_ROWS * _TAPS, np.uint64)
    flat = weights.copy().reshape(-1)
    rest_strength = aligned(_BLOCK_ROWS * spacing * 64)
    rest_scale = np.zeros(_BLOCK_ROWS * spacing * 64, scale.dtype)
    strength, scale = strength.reshape(-1), scale.reshape(-1)
    begin, end = first // spacing, (last - 1) // spacing + 1
    for left in range(0, cols, WIDTH):
        width = min(WIDTH, cols - left)
        samples = -(-width // spacing)
        corner = margin - (HALF_WIDTH - 1)
        nearest = corner + left // spacing
        made = begin
        for top in range(begin, end, _BLOCK_ROWS):
            bottom = min(top + _BLOCK_ROWS, end)
            while made < bottom + _TAPS - 1:
                for i in range(indices.size):
                    row = responses[i, corner + made, nearest : nearest + samples + _TAPS - 1]
                    to = np.uint64((i * RING_ROWS + made % RING_ROWS) * 64)
                    _interpolate_row(row, samples, flat, beside, source, pixels, ring, to, of_columns)
                made += 1
            for j in range(top, bottom):
                for k in range(_TAPS):
                    at[(j - top) * _TAPS + k] = (j + k) % RING_ROWS * 64
            above, below = max(first, top * spacing), min(last, bottom * spacing)
            wanted = np.uint64(top), np.uint64(above), np.uint64(below)
            pitch, packed, start = np.uint64(cols), np.uint64(64), np.uint64(0)
            for x in range(0, width, 64):
                pixels_of = ring, np.uint64(x // 64) * of_columns, of_scale, at, flat, indices, both
                here, count = np.uint64(above * cols + left + x), min(64, width - x)
                if count == 64:
                    _merge_all(*pixels_of, strength, scale, here, pitch, *wanted)
                    continue
                # A vector would reach into the next row, which may be another thread's.
                _copy(strength, here, pitch, rest_strength, start, packed, below - above, count)
                _copy(scale, here, pitch, rest_scale, start, packed, below - above, count)
                _merge_all(*pixels_of, rest_strength, rest_scale, start, packed, *wanted)
                _copy(rest_strength, start, packed, strength, here, pitch, below - above, count)
                _copy(rest_scale, start, packed, scale, here, pitch, below - above, count)
