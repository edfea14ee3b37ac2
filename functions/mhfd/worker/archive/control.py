"""Pause, resume, cancel a job, and tell how far it is."""

from __future__ import annotations

from contextlib import suppress

from mhfd.contract import ParamsError
from mhfd.text import shown
from mhfd.worker.archive.job import STOPS, Job
from mhfd.worker.archive.manifest import Manifest
from mhfd.worker.tasks import SCHEMA, Answer, answered

ACTIONS = ("pause", "resume", "cancel", "status")


def control_run(manifest: object, action: object = "status") -> Answer:
    """Pause, resume or cancel a job: running shards stop within seconds, and keep what they have.

    Parameters
    ----------
    manifest : its path, as `plan_run` answered it
    action : one of `ACTIONS`; "resume" ends a pause and a cancellation

    Returns
    -------
    {"schema", "job", "state", "tiles", "shards", "done" (how many of them are scored), "rows", "scored", "failed"}, or
    {"schema", "error"}. `state` is "running" (or ready to), "paused", "cancelled" or "finished".
    """
    return answered(lambda: _control(Job(Manifest.open(manifest)), action))


def _control(job: Job, action: object) -> Answer:
    if action not in ACTIONS:
        raise ParamsError(f"action must be one of {', '.join(ACTIONS)}, not {shown(action)}")
    if action == "resume":
        for name in STOPS.values():
            (job.folder / name).unlink(missing_ok=True)
    elif action != "status":
        # Not `touch`: should there be a link of that name, nothing is made where it leads.
        with suppress(FileExistsError):
            (job.folder / STOPS["paused" if action == "pause" else "cancelled"]).open("xb").close()
    finished = job.all_finished().values()
    return {
        "schema": SCHEMA,
        "job": job.manifest.job,
        "state": "finished" if job.success.exists() else job.state,
        "tiles": job.manifest.plan.tiles,
        "shards": job.manifest.plan.shards,
        "done": len(finished),
        **{key: sum(about[key] for about in finished) for key in ("rows", "scored", "failed")},
    }
