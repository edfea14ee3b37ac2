"""The loops of `compiled`, turned into machine code by numba.

Each function works on rows first <= y < last of its arrays and releases the interpreter's lock, so threads can share
a plane by rows. A pixel's result never depends on how the rows were shared out: nothing is summed across rows here.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# numba infers the types of the loops from their arguments.

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numba.core import event

log = logging.getLogger(__name__)

_F = TypeVar("_F", bound=Callable[..., Any])

COMPILING = "compiling the kernel once, about half a minute; later runs start at once"

# No "nnan" or "ninf": the running maximum starts at minus infinity.
_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
_EXACT = {"contract", "nsz"}


def compiled(function: _F) -> _F:
    """Compile at the first call, and keep the machine code on disk for the next process."""
    made: _F = njit(fastmath=_EXACT, **_OPTIONS)(function)
    return made


def compiled_sum(function: _F) -> _F:
    """`compiled` for sums along one row, in any order: always the same order for the same row."""
    made: _F = njit(fastmath={*_EXACT, "reassoc"}, **_OPTIONS)(function)
    return made


_WATCHED = (__name__, "mhfd.kernel.loops.cascade")


class _FirstRun(event.Listener):
    """Logs, once a process, that the loops are compiled since no earlier run has left their machine code on disk.

    numba reports a compilation only when it found nothing in its cache. A new type of pixels compiles two loops in
    2 s, which is not worth a word; the ones watched here are those that every tile needs, and take most of the time.
    """

    def __init__(self) -> None:
        self.told = False

    def on_start(self, event: Any) -> None:
        function = event.data["dispatcher"].py_func
        if not self.told and function.__module__ in _WATCHED and function.__name__ in ("count_noise", "cascade"):
            self.told = True
            log.info(COMPILING)

    def on_end(self, event: Any) -> None:
        pass


FIRST_RUN = _FirstRun()
event.register("numba:compile", FIRST_RUN)


@compiled
def fold(i, n, circular):
    """Index of the sample that a boundary rule puts at place i of n: half-sample symmetric, or circular."""
    if 0 <= i < n:
        return i
    if circular:
        return i % n
    i %= 2 * n
    return i if i < n else 2 * n - 1 - i


@compiled
def pad(row, reach, circular):
    """Fill `reach` samples at both ends of a row by the boundary rule."""
    n = row.size - 2 * reach
    for x in range(reach):
        row[x] = row[reach + fold(x - reach, n, circular)]
        row[reach + n + x] = row[reach + fold(n + x, n, circular)]


# --- Grey levels ------------------------------------------------------------------------------------------------


@compiled
def count_levels(pixels, lowest, levels, first, last):
    """(4, levels) histograms of integers from `lowest` on, one for x modulo 4: equal neighbours need not wait."""
    counts = np.zeros((4, levels), np.int32)
    for y in range(first, last):
        row = pixels[y]
        for x in range(row.size):
            counts[x & 3, np.int64(row[x]) - lowest] += 1
    return counts


@compiled
def count_digits(bits, top, shift, prefixes, first, last):
    """(n, 65536) histograms of the 16 bits above `shift` of keys that sort as the numbers do, one for each prefix.

    Parameters
    ----------
    bits : (rows, cols) floating-point numbers read as unsigned integers
    top : uint64, their sign bit
    shift : uint64
    prefixes : (n,) uint64, required value of the bits above
    """
    counts = np.zeros((prefixes.size, 65536), np.int32)
    everything = top | (top - np.uint64(1))
    for y in range(first, last):
        row = bits[y]
        for x in range(row.size):
            key = np.uint64(row[x])
            if key == top:  # minus zero equals zero
                key = np.uint64(0)
            key = key ^ everything if key & top else key | top
            digits = key >> shift
            prefix, digit = digits >> np.uint64(16), digits & np.uint64(0xFFFF)
            for k in range(prefixes.size):
                if prefix == prefixes[k]:
                    counts[k, digit] += 1
    return counts


@compiled
def look_up(pixels, lowest, table, image, first, last):
    """image = table[pixels - lowest]"""
    for y in range(first, last):
        for x in range(pixels.shape[1]):
            image[y, x] = table[np.int64(pixels[y, x]) - lowest]


@compiled
def rescale(pixels, low, extent, mean, image, first, last):
    """image = clip((pixels - low) / extent, 0, 1) - mean, divided in float64, subtracted in float32."""
    for y in range(first, last):
        for x in range(pixels.shape[1]):
            grey = (np.float64(pixels[y, x]) - low) / extent
            image[y, x] = np.float32(min(max(grey, 0.0), 1.0)) - mean


@compiled_sum
def row_sum(row):
    total = 0.0
    for x in range(row.size):
        total += np.float64(row[x])
    return total


@compiled
def row_sums(image, sums, first, last):
    for y in range(first, last):
        sums[y] = row_sum(image[y])


# --- Noise and covariances --------------------------------------------------------------------------------------

NOISE_SHIFT = 14
"""A median of magnitudes is found by float32 bits >> NOISE_SHIFT, then by the bits below."""

NOISE_FLOOR = (127 - 24) << (23 - NOISE_SHIFT)
"""Bin of 2^-24: smaller magnitudes, far below any noise that counts, share the first bin."""

NOISE_BINS = 33 << (23 - NOISE_SHIFT)
"""Up to 2^9: magnitudes are smaller."""

NOISE_KINDS = 4
"""Histograms of the noise: corner of darker and of lighter pixels, slow down the columns, slow along the rows."""


@compiled
def _fourth(a, b, c, d, e):
    """Fourth difference (1, -4, 6, -4, 1), exactly 0 on flat ground."""
    return ((a - c) + (e - c)) - np.float32(4) * ((b - c) + (d - c))


@compiled
def _noise_row(image, y, work, corner, down, along, grey):
    """Noise magnitudes of row y, and its mean over 5 x 5 pixels; see `fourier.estimate_noise`.

    Parameters
    ----------
    work : (3, cols + 4) scratch
    corner, down, along, grey : (cols,) results
    """
    rows, cols = image.shape
    a, b, c = image[fold(y - 2, rows, False)], image[fold(y - 1, rows, False)], image[y]
    d, e = image[fold(y + 1, rows, False)], image[fold(y + 2, rows, False)]
    fourth, second, total = work[0, 2:-2], work[1, 2:-2], work[2, 2:-2]
    for x in range(cols):
        fourth[x] = _fourth(a[x], b[x], c[x], d[x], e[x])
        second[x] = (b[x] + d[x]) + np.float32(2) * c[x]
        total[x] = (a[x] + e[x]) + (b[x] + d[x]) + c[x]
    for k in range(3):
        pad(work[k], 2, False)
    a, b, c, d, e = work[0], work[0, 1:], fourth, work[0, 3:], work[0, 4:]
    for x in range(cols):
        corner[x] = abs(_fourth(a[x], b[x], c[x], d[x], e[x]))
        down[x] = abs((b[x] + d[x]) + np.float32(2) * c[x])
    a, b, c, d, e = work[1], work[1, 1:], second, work[1, 3:], work[1, 4:]
    for x in range(cols):
        along[x] = abs(_fourth(a[x], b[x], c[x], d[x], e[x]))
    a, b, c, d, e = work[2], work[2, 1:], total, work[2, 3:], work[2, 4:]
    for x in range(cols):
        grey[x] = ((a[x] + e[x]) + (b[x] + d[x]) + c[x]) * np.float32(1 / 25)


@compiled
def _noise_bins(bits, table, bins, k):
    """Fill `bins` from k on with the flat histogram indices of magnitudes given as bits."""
    to, floor = np.uint64(k), np.int32(NOISE_FLOOR)
    for x in range(np.uint64(bits.size)):
        place = min(max((bits[x] >> np.int32(NOISE_SHIFT)) - floor, np.int32(0)), np.int32(NOISE_BINS - 1))
        bins[to + x] = np.uint32(place + np.int32(table * NOISE_BINS))


@compiled_sum
def _sums_of_dark(grey, margin):
    """Number of pixels of a row with grey <= margin, their sum, and the sum of the others."""
    count, dark, light = np.float32(0), np.float32(0), np.float32(0)
    for x in range(grey.size):
        count += np.float32(1) if grey[x] <= margin else np.float32(0)
    for x in range(grey.size):
        dark += grey[x] if grey[x] <= margin else np.float32(0)
    for x in range(grey.size):
        light += np.float32(0) if grey[x] <= margin else grey[x]
    return count, dark, light


@compiled
def count_noise(image, margin, sums, first, last):
    """(NOISE_KINDS, NOISE_BINS) coarse histograms of the noise magnitudes; the grey of darker and lighter pixels.

    Parameters
    ----------
    image : (rows, cols) normalised tile, centred, with two more rows on each side where the tile has them
    margin : float32, grey of the lightest of the darker pixels
    sums : (rows, 3) results: number of darker pixels, sum of their grey, sum of the others' grey
    """
    cols = image.shape[1]
    counts = np.zeros(NOISE_KINDS * NOISE_BINS, np.int32)
    work = np.empty((3, cols + 4), np.float32)
    rows = np.empty((4, cols), np.float32)
    bits = rows.view(np.int32)
    bins = np.empty(3 * cols, np.uint32)
    corner, down, along, grey = rows[0], rows[1], rows[2], rows[3]
    for y in range(first, last):
        _noise_row(image, y, work, corner, down, along, grey)
        sums[y, 0], sums[y, 1], sums[y, 2] = _sums_of_dark(grey, margin)
        _noise_bins(bits[0], 0, bins, 0)
        _noise_bins(bits[1], 2, bins, cols)
        _noise_bins(bits[2], 3, bins, 2 * cols)
        for x in range(cols):
            bins[x] += np.uint32(0) if grey[x] <= margin else np.uint32(NOISE_BINS)
        for x in range(bins.size):
            counts[bins[x]] += 1
    return counts.reshape(NOISE_KINDS, NOISE_BINS)


@compiled
def count_noise_within(image, margin, chosen, first, last):
    """(5, 2^NOISE_SHIFT) histograms of the low bits of the noise magnitudes that lie in the chosen coarse bins.

    Parameters
    ----------
    chosen : (5,) int32, bins of: corner of all pixels, of the darker, of the lighter, slow down, slow along
    """
    cols = image.shape[1]
    counts = np.zeros((5, 1 << NOISE_SHIFT), np.int32)
    work = np.empty((3, cols + 4), np.float32)
    rows = np.empty((4, cols), np.float32)
    bits = rows.view(np.int32)
    low = np.int32((1 << NOISE_SHIFT) - 1)
    wanted = chosen + np.int32(NOISE_FLOOR)
    corner, down, along, grey = rows[0], rows[1], rows[2], rows[3]
    hits = np.empty(cols, np.bool_)
    for y in range(first, last):
        _noise_row(image, y, work, corner, down, along, grey)
        for x in range(cols):
            c = bits[0, x] >> NOISE_SHIFT
            hits[x] = (
                (c == wanted[0])
                | (c == wanted[1])
                | (c == wanted[2])
                | (bits[1, x] >> NOISE_SHIFT == wanted[3])
                | (bits[2, x] >> NOISE_SHIFT == wanted[4])
            )
        for x in range(cols):
            if hits[x]:
                c = bits[0, x] >> NOISE_SHIFT
                half = 1 if grey[x] <= margin else 2
                if c == wanted[0]:
                    counts[0, bits[0, x] & low] += 1
                if c == wanted[half]:
                    counts[half, bits[0, x] & low] += 1
                for k in range(1, 3):
                    if bits[k, x] >> NOISE_SHIFT == wanted[k + 2]:
                        counts[k + 2, bits[k, x] & low] += 1
    return counts


@compiled_sum
def _dot(a, b):
    total = np.float32(0)
    for x in range(a.size):
        total += a[x] * b[x]
    return total


@compiled
def covariance_rows(image, lags, products, first, last):
    """Sums along rows of the products of a centred image with itself, shifted by each of the lags.

    Parameters
    ----------
    image : (rows, cols), with as many rows after those asked for as the lags reach, where the tile has them
    lags : (n, 2) downwards (not negative) and to the right
    products : (rows, n) results
    """
    rows, cols = image.shape
    for y in range(first, last):
        for k in range(len(lags)):
            dy, dx = lags[k]
            products[y, k] = 0
            if y + dy < rows and abs(dx) < cols:
                here, there = image[y], image[y + dy]
                left = max(0, -dx)
                right = cols - max(0, dx)
                products[y, k] = _dot(here[left:right], there[left + dx : right + dx])


@compiled
def block_sums(image, side, sums, first, last):
    """Sums over blocks of side x side pixels; first <= block row < last."""
    cols = sums.shape[1] * side
    column = np.empty(cols, np.float32)
    for block in range(first, last):
        column[:] = 0
        for y in range(block * side, (block + 1) * side):
            row = image[y]
            for x in range(cols):
                column[x] += row[x]
        for k in range(sums.shape[1]):
            sums[block, k] = row_sum(column[k * side : (k + 1) * side])


# --- Levels -----------------------------------------------------------------------------------------------------


@compiled
def decimate(source, start, circular, target, first, last):
    """target[j, i] = source[start + 2 j, start + 2 i], by the boundary rule."""
    rows, cols = source.shape
    columns = np.empty(target.shape[1], np.uint32)
    for i in range(columns.size):
        columns[i] = fold(start + 2 * i, cols, circular)
    for j in range(first, last):
        row, kept = source[fold(start + 2 * j, rows, False)], target[j]
        for i in range(columns.size):
            kept[i] = row[columns[i]]


# --- Features ---------------------------------------------------------------------------------------------------


@compiled
def _local_mean(image, y, x):
    """Mean over 5 x 5 pixels, symmetric boundary."""
    rows, cols = image.shape
    total = 0.0
    for dy in range(-2, 3):
        row = image[fold(y + dy, rows, False)]
        for dx in range(-2, 3):
            total += row[fold(x + dx, cols, False)]
    return total / 25


@compiled
def _flag(m, a, b, c, d, e, f, g, h, least, flags):
    """1 where m exceeds its neighbours a b c d before it in raster order and is not below e f g h after it."""
    for x in range(m.size):
        v = m[x]
        flags[x] = (
            (v > least)
            & (v > a[x])
            & (v > b[x])
            & (v > c[x])
            & (v > d[x])
            & (v >= e[x])
            & (v >= f[x])
            & (v >= g[x])
            & (v >= h[x])
        )


@compiled
def find_peaks(strength, scale, image, top, bottom, least, noise, thresholds, first, last):
    """Places y cols + x, ascending, where the strength has a maximum over 3 x 3 pixels above the threshold.

    Parameters
    ----------
    top, bottom : rows of the planes between which the tile lies
    least : float32, what any strength must exceed
    noise : (5,) variance, its slope over grey, the grey it is for, the smallest and the largest it can be; see
        `NoiseModel.at`
    thresholds : (n_scales,) what the strength must exceed for each scale, in deviations of the noise
    """
    cols = strength.shape[1]
    framed = np.full((3, cols + 2), -np.inf, np.float32)
    flags = np.zeros(-(-cols // 8) * 8, np.uint8)
    eights = flags.view(np.uint64)
    places = np.empty(1024, np.int64)
    count = 0
    weakest, strongest = np.sqrt(noise[3]), np.sqrt(noise[4])
    if first > top:
        framed[0, 1:-1] = strength[first - 1]
    if first < last:
        framed[1, 1:-1] = strength[first]
    for y in range(first, last):
        u, c, d = framed[(y - first) % 3], framed[(y - first + 1) % 3], framed[(y - first + 2) % 3]
        if y + 1 < bottom:
            d[1:-1] = strength[y + 1]
        else:
            d[:] = -np.inf
        _flag(c[1:-1], u, u[1:], u[2:], c, c[2:], d, d[1:], d[2:], least, flags)
        for eight in range(eights.size):
            if eights[eight] == 0:
                continue
            for x in range(eight * 8, min(eight * 8 + 8, cols)):
                if not flags[x]:
                    continue
                threshold, value = thresholds[scale[y, x]], strength[y, x]
                if value <= threshold * weakest:
                    continue
                if value <= threshold * strongest:  # only then the grey level decides
                    variance = noise[0] + noise[1] * (_local_mean(image, y, x) - noise[2])
                    if value <= threshold * np.sqrt(max(variance, noise[3])):
                        continue
                if count == places.size:
                    longer = np.empty(2 * count, np.int64)
                    longer[:count] = places
                    places = longer
                places[count] = y * cols + x
                count += 1
    return places[:count]
