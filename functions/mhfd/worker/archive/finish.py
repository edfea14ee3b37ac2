"""Finish a job: check that the parts cover the manifest, judge their tiles, and say that the dataset is complete."""

from __future__ import annotations

import time
from typing import Any

from mhfd.judge import Reference, VerdictRule
from mhfd.worker import device
from mhfd.worker.archive.files import remove_left_over, write_json
from mhfd.worker.archive.job import Job
from mhfd.worker.archive.manifest import Manifest
from mhfd.worker.archive.options import number, options_of
from mhfd.worker.archive.parts import Tally
from mhfd.worker.archive.verdicts import Judging
from mhfd.worker.tasks import SCHEMA, Answer, answered

JUDGED_AT_ONCE = 2**13
"""Tiles that are compared with each other, in the order of their names: what is in memory at one time."""


def finish_run(manifest: object, params: object = None, reference: object = None, options: object = None) -> Answer:
    """Judge a job whose shards are all scored, and mark its dataset as complete; doing it again is harmless.

    Parameters
    ----------
    manifest : its path, as `plan_run` answered it
    params : keys of `FocusParams`; None, or those of the plan
    reference : sharp tiles of an earlier run (`mhfd.judge.Reference.to_dict`), a list of them, or None
    options : {"max_blur_px", "min_content", "judged_at_once", "processes"}: thresholds of the verdict, how many tiles
        are compared with each other, and how many processes judge (at most, and by default, the cores of this worker)

    Returns
    -------
    {"schema", "complete", "missing" (numbers of the shards that are not scored), "rows", "scored", "failed",
    "failures", "by_verdict", "dataset" (folder of the parts), "success" (path, or null), "summary", "seconds"}, or
    {"schema", "error"}. While shards are missing nothing is judged or written.
    """
    start = time.monotonic()
    return answered(lambda: _finish(Job(Manifest.open(manifest, params)), reference, options, start))


def _finish(job: Job, reference: object, options: object, start: float) -> Answer:
    given = options_of(options, ("max_blur_px", "min_content", "judged_at_once", "processes"))
    thresholds = {key: number(given, key, (int, float)) for key in ("max_blur_px", "min_content")}
    rule = VerdictRule(**{key: value for key, value in thresholds.items() if value is not None})
    references = _references(reference)
    job.success.unlink(missing_ok=True)
    remove_left_over(job.folder)
    finished, plan = job.all_finished(), job.manifest.plan
    missing = [shard for shard in range(plan.shards) if shard not in finished]
    tally = Tally()
    for about in finished.values():
        tally.add(about)
    by_verdict, summary = dict[str, int](), dict[str, Any]()
    if not missing:
        at_once = number(given, "judged_at_once", int) or JUDGED_AT_ONCE
        cores = device.threads_here()
        processes = min(number(given, "processes", int) or cores, cores)
        by_verdict = Judging(job, rule, tuple(references), at_once).run(processes)
        summary = {
            "schema": SCHEMA,
            "job": job.manifest.job,
            **plan.marks(),
            "folder": plan.folder,
            "params": plan.params,
            **{key: getattr(plan, key) for key in ("files", "tiles", "bytes", "skipped", "shards", "shard_tiles")},
            **tally.to_dict(),
            "by_verdict": by_verdict,
            "rule": {"max_blur_px": rule.max_blur_px, "min_content": rule.min_content},
            "references": [each.name for each in references],
        }
        write_json(job.folder / "summary.json", summary)
        write_json(job.success, {**plan.marks(), "rows": tally.to_dict()["rows"]})
    return {
        "schema": SCHEMA,
        "complete": not missing,
        "missing": missing,
        **tally.to_dict(),
        "by_verdict": by_verdict,
        "dataset": str(job.folder),
        "success": None if missing else str(job.success),
        "summary": summary,
        "seconds": round(time.monotonic() - start, 3),
    }


def _references(given: object) -> list[Reference]:
    if given is None:
        return []
    return [Reference.from_dict(each) for each in (given if isinstance(given, list) else [given])]
