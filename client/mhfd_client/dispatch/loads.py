"""Which tiles go next, and in which tasks."""

from __future__ import annotations

from collections.abc import Callable

from mhfd.contract import FocusResult
from mhfd_client.compute.protocol import Compute
from mhfd_client.dispatch.backlog import Backlog
from mhfd_client.dispatch.flights import Flights
from mhfd_client.dispatch.pack import Packer, Parcel, Tile
from mhfd_client.dispatch.window import Window


class Loads:
    """Takes from a backlog what an endpoint had better have now."""

    def __init__(self, compute: Compute, packer: Packer, backlog: Backlog, flights: Flights, window: Window) -> None:
        self._compute = compute
        self._packer = packer
        self._backlog = backlog
        self._flights = flights
        self._window = window

    @property
    def ready(self) -> bool:
        """True if something is to be sent: a task again, or enough tiles."""
        return len(self._flights) < self._compute.slots and (bool(self._backlog.parcels) or self._tiles() > 0)

    def take(self, on_row: Callable[[Tile, FocusResult], None]) -> list[Parcel]:
        """The tasks that go next: those that were lost, or tiles shared out over tasks; what cannot go gets a row.

        Those by path are all taken before the first is sent, so that they share a request; pixels fill one alone.
        """
        places = max(1, min(self._compute.slots - len(self._flights), self._compute.sendable()))
        if not self._backlog.parcels:
            return self._shared_out(places, on_row)
        parcels: list[Parcel] = []
        while self._backlog.parcels and len(parcels) < places:
            parcels.append(self._backlog.parcels.popleft())
            if not parcels[-1].packed or parcels[-1].kind == "inline":
                break
        return parcels

    def _shared_out(self, places: int, on_row: Callable[[Tile, FocusResult], None]) -> list[Parcel]:
        waiting, left = self._backlog.tiles, self._tiles()
        tasks = self._window.tasks(left, places)
        parcels: list[Parcel] = []
        while left > 0 and waiting and len(parcels) < places:
            before = len(waiting)
            share = -(-left // max(1, tasks - len(parcels)))
            parcel = self._packer.next_parcel(waiting, share, on_row)
            left -= before - len(waiting)
            if parcel.tiles:
                parcels.append(parcel)
                if parcel.kind == "inline":
                    break
        return parcels

    def _tiles(self) -> int:
        """The number of waiting tiles to send now."""
        return self._window.room(self._flights.n_tiles, len(self._backlog.tiles))
