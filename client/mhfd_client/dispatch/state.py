"""Tasks in flight as plain JSON data, with which another process can take them up."""

from __future__ import annotations

from collections.abc import Iterable

from mhfd.contract import FocusParams
from mhfd_client.compute.protocol import Compute, Json
from mhfd_client.dispatch.pack import Parcel, Tile

SCHEMA = 1


def dump(compute: Compute, tasks: Iterable[tuple[str | None, Parcel]]) -> Json:
    """The state of a dispatcher: each task's id, None while it has none, its parameters and its tiles."""
    return {
        "schema": SCHEMA,
        "endpoint": compute.name,
        "compute": compute.state(),
        "tasks": [
            {
                "task_id": task_id,
                "params": parcel.tiles[0].params.to_dict(),
                "tiles": [_dumped(tile) for tile in parcel.tiles],
            }
            for task_id, parcel in tasks
        ],
    }


def load(state: Json) -> tuple[dict[str, Parcel], list[Tile]]:
    """Read what `dump` wrote: parcels by task id, and tiles of tasks without one."""
    parcels: dict[str, Parcel] = {}
    fresh: list[Tile] = []
    for task in state["tasks"]:
        params = FocusParams.from_dict(task["params"])
        tiles = [_loaded(each, params) for each in task["tiles"]]
        if task["task_id"] is None:
            fresh += tiles
        else:
            parcels[task["task_id"]] = Parcel(tiles)
    return parcels, fresh


def _dumped(tile: Tile) -> Json:
    source = tile.source if isinstance(tile.source, str) else None  # arrays are lost with their process
    return {"name": tile.name, "source": source, "page": tile.page, "place": tile.place, "tag": tile.tag}


def _loaded(given: Json, params: FocusParams) -> Tile:
    return Tile(given["name"], given["source"] or "", given["page"], params, given.get("place"), given.get("tag"))
