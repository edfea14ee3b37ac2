"""The looks at some rows that nearly all tiles pass at once, compiled: is there a trace of JPEG, or a data bar."""

# mypy: allow-untyped-defs, allow-untyped-calls
# numba infers the types of the loops from their arguments.

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, error_model="numpy")
def differences_along(pixels, starts, rows):
    """(cols - 1,) sums of the differences between neighbours along some rows, without sign.

    Parameters
    ----------
    pixels : (rows, cols) uint8 or uint16
    starts : the first row of each band
    rows : of a band
    """
    cols = pixels.shape[1]
    sums = np.zeros(cols - 1, np.uint32)
    for start in starts:
        for y in range(start, start + rows):
            row = pixels[y]
            ahead, behind = row[1:], row[:-1]
            for x in range(cols - 1):
                a, b = np.int32(ahead[x]), np.int32(behind[x])
                sums[x] += np.uint32(abs(a - b))
    return sums.astype(np.float64)


@njit(nogil=True, cache=True, error_model="numpy")
def steps(differences, side, least_step, sigmas, usual):
    """`blocks._steps` of one line of differences, (length,)."""
    n = differences.size
    mean = _middle(differences)
    excess = np.empty(n - 2)
    for x in range(n - 2):
        excess[x] = differences[x + 1] - (differences[x] + differences[x + 2]) / 2
    limit = usual * _middle(np.abs(excess))
    edges, inner, squares = 0.0, 0.0, 0.0
    n_edges, n_inner = 0, 0
    for x in range(n - 2):
        value = min(max(excess[x], -limit), limit)
        phase = (x + 1) % side
        if phase == side - 1:
            edges += value
            n_edges += 1
        elif 0 < phase < side - 2:
            inner += value
            squares += value * value
            n_inner += 1
    inner /= n_inner
    error = np.sqrt(max(0.0, squares / n_inner - inner * inner) / n_edges)
    step = edges / n_edges - max(0.0, inner)
    return mean > 0 and step > least_step * mean and step > sigmas * error


@njit(nogil=True, cache=True, error_model="numpy")
def _middle(values):
    half = values.size // 2
    ordered = np.partition(values, half)
    return ordered[half] if values.size % 2 else (ordered[:half].max() + ordered[half]) / 2


@njit(nogil=True, cache=True, error_model="numpy")
def rows_of_one_level(rows):
    """`picture._rows_of_one_level`."""
    found = 0
    for y in range(len(rows)):
        row = rows[y]
        counts = np.zeros(256, np.uint32)
        for x in range(row.size):
            counts[row[x]] += np.uint32(1)
        found += 2 * counts.max() > row.size
    return found
