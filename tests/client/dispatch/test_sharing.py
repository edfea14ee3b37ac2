"""Clients that share an endpoint: one that comes later does not wait for hours behind a backlog."""

from __future__ import annotations

import time

from mhfd.contract import FocusParams
from mhfd_client.config import DataMapping, GlobusEndpoint, Limits
from mhfd_client.dispatch.dispatcher import Dispatcher
from mhfd_client.dispatch.pack import Packer, Tile
from sleeping import SleepingCompute, SleepingEndpoint, sleeping_endpoint

UUID = "4b116d3c-1703-4f8f-9f6f-39921e5864df"
IN_FLIGHT_S = 0.5
TILES_PER_S = 400.0  # of one worker
BACKLOG = 1000
LIVE = 20
END_S = 120.0


def client(endpoint: SleepingEndpoint) -> tuple[Dispatcher, SleepingCompute]:
    compute = SleepingCompute(endpoint, travel_s=0.01, requests_per_10_s=1000)
    data = (DataMapping(root="/scratch"),)
    entry = GlobusEndpoint(uuid=UUID, data=data, limits=Limits(in_flight_s=IN_FLIGHT_S))  # type: ignore[arg-type]
    return Dispatcher(compute, Packer(compute.name, entry)), compute


def tiles(name: str, count: int) -> list[Tile]:
    paths = [f"/scratch/{name}/t{number}.tif" for number in range(count)]
    return [Tile(path, path, None, FocusParams()) for path in paths]


def test_queue_is_short_whatever_waits_and_the_live_tiles_come_through() -> None:
    with sleeping_endpoint(2, TILES_PER_S, 0.0) as endpoint:
        opened = [client(endpoint) for _ in range(4)]
        (live, _), *others = opened
        backlogs = [tiles(f"backlog{number}", BACKLOG) for number in range(len(others))]
        for (dispatcher, _), given in zip(others, backlogs, strict=True):
            dispatcher.put(given)
        deadline = time.monotonic() + END_S
        while sum(tile.future.done() for given in backlogs for tile in given) < BACKLOG:  # the windows have settled
            assert time.monotonic() < deadline
            time.sleep(0.01)
        mine, ahead_s = tiles("live", LIVE), []
        for tile in mine:
            ahead_s.append(endpoint.queued_s)
            live.put([tile])
            assert tile.future.result(END_S).status == "scored"
        left = sum(not tile.future.done() for given in backlogs for tile in given)
        assert left > 0 or max(ahead_s) < 2 * IN_FLIGHT_S
        assert max(ahead_s) <= 3 * IN_FLIGHT_S  # without windows it were 3000 tiles, nearly four seconds
        assert {row.status for given in backlogs for row in (tile.future.result(END_S) for tile in given)} == {"scored"}
        for dispatcher, compute in opened:
            dispatcher.close()
            compute.close()
    assert sum(sum(compute.tasks) for _, compute in opened) == 3 * BACKLOG + LIVE  # nothing was sent twice
