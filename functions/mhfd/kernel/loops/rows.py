"""Rows of planes, sixty-four samples at a time: how loops that are written in vectors see memory.

Planes are flat, rows are addressed by unsigned offsets: a slice would cost a reference count, as much as sixty samples.
Rows are a multiple of LENGTH long, so that no loop has a remainder; what lies beyond a row's end is never used.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# numba infers the types of the loops from their arguments.

from __future__ import annotations

import numpy as np

from mhfd.kernel.compiled_loops import compiled
from mhfd.kernel.loops.vectors import absolute, keep_larger, load, spread, store, times

LENGTH = np.uint64(64)
"""Samples that a loop does at a time: four vectors, as many sums as keep the processor's multipliers busy."""

CHUNK = 256
"""Samples of several rows that are done before the samples beside them, so that they stay in the nearest cache."""

ONE, TWO, THREE = np.uint64(16), np.uint64(32), np.uint64(48)
"""Samples in as many vectors."""

_LINE = 16


@compiled
def pitch_of(samples: int) -> int:
    """Samples from row to row: at least `samples`; chunks of neighbouring rows lie apart in the cache."""
    lines = -(-samples // 64) * 4
    return _LINE * (lines + (16 - lines) % 32)


@compiled
def aligned(samples):
    """Zeros that begin at a line of the cache: vectors that cross lines cost twice."""
    room = np.zeros(samples + _LINE, np.float32)
    skip = (-room.ctypes.data % 64) // 4
    return room[skip : skip + samples]


@compiled
def get(plane, at):
    return load(plane, at), load(plane, at + ONE), load(plane, at + TWO), load(plane, at + THREE)


@compiled
def put(plane, at, a, b, c, d):
    store(plane, at, a)
    store(plane, at + ONE, b)
    store(plane, at + TWO, c)
    store(plane, at + THREE, d)


@compiled
def merge(response, at, gain, index, both, strength, scale, to, samples):
    """Merge part of a row of a scale, times gain, into the running maximum; the first of equals stays."""
    whole = np.uint64(samples) & ~np.uint64(15)
    factor = spread(gain)
    for x in range(np.uint64(0), whole, ONE):
        value = times(factor, load(response, at + x))
        if both:
            value = absolute(value)
        keep_larger(strength, scale, to + x, value, index)
    for x in range(whole, np.uint64(samples)):
        single = gain * response[at + x]
        if both:
            single = abs(single)
        if single > strength[to + x]:
            scale[to + x] = index
            strength[to + x] = single
