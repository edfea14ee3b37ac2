"""The tiles around one of them: what is usual there, and what a sharp one beside it looks like."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from statistics import median

from mhfd.contract import FocusResult
from mhfd.judge import setting_of
from mhfd_client.judge.run import Tile

USUAL_TILES = 50
"""Sharp tiles before a tile that tell what is usual there."""

LEAST_USUAL = 5
"""Where fewer come before it, those after it count too."""

NEAR_TILES = 4
"""Tiles before, and after, that tell whether a blur in one direction lasts."""

LOOKED_AT = 1000
"""Tiles before it, and after it, that are looked at: in a run that is bad throughout there may be no sharp one."""


@dataclass(frozen=True)
class Usual:
    """What is usual around a tile.

    Attributes
    ----------
    blur_px : median blur of the sharp tiles; None where there are none
    tiles : how many those are
    """

    blur_px: float | None
    tiles: int


class Alike:
    """The tiles of a judged run that were taken as one of them was, in order.

    Parameters
    ----------
    judged : in the order in which they were taken
    """

    def __init__(self, tile: Tile, judged: Sequence[Tile]) -> None:
        self._tile, self._judged = tile, judged
        self._at = bisect_left(judged, tile.taken, key=lambda each: each.taken)
        self._setting = setting_of(tile.result)

    def usual(self) -> Usual:
        """That of the sharp tiles before it; at a run's begin also of the first ones after it."""
        found = [each.result.blur_px or 0.0 for each in islice(self._sharp(self._before()), USUAL_TILES)]
        lacking = max(0, LEAST_USUAL - len(found))
        found += [each.result.blur_px or 0.0 for each in islice(self._sharp(self._after()), lacking)]
        return Usual(median(found) if found else None, len(found))

    def near(self) -> tuple[FocusResult, ...]:
        """The results of the tiles next to it."""
        before, after = self._alike(self._before()), self._alike(self._after())
        return tuple(each.result for each in (*islice(before, NEAR_TILES), *islice(after, NEAR_TILES)))

    def sharp_ids(self) -> list[int]:
        """The nearest sharp tile before it, else the nearest after it."""
        return [each.tile_id for each in islice(chain(self._sharp(self._before()), self._sharp(self._after())), 1)]

    def _before(self) -> Iterator[Tile]:
        return (self._judged[i] for i in range(self._at - 1, max(-1, self._at - 1 - LOOKED_AT), -1))

    def _after(self) -> Iterator[Tile]:
        return (self._judged[i] for i in range(self._at, min(len(self._judged), self._at + LOOKED_AT)))

    def _alike(self, tiles: Iterable[Tile]) -> Iterator[Tile]:
        return (
            each for each in tiles if each.tile_id != self._tile.tile_id and setting_of(each.result) == self._setting
        )

    def _sharp(self, tiles: Iterable[Tile]) -> Iterator[Tile]:
        return self._alike(
            each for each in tiles if each.result.verdict == "in_focus" and each.result.blur_px is not None
        )
