"""The threshold of blur from tiles that a person sorted into good and bad.

`flag_px` of a judged tile is the largest `max_blur_px` at which it would still be flagged, so it alone tells what any
threshold would do (Fawcett 2006, "An introduction to ROC analysis").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mhfd.extras import needed
from mhfd_client.judge.run import Tile
from mhfd_client.ledger import Json

LEAST_AUC, MOST_CHANCE = 0.7, 0.05
"""Good and bad tiles cannot be told apart below this area under the curve, or where chance gives it so often."""

LEAST_PX, MOST_PX = 0.1, 50.0
"""A threshold lies between these."""


@dataclass(frozen=True)
class Point:
    """What one threshold does to the sorted tiles.

    Attributes
    ----------
    caught : share of the bad tiles that it flags
    false : share of the good tiles
    """

    max_blur_px: float
    caught: float
    false: float


@dataclass(frozen=True)
class Threshold:
    """What the sorted tiles say.

    Attributes
    ----------
    chosen : the point with the most caught less false; None where the tiles cannot be told apart
    curve : by rising threshold
    auc : area under the curve: how often a bad tile is blurrier than a good one
    chance : how often tiles that do not differ would give such an area
    """

    chosen: Point | None
    curve: tuple[Point, ...]
    auc: float
    chance: float
    good: int
    bad: int

    def to_dict(self) -> Json:
        """A JSON object."""
        points = [{"max_blur_px": p.max_blur_px, "caught": p.caught, "false": p.false} for p in self.curve]
        chosen = self.chosen and self.chosen.max_blur_px
        return {
            "max_blur_px": chosen,
            "auc": self.auc,
            "chance": self.chance,
            "good": self.good,
            "bad": self.bad,
            "roc": points,
        }


def choose(good: Sequence[float], bad: Sequence[float]) -> Threshold:
    """The threshold that tells good tiles from bad ones best.

    Parameters
    ----------
    good, bad : `flag_px` of the tiles, 0 where nothing flags them; at least one each
    """
    test = needed("scipy.stats", "cpu", "mhfd calibrate").mannwhitneyu(bad, good, alternative="greater")
    auc = float(test.statistic) / (len(good) * len(bad))
    values = sorted({max(each, LEAST_PX) for each in (*good, *bad)})
    gaps = {math.sqrt(low * high): high / low for low, high in pairwise(values)}
    ends = [values[0] * 0.9, min(values[-1] * 1.1, MOST_PX)]
    curve = tuple(_point(each, good, bad) for each in sorted({ends[0], *gaps, ends[1]}))
    apart = auc >= LEAST_AUC and float(test.pvalue) <= MOST_CHANCE
    best = max(curve, key=lambda p: (p.caught - p.false, gaps.get(p.max_blur_px, 0.0)))
    if best.max_blur_px < 10:  # as many digits as it is worth, where they do not change what it does
        short = _point(float(f"{best.max_blur_px:.2g}"), good, bad)
        best = short if (short.caught, short.false) == (best.caught, best.false) else best
    return Threshold(best if apart else None, curve, auc, float(test.pvalue), len(good), len(bad))


def _point(limit: float, good: Sequence[float], bad: Sequence[float]) -> Point:
    return Point(limit, _share(bad, limit), _share(good, limit))


def _share(flags: Sequence[float], limit: float) -> float:
    return sum(each > limit for each in flags) / len(flags)


def flag_of(tile: Tile) -> float | None:
    """`flag_px`, 0 where no threshold flags the tile; None where its blur is not known."""
    row = tile.result
    if row.flag_px is not None:
        return row.flag_px
    return 0.0 if row.blur_px is not None else None


def changed(tiles: Sequence[Tile], before_px: float, after_px: float) -> tuple[int, int, int, int]:
    """What another threshold does to a run: tiles with known blur, flagged before, newly flagged, no longer flagged."""
    flags = [flag for tile in tiles if (flag := flag_of(tile)) is not None]
    more = sum(before_px >= flag > after_px for flag in flags)
    fewer = sum(after_px >= flag > before_px for flag in flags)
    return len(flags), sum(flag > before_px for flag in flags), more, fewer
