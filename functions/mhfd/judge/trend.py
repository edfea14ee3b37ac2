"""Does focus get worse over a run? A cumulative sum of D, and k bad tiles of the last n; tile by tile, pure.

D (px^2) is how much wider a tile's point-spread function is than that of the sharp tiles of its run: `blur_px` squared.
What is said after k tiles needs these k alone. docs/alerts.md explains it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from mhfd.contract import FocusResult, Verdict

JUDGED: tuple[Verdict, ...] = ("in_focus", "out_of_focus", "astigmatic")
"""Verdicts of tiles that count here: the others tell nothing of focus."""

SLACK = 0.35
"""px^2 above the usual level that are no worsening."""

MOST = 1.0
"""px^2 above the usual level that one tile adds at most: a single bad tile is not a trend."""

LIMIT = 2.0
"""px^2. The sum beyond which focus is getting worse; chosen with SLACK and MOST on runs of known focus."""

LEVEL_TILES, MOST_LEVEL = 8, 0.2
"""The usual level is the mean of so many tiles after the start, or after a refocus; and at most so many px^2, as a run
may begin in the middle of a drift."""

BACK_TILES = 4
"""So many tiles in a row within SLACK of the usual level end it: somebody has focused."""


@dataclass(frozen=True)
class Trend:
    """A one-sided cumulative sum (Page 1954) of D above its usual level, after some tiles.

    Attributes
    ----------
    tiles : how many those were
    level : usual D, px^2
    level_of : how many tiles it is the mean of
    total : the sum, px^2
    since : number of the tile, from 0, with which the present rise began
    worse : True from the alarm to the refocus
    back : tiles in a row at the usual level, while `worse`
    """

    tiles: int = 0
    level: float = 0.0
    level_of: int = 0
    total: float = 0.0
    since: int = 0
    worse: bool = False
    back: int = 0

    def after(self, d: float) -> Trend:
        """The trend after one more tile."""
        excess = min(d - min(self.level, MOST_LEVEL), MOST) - SLACK
        if self.worse:
            return self._while_worse(excess)
        total = max(0.0, self.total + excess)
        level, level_of = self.level, self.level_of
        if level_of < LEVEL_TILES and excess <= 0:
            level, level_of = (level * level_of + d) / (level_of + 1), level_of + 1
        return Trend(
            tiles=self.tiles + 1,
            level=level,
            level_of=level_of,
            total=total,
            since=self.since if self.total > 0 else self.tiles,
            worse=total > LIMIT,
        )

    def _while_worse(self, excess: float) -> Trend:
        back = self.back + 1 if excess <= 0 else 0
        if back < BACK_TILES:
            return replace(self, tiles=self.tiles + 1, back=back)
        return Trend(tiles=self.tiles + 1, since=self.tiles + 1)  # a new level is found from here on


@dataclass(frozen=True)
class Share:
    """How many of the last n tiles are bad.

    Attributes
    ----------
    k, n : k of n are many; half of k are few again
    last : of the last n tiles whether they are bad, the newest last
    many : True from k bad ones until fewer than half of k are
    """

    k: int
    n: int
    last: tuple[bool, ...] = ()
    many: bool = False

    @property
    def bad(self) -> int:
        return sum(self.last)

    def after(self, bad: bool) -> Share:
        """The share after one more tile."""
        last = (*self.last, bad)[-self.n :]
        return replace(self, last=last, many=sum(last) >= (self.k / 2 if self.many else self.k))


def counts(result: FocusResult) -> bool:
    """True for a tile that was judged against sharp ones: it says something of the run's focus."""
    return result.verdict in JUDGED and result.blur_px is not None


def followed(results: Iterable[FocusResult], trend: Trend, share: Share) -> tuple[Trend, Share]:
    """Both after more tiles, in the order in which they were taken; those that do not count are passed over."""
    for result in results:
        if counts(result):
            trend = trend.after((result.blur_px or 0.0) ** 2)
            share = share.after(result.verdict != "in_focus")
    return trend, share
