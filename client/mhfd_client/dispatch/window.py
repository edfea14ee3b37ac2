"""How many tiles are worth having at an endpoint, and in how many tasks: learnt from what it has answered.

Little's law: tiles in flight = tiles answered a second x seconds in flight. The seconds are chosen
(`limits.in_flight_s`): enough that work waits there while an answer travels back and the next request is made, and few,
as whoever comes later waits behind it. The rate is measured: a tile sent as number `ahead` in flight and answered after
so many seconds saw `ahead / seconds` tiles answered a second.

So the work that waits at an endpoint is bounded in seconds, whoever sent it: a client that has half of the endpoint's
rate holds half of the tiles there. Each holds some more than its rate asks for, in proportion the more the fewer it
has: so clients that all have much to send come to equal shares.
"""

from __future__ import annotations

import math
import time
from collections.abc import Hashable

from mhfd_client.config import Limits

START_TASKS = 16  # while nothing is known
GROWTH = 3  # tiles, for each one that was answered in time: four times as many in flight a round
TASKS_PER_WORKER = 4  # one runs, the others are on their way or wait; each is so much less than in_flight_s of work
PARTS = 4  # of a full window, one is sent when it has become free: fewer requests, larger ones
KNOWN_S = 60.0  # a worker that has answered nothing for so long, or for as many times in_flight_s, is gone
LATE_FACTOR = 3
MORE_POWER = 0.75  # of the window: so many tiles more than the rate asks for; any power below 1 ends in equal shares


class Window:
    """The number of tiles that may be in flight, and of tasks to divide them into.

    Parameters
    ----------
    grain : tiles worth a task of their own while nothing is known; 1 where sending costs nothing
    """

    def __init__(self, limits: Limits, grain: int) -> None:
        self._in_flight_s = limits.in_flight_s
        self._most = limits.max_tiles_per_task
        self._grain = grain
        self._tiles = float(START_TASKS * grain)
        self._workers: dict[Hashable, float] = {}  # when each was last heard of
        self._slowest_s = 0.0

    @property
    def tiles(self) -> int:
        """Tiles that may be in flight, at least 1."""
        return int(self._tiles)

    @property
    def workers(self) -> int:
        """Workers that have answered of late; 0 before the first answer."""
        return len(self._workers)

    def measure(self, count: int, ahead: int, seconds: float, worker: Hashable = None) -> None:
        """Learn from a task that was answered.

        Parameters
        ----------
        count : its tiles
        ahead : tiles in flight when it was sent, its own included
        seconds : from sending it to its answer
        worker : which answered
        """
        self._note(worker, seconds)
        goal = ahead * self._in_flight_s / max(seconds, 1e-3) + self._tiles**MORE_POWER
        if goal > self._tiles:
            self._tiles = min(goal, self._tiles + GROWTH * count)
        elif seconds > self._in_flight_s:  # else it is just that little was in flight
            self._tiles = max(goal, self._tiles - count, 2 * self.workers)

    def room(self, in_flight: int, waiting: int) -> int:
        """Tiles to send now, 0 if it is better to wait until more of those in flight are answered."""
        room = self.tiles - in_flight
        enough = 1 if self._grain == 1 or not in_flight else max(1, self.tiles // PARTS)
        return min(waiting, room) if room >= min(waiting, enough) else 0

    def tasks(self, load: int, places: int) -> int:
        """The number of tasks for a load of tiles, when so many more may be in flight."""
        if not self.workers:
            return max(1, min(places, load // self._grain))
        size = min(self._most, max(1.0, self._tiles / (TASKS_PER_WORKER * self.workers)))
        return max(1, min(places, load, max(self.workers, math.ceil(load / size))))

    def _note(self, worker: Hashable, seconds: float) -> None:
        now = time.monotonic()
        self._slowest_s = max(seconds, 0.99 * self._slowest_s)
        self._workers[worker] = now
        gone_s = now - max(KNOWN_S, LATE_FACTOR * self._slowest_s)
        if len(self._workers) > 1 and min(self._workers.values()) < gone_s:
            self._workers = {each: heard_s for each, heard_s in self._workers.items() if heard_s >= gone_s}
