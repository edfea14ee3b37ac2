"""How fast results come while there is work: pauses between two bursts do not count."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

WINDOW_S = 300.0
"""Only results of so long ago, at most, tell the present rate."""

RESULTS = 1000
"""And of these only the last ones: at a high rate they are enough."""

LEAST_S = 10.0
"""Of results within a shorter time nothing could be said of their rate."""

PAUSE_S = 60.0
USUAL_TIMES = 10.0
"""An interval longer than the first of these, and than so many usual ones, is a pause: nobody took a tile meanwhile."""


def working_s(times: Sequence[float], now: float, *, busy: bool) -> float:
    """The time in which results came, in seconds: the intervals between them, and of a pause only what is usual.

    Parameters
    ----------
    times : when they came, the oldest first; at least one
    busy : there is work to do now, so since the last of them nobody has paused
    """
    if times[0] == times[-1]:  # results that came together tell no rate
        return WINDOW_S
    gaps = [after - before for before, after in pairwise(times) if after > before]  # a task brings several at once
    usual = median(gaps)
    most = max(PAUSE_S, USUAL_TIMES * usual)
    since = max(0.0, now - times[-1])
    total = sum(gap if gap <= most else usual for gap in gaps)
    return min(WINDOW_S, max(LEAST_S, total + (since if busy else min(since, usual))))
