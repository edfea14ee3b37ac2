"""The thresholds of a verdict."""

from __future__ import annotations

from dataclasses import dataclass

from mhfd.contract import DEFAULT_BLUR_PX


@dataclass(frozen=True, kw_only=True)
class VerdictRule:
    """Thresholds of the verdict.

    Attributes
    ----------
    max_blur_px : a tile is out of focus when its point-spread function is wider than that of the run's sharp tiles by
        more than this (standard deviation, pixels). Where the sharp tiles are much alike less is enough, down to 0.6
        of it.
    min_content : below this fraction of content a tile shows nothing to focus on
    """

    max_blur_px: float = DEFAULT_BLUR_PX
    min_content: float = 0.05
