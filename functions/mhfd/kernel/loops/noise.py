"""Magnitudes of the noise, for their medians; see `fourier.estimate_noise`.

A median needs no histogram of everything. Every SAMPLE_ROWS-th row tells between which two magnitudes it must lie; one
pass over all rows counts what is below and gathers the few between. Where that fails, as on tiles with few grey
levels, the median is found by digits: a coarse histogram of all magnitudes, then a fine one within a bin.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# numba infers the types of the loops from their arguments.

from __future__ import annotations

from typing import Any

import numpy as np

from mhfd.kernel.compiled_loops import compiled, fold, pad
from mhfd.kernel.loops.rows import ONE, aligned, pitch_of
from mhfd.kernel.loops.vectors import (
    absolute,
    chosen,
    count,
    greater,
    load,
    minus,
    not_less,
    plus,
    spread,
    store,
    store_chosen,
    times,
)

SAMPLE_ROWS = 16
"""One of so many rows is looked at first."""

SHIFT = 14
"""A median of magnitudes is found by float32 bits >> SHIFT, then by the bits below."""

FLOOR = (127 - 24) << (23 - SHIFT)
"""Bin of 2^-24: smaller magnitudes, far below any noise that counts, share the first bin."""

BINS = 33 << (23 - SHIFT)
"""Up to 2^9: magnitudes are smaller."""

KINDS = 4
"""Magnitudes: corner of darker and of lighter pixels, slow down the columns, slow along the rows."""

_RING = 8
"""Rows of the image at hand, a power of two, at least 5."""

_BEFORE = 16
"""Samples before a row in scratch memory, a line of the cache."""

_EVERY = 0xFFFF


@compiled
def _scratch(cols):
    """Samples from row to row; the rows at hand; sums down the columns; the magnitudes and the mean grey."""
    pitch = 2 * _BEFORE + pitch_of(cols)
    return pitch, aligned(_RING * pitch), aligned(3 * pitch), aligned(4 * pitch)


@compiled
def _at_hand(image, y, held, ring, pitch):
    """Copy the rows around row y into the ring, from row `held` on; the first row that is not there."""
    until = min(image.shape[0], y + 3)
    for r in range(max(held, y - 2), until):
        to = np.uint64((r & (_RING - 1)) * pitch)
        for x in range(np.uint64(image.shape[1])):
            ring[to + x] = image[r, x]
    return until


@compiled
def _fourth(a, b, c, d, e):
    """Fourth difference (1, -4, 6, -4, 1), exactly 0 on flat ground."""
    four = spread(np.float32(4))
    return minus(plus(minus(a, c), minus(e, c)), times(four, plus(minus(b, c), minus(d, c))))


@compiled
def _second(b, c, d):
    return plus(plus(b, d), times(spread(np.float32(2)), c))


@compiled
def _total(a, b, c, d, e):
    return plus(plus(plus(a, e), plus(b, d)), c)


@compiled
def _around(plane, at):
    """The samples two before, one before, here, one and two after."""
    one, two = np.uint64(1), np.uint64(2)
    return load(plane, at - two), load(plane, at - one), load(plane, at), load(plane, at + one), load(plane, at + two)


@compiled
def _noise_row(ring, pitch, y, rows, cols, work, found):
    """Noise magnitudes of row y, and its mean over 5 x 5 pixels: corner, slow down, slow along, grey in `found`."""
    step, width = np.uint64(pitch), np.uint64(cols)
    p = np.uint64((fold(y - 2, rows, False) & (_RING - 1)) * pitch)
    q = np.uint64((fold(y - 1, rows, False) & (_RING - 1)) * pitch)
    r = np.uint64((y & (_RING - 1)) * pitch)
    s = np.uint64((fold(y + 1, rows, False) & (_RING - 1)) * pitch)
    t = np.uint64((fold(y + 2, rows, False) & (_RING - 1)) * pitch)
    start = np.uint64(_BEFORE)
    for x in range(np.uint64(0), width, ONE):
        a, b, c, d, e = load(ring, p + x), load(ring, q + x), load(ring, r + x), load(ring, s + x), load(ring, t + x)
        to = start + x
        store(work, to, _fourth(a, b, c, d, e))
        store(work, to + step, _second(b, c, d))
        store(work, to + step + step, _total(a, b, c, d, e))
    for k in range(3):
        pad(work[k * pitch + _BEFORE - 2 : k * pitch + _BEFORE + cols + 2], 2, False)
    share = spread(np.float32(1 / 25))
    for x in range(np.uint64(0), width, ONE):
        at = start + x
        a, b, c, d, e = _around(work, at)
        store(found, x, absolute(_fourth(a, b, c, d, e)))
        store(found, step + x, absolute(_second(b, c, d)))
        a, b, c, d, e = _around(work, at + step)
        store(found, step + step + x, absolute(_fourth(a, b, c, d, e)))
        a, b, c, d, e = _around(work, at + step + step)
        store(found, step + step + step + x, times(share, _total(a, b, c, d, e)))


@compiled
def _sum(vector, room):
    """Sum of the elements."""
    store(room, np.uint64(0), vector)
    total = 0.0
    for k in range(16):
        total += np.float64(room[k])
    return total


@compiled
def _those(cols, x):
    """Choice of the elements from x on that lie in the row."""
    if x + ONE > np.uint64(cols):
        return (np.uint64(1) << (np.uint64(cols) - x)) - np.uint64(1)
    return np.uint64(_EVERY)


@compiled
def _greys(found, means, cols, margin, room, sums):
    """Number of darker pixels of a row, sum of their grey, sum of the others' grey."""
    limit, darker = spread(margin), 0
    dark, light = spread(np.float32(0)), spread(np.float32(0))
    for x in range(np.uint64(0), np.uint64(cols), ONE):
        every, grey = _those(cols, x), load(found, means + x)
        choice = not_less(limit, grey) & every
        darker += np.int64(count(choice))
        dark, light = plus(dark, chosen(choice, grey)), plus(light, chosen(every & ~choice, grey))
    sums[0], sums[1], sums[2] = darker, _sum(dark, room), _sum(light, room)


@compiled
def _gather(value, among, least, limit, found, at):
    """Append the values among them between two bounds; how many are below, and where the next goes."""
    below = greater(least, value) & among
    between = greater(limit, value) & among & ~below
    store_chosen(found, at, between, value)  # a branch would cost a reference count
    return count(below), at + count(between)


@compiled
def gather_noise(image, margin, bounds, gathered, sums, start, first, last):
    """Gather magnitudes between bounds, count those below, and sum the grey of darker and lighter pixels.

    Parameters
    ----------
    image : (rows, cols) normalised tile, centred, with two more rows on each side where the tile has them
    margin : float32, grey of the lightest of the darker pixels
    bounds : (KINDS, 2) float32, the least, and what all must be less than
    gathered : (KINDS, room) results: for each pixel of the tile there is room / pixels, beginning with row `start`
    sums : (rows, 3) results: number of darker pixels, sum of their grey, sum of the others' grey

    Returns
    -------
    (KINDS, 3) where in `gathered` the magnitudes begin and end, in any order, and how many are below; the end is -1
    if there was no room
    """
    rows, cols = image.shape
    pitch, ring, work, found = _scratch(cols)
    lanes = np.empty(16, np.float32)
    limit, step = spread(margin), np.uint64(pitch)
    downs, alongs, means = step, step + step, step + step + step
    least = spread(bounds[0, 0]), spread(bounds[1, 0]), spread(bounds[2, 0]), spread(bounds[3, 0])
    most = spread(bounds[0, 1]), spread(bounds[1, 1]), spread(bounds[2, 1]), spread(bounds[3, 1])
    room = gathered.shape[1]
    flat = gathered.reshape(-1)
    begin, end = np.uint64((first - start) * cols // KINDS), np.uint64((last - start) * cols // KINDS)
    apart, width = np.uint64(room), np.uint64(cols)
    a0, a1, a2, a3 = begin, begin + apart, begin + apart + apart, begin + apart + apart + apart
    b0, b1, b2, b3 = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
    held, full = 0, False
    for y in range(first, last):
        held = _at_hand(image, y, held, ring, pitch)
        _noise_row(ring, pitch, y, rows, cols, work, found)
        _greys(found, means, cols, margin, lanes, sums[y])
        farthest = max(max(a0, a1 - apart), max(a2 - apart - apart, a3 - apart - apart - apart))
        full = full or farthest + width > end
        if full:
            continue
        for x in range(np.uint64(0), width, ONE):
            every, corner = _those(cols, x), load(found, x)
            dark = not_less(limit, load(found, means + x)) & every
            c0, a0 = _gather(corner, dark, least[0], most[0], flat, a0)
            c1, a1 = _gather(corner, every & ~dark, least[1], most[1], flat, a1)
            c2, a2 = _gather(load(found, downs + x), every, least[2], most[2], flat, a2)
            c3, a3 = _gather(load(found, alongs + x), every, least[3], most[3], flat, a3)
            b0, b1, b2, b3 = b0 + c0, b1 + c1, b2 + c2, b3 + c3
    tally = np.empty((KINDS, 3), np.int64)
    for k, (to, below) in enumerate(((a0, b0), (a1, b1), (a2, b2), (a3, b3))):
        tally[k, 0], tally[k, 1], tally[k, 2] = np.int64(begin), np.int64(to) - k * room, np.int64(below)
    if full:
        tally[:, 1] = -1
    return tally


@compiled
def bins_near_medians(histograms: Any, sums: Any, margin: float) -> Any:
    """(n, 2) bins of the quantiles 1/2 - margin and 1/2 + margin of sums of histograms; -1 where those are empty.

    Parameters
    ----------
    histograms : (KINDS, bins)
    sums : (n, KINDS) True for the histograms that are added up
    """
    found = np.full((len(sums), 2), -1, np.int64)
    sizes = np.zeros(KINDS, np.int64)
    for kind in range(KINDS):
        for place in range(np.uint64(histograms.shape[1])):
            sizes[kind] += np.int64(histograms[kind, place])
    for k in range(len(sums)):
        size, below, place = (sizes * sums[k]).sum(), 0, -1
        for end, rank in enumerate((np.int64((0.5 - margin) * size), min(np.int64((0.5 + margin) * size), size - 1))):
            while below <= rank < size:
                place += 1
                for kind in range(KINDS):
                    if sums[k, kind]:
                        below += np.int64(histograms[kind, place])
            if size:
                found[k, end] = place
    return found


# --- By digits ----------------------------------------------------------------------------------------------------


@compiled
def _bins(bits, table, bins, k):
    """Fill `bins` from k on with the flat histogram indices of magnitudes given as bits."""
    to, floor = np.uint64(k), np.int32(FLOOR)
    for x in range(np.uint64(bits.size)):
        place = min(max((bits[x] >> np.int32(SHIFT)) - floor, np.int32(0)), np.int32(BINS - 1))
        bins[to + x] = np.uint32(place + np.int32(table * BINS))


@compiled
def count_noise(image, margin, sums, start, step, first, last):
    """(KINDS, BINS) coarse histograms of the noise magnitudes of rows start + k step, first <= k < last.

    Parameters
    ----------
    image, margin, sums : as in `gather_noise`
    """
    rows, cols = image.shape
    counts = np.zeros(KINDS * BINS, np.int32)
    lanes = np.empty(16, np.float32)
    pitch, ring, work, found = _scratch(cols)
    bits = found.view(np.int32)
    bins = np.empty(3 * cols, np.uint32)
    grey = found[3 * pitch : 3 * pitch + cols]
    held = 0
    for k in range(first, last):
        y = start + k * step
        held = _at_hand(image, y, held, ring, pitch)
        _noise_row(ring, pitch, y, rows, cols, work, found)
        _greys(found, np.uint64(3 * pitch), cols, margin, lanes, sums[y])
        _bins(bits[:cols], 0, bins, 0)
        _bins(bits[pitch : pitch + cols], 2, bins, cols)
        _bins(bits[2 * pitch : 2 * pitch + cols], 3, bins, 2 * cols)
        for x in range(cols):
            bins[x] += np.uint32(0) if grey[x] <= margin else np.uint32(BINS)
        for x in range(bins.size):
            counts[bins[x]] += 1
    return counts.reshape(KINDS, BINS)


@compiled
def count_noise_within(image, margin, chosen_bins, first, last):
    """(5, 2^SHIFT) histograms of the low bits of the noise magnitudes that lie in the chosen coarse bins.

    Parameters
    ----------
    image, margin : as in `gather_noise`
    chosen_bins : (5,) int32, bins of: corner of all pixels, of the darker, of the lighter, slow down, slow along
    """
    rows, cols = image.shape
    counts = np.zeros((5, 1 << SHIFT), np.int32)
    pitch, ring, work, found = _scratch(cols)
    bits = found.view(np.int32)
    low = np.int32((1 << SHIFT) - 1)
    wanted = chosen_bins + np.int32(FLOOR)
    held = 0
    for y in range(first, last):
        held = _at_hand(image, y, held, ring, pitch)
        _noise_row(ring, pitch, y, rows, cols, work, found)
        for x in range(cols):
            half = 1 if found[3 * pitch + x] <= margin else 2
            c = bits[x] >> SHIFT
            if c == wanted[0]:
                counts[0, bits[x] & low] += 1
            if c == wanted[half]:
                counts[half, bits[x] & low] += 1
            for k in range(1, 3):
                if bits[k * pitch + x] >> SHIFT == wanted[k + 2]:
                    counts[k + 2, bits[k * pitch + x] & low] += 1
    return counts
