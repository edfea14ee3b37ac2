"""What a job will take: tasks, requests, bytes, and time where the rate is known. Pure."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from mhfd_client.rescore.site import GATHER_S

TASKS_PER_REQUEST = 64  # as mhfd_client.compute.globus

ROW_BYTES, SPECTRUM_BYTES = 133, 582
"""Of a tile on disk: its line in the manifest, its row in a part, its verdict; and its spectrum (docs/archives.md)."""

WHOLE_RUN_TASKS = 2  # the plan, and the finish


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A job in numbers.

    Attributes
    ----------
    tiles, shards : to score
    read_bytes : of the files
    tasks, requests : to the service; of requests at most so many
    result_bytes : on the endpoint's disk
    workers : that would work on it; None where the endpoint does not tell
    hours : None where no job has measured a worker's rate yet
    """

    tiles: int
    shards: int
    read_bytes: int
    tasks: int
    requests: int
    result_bytes: int
    workers: int | None = None
    hours: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def estimate(
    tiles: int,
    shards: int,
    read_bytes: int,
    *,
    spectra: bool = True,
    workers: int | None = None,
    tiles_per_s: float | None = None,
) -> Estimate:
    """Count a job beforehand.

    Parameters
    ----------
    tiles, shards : that are to be scored, of all
    workers : that would work on it at a time
    tiles_per_s : of one worker
    """
    seconds = tiles / (tiles_per_s * workers) if tiles_per_s and workers else None
    together = math.ceil(shards / TASKS_PER_REQUEST)  # a request for each gathering, or for each task
    most = shards if seconds is None else min(shards, together + math.ceil(seconds / GATHER_S))
    return Estimate(
        tiles=tiles,
        shards=shards,
        read_bytes=read_bytes,
        tasks=shards + WHOLE_RUN_TASKS,
        requests=most + WHOLE_RUN_TASKS,
        result_bytes=tiles * (ROW_BYTES + (SPECTRUM_BYTES if spectra else 0)),
        workers=workers,
        hours=None if seconds is None else seconds / 3600,
    )
