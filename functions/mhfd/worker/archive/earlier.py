"""Find what earlier jobs have of a run's tiles: both are in the order of names, so one pass over them is enough."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mhfd.contract import ParamsError, split_page, storable
from mhfd.worker.archive.files import reading
from mhfd.worker.archive.job import Job
from mhfd.worker.archive.manifest import NAME, Manifest, Plan, Tile

PASSING = frozenset(
    {"not_found", "permission_denied", "read_failed", "missing_codec", "out_of_memory", "device_failed", "internal"}
)
"""Codes of failures that may have passed: such a tile is scored again."""

Key = tuple[list[str], int]


class _Known(NamedTuple):
    """A result of an earlier job."""

    key: Key
    path: str
    size: int
    mtime_ns: int
    part: int
    row: int


def taken_over(tiles: Iterator[Tile], home: Path, plan: Plan, *, beside: bool, names: list[str]) -> Iterator[Tile]:
    """The tiles, those that an earlier job has with the part and row where its result is.

    Parameters
    ----------
    tiles : in the order of their names
    home : the folder of all jobs
    beside : whether that is the run's own; in another only jobs of the same folder count
    names : takes the parts' names, below `home`
    """
    known = heapq.merge(*(_results(job, names) for job in _jobs(home, plan, beside=beside)), key=lambda each: each.key)
    here = next(known, None)
    for tile in tiles:
        path = tile.path
        key, found = _key(path), None
        while here is not None and here.key <= key:
            same = (here.path, here.size, here.mtime_ns) == (path, tile.size, tile.mtime_ns)
            if same and tile.size >= 0 and tile.name == storable(tile.name):
                found = here
            here = next(known, None)
        yield tile if found is None else tile._replace(part=found.part, row=found.row)


def _jobs(home: Path, plan: Plan, *, beside: bool) -> Iterator[Job]:
    for place in sorted(home.glob(f"*/{NAME}")):
        try:
            found = Manifest.open(str(place))
        except ParamsError:  # of another version, or damaged
            continue
        same_folder = beside or (found.plan.folder, found.plan.collection) == (plan.folder, plan.collection)
        has_spectra = found.plan.spectra or not plan.spectra
        if same_folder and has_spectra and found.plan.focus_params.sha256 == plan.focus_params.sha256:
            yield Job(found)


def _results(job: Job, names: list[str]) -> Iterator[_Known]:
    """What a job's finished shards have, in the order of names."""
    for shard in sorted(job.all_finished()):
        part, row = len(names), 0
        names.append(f"{job.manifest.job}/{job.part(shard).name}")
        with reading(job.part(shard)) as file:
            for batch in file.iter_batches(columns=["path", "size", "mtime_ns", "error_code"]):
                columns = (batch[name].to_pylist() for name in ("path", "size", "mtime_ns", "error_code"))
                for path, size, mtime_ns, code in zip(*columns, strict=True):
                    if code not in PASSING:
                        yield _Known(_key(path), path, size, mtime_ns, part, row)
                    row += 1


def _key(path: str) -> Key:
    """Orders paths as the manifest does."""
    name, page = split_page(path)
    return name.split("/"), page
