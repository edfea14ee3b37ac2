"""What `rows.look` finds, in one compiled pass over integers of up to 16 bits."""

# mypy: allow-untyped-defs, allow-untyped-calls
# numba infers the types of the loops from their arguments.

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]


def look(block: Array, shape: tuple[int, int, int], first: int, weights: Array) -> tuple[Array, Array, Array]:
    """Constant rows, means of stretches and numbers of rows.

    Parameters
    ----------
    block : (rows, cols) uint8 or uint16
    shape : stretches in a row, pixels of each, and the step between these
    first : of the pixels that a row's number is made of, as many as there are weights
    """
    rows = len(block)
    constant, means, numbers = np.empty(rows, np.bool_), np.empty((rows, shape[0]), np.float32), np.empty(rows, "u8")
    _look(block, *shape, first, weights, constant, means, numbers)
    return constant, means, numbers


@njit(nogil=True, cache=True, error_model="numpy")
def _look(block, stretches, samples, step, first, weights, constant, means, numbers):
    rows, cols = block.shape
    step = np.uint32(step)  # unsigned places need no look whether they count from the end
    for y in range(rows):
        row = block[y]
        number = np.uint64(0)
        part = row[first : first + weights.size]
        for x in range(weights.size):
            number += np.uint64(part[x]) * weights[x]
        numbers[y] = number
        x = np.uint32(0)
        for n in range(stretches):
            total = np.uint32(0)
            for _ in range(samples):
                total += row[x]
                x += step
            means[y, n] = np.float32(total) / np.float32(samples)
        x = np.uint32(1)
        while x < cols and row[x] == row[0]:
            x += np.uint32(1)
        constant[y] = x == cols


@njit(nogil=True, cache=True, error_model="numpy")
def rows_of_streaks(means, less_rows, least, contrast, enough_rows, sigmas, normal_median):
    """The rows that `streaks._rows` finds, (n,)."""
    rows, n = len(means) - 2 * less_rows, means.shape[1]
    mean = np.float64(0)
    for value in means.flat:
        mean += value
    mean /= means.size
    squares = np.float64(0)
    for value in means.flat:
        squares += (value - mean) ** 2
    limit = contrast * np.sqrt(squares / means.size)
    excess = np.empty((rows, n), means.dtype)
    for y in range(rows):
        for x in range(n):
            excess[y, x] = means[y + less_rows, x] - max(means[y, x], means[y + 2 * less_rows, x])
    found = _bright(excess, limit)
    if found.size < least:
        return found[:0]
    some = np.ascontiguousarray(excess[:: max(1, rows // enough_rows)]).ravel()
    usual = np.partition(some, some.size // 2)[some.size // 2]
    sigma = np.partition(np.abs(some - usual), some.size // 2)[some.size // 2] / normal_median
    return _bright(excess, max(usual + sigmas * sigma, limit))


@njit(nogil=True, cache=True, error_model="numpy")
def _bright(excess, limit):
    rows, n = excess.shape
    found = np.empty(rows, np.int64)
    count = 0
    for y in range(rows):
        for x in range(n - 1):
            if excess[y, x] > limit and excess[y, x + 1] > limit:
                found[count] = y
                count += 1
                break
    return found[:count]
