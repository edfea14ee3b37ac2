"""Sharing a tile: every scale and every row belongs to exactly one device."""

from __future__ import annotations

import pytest

from mhfd.contract import FocusParams
from mhfd.kernel.partition import row_ranges, scale_ranges


@pytest.mark.parametrize("parts", [1, 2, 3, 8, 16, 40])
@pytest.mark.parametrize("n_scales", [1, 2, 16, 64])
def test_every_scale_belongs_to_one_device(n_scales: int, parts: int) -> None:
    ranges = scale_ranges(FocusParams(n_scales=n_scales), (1024, 1024), parts)
    assert [i for first, last in ranges for i in range(first, last)] == list(range(n_scales))
    assert len(ranges) == min(parts, n_scales)


def test_small_scales_cost_more_so_their_device_has_fewer() -> None:
    (first, second) = scale_ranges(FocusParams(), (1024, 1024), 2)
    assert first[1] - first[0] < second[1] - second[0]


@pytest.mark.parametrize(
    ("rows", "parts", "multiple"), [(1024, 2, 4), (1023, 3, 4), (5, 4, 4), (1, 3, 1), (700, 7, 64)]
)
def test_every_row_belongs_to_one_device(rows: int, parts: int, multiple: int) -> None:
    ranges = row_ranges(rows, parts, multiple)
    assert [y for first, last in ranges for y in range(first, last)] == list(range(rows))
    assert all(first % multiple == 0 and first < last for first, last in ranges)
    assert len(ranges) <= parts
