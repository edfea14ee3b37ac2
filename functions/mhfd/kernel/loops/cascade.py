"""The cascade of one level: every step on a few rows at a time, so that the planes stay in the cache."""

# mypy: allow-untyped-defs, allow-untyped-calls
# numba infers the types of the loops from their arguments.

from __future__ import annotations

from typing import Any

import numpy as np

from mhfd.kernel.compiled_loops import compiled, fold, pad
from mhfd.kernel.loops.rows import CHUNK, LENGTH, ONE, THREE, TWO, aligned, get, merge, pitch_of, put
from mhfd.kernel.loops.vectors import load, load_from, minus, plus, spread, store, times_plus

BLOCK_ROWS = 8
"""Rows that a step of the cascade does before the next step runs."""


@compiled
def rings_for(reach: Any, from_source: Any, rows: int) -> Any:
    """Where each step keeps the rows of its plane that later steps need, and last, where the source's rows are kept.

    Parameters
    ----------
    reach : (n,) rows on each side that a step looks at
    from_source : (n,) True for a step that starts from the source, not from the plane before
    rows : of the planes

    Returns
    -------
    (n,) rows by which each step works ahead, (n + 1,) first rows of the rings, (n + 1,) their lengths minus 1, where
    the length is a power of two, rows of all rings, and rows by which the source must be ahead
    """
    n = reach.size
    ahead = np.zeros(n, np.int64)
    for k in range(n - 1, 0, -1):
        ahead[k - 1] = ahead[k] + (0 if from_source[k] else reach[k])
    farthest, nearest = 0, 0
    for k in range(n):
        if from_source[k]:
            farthest, nearest = max(farthest, ahead[k] + reach[k]), min(nearest, ahead[k] - reach[k])
    base, mask = np.zeros(n + 1, np.int64), np.zeros(n + 1, np.int64)
    height = 0
    for k in range(n + 1):
        needed = BLOCK_ROWS
        if k == n:
            needed += farthest - nearest
        elif k + 1 < n and not from_source[k + 1]:
            needed += 2 * reach[k + 1]
        ring = 1
        while ring < min(needed, rows):
            ring *= 2
        base[k], mask[k] = height, ring - 1
        height += ring
    return ahead, base, mask, height, farthest


@compiled
def _pairs(plane, at, taps, above, below, first, last, x):
    """Sum over k of taps[k] (plane[above[k]:] + plane[below[k]:] - 2 plane[at:]), LENGTH samples from x on."""
    c0, c1, c2, c3 = get(plane, at + x)
    t0, t1, t2, t3 = plus(c0, c0), plus(c1, c1), plus(c2, c2), plus(c3, c3)
    zero = spread(np.float32(0))
    s0, s1, s2, s3 = zero, zero, zero, zero
    y, z, w = x + ONE, x + TWO, x + THREE
    for k in range(first, last):
        h, a, b = spread(taps[k]), above[k], below[k]
        s0 = times_plus(h, minus(plus(load_from(plane, x, a), load_from(plane, x, b)), t0), s0)
        s1 = times_plus(h, minus(plus(load_from(plane, y, a), load_from(plane, y, b)), t1), s1)
        s2 = times_plus(h, minus(plus(load_from(plane, z, a), load_from(plane, z, b)), t2), s2)
        s3 = times_plus(h, minus(plus(load_from(plane, w, a), load_from(plane, w, b)), t3), s3)
    return s0, s1, s2, s3


@compiled
def _down(plane, at, taps, above, below, first, last, change, here, row, to, begin, end):
    """change = pairs of the plane; row = plane + change"""
    for x in range(np.uint64(begin), np.uint64(end), LENGTH):
        s0, s1, s2, s3 = _pairs(plane, at, taps, above, below, first, last, x)
        put(change, here + x, s0, s1, s2, s3)
        c0, c1, c2, c3 = get(plane, at + x)
        put(row, to + x, plus(c0, s0), plus(c1, s1), plus(c2, s2), plus(c3, s3))


@compiled
def _along(row, middle, taps, above, below, last, change, here, plane, at, to, cols):
    """change += pairs of the row; plane[to:] = plane[at:] + change: never the difference of nearly equal planes."""
    for x in range(np.uint64(0), np.uint64(cols), LENGTH):
        s0, s1, s2, s3 = _pairs(row, middle, taps, above, below, np.uint64(0), last, x)
        d0, d1, d2, d3 = get(change, here + x)
        s0, s1, s2, s3 = plus(d0, s0), plus(d1, s1), plus(d2, s2), plus(d3, s3)
        put(change, here + x, s0, s1, s2, s3)
        c0, c1, c2, c3 = get(plane, at + x)
        put(plane, to + x, plus(c0, s0), plus(c1, s1), plus(c2, s2), plus(c3, s3))


@compiled
def _places_of(samples, origin, every, n, circular):
    """(samples,) places origin + every k of n, by the boundary rule."""
    places = np.empty(samples, np.int64)
    for k in range(samples):
        places[k] = fold(origin + every * k, n, circular)
    return places


@compiled
def _by_row(rows_of, rows):
    """Which of many wanted rows are row y: the first of them, (rows,), and after each the next; -1 ends the list."""
    first, after = np.full(rows, -1, np.int64), np.full(rows_of.size, -1, np.int64)
    for j in range(rows_of.size):
        after[j], first[rows_of[j]] = first[rows_of[j]], j
    return first, after


@compiled
def _thinned(plane, at, cols, origin, every, places, row):
    """row[i] = plane[at + places[i]], where the places lie `every` apart but for those beyond the ends.

    A compiler makes vectors of samples that lie 1 or 2 apart, once it knows that they do; more are rare.
    """
    left = min(row.size, max(0, -origin // every))
    right = max(left, min(row.size, (cols - origin + every - 1) // every)) if every <= 2 else left
    for i in range(left):
        row[i] = plane[at + np.uint64(places[i])]
    middle, to, count = at + np.uint64(origin + every * left), np.uint64(left), np.uint64(right - left)
    if every == 1:
        for i in range(count):
            row[to + i] = plane[middle + i]
    else:
        for i in range(count):
            row[to + i] = plane[middle + np.uint64(2) * i]
    for i in range(right, row.size):
        row[i] = plane[at + np.uint64(places[i])]


@compiled
def cascade(
    source, taps, counts, spacings, from_source, gains, slots, circular, both,
    indices, fresh, strength, scale, responses, final, origin, every, first, last,
):  # fmt: skip
    """Run the steps of one level in turn on a few rows at a time, so that their planes stay in the cache.

    Each step works as far ahead as the steps after it reach; of its plane only the rows they still need are kept.
    `plan.Smooth` describes a step; here steps are arrays, one element or row a step.

    Parameters
    ----------
    source : (rows, cols) plane to begin with; its rows have a symmetric boundary
    taps, counts, spacings : (n, most) float32 weights, how many there are, and their distance
    from_source : the step starts from `source`, not from the plane before; so does the first
    gains : float32 factor of the response
    slots : where the response goes, see the last parameters; negative if there is none
    circular : the boundary of columns
    both : compare absolute values of responses
    indices : index of the scale, of the type of `scale`
    fresh : True if the running maximum is empty
    strength, scale : (rows, cols) running maximum and the index of the scale that attained it; may be empty
    responses : (slots, rows, cols) if there is no running maximum
    final : results, last plane[origin + every j, origin + every i] at [j, i] by the boundary rule; may be empty
    origin : 0, or before it by a multiple of `every`: the next level's margin
    """
    rows, cols = source.shape
    n, most = taps.shape
    reach = counts * spacings
    ahead, base, mask, height, farthest = rings_for(reach, from_source, rows)
    pitch = pitch_of(cols)
    rings = aligned(height * pitch)
    middle = -(-reach.max() // 16) * 16
    long = middle + pitch + middle
    padded = aligned(BLOCK_ROWS * long)
    change = aligned(BLOCK_ROWS * pitch)
    weights = np.empty(BLOCK_ROWS * most, np.float32)
    above, below = np.empty(BLOCK_ROWS * most, np.uint64), np.empty(BLOCK_ROWS * most, np.uint64)
    strength, scale = strength.reshape(-1), scale.reshape(-1)
    columns = _places_of(final.shape[1], origin, every, cols, circular)
    wanted, following = _by_row(_places_of(len(final), origin, every, rows, False), rows)
    done = np.maximum(0, first - ahead)
    bottom = done[0] - ahead[0]
    filled = rows
    for k in range(n):
        if from_source[k]:
            filled = min(filled, max(0, done[k] - reach[k]))
    while bottom < last:
        bottom = min(bottom + BLOCK_ROWS, last)
        while filled < min(rows, bottom + farthest):
            to = np.uint64((base[n] + (filled & mask[n])) * pitch)
            for x in range(np.uint64(cols)):
                rings[to + x] = source[filled, x]
            filled += 1
        for k in range(n):
            begin, stop = done[k], max(done[k], min(rows, bottom + ahead[k]))
            done[k] = stop
            ring = n if from_source[k] else k - 1
            start, wrap, pairs = base[ring], mask[ring], counts[k]
            for y in range(begin, stop):
                i = (y - begin) * most
                for tap in range(pairs):
                    away = (tap + 1) * spacings[k]
                    weights[i + tap] = taps[k, tap]
                    above[i + tap] = (start + (fold(y - away, rows, False) & wrap)) * pitch
                    below[i + tap] = (start + (fold(y + away, rows, False) & wrap)) * pitch
            for left in range(0, cols, CHUNK):
                for y in range(begin, stop):
                    at, i, row = np.uint64((start + (y & wrap)) * pitch), (y - begin) * most, (y - begin) * long
                    _down(
                        rings, at, weights, above, below, np.uint64(i), np.uint64(i + pairs),
                        change, np.uint64((y - begin) * pitch), padded, np.uint64(row + middle),
                        left, min(left + CHUNK, cols),
                    )  # fmt: skip

            for tap in range(pairs):
                above[tap], below[tap] = middle - (tap + 1) * spacings[k], middle + (tap + 1) * spacings[k]
            for y in range(begin, stop):
                row = padded[(y - begin) * long : (y - begin + 1) * long]
                pad(row[middle - reach[k] : middle + cols + reach[k]], reach[k], circular)
                to = np.uint64((base[k] + (y & mask[k])) * pitch)
                at, own = np.uint64((start + (y & wrap)) * pitch), np.uint64((y - begin) * pitch)
                _along(
                    row, np.uint64(middle), weights, above, below, np.uint64(pairs), change, own, rings, at, to, cols
                )
                j = wanted[y] if k == n - 1 else -1
                while j >= 0:
                    _thinned(rings, to, cols, origin, every, columns, final[j])
                    j = following[j]
                if slots[k] < 0 or not first <= y < last:
                    continue
                if from_source[k] and k > 0:
                    before = np.uint64((base[k - 1] + (y & mask[k - 1])) * pitch)
                    for x in range(np.uint64(0), np.uint64(cols), ONE):
                        store(change, own + x, minus(load(rings, to + x), load(rings, before + x)))
                if strength.size:
                    here = np.uint64(y * cols)
                    if fresh and slots[k] == 0:
                        for x in range(np.uint64(cols)):
                            strength[here + x] = -np.inf
                    merge(change, own, gains[k], indices[k], both, strength, scale, here, cols)
                else:
                    response = responses[slots[k], y]
                    for x in range(np.uint64(cols)):
                        response[x] = gains[k] * change[own + x]
