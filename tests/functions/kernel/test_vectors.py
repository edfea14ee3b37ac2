"""The loops in vectors: what they compute, and that they touch nothing beyond the elements they name."""

# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("numba")
from mhfd.kernel.compiled_loops import compiled
from mhfd.kernel.loops import rows, vectors
from mhfd.kernel.loops.vectors import LANES

GUARD = 77
WIDTHS = (1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 131)
NUMBERS = np.random.default_rng(1).normal(size=256).astype(np.float32)


def guarded(size: int, dtype: Any = np.float32) -> tuple[NDArray[Any], Callable[[], bool]]:
    """A flat array between guards, and whether the guards still stand."""
    room = np.full(size + 2 * LANES, GUARD, dtype)
    before = room.copy()

    def stand() -> bool:
        around = np.r_[0:LANES, LANES + size : room.size]
        return np.array_equal(room[around], before[around])

    return room[LANES : LANES + size], stand


@compiled
def run(a: Any, b: Any, bound: Any, out: Any, packed: Any) -> Any:  # each result in sixteen elements of `out`
    zero, step = np.uint64(0), np.uint64(16)
    u, v = vectors.load(a, zero), vectors.load(b, zero)
    choice = vectors.greater(u, vectors.spread(bound))
    vectors.store(out, zero, vectors.plus(u, v))
    vectors.store(out, step, vectors.minus(u, v))
    vectors.store(out, step * np.uint64(2), vectors.times(u, v))
    vectors.store(out, step * np.uint64(3), vectors.absolute(u))
    vectors.store(out, step * np.uint64(4), vectors.chosen(choice, u))
    vectors.store(out, step * np.uint64(5), vectors.interleave_low(u, v))
    vectors.store(out, step * np.uint64(6), vectors.interleave_high(u, v))
    vectors.store_chosen(packed, zero, choice, u)
    return choice, vectors.count(choice), vectors.not_less(vectors.spread(bound), u)


@pytest.mark.parametrize("bound", [-9, -0.5, 0, 1, 9])
def test_a_vector_is_sixteen_numbers(bound: float) -> None:
    a, b = NUMBERS[:LANES].copy(), NUMBERS[LANES : 2 * LANES].copy()
    larger = a > bound
    out, out_stands = guarded(7 * LANES)
    packed, packed_stands = guarded(int(larger.sum()))
    choice, count, rest = run(a, b, np.float32(bound), out, packed)
    turns = np.stack([a, b], axis=1).ravel()
    expected = [a + b, a - b, a * b, np.abs(a), np.where(larger, a, 0), turns[:LANES], turns[LANES:]]
    assert np.array_equal(out, np.concatenate(expected))
    assert np.array_equal(packed, a[larger])
    assert out_stands() and packed_stands()
    assert count == larger.sum()
    assert choice == sum(1 << k for k in np.flatnonzero(larger).tolist())
    assert choice ^ rest == (1 << LANES) - 1


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_running_maximum_ends_where_the_row_ends(width: int, both: bool) -> None:
    response, gain = NUMBERS[:width].copy(), np.float32(-2)
    strength, strength_stands = guarded(width)
    scale, scale_stands = guarded(width, np.uint8)
    known = NUMBERS[::-1][:width]
    strength[:], scale[:] = known, 3
    rows.merge(response, np.uint64(0), gain, np.uint8(5), both, strength, scale, np.uint64(0), width)
    value = np.abs(gain * response) if both else gain * response
    assert np.array_equal(strength, np.maximum(known, value))
    assert np.array_equal(scale, np.where(value > known, 5, 3))
    assert strength_stands() and scale_stands()


@pytest.mark.parametrize("width", WIDTHS)
def test_rows_in_scratch_memory_hold_whole_vectors(width: int) -> None:
    assert rows.pitch_of(width) >= -(-width // int(rows.LENGTH)) * int(rows.LENGTH)
    assert rows.aligned(width).size == width
    assert rows.aligned(width).ctypes.data % 64 == 0
    assert not rows.aligned(width).any()
