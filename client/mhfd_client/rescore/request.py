"""What a job is asked to do, how it stood at the end, and what its calls are given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mhfd.contract import FocusParams
from mhfd_client.compute.protocol import Json
from mhfd_client.rescore.calls import Work
from mhfd_client.rescore.share import Priority
from mhfd_client.rescore.site import Site

State = Literal["complete", "incomplete", "paused", "cancelled", "stopped"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be done.

    Attributes
    ----------
    run : the folder, as it was given
    options : of `plan_run`, but for the collection
    references : stored ones that the run is judged by, as `Reference.to_dict` has them
    """

    run: str
    params: FocusParams = field(default_factory=FocusParams)
    pattern: str | None = None
    options: Json = field(default_factory=dict)
    references: tuple[Json, ...] = ()
    priority: Priority = "low"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a job stands when its driver ends.

    Attributes
    ----------
    state : "stopped" where this process was asked to end
    plan, finish : the answers of `plan_run` and `finish_run`; the second is None unless all shards were tried
    tiles : done in shards whose answers came to this process
    lost : shard -> why it could not be scored
    """

    state: State
    plan: Json
    finish: Json | None = None
    tiles: int = 0
    lost: dict[int, str] = field(default_factory=dict)


class Stopped(Exception):  # noqa: N818 - not an error
    """The job is to rest before there is anything to tell of it.

    Parameters
    ----------
    state : "paused", "cancelled" or "stopped"
    """

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.state = state


def plan_arguments(request: Request, site: Site) -> Json:
    """What `plan_run` is given."""
    options = {**request.options, "collection": site.place.collection}
    return {
        "folder": site.place.path,
        "pattern": request.pattern,
        "params": request.params.to_dict(),
        "options": {key: value for key, value in options.items() if value is not None},
    }


def shard_arguments(request: Request, plan: Json, shard: int, budget_s: float) -> Json:
    """What `score_shard` is given."""
    first, count = first_and_count(plan, shard)
    return {
        "manifest": plan["manifest"],
        "first": first,
        "count": count,
        "params": request.params.to_dict(),
        "options": {"time_budget_s": budget_s},
    }


def finish_arguments(request: Request, plan: Json) -> Json:
    """What `finish_run` is given."""
    return {
        "manifest": plan["manifest"],
        "params": request.params.to_dict(),
        "reference": list(request.references) or None,
    }


def first_and_count(plan: Json, shard: int) -> tuple[int, int]:
    """The tiles of a shard: number of the first, and how many."""
    size = int(plan["shard_tiles"])
    return shard * size, min(size, int(plan["tiles"]) - shard * size)


def shard_works(shards: range | list[int]) -> list[Work]:
    """Shards as work."""
    return [Work("score_shard", shard) for shard in shards]
