"""Looks at all pixels of a tile, compiled: what each row shows, and whether anything at all is odd."""

# mypy: allow-untyped-defs, allow-untyped-calls
# numba infers the types of the loops from their arguments.

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.compiler import njit

Array = NDArray[Any]

_WORD_BYTES = 8


def look(block: Array, shape: tuple[int, int, int], first: int, weights: Array) -> tuple[Array, Array, Array]:
    """Constant rows, means of stretches and numbers of rows.

    Parameters
    ----------
    block : (rows, cols) uint8 or uint16
    shape : stretches in a row, pixels of each, and the step between these
    first : of the pixels that a row's number is made of, as many as there are weights
    """
    constant, totals, numbers = _rows(block, shape, first, weights)
    return constant, (totals / shape[1]).astype(np.float32), numbers


@njit(nogil=True, cache=True, error_model="numpy")
def grey_if_plain(pixels, words, shape, first, weights, bands, jpeg, ends, streaks):
    """Mean grey level of a tile that surely is picture as a whole and calls for no remark; NaN if it may not be.

    Parameters
    ----------
    pixels : (rows, cols) uint8 or uint16
    words : (rows, n) uint64, the same memory, where the pixels of a stretch are the lowest bytes of words in a row;
        else (0, 0)
    shape, first, weights : as for `look`
    bands : first rows of the bands in which traces of JPEG are looked for
    jpeg : rows of a band, and the arguments of `_steps`
    ends : pixels that the border of a tile has at least, rows in which a data bar begins, and of those the ones that
        must have a ground
    streaks : rows between a streak and those compared, contrast, sigmas, rows for a median, streaks for a remark, and
        the median of a normal distribution's deviations
    """
    rows, cols = pixels.shape
    border_px, bar_rows, ground_rows = ends
    if (
        _is_one_level(pixels[0, :border_px])
        or _is_one_level(pixels[0, cols - border_px :])
        or _is_one_level(pixels[rows - 1, :border_px])
        or _may_have_a_ground(pixels[rows - bar_rows :]) >= ground_rows
        or _steps(_differences_along(pixels, bands, jpeg[0]), *jpeg[1:])
    ):
        return np.nan
    if words.size:
        constant, totals, numbers = _rows_of_words(pixels, words, shape, first, weights)
    else:
        constant, totals, numbers = _rows(pixels, shape, first, weights)
    if constant[0] or constant[-1] or not _all_differ(numbers, constant):
        return np.nan
    total, deviation = _moments(totals)
    if _may_have_streaks(totals, deviation, streaks):
        return np.nan
    return total / shape[1] / totals.size


# --- Rows ---------------------------------------------------------------------------------------------------------


@njit(nogil=True, cache=True, error_model="numpy")
def _rows(pixels, shape, first, weights):
    """Whether each row is constant, the sums of its stretches, and its number."""
    rows = len(pixels)
    stretches, samples, step = shape
    step = np.uint32(step)  # unsigned places need no look whether they count from the end
    constant, numbers = np.empty(rows, np.bool_), np.empty(rows, np.uint64)
    totals = np.empty((rows, stretches), np.float32)  # whole numbers below 2^24
    for y in range(rows):
        row = pixels[y]
        constant[y], numbers[y] = _is_one_level(row), _number(row[first : first + weights.size], weights)
        x = np.uint32(0)
        for n in range(stretches):
            total = np.uint32(0)
            for _ in range(samples):
                total += row[x]
                x += step
            totals[y, n] = np.float32(np.uint32(total))
    return constant, totals, numbers


@njit(nogil=True, cache=True, error_model="numpy")
def _rows_of_words(pixels, words, shape, first, weights):
    """As `_rows`, where vectors can hold the words: in half the time."""
    rows = len(pixels)
    stretches = shape[0]
    constant, numbers = np.empty(rows, np.bool_), np.empty(rows, np.uint64)
    totals = np.empty((rows, stretches), np.float32)  # whole numbers below 2^24
    for y in range(rows):
        row, of_words = pixels[y], words[y]
        constant[y], numbers[y] = _is_one_level(row), _number(row[first : first + weights.size], weights)
        for n in range(np.uint32(stretches)):
            total = np.uint64(0)
            for k in range(np.uint32(_WORD_BYTES)):  # a stretch has so many samples
                total += of_words[np.uint32(_WORD_BYTES) * n + k] & np.uint64(255)
            totals[y, n] = np.float32(np.uint32(total))
    return constant, totals, numbers


@njit(nogil=True, cache=True, error_model="numpy")
def _is_one_level(row):
    x = np.uint32(1)
    while x < row.size and row[x] == row[0]:
        x += np.uint32(1)
    return x >= row.size


@njit(nogil=True, cache=True, error_model="numpy")
def _number(part, weights):
    """`rows.row_numbers` of some pixels of a row."""
    number = np.uint64(0)
    for x in range(weights.size):
        number += np.uint64(part[x]) * weights[x]
    return number


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


# --- Streaks: `streaks.charging` ----------------------------------------------------------------------------------


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc"})
def _moments(totals):
    """Sum and standard deviation."""
    values = totals.ravel()
    total, squares = 0.0, 0.0
    for n in range(np.uint32(values.size)):
        total += np.float64(values[n])
    mean = total / values.size
    for n in range(np.uint32(values.size)):
        apart = np.float64(values[n]) - mean
        squares += apart * apart
    return total, np.sqrt(squares / values.size)


@njit(nogil=True, cache=True, error_model="numpy")
def _may_have_streaks(totals, deviation, streaks):
    less_rows, contrast, sigmas, enough_rows, least, normal_median = streaks
    rows, stretches = totals.shape
    if rows <= 2 * less_rows or stretches < 2:
        return False
    limit = 0.999 * contrast * deviation  # NumPy rounds otherwise
    if _bright_pairs(totals, less_rows, limit) < least:
        return False
    every = max(1, (rows - 2 * less_rows) // enough_rows)
    usual, sigma = _low_spread(_excess(totals, less_rows, every), normal_median)
    limit = max(limit, usual + 0.999 * sigmas * sigma)
    return _bright_pairs(totals, less_rows, limit) >= least and _bright_rows(totals, less_rows, limit) >= least


@njit(nogil=True, cache=True, error_model="numpy")
def _bright_pairs(totals, less_rows, limit):
    """How many stretches and their next ones are both so bright; the first one of a row is next to the last one."""
    found, limit = np.uint32(0), np.float32(limit)
    away = np.uint32(less_rows * totals.shape[1])
    values = totals.ravel()
    above, here, below = values[: values.size - 2 * away], values[away : values.size - away], values[2 * away :]
    above_next, next_one, below_next = above[1:], here[1:], below[1:]
    for n in range(np.uint32(next_one.size)):
        one = (here[n] - above[n] > limit) & (here[n] - below[n] > limit)
        found += np.uint32(one & (next_one[n] - above_next[n] > limit) & (next_one[n] - below_next[n] > limit))
    return found


@njit(nogil=True, cache=True, error_model="numpy")
def _bright_rows(totals, less_rows, limit):
    """In how many rows two stretches side by side are so bright."""
    found, limit = 0, np.float32(limit)
    for y in range(less_rows, len(totals) - less_rows):
        above, here, below = totals[y - less_rows], totals[y], totals[y + less_rows]
        before = False
        for n in range(totals.shape[1]):
            bright = here[n] - max(above[n], below[n]) > limit
            if bright and before:
                found += 1
                break
            before = bright
    return found


@njit(nogil=True, cache=True, error_model="numpy")
def _excess(totals, less_rows, every):
    """Of each n-th row's stretches over those above and below, (n,)."""
    stretches = totals.shape[1]
    rows = np.arange(less_rows, len(totals) - less_rows, every)
    found = np.empty(rows.size * stretches, np.int32)
    for i in range(rows.size):
        above, here, below = totals[rows[i] - less_rows], totals[rows[i]], totals[rows[i] + less_rows]
        for n in range(stretches):
            found[i * stretches + n] = np.int32(here[n] - max(above[n], below[n]))
    return found


@njit(nogil=True, cache=True, error_model="numpy")
def _low_spread(values, normal_median):
    """Median of whole numbers, and deviation from that of the distances; less than these where they lie far apart."""
    low = values.min()
    wide, bits = values.max() - low, 0
    while wide >> bits > 4096:
        bits += 1
    counts = np.zeros((wide >> bits) + 1, np.int32)
    for value in values:
        counts[(value - low) >> bits] += 1
    half = values.size // 2
    middle, passed = 0, counts[0]
    while passed <= half:
        middle += 1
        passed += counts[middle]
    distance, passed = 0, counts[middle]
    while passed <= half:
        distance += 1
        for place in (middle - distance, middle + distance):
            if 0 <= place < counts.size:
                passed += counts[place]
    distance = max(0, distance - 1) if bits else distance  # within a step it is not known
    return low + (middle << bits), (distance << bits) / normal_median


# --- Data bars and JPEG -------------------------------------------------------------------------------------------


@njit(nogil=True, cache=True, error_model="numpy")
def _may_have_a_ground(rows):
    """In how many rows one level may have more than half of the pixels, to judge by their lowest bytes."""
    found = 0
    counts = np.empty(256, np.uint32)
    for y in range(len(rows)):
        row = rows[y]
        counts[:] = 0
        for x in range(row.size):
            counts[row[x] & 255] += np.uint32(1)
        found += 2 * counts.max() > row.size
    return found


@njit(nogil=True, cache=True, error_model="numpy")
def _differences_along(pixels, bands, rows):
    """(cols - 1,) sums of the differences between neighbours along some rows, without sign."""
    cols = pixels.shape[1]
    sums = np.zeros(cols - 1, np.uint32)
    for start in bands:
        for y in range(start, start + rows):
            row = pixels[y]
            ahead, behind = row[1:], row[:-1]
            for x in range(cols - 1):
                a, b = np.int32(ahead[x]), np.int32(behind[x])
                sums[x] += np.uint32(abs(a - b))
    return sums.astype(np.float64)


@njit(nogil=True, cache=True, error_model="numpy")
def _steps(differences, side, least_step, sigmas, usual):
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
    return mean > 0 and step > 0.999 * least_step * mean and step > 0.999 * sigmas * error  # NumPy rounds otherwise


@njit(nogil=True, cache=True, error_model="numpy")
def _middle(values):
    half = values.size // 2
    ordered = np.partition(values, half)
    return ordered[half] if values.size % 2 else (ordered[:half].max() + ordered[half]) / 2
