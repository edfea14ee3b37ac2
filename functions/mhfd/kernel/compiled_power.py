"""The power of blocks in machine code (`power.row_power`): two blocks pass through one complex Fourier transform.

Real blocks A and B: the transform F of A + i B holds both, since |A(k)| = |F(k) + F(-k)*| / 2 and |B(k)| = |F(k) -
F(-k)*| / 2. Planes are flat, as in `compiled_loops`, and of the size of a block; vector instructions do neighbouring
columns.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# numba infers the types of the loops from their arguments.

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.kernel.compiled_loops import compiled, compiled_sum
from mhfd.kernel.power import CONTENT_POWER, CONTENT_RATIO, content_masks, hann
from mhfd.spectrum import BLOCK_PX, CELLS, HALF

_SIDE = np.uint64(BLOCK_PX)
_PIXELS = BLOCK_PX * BLOCK_PX
_FREQUENCIES = HALF * BLOCK_PX
_ROOT = np.float32(np.sqrt(0.5))
_QUARTER = np.float32(0.25)
_RATIO = np.float32(CONTENT_RATIO)
_LEAST = np.float32(CONTENT_POWER)


@compiled
def _fourth(a, b, c, d, p, q, r, s):
    """Fourier transform of four complex numbers; real parts first."""
    even, odd, even_i, odd_i = a + c, b + d, p + r, q + s
    u, v, u_i, v_i = a - c, b - d, p - r, q - s
    return even + odd, u + v_i, even - odd, u - v_i, even_i + odd_i, u_i - v, even_i - odd_i, u_i + v


@compiled
def _eighth(a, b, c, d, e, f, g, h, p, q, r, s, t, u, v, w):
    """Fourier transform of eight complex numbers; real parts first."""
    e0, e1, e2, e3, f0, f1, f2, f3 = _fourth(a, c, e, g, p, r, t, v)
    o0, o1, o2, o3, q0, q1, q2, q3 = _fourth(b, d, f, h, q, s, u, w)
    o1, q1 = _ROOT * (o1 + q1), _ROOT * (q1 - o1)
    o2, q2 = q2, -o2
    o3, q3 = _ROOT * (q3 - o3), -_ROOT * (o3 + q3)
    return (
        e0 + o0, e1 + o1, e2 + o2, e3 + o3, e0 - o0, e1 - o1, e2 - o2, e3 - o3,
        f0 + q0, f1 + q1, f2 + q2, f3 + q3, f0 - q0, f1 - q1, f2 - q2, f3 - q3,
    )  # fmt: skip


def _eighths(apart: int, between: int) -> Any:
    """A loop that transforms, in each column, eight times eight samples in place.

    The k-th time, samples begin at `between` k and lie `apart` from each other; the n-th result is turned by the
    angle with cosine cos[k, n] and sine sin[k, n]. Distances are constants: only then does the compiler see that
    samples do not overlap.
    """
    d1, d2, d3, d4, d5, d6, d7 = (np.uint64(k * apart) for k in range(1, 8))
    next_eight = np.uint64(between)

    @compiled
    def run(re, im, cos, sin):
        for k in range(np.uint64(8)):
            c1, c2, c3, c4, c5, c6, c7 = cos[k, 1], cos[k, 2], cos[k, 3], cos[k, 4], cos[k, 5], cos[k, 6], cos[k, 7]
            s1, s2, s3, s4, s5, s6, s7 = sin[k, 1], sin[k, 2], sin[k, 3], sin[k, 4], sin[k, 5], sin[k, 6], sin[k, 7]
            for x in range(_SIDE):
                y = k * next_eight + x
                r0, r1, r2, r3, r4, r5, r6, r7, i0, i1, i2, i3, i4, i5, i6, i7 = _eighth(
                    re[y], re[y + d1], re[y + d2], re[y + d3], re[y + d4], re[y + d5], re[y + d6], re[y + d7],
                    im[y], im[y + d1], im[y + d2], im[y + d3], im[y + d4], im[y + d5], im[y + d6], im[y + d7],
                )  # fmt: skip
                re[y] = r0
                re[y + d1] = c1 * r1 - s1 * i1
                re[y + d2] = c2 * r2 - s2 * i2
                re[y + d3] = c3 * r3 - s3 * i3
                re[y + d4] = c4 * r4 - s4 * i4
                re[y + d5] = c5 * r5 - s5 * i5
                re[y + d6] = c6 * r6 - s6 * i6
                re[y + d7] = c7 * r7 - s7 * i7
                im[y] = i0
                im[y + d1] = c1 * i1 + s1 * r1
                im[y + d2] = c2 * i2 + s2 * r2
                im[y + d3] = c3 * i3 + s3 * r3
                im[y + d4] = c4 * i4 + s4 * r4
                im[y + d5] = c5 * i5 + s5 * r5
                im[y + d6] = c6 * i6 + s6 * r6
                im[y + d7] = c7 * i7 + s7 * r7

    return run


# A transform of 64 is eight of 8, turned, and eight of 8 again; result 8 a + b then lies at 8 b + a.
_far = _eighths(8 * BLOCK_PX, BLOCK_PX)
_near = _eighths(BLOCK_PX, 8 * BLOCK_PX)


@compiled
def _swapped(k):
    """Where result k of a transform of 64 lies: its octal digits change places."""
    return (k & np.uint64(7)) << np.uint64(3) | k >> np.uint64(3)


@compiled
def _transposed(plane, target):
    """The other axis first, and the results of the first transform in order."""
    for y in range(_SIDE):
        row = _swapped(y) * _SIDE
        for x in range(_SIDE):
            target[x * _SIDE + y] = plane[row + x]


@compiled_sum
def _mean(image, top, left):
    total = 0.0
    for y in range(_SIDE):
        row = np.float32(0)
        for x in range(_SIDE):
            row += image[top + y, left + x]
        total += row
    return np.float32(total / _PIXELS)


@compiled
def _load(image, top, left, window, plane):
    """A block minus its mean, times the window."""
    mean = _mean(image, top, left)
    for y in range(_SIDE):
        for x in range(_SIDE):
            plane[y * _SIDE + x] = (image[top + y, left + x] - mean) * window[y * _SIDE + x]


@compiled
def _parted(re, im, a, b):
    """Power of both blocks, (HALF, BLOCK_PX) flat, frequencies along the rows first."""
    for kx in range(np.uint64(HALF)):
        here, there, to = _swapped(kx) * _SIDE, _swapped((_SIDE - kx) % _SIDE) * _SIDE, kx * _SIDE
        for ky in range(_SIDE):
            mirrored = there + (_SIDE - ky) % _SIDE if ky == 0 else there + _SIDE - ky
            r, s, i, j = re[here + ky], re[mirrored], im[here + ky], im[mirrored]
            a[to + ky] = ((r + s) * (r + s) + (i - j) * (i - j)) * _QUARTER
            b[to + ky] = ((r - s) * (r - s) + (i + j) * (i + j)) * _QUARTER


@compiled_sum
def _weighed(power, weights):
    total = np.float32(0)
    for k in range(np.uint64(power.size)):
        total += power[k] * weights[k]
    return total


@compiled
def _added(power, sums):
    for k in range(np.uint64(power.size)):
        sums[k] += power[k]


@compiled
def block_power(image, step, cols, window, turns, content, sums, counts, first, last):
    """`power.row_power` of rows of blocks first <= row < last.

    Parameters
    ----------
    image : rows of the normalised tile, or of that minus a constant, from the first row of blocks on
    step : distance of blocks, px
    cols : blocks in a row
    window, turns, content : of `tables`
    sums : (rows, CELLS, HALF BLOCK_PX) results, float32; frequencies along the rows first
    counts : (rows, CELLS) results, int64
    """
    planes = np.zeros((4, _PIXELS), np.float32)
    re, im, turned_re, turned_im = planes[0], planes[1], planes[2], planes[3]
    power = np.zeros((2, _FREQUENCIES), np.float32)
    for row in range(first, last):
        sums[row] = 0
        counts[row] = 0
        for col in range(0, cols, 2):
            _load(image, np.uint64(row * step), np.uint64(col * step), window, re)
            if col + 1 < cols:
                _load(image, np.uint64(row * step), np.uint64((col + 1) * step), window, im)
            else:
                im[:] = 0
            _far(re, im, turns[0], turns[1])
            _near(re, im, turns[2], turns[3])
            _transposed(re, turned_re)
            _transposed(im, turned_im)
            _far(turned_re, turned_im, turns[0], turns[1])
            _near(turned_re, turned_im, turns[2], turns[3])
            _parted(turned_re, turned_im, power[0], power[1])
            for k in range(min(2, cols - col)):
                slow = _weighed(power[k], content[0])
                if slow > _LEAST and slow > _RATIO * _weighed(power[k], content[1]):
                    cell = (col + k) * CELLS // cols
                    counts[row, cell] += 1
                    _added(power[k], sums[row, cell])


@lru_cache(maxsize=1)
def tables() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """`window`, `turns` and `content` of `block_power`."""
    angles = -2 * np.pi * np.outer(np.arange(8), np.arange(8)) / BLOCK_PX
    turns = np.stack([np.cos(angles), np.sin(angles), np.ones((8, 8)), np.zeros((8, 8))])
    content = np.stack([(mask / mask.sum()).T.ravel() for mask in content_masks()])
    return hann().ravel().astype(np.float32), turns.astype(np.float32), content.astype(np.float32)
