"""What people decide on the page, into the ledger: unless it has changed since they looked."""

from __future__ import annotations

import time
from typing import Any

from mhfd.contract import MhfdError
from mhfd_client.judge.retakes import decisions_that_count
from mhfd_client.judge.run import standard_of
from mhfd_client.ledger import Choice, Decision, Event, Json
from mhfd_client.views.page import events
from mhfd_client.views.page.follow import Follower
from mhfd_client.views.status import utc

SAME_PX = 5e-4


class StandsError(MhfdError):
    """Somebody else was first; `event` is what stands."""

    def __init__(self, why: str, event: Json) -> None:
        super().__init__(why)
        self.event = event


def decide(follower: Follower, n: int, what: Any, who: str | None, was: str | None) -> None:
    """Store a decision about a tile.

    Parameters
    ----------
    was : the decision that its maker saw; None for none

    Raises
    ------
    StandsError
        There is another one by now.
    """
    choice: Choice = what
    ledger, run_id = follower.ledger, follower.run.run_id
    with ledger.transaction():
        counting = decisions_that_count(ledger, run_id)
        stands = next((decision for row in ledger.get([n]) if (decision := counting(row)) is not None), None)
        if (stands.decision if stands else "open") != (was or "open"):
            by = (stands.who if stands else None) or "somebody else"
            raise StandsError(f"{by} decided first", _decided(n, stands))
        ledger.decide(run_id, Decision(n, choice, who, time.time()))


def _decided(n: int, decision: Decision | None) -> Json:
    if decision is None:
        return {"n": n, "what": "open", "by": None, "at": None}
    return {"n": n, "what": decision.decision, "by": decision.who, "at": utc(decision.decided_at)}


def set_limit(follower: Follower, max_blur_px: float, who: str | None, was: float | None) -> Json:
    """Store the run's threshold; the event that tells of it.

    Parameters
    ----------
    was : the threshold that its maker saw; None: whatever it was
    """
    ledger, run_id, now = follower.ledger, follower.run.run_id, time.time()
    with ledger.transaction():
        rule = ledger.rule(run_id)
        standard = standard_of(ledger, run_id).rule
        if was is not None and abs(standard.max_blur_px - was) > SAME_PX:
            by = rule.get("chosen", {}).get("by") or "somebody else"
            raise StandsError(f"{by} changed the threshold first", limit_of(follower, rule))
        instead_of = rule.get("chosen", {}).get("instead_of", standard.max_blur_px)
        chosen = {"by": who, "at": now, "instead_of": instead_of}
        changed = {**rule, "max_blur_px": max_blur_px, "chosen": chosen}
        ledger.set_rule(run_id, changed, now)
    return limit_of(follower, changed)


def limit_of(follower: Follower, rule: Json) -> Json:
    """The event `limit` for a rule."""
    standard = standard_of(follower.ledger, follower.run.run_id).rule
    return events.limit(rule, standard, follower.columns.flagged_above(standard.max_blur_px))


def see(follower: Follower, event_id: int, who: str | None) -> Json:
    """Store that somebody has seen an alarm; the first one counts."""
    event: Event = follower.ledger.acknowledge(follower.run.run_id, event_id, who, time.time())
    return events.alarm(event, follower.columns.newest_at)
