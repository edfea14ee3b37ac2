"""What a scheduler does, whichever it is."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mhfd.contract import ExitCode, MhfdError
from mhfd_client.schedule.when import When

STEM = "mhfd-rescore"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


class ScheduleError(MhfdError):
    """The scheduler is not there, or refuses; the message says what to do."""

    exit_code = ExitCode.UNAVAILABLE


class ScheduleRefusedError(MhfdError):
    """A schedule that cannot be had as asked."""


@dataclass(frozen=True)
class Schedule:
    """Runs to score again, and when.

    Attributes
    ----------
    name : tells it from others of this user; None for the only one
    runs : folders, absolute; of this machine or, for an endpoint, as it sees them
    endpoint : as `mhfd rescore --endpoint` takes it; None for that command's own choice
    config : file with the endpoints; None for the usual one
    """

    runs: tuple[str, ...]
    when: When
    name: str | None = None
    endpoint: str | None = None
    config: Path | None = None

    @property
    def command(self) -> tuple[str, ...]:
        """The program to start, and its arguments; doing it twice is harmless."""
        options = [*(["--endpoint", self.endpoint] if self.endpoint else [])]
        options += ["--config", str(self.config)] if self.config else []
        return (sys.executable, "-m", "mhfd_client", "rescore", *self.runs, *options, "--changed-only")


@dataclass(frozen=True)
class Shown:
    """The state of a schedule, as its scheduler tells it.

    Attributes
    ----------
    title : the scheduler's name for it
    state : "on", "off", "not installed"
    next_run, last_run : times, as text; None: never
    last_result : "succeeded", or what went wrong; None while there is none
    """

    title: str
    state: str
    next_run: str | None = None
    last_run: str | None = None
    last_result: str | None = None


class Scheduler(Protocol):
    """Keeps schedules; each method says, a sentence at a time, what it does, or with `dry_run` would do."""

    def install(self, schedule: Schedule, *, dry_run: bool) -> Iterator[str]:
        """Make the schedule, or change it to this; what is so already is left alone.

        Raises
        ------
        ScheduleRefusedError
            It cannot be had like this.
        ScheduleError
            The scheduler is not there, or refuses.
        """

    def show(self, name: str | None) -> Shown:
        """The state of a schedule; raises `ScheduleError`."""

    def remove(self, name: str | None, *, dry_run: bool) -> Iterator[str]:
        """Take the schedule away; what is scored stays. Raises `ScheduleError`."""


def title_of(name: str | None) -> str:
    """What a scheduler calls the schedule.

    Raises
    ------
    ScheduleRefusedError
        The name could not be part of a file's name on every system.
    """
    if name is None:
        return STEM
    if not _NAME.fullmatch(name):
        raise ScheduleRefusedError(f"'{name}' cannot be a schedule's name: use letters, digits, '-', '_' and '.'")
    return f"{STEM}-{name}"
