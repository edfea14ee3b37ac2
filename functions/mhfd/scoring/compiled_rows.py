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
