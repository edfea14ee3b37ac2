"""How sure a verdict is, and why it is not surer."""

from __future__ import annotations

from collections.abc import Mapping

from mhfd.contract import Doubt

SURE = 0.95
"""A reason that alone leaves more than this need not be told."""


def weighed(by_margin: float, caps: Mapping[Doubt, float]) -> tuple[float, tuple[Doubt, ...]]:
    """The confidence of a verdict, and what keeps it below SURE, the weightiest first.

    Parameters
    ----------
    by_margin : what the distance from the threshold alone gives, 0.5 to 1
    caps : the most that each reason allows, 1 where it does not hold
    """
    reasons: dict[Doubt, float] = {"near_threshold": by_margin, **caps}
    confidence = round(min(reasons.values()), 4)
    if confidence >= SURE:
        return confidence, ()
    return confidence, tuple(sorted((each for each in reasons if reasons[each] < SURE), key=lambda each: reasons[each]))
