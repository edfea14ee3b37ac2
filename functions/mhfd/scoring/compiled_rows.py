"""What `rows.look` finds, in one compiled pass over integers of up to 16 bits; and whether that calls for a remark."""

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
def is_plain(constant, means, numbers, less_rows, contrast, least_streaks):
    """True if a look at rows surely gives no remark: most tiles, and NumPy need not ask of each what may be wrong.

    Parameters
    ----------
    constant, means, numbers : of `look`
    less_rows, contrast, least_streaks : of `streaks`
    """
    return (
        not (constant[0] or constant[-1])
        and _all_differ(numbers, constant)
        and _has_no_streaks(means, less_rows, contrast, least_streaks)
    )


@njit(nogil=True, cache=True, error_model="numpy")
def _all_differ(numbers, constant):
    """Whether no two rows that are not constant have one number."""
    mask = np.uint64(1)
    while mask < 4 * numbers.size:
        mask *= np.uint64(2)
    table, used = np.empty(mask, np.uint64), np.zeros(mask, np.bool_)
    mask -= np.uint64(1)
    for i in range(numbers.size):
        if constant[i]:
            continue
        number = numbers[i]
        at = (number ^ (number >> np.uint64(32))) & mask
        while used[at]:
            if table[at] == number:
                return False
            at = (at + np.uint64(1)) & mask
        table[at], used[at] = number, True
    return True


@njit(nogil=True, cache=True, error_model="numpy")
def _has_no_streaks(means, less_rows, contrast, least_streaks):
    rows, stretches = means.shape
    if rows <= 2 * less_rows or stretches < 2:
        return True
    total = np.float64(0)
    for y in range(rows):
        for n in range(stretches):
            total += means[y, n]
    mean, squares = total / (rows * stretches), np.float64(0)
    for y in range(rows):
        for n in range(stretches):
            squares += (means[y, n] - mean) ** 2
    least = 0.999 * contrast * np.sqrt(squares / (rows * stretches))  # NumPy rounds the deviation otherwise
    found = 0
    for y in range(less_rows, rows - less_rows):
        before = False
        for n in range(stretches):
            bright = means[y, n] - max(means[y - less_rows, n], means[y + less_rows, n]) > least
            if bright and before:
                found += 1
                break
            before = bright
    return found < least_streaks
