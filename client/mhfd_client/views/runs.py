"""The runs of a ledger: what each is, how far it is, and whether somebody watches it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePath

from mhfd_client.judge.standing import counts_of_watch, watcher_lives
from mhfd_client.ledger import Json, Ledger, Run
from mhfd_client.views.listing import Listing
from mhfd_client.views.status import local, utc

SCHEMA = 1
COLUMNS = (
    "run_id", "name", "folder", "endpoint", "layout", "created_at", "opened_at", "last_scored_at", "watched", "scored",
    "flagged", "failed", "to_do", "stalled", "missing",
)  # fmt: skip


def listing(ledger: Ledger, now: float) -> Listing:
    """All runs, the last opened first."""
    found = [_one(ledger, run, now) for run in ledger.runs()]
    return Listing(
        rows=found,
        columns=COLUMNS,
        lines=lambda: table(found),
        whole=lambda runs: {"schema": SCHEMA, "time": utc(now), "runs": runs},
    )


def table(runs: Iterable[Json]) -> Iterator[str]:
    """Three lines a run; the first is its folder alone, so that it can be copied."""
    for run in runs:
        yield run["folder"]
        watch = "watched now" if run["watched"] else "no watch"
        yield f"  run {run['run_id']}, opened {local(run['opened_at'])}, {watch}, scored on {run['endpoint']}"
        flagged = "not known" if run["flagged"] is None else run["flagged"]
        counts = [f"{run['scored']} scored, {flagged} flagged, {run['failed']} failed, {run['missing']} missing"]
        counts += [f"{run[key]} {what}" for key, what in (("to_do", "to be done"), ("stalled", "stalled")) if run[key]]
        yield f"  {', '.join(counts)}; last result {local(run['last_scored_at'])}"


def _one(ledger: Ledger, run: Run, now: float) -> Json:
    summary = ledger.summary(run.run_id, now)
    verdicts = counts_of_watch(ledger, summary, now)
    flagged = None if verdicts is None else verdicts.get("out_of_focus", 0) + verdicts.get("astigmatic", 0)
    scored = summary.counts.get("scored", 0)
    return {
        "run_id": run.run_id,
        "name": PurePath(run.root).name,
        "folder": run.root,
        "endpoint": run.endpoint,
        "layout": run.layout,
        "created_at": utc(run.created_at),
        "opened_at": utc(run.opened_at),
        "last_scored_at": utc(summary.last_scored_at),
        "watched": watcher_lives(summary.heartbeat, summary.heartbeat_at, now),
        "scored": scored,
        "flagged": flagged if scored else 0,
        "failed": summary.counts.get("failed", 0),
        "to_do": summary.to_do,
        "stalled": summary.stalled,
        "missing": summary.missing,
    }
