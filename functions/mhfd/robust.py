"""Statistics that a few odd values do not move. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist, median

NORMAL_MEDIAN = NormalDist().inv_cdf(0.75)
"""Median of |x| for a standard normal x, 0.67449: a median of absolute deviations divided by it estimates sigma."""


def spread(values: Sequence[float], centre: float) -> float:
    """Standard deviation of normally distributed values about `centre`, from the median of their distances."""
    return median(abs(value - centre) for value in values) / NORMAL_MEDIAN
