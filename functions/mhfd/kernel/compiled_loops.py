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

from mhfd.compiler import event, njit

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


_WATCHED = ("mhfd.kernel.loops.noise", "mhfd.kernel.loops.cascade")


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


# --- Covariances and block means ------------------------------------------------------------------------------------


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
    """Pixels in raster order where the strength has a maximum over 3 x 3 pixels above the threshold.

    Parameters
    ----------
    top, bottom : rows of the planes between which the tile lies
    least : float32, what any strength must exceed
    noise : (5,) variance, its slope over grey, the grey it is for, the smallest and the largest it can be; see
        `NoiseModel.at`
    thresholds : (n_scales,) what the strength must exceed for each scale, in deviations of the noise

    Returns
    -------
    (3, n) int64 y, x and scale, and (n,) float64 strength
    """
    cols = strength.shape[1]
    framed = np.full((3, cols + 2), -np.inf, np.float32)
    flags = np.zeros(-(-cols // 8) * 8, np.uint8)
    eights = flags.view(np.uint64)
    places, strengths = np.empty((3, 1024), np.int64), np.empty(1024, np.float64)
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
                if count == strengths.size:
                    more_places, more_strengths = np.empty((3, 2 * count), np.int64), np.empty(2 * count, np.float64)
                    more_places[:, :count], more_strengths[:count] = places, strengths
                    places, strengths = more_places, more_strengths
                places[0, count], places[1, count], places[2, count] = y, x, scale[y, x]
                strengths[count] = value
                count += 1
    return places[:, :count], strengths[:count]
