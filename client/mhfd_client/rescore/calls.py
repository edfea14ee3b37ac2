"""Calls in flight: which endpoint has which, and when to ask what became of one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from mhfd_client.compute.protocol import Reply
from mhfd_client.config import Limits
from mhfd_client.rescore.job import SentTask
from mhfd_client.rescore.site import Site

BUDGET_S = 120.0
"""A shard that takes longer is handed back with what is done, and sent again: so a worker soon has time for others, and
a lost task is soon missed. Less where the endpoint's `deadline_s` is less."""

BUDGET_WHILE_LIVE_S = 10.0

WHOLE_RUN = 5
"""A plan, or a finish, which look at the whole run, are asked for after so many `deadline_s`."""


@dataclass(frozen=True)
class Work:
    """What is to be called: a shard, or with None what concerns the whole run."""

    function: str
    shard: int | None = None


@dataclass(eq=False)
class Call:
    """Work that an endpoint has; times are those of the driver's clock."""

    work: Work
    site: Site
    reply: Reply
    sent_s: float
    due_s: float


def budget_s(limits: Limits, *, live: bool) -> float:
    """Seconds that a shard may take.

    Parameters
    ----------
    live : live tiles wait for the endpoint
    """
    return min(BUDGET_WHILE_LIVE_S if live else BUDGET_S, limits.deadline_s)


class Calls:
    """The calls in flight."""

    def __init__(self) -> None:
        self._open: dict[Reply, Call] = {}
        self._lost: Counter[Work] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Call]:
        return iter(list(self._open.values()))

    def add(self, work: Work, site: Site, reply: Reply, now_s: float) -> Call:
        call = Call(work, site, reply, now_s, now_s + self._patience_s(work, site))
        self._open[reply] = call
        site.in_flight += 1
        return call

    def pop(self, call: Call) -> bool:
        """Take a call out; False if it was out already."""
        if self._open.pop(call.reply, None) is None:
            return False
        call.site.in_flight -= 1
        return True

    def lost(self, work: Work) -> None:
        """No answer came: the next time more patience is needed, as it may just be slow."""
        self._lost[work] += 1

    def shards(self) -> set[int]:
        return {call.work.shard for call in self if call.work.shard is not None}

    def open_for(self, function: str) -> bool:
        return any(call.work.function == function for call in self)

    def late(self, now_s: float) -> list[Call]:
        """Calls past their deadline; each gets a new one."""
        late = [call for call in self if now_s >= call.due_s]
        for call in late:
            call.due_s = now_s + self._patience_s(call.work, call.site)
        return late

    @property
    def next_due_s(self) -> float:
        return min((call.due_s for call in self), default=math.inf)

    def tasks(self) -> tuple[SentTask, ...]:
        """Those that another process could take up: they have an id."""
        return tuple(
            SentTask(call.site.name, task_id, call.work.function, call.work.shard)
            for call in self
            if (task_id := call.site.compute.task_id(call.reply))
        )

    def _patience_s(self, work: Work, site: Site) -> float:
        """How long to wait before the service is asked: twice as long after each time that this was lost."""
        limits = site.limits
        until_heard = limits.first_deadline_s if site.heard_s is None else limits.deadline_s
        own = budget_s(limits, live=False) if work.shard is not None else WHOLE_RUN * limits.deadline_s
        return (own + until_heard) * 2.0 ** min(self._lost[work], 10)
