"""Tiles and parcels that wait to be sent, and until when."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable

from mhfd_client.backoff import Backoff
from mhfd_client.dispatch.pack import Parcel, Tile

LINGER_S = 0.001  # how long tiles that come one by one wait for others, to share a task
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0


class Backlog:
    """New tiles, parcels that are to be sent again, and the time before which nothing is sent.

    Attributes
    ----------
    tiles : not packed yet, in order
    parcels : to be sent again; they go first
    not_before_s : monotonic
    """

    def __init__(self) -> None:
        self.tiles: deque[Tile] = deque()
        self.parcels: deque[Parcel] = deque()
        self.not_before_s = 0.0
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)

    def __bool__(self) -> bool:
        return bool(self.tiles or self.parcels)

    def put(self, tiles: Iterable[Tile], *, linger: bool) -> None:
        """Add new tiles; `linger` when more may follow at once."""
        if linger and not self:
            self.not_before_s = max(self.not_before_s, time.monotonic() + LINGER_S)
        self.tiles.extend(tiles)

    def postpone(self, parcel: Parcel, after_s: float) -> None:
        """Send a parcel again after a pause: `after_s` if it is not 0, else one that doubles.

        One pause serves all parcels that are postponed during it.
        """
        now = time.monotonic()
        if now >= self.not_before_s:
            pause_s = self._backoff.fail()
            self.not_before_s = now + (after_s if after_s > 0 else pause_s)
        self.parcels.append(parcel)

    def succeed(self) -> None:
        """The endpoint took something: the next pause is short again."""
        self._backoff.succeed()

    def clear(self) -> list[Tile]:
        """Take all tiles out, those of the parcels first."""
        tiles = [tile for parcel in self.parcels for tile in parcel.tiles] + list(self.tiles)
        self.parcels.clear()
        self.tiles.clear()
        return tiles

    @property
    def n_tiles(self) -> int:
        return len(self.tiles) + sum(len(parcel.tiles) for parcel in self.parcels)
