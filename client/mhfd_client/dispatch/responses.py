"""What is done about each kind of failure.

==========================  =======================================================================================
what happens                what is done
==========================  =======================================================================================
task lost, not sent         sent again, after a pause that doubles; given up after `patience_s`
task lost after arrival     sent again; the second time halved; a lone tile is given up after the sixth
worker died, task failed    halved, until the tile to blame is alone: tried once more, then a failed row
payload or result too big   halved; a lone tile becomes a failed row
deadline passed             the endpoint is asked what became of it; lost: see above; offline: a notice, and wait
no workers yet, or silent   no deadline runs, nothing is sent again: a notice, and wait; after `queue_patience_s`
                            failed rows
many fail, none succeeds    all that waits fails with the last error: the endpoint is at fault
refused, sign-in, no mhfd   the same, at once
==========================  =======================================================================================
"""

from __future__ import annotations

import logging

from mhfd.contract import ErrorCode, MhfdError, ParamsError
from mhfd.text import counted
from mhfd_client.compute.protocol import (
    EndpointUnavailableError,
    PayloadTooLargeError,
    ResultTooLargeError,
    TaskFailedError,
    TaskLostError,
    WorkerDiedError,
)
from mhfd_client.dispatch.health import Health
from mhfd_client.dispatch.open_tiles import OpenTiles
from mhfd_client.dispatch.pack import Parcel

log = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 16
TRIES_OF_A_LONE_TILE = 2
LOSSES_TO_HALVE = 2
LOSSES_OF_A_LONE_TILE = 6  # the endpoint, not the tile, is the likelier cause


class Responses:
    """Decides what becomes of the tiles of a task that ended with an error.

    Parameters
    ----------
    overflow : True if another takes the tiles when the endpoint cannot be used
    """

    def __init__(self, endpoint: str, tiles: OpenTiles, health: Health, *, overflow: bool) -> None:
        self._endpoint = endpoint
        self._tiles = tiles
        self._backlog = tiles.backlog
        self._health = health
        self._overflow = overflow
        self._in_a_row = 0

    def succeeded(self) -> None:
        """A task was answered with rows."""
        self._in_a_row = 0

    def respond(self, parcel: Parcel, error: Exception) -> None:
        """Send the tiles again, in another way or later, or end them."""
        if isinstance(error, TaskLostError):
            self._on_lost(parcel, error)
        elif isinstance(error, TaskFailedError):
            self._on_failed(parcel, error)
        elif isinstance(error, EndpointUnavailableError) and self._overflow:
            self._on_lost(parcel, TaskLostError(str(error)))  # no end: the tiles go there when it has lasted a while
        elif isinstance(error, ParamsError):
            self._tiles.fail(parcel.tiles, error)
        else:  # refusals, and faults of ours: all that waits would fail, too
            if not isinstance(error, MhfdError):
                log.error("cannot take in an answer from '%s'", self._endpoint, exc_info=error)
            self._fail_all(parcel, error)

    def _on_lost(self, parcel: Parcel, error: TaskLostError) -> None:
        if error.sent:
            log.warning("%s; %s sent again", error, counted(len(parcel.tiles), "tile is", "tiles are"))
            parcel.losses += 1
            if parcel.losses >= (LOSSES_TO_HALVE if len(parcel.tiles) > 1 else LOSSES_OF_A_LONE_TILE):
                self._tiles.divide(parcel, "worker_lost", str(error))
            else:
                self._backlog.parcels.appendleft(parcel)
            return
        if self._health.fail():
            log.info("%s; trying again", error)
        self._backlog.postpone(parcel, error.after_s)

    def _on_failed(self, parcel: Parcel, error: TaskFailedError) -> None:
        if isinstance(error, PayloadTooLargeError):
            self._tiles.divide(parcel, "too_large_to_send", str(error))
            return
        if isinstance(error, ResultTooLargeError):
            log.warning("%s; asking for fewer at once", error)
            self._tiles.divide(parcel, "result_too_large", str(error))
            return
        self._in_a_row += 1
        if self._in_a_row > FAILURES_IN_A_ROW:
            self._fail_all(parcel, error)
            self._in_a_row = 0
            return
        parcel.deaths += 1
        if len(parcel.tiles) == 1 and parcel.deaths < TRIES_OF_A_LONE_TILE:
            self._backlog.parcels.appendleft(parcel)
            return
        code: ErrorCode = "worker_lost" if isinstance(error, WorkerDiedError) else "internal"
        log.warning("a task of %s failed as a whole: %s", counted(len(parcel.tiles), "tile"), error)
        self._tiles.divide(parcel, code, str(error))

    def _fail_all(self, parcel: Parcel, error: Exception) -> None:
        self._tiles.fail(parcel.tiles, error)
        self._tiles.fail_all(error)
