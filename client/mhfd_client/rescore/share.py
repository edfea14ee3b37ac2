"""How many shards an endpoint may have, and which of several endpoints gets the next ones. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Priority = Literal["low", "normal"]

RESERVED = {"low": 0.25, "normal": 0.0}
"""Part of an endpoint's workers that is left to others, who may have live tiles."""

RESERVED_WHILE_LIVE = 0.75
"""The same while this machine's own ledger has live tiles that wait for this endpoint."""

QUEUED_PER_WORKER = 1
"""With normal priority: shards that wait at the endpoint, so that no worker waits for the next one."""

FIRST = 1
"""Shards for an endpoint that has no workers, or does not tell: its batch system starts some for a task."""


@dataclass(frozen=True)
class Capacity:
    """An endpoint's workers, by its status report, and so what it can take.

    Attributes
    ----------
    total : None where the endpoint does not tell
    idle : without a task
    more : that it could start beside these, in one block of its batch system
    """

    total: int | None = None
    idle: int = 0
    more: int = 0

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Capacity:
        """Read the details of a status report, of a Globus endpoint or of this machine."""
        if (here := _count(details, "workers")) is not None:
            return cls(here, max(0, here - (_count(details, "tasks") or 0)))
        total, idle = _count(details, "total_workers"), _count(details, "idle_workers")
        if total is None:
            return cls()
        node, nodes = _count(details, "max_workers_per_node"), _count(details, "nodes_per_block")
        block, blocks = (node or 0) * (nodes or 1), _count(details, "max_blocks") or 0
        grows = bool(details.get("scaling_enabled")) and total + block <= block * blocks
        return cls(total, idle or 0, block if grows else 0)


def room(workers: Capacity, in_flight: int, priority: Priority, *, live: bool = False) -> int:
    """Shards that an endpoint may have in flight, at least one.

    With low priority no more than it has workers without others' tasks, but for those reserved; so no shard waits
    there in front of a live tile.

    Parameters
    ----------
    in_flight : shards that it had when the report was made
    live : live tiles of this machine wait for it
    """
    if not workers.total:
        return FIRST
    ours = min(workers.total, workers.idle + in_flight) + workers.more
    if priority == "normal" and not live:
        return max(FIRST, ours * (1 + QUEUED_PER_WORKER))
    reserved = math.ceil(workers.total * RESERVED_WHILE_LIVE) if live else int(workers.total * RESERVED[priority])
    return max(FIRST, ours - reserved)


def shares(count: int, rooms: Sequence[int]) -> list[int]:
    """`count` shards shared out in proportion to the room that each endpoint has, none getting more than its room.

    The parts that are left over go to those that lack most of their share; of equals to the first.
    """
    whole = sum(rooms)
    if count >= whole:
        return list(rooms)
    exact = [count * each / whole for each in rooms]
    shared = [int(each) for each in exact]
    by_lack = sorted(range(len(rooms)), key=lambda i: shared[i] - exact[i])
    for i in by_lack[: count - sum(shared)]:
        shared[i] += 1
    return shared


def _count(details: Mapping[str, Any], key: str) -> int | None:
    value = details.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
