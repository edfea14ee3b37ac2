"""What this machine keeps of a job: the tasks in flight, and where the job's parts are. Losing it loses no results."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from platformdirs import user_data_path

from mhfd.contract import ExitCode, FocusParams, MhfdError
from mhfd.text import json_text
from mhfd_client.compute.protocol import Json
from mhfd_client.files.whole import write_whole

log = logging.getLogger(__name__)

SCHEMA = 1


class JobBusyError(MhfdError):
    """Another process works on this job."""

    exit_code = ExitCode.TEMPORARY


class UnknownJobError(MhfdError):
    """This machine knows no such job."""

    exit_code = ExitCode.CONFIG


@dataclass(frozen=True)
class SentTask:
    """A task in flight.

    Attributes
    ----------
    shard : number; None of what is not a shard
    """

    endpoint: str
    task_id: str
    function: str
    shard: int | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """A job as it was when its file was last written.

    Attributes
    ----------
    run : the folder, as it was given
    endpoints : names of those that worked on it
    job, manifest : as the endpoint called them; None before the plan was there
    computes : endpoint -> its `Compute.state()`
    tasks : in flight
    tiles_per_s : endpoint -> what one worker scored, for estimates
    state : "open", or how the driver left it: "complete", "incomplete", "paused", "cancelled", "stopped"
    """

    run: str
    endpoints: tuple[str, ...]
    job: str | None = None
    manifest: str | None = None
    shards: int = 0
    done: int = 0
    computes: Mapping[str, Json] = field(default_factory=dict)
    tasks: tuple[SentTask, ...] = ()
    tiles_per_s: Mapping[str, float] = field(default_factory=dict)
    state: str = "open"

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Record:
        """Read what `JobFile.save` wrote; KeyError or TypeError if it is something else."""
        kept = {key: value for key, value in given.items() if key != "schema"}
        return cls(
            **{
                **kept,
                "endpoints": tuple(kept["endpoints"]),
                "tasks": tuple(SentTask(**each) for each in kept["tasks"]),
            }
        )


class JobFile:
    """A job's file in the user's data folder."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @contextmanager
    def locked(self) -> Generator[None, None, None]:
        """Hold the job.

        Raises
        ------
        JobBusyError
            Another process holds it.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.file.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise JobBusyError(
                "another `mhfd rescore` on this machine works on this run with these options; `mhfd rescore --status` "
                "tells how far it is"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def load(self) -> Record | None:
        """The job; None if there is none, or if the file is damaged: then the parts alone tell what is done."""
        try:
            given = json.loads(self.file.read_text(encoding="utf-8"))
            if given["schema"] != SCHEMA:
                raise ValueError(f"schema {given['schema']!r}")
            return Record.from_dict(given)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s is passed over, as it cannot be read (%s)", self.file, error)
            return None

    def save(self, record: Record) -> None:
        """Write the job, whole or not at all; where it cannot be written, tasks in flight are forgotten at a crash."""
        try:
            write_whole(self.file, json_text({"schema": SCHEMA, **asdict(record)}))
        except OSError as error:
            log.warning("%s cannot be written (%s): after a crash some tasks will be sent again", self.file, error)


def jobs_folder() -> Path:
    """Where this user's jobs are kept."""
    return user_data_path("mhfd") / "rescore"


def job_file(run: str, params: FocusParams, options: Mapping[str, Any], folder: Path | None = None) -> JobFile:
    """The file of a job: of one run, scored with these parameters and options.

    Parameters
    ----------
    options : of the plan; those that change no result may differ
    """
    about = {"run": run, "params": params.sha256, "options": dict(options)}
    name = hashlib.sha256(json.dumps(about, sort_keys=True).encode(errors="surrogateescape")).hexdigest()[:16]
    return JobFile((folder or jobs_folder()) / f"{name}.json")


def known_jobs(which: str | None = None, folder: Path | None = None) -> list[tuple[JobFile, Record]]:
    """The jobs of this user, the last written first.

    Parameters
    ----------
    which : only that job, or those of that run

    Raises
    ------
    UnknownJobError
        There is none.
    """
    folder = folder or jobs_folder()
    files = sorted(folder.glob("*.json"), key=_written_ns, reverse=True) if folder.is_dir() else []
    jobs = [(file, record) for file in map(JobFile, files) if (record := file.load())]
    if which is None:
        return jobs
    names = {which, os.path.abspath(which)}  # noqa: PTH100 - a run's name may have a trailing slash
    found = [(file, record) for file, record in jobs if names & {record.job, record.run}]
    if not found:
        known = ", ".join(dict.fromkeys(record.run for _, record in jobs)) or "none"
        raise UnknownJobError(f"this machine knows no job of {which}; it knows those of: {known}")
    return found


def rates(jobs: list[tuple[JobFile, Record]]) -> dict[str, float]:
    """Tiles a second of one worker, by endpoint, as the last jobs measured it."""
    found: dict[str, float] = {}
    for _, record in jobs:
        for endpoint, rate in record.tiles_per_s.items():
            found.setdefault(endpoint, rate)
    return found


def _written_ns(file: Path) -> int:
    with suppress(OSError):
        return file.stat().st_mtime_ns
    return 0
