"""The tiles that have no row yet, and the ways in which they end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError

from mhfd.contract import ErrorCode, FocusResult
from mhfd_client.compute.protocol import TaskLostError
from mhfd_client.dispatch.backlog import Backlog
from mhfd_client.dispatch.flights import Flights
from mhfd_client.dispatch.pack import Parcel, Tile, failed_row


class OpenTiles:
    """A tile is in exactly one place: in the backlog, alone or in a parcel that is sent again, or in flight.

    It leaves with a row or an exception in its future, so nothing is lost and nobody waits for ever.
    """

    def __init__(self, endpoint: str, flights: Flights) -> None:
        self._endpoint = endpoint
        self.backlog = Backlog()
        self.flights = flights

    def __bool__(self) -> bool:
        return bool(self.backlog or self.flights)

    def __len__(self) -> int:
        return self.backlog.n_tiles + self.flights.n_tiles

    def take_all(self) -> list[Tile]:
        """Take all out, those in flight first; answers that still come are ignored."""
        return [tile for parcel in self.flights.clear() for tile in parcel.tiles] + self.backlog.clear()

    def settle(self, tile: Tile, row: FocusResult) -> None:
        """A tile has its row."""
        tile.packed = None
        if not tile.future.done():
            tile.future.set_result(row)

    def fail_rows(self, tiles: Iterable[Tile], code: ErrorCode, message: str) -> None:
        """Tiles become failed rows."""
        for tile in tiles:
            if tile.claim():
                self.settle(tile, failed_row(tile, code, message, self._endpoint))

    def fail(self, tiles: Iterable[Tile], error: BaseException) -> None:
        """Tiles end with an error that is not theirs."""
        for tile in tiles:
            tile.packed = None
            if tile.claim() and not tile.future.done():
                tile.future.set_exception(error)

    def fail_all(self, error: BaseException) -> None:
        self.fail(self.take_all(), error)

    def drop(self, tiles: Iterable[Tile]) -> None:
        """Cancel tiles that were not sent."""
        for tile in tiles:
            if tile.future.cancel():
                tile.claim()  # wakes those who wait
            else:
                self.fail([tile], CancelledError())

    def divide(self, parcel: Parcel, code: ErrorCode, message: str) -> None:
        """Halve a parcel, to be sent again; a lone tile becomes a failed row."""
        if len(parcel.tiles) > 1:
            self.backlog.parcels.extendleft(reversed(parcel.halves()))
        else:
            self.settle(parcel.tiles[0], failed_row(parcel.tiles[0], code, message, self._endpoint))

    def unpack(self, tiles: Sequence[Tile]) -> None:
        """Tiles of an earlier process that were lost are packed again; arrays were lost with that process."""
        gone = [tile for tile in tiles if isinstance(tile.source, str) and not tile.source]
        self.fail(gone, TaskLostError("an array of an earlier process was lost: submit it again"))
        self.backlog.tiles.extendleft(reversed([tile for tile in tiles if tile not in gone]))
