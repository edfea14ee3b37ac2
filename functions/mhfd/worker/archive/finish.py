"""Finish a job: check that the parts cover the manifest, judge their tiles, and say that the dataset is complete."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from mhfd.contract import FocusResult
from mhfd.judge import Reference, Setting, VerdictRule, judge, references_of
from mhfd.worker.archive.files import ParquetFile, pyarrow, remove_left_over, write_json
from mhfd.worker.archive.job import Job
from mhfd.worker.archive.manifest import Manifest
from mhfd.worker.archive.options import number, options_of
from mhfd.worker.archive.parts import Tally, results_of
from mhfd.worker.tasks import SCHEMA, Answer, answered

JUDGED_AT_ONCE = 2**13
"""Tiles that are compared with each other, in the order of their names: what is in memory at one time."""


BLURRED = frozenset(("reference_blurred", "most_are_worse"))
"""Doubts of tiles that those after them are not compared with."""


def finish_run(manifest: object, params: object = None, reference: object = None, options: object = None) -> Answer:
    """Judge a job whose shards are all scored, and mark its dataset as complete; doing it again is harmless.

    Parameters
    ----------
    manifest : its path, as `plan_run` answered it
    params : keys of `FocusParams`; None, or those of the plan
    reference : sharp tiles of an earlier run (`mhfd.judge.Reference.to_dict`), a list of them, or None
    options : {"max_blur_px", "min_content", "judged_at_once"}: thresholds of the verdict, and how many tiles are
        compared with each other

    Returns
    -------
    {"schema", "complete", "missing" (numbers of the shards that are not scored), "rows", "scored", "failed",
    "failures", "by_verdict", "dataset" (folder of the parts), "success" (path, or null), "summary", "seconds"}, or
    {"schema", "error"}. While shards are missing nothing is judged or written.
    """
    start = time.monotonic()
    return answered(lambda: _finish(Job(Manifest.open(manifest, params)), reference, options, start))


def _finish(job: Job, reference: object, options: object, start: float) -> Answer:
    given = options_of(options, ("max_blur_px", "min_content", "judged_at_once"))
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
        by_verdict = _judge(job, rule, references, number(given, "judged_at_once", int) or JUDGED_AT_ONCE)
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


# --- Verdicts -----------------------------------------------------------------------------------------------------


def _judge(job: Job, rule: VerdictRule, given: list[Reference], at_once: int) -> dict[str, int]:
    """Write the verdicts, a row for each of the parts'; returns their numbers."""
    file, counts = ParquetFile(job.folder, job.verdicts.name, _schema(), **_SETTINGS), Counter[str]()
    results, earlier = _results(job), dict[Setting, Reference]()
    try:
        while some := list(islice(results, at_once)):
            judged = judge(some, rule, references=[*given, *earlier.values()])
            counts.update(row.verdict or "" for row in judged)
            file.write(_table(judged))
            sure = [row for row in judged if not BLURRED & set(row.doubts)]
            earlier |= {each.setting: each for each in references_of(sure, name="earlier tiles of this run")}
        file.keep(job.verdicts, {**job.manifest.plan.marks(), "by_verdict": dict(counts)})
    finally:
        file.drop()
    return dict(sorted(counts.items()))


def _results(job: Job) -> Iterator[FocusResult]:
    for shard in range(job.manifest.plan.shards):
        yield from results_of(job.part(shard), job.spectra(shard) if job.manifest.plan.spectra else None)


VERDICTS = (
    "verdict", "confidence", "blur_px", "blur_nm", "blur_error_px", "flag_px", "worst_block", "blur_by_direction_px",
    "blur_map_px", "reference", "doubts",
)  # fmt: skip
"""Keys of a result that judging fills in, and so columns of the verdicts beside the path; the map is flat, by rows."""

_SETTINGS: dict[str, Any] = {
    "use_dictionary": ["verdict", "reference"],
    "column_encoding": {"path": "DELTA_BYTE_ARRAY"},
    "write_statistics": False,
}


def _schema() -> Any:
    a = pyarrow()
    text, single = a.string(), a.float32()
    lists = {"worst_block": a.int32(), "blur_by_direction_px": single, "blur_map_px": single, "doubts": text}
    kinds = {name: a.list_(lists[name]) if name in lists else single for name in VERDICTS}
    return a.schema({"path": text, **kinds, "verdict": text, "reference": text})


def _table(judged: list[FocusResult]) -> Any:
    columns = {name: [getattr(row, name) for row in judged] for name in ("path", *VERDICTS)}
    columns["blur_map_px"] = [
        None if each is None else [x for line in each for x in line] for each in columns["blur_map_px"]
    ]
    return pyarrow().table(columns, schema=_schema())
