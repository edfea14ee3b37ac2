"""The shards that are still to be scored as tasks: for a caller that keeps no books, such as a flow of Globus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from mhfd.contract import ParamsError
from mhfd.text import shown
from mhfd.worker.archive.job import Job
from mhfd.worker.archive.manifest import Manifest
from mhfd.worker.archive.options import number, options_of
from mhfd.worker.tasks import SCHEMA, Answer, answered

SHARDS = 40
"""In a wave. A flow keeps tasks and answers twice in its state, of 200 KB at most: 40 take about 100 KB."""

TASKS_BYTES = 40_000


def next_wave(manifest: object, score_shard: object, options: object = None) -> Answer:
    """Some of the shards that have no valid part, as the tasks that score them; an empty list when all is done.

    Parameters
    ----------
    manifest : its path, as `plan_run` answered it
    score_shard : UUID of the registered function, which goes into the tasks
    options : {"shards" (most in the wave; 40 by default), "time_budget_s" (of each)}

    Returns
    -------
    {"schema", "job", "state", "missing", "stored", "tasks"}, or {"schema", "error"}. `state` as `control_run` answers
    it; `missing`: shards without a valid part; `stored`: tiles whose results are kept, so that a caller sees whether a
    wave got anywhere; a task is {"function_id", "kwargs"}, as Globus Flows hands it to Globus Compute.
    """
    return answered(lambda: _wave(Job(Manifest.open(manifest)), manifest, score_shard, options))


def _wave(job: Job, manifest: object, score_shard: object, options: object) -> Answer:
    if not isinstance(score_shard, str) or not score_shard:
        raise ParamsError(f"score_shard is the UUID of a registered function, not {shown(score_shard)}")
    given = options_of(options, ("shards", "time_budget_s"))
    most, budget = number(given, "shards", int) or SHARDS, number(given, "time_budget_s", (int, float))
    plan, finished = job.manifest.plan, job.all_finished()
    missing = [shard for shard in range(plan.shards) if shard not in finished]
    stored = sum(about["rows"] for about in finished.values()) + sum(_begun(job, set(missing)))
    tasks: list[dict[str, Any]] = []
    size = 0
    for shard in missing[:most]:
        kwargs: dict[str, Any] = {"manifest": manifest, "first": shard * plan.shard_tiles, "count": plan.count(shard)}
        if budget is not None:
            kwargs["options"] = {"time_budget_s": budget}
        task = {"function_id": score_shard, "kwargs": kwargs}
        size += len(json.dumps(task))
        if tasks and size > TASKS_BYTES:
            break
        tasks.append(task)
    return {
        "schema": SCHEMA,
        "job": job.manifest.job,
        "state": "finished" if job.success.exists() else job.state,
        "missing": len(missing),
        "stored": stored,
        "tasks": tasks,
    }


def _begun(job: Job, missing: set[int]) -> Iterator[int]:
    """Tiles that are kept of each shard that is not done."""
    names = (PurePath(path).name for path in job.folder.glob("piece-[0-9]*.parquet"))
    for shard in {int(name.split("-")[1]) for name in names} & missing:
        yield sum(piece.tiles for piece in job.pieces(shard))
