"""A job on an archived run, in words and as plain JSON types."""

from __future__ import annotations

from collections.abc import Iterator

from mhfd.text import counted
from mhfd_client.compute.protocol import Json
from mhfd_client.rescore.estimate import Estimate
from mhfd_client.rescore.job import Record
from mhfd_client.rescore.progress import Progress, duration
from mhfd_client.rescore.request import Outcome

SHOWN_SHARDS = 10


def outcome_json(run: str, outcome: Outcome) -> Json:
    """All that is said of a job that ended, or rests; docs/rescore.md lists the keys."""
    plan, finish = outcome.plan, outcome.finish or {}
    return {
        "schema": 1,
        "run": run,
        "state": outcome.state,
        "job": plan["job"],
        "manifest": plan["manifest"],
        "dataset": finish.get("dataset"),
        "success": finish.get("success"),
        "tiles": plan["tiles"],
        "shards": plan["shards"],
        "skipped": plan["skipped"],
        "done_now": outcome.tiles,
        "scored": finish.get("scored"),
        "failed": finish.get("failed"),
        "failures": finish.get("failures"),
        "by_verdict": finish.get("by_verdict"),
        "missing": finish.get("missing"),
        "lost": {str(shard): why for shard, why in outcome.lost.items()},
        "remarks": plan["remarks"],
    }


def outcome_lines(run: str, outcome: Outcome) -> Iterator[str]:
    """The same for people."""
    plan, finish = outcome.plan, outcome.finish
    yield f"{run}: {outcome.state}, {counted(plan['tiles'], 'tile')} in {counted(plan['shards'], 'shard')}"
    for remark in plan["remarks"]:
        yield f"  {remark.get('message')}"
    if plan["skipped"]:
        yield f"  {counted(plan['skipped'], 'tile')} taken over from earlier jobs"
    if finish is None:
        yield f"  `mhfd rescore {run}` goes on" + ("" if outcome.state == "stopped" else ", with --resume")
        return
    failures = ", ".join(f"{code} {n}" for code, n in (finish.get("failures") or {}).items())
    yield f"  scored {finish['scored']}, failed {finish['failed']}" + (f" ({failures})" if failures else "")
    if finish.get("by_verdict"):
        yield "  " + ", ".join(f"{verdict} {n}" for verdict, n in finish["by_verdict"].items())
    if missing := finish.get("missing"):
        first = ", ".join(map(str, missing[:SHOWN_SHARDS])) + (", ..." if len(missing) > SHOWN_SHARDS else "")
        yield f"  without {counted(len(missing), 'shard')}: {first}; `mhfd rescore {run}` tries again"
    yield f"  dataset: {finish['dataset']}"


def estimate_lines(run: str, found: Estimate, *, files: int, skipped: int) -> Iterator[str]:
    """What a job would take, for people."""
    yield (
        f"{run}: {counted(files, 'file')}, {counted(found.tiles, 'tile')} to score"
        + (f", {skipped} taken over" if skipped else "")
    )
    yield f"  to read: {size(found.read_bytes)}; results: about {size(found.result_bytes)}"
    yield (
        f"  {counted(found.tasks, 'task')} ({counted(found.shards, 'shard')}), at most "
        f"{counted(found.requests, 'request')}"
    )
    if found.hours is None:
        yield "  time: not known before a first job on this endpoint; --sample 1000 measures it"
    else:
        yield f"  time: about {duration(found.hours * 3600)} on {counted(found.workers or 0, 'worker')}"


def progress_line(progress: Progress) -> str:
    """How far a job is, for a log."""
    rate = "" if progress.tiles_per_s is None else f", {progress.tiles_per_s:.0f} tiles/s"
    left = "" if progress.eta_s is None else f", {duration(progress.eta_s)} left"
    flying = counted(progress.in_flight, "shard")
    return f"{progress.tiles_done} of {progress.tiles} tiles, {flying} in flight{rate}{left}"


def state_json(record: Record, told: Json | None) -> Json:
    """How a job stands.

    Parameters
    ----------
    told : the answer of `control_run`; None where the endpoint was not asked
    """
    return {
        "schema": 1,
        "run": record.run,
        "job": record.job,
        "endpoints": list(record.endpoints),
        "state": (told or {}).get("state") or record.state,
        "shards": (told or {}).get("shards", record.shards),
        "done": (told or {}).get("done", record.done),
        "rows": (told or {}).get("rows"),
        "in_flight": len(record.tasks),
        "manifest": record.manifest,
    }


def state_line(told: Json) -> str:
    """The same for people."""
    rows = "" if told["rows"] is None else f", {counted(told['rows'], 'row')}"
    flying = f", {told['in_flight']} in flight" if told["in_flight"] else ""
    return f"{told['run']}: {told['state']}, {told['done']} of {counted(told['shards'], 'shard')}{rows}{flying}"


def size(n: float) -> str:
    """Bytes for people: "13 GB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} TB"
