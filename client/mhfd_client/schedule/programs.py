"""Calling the system's own programs, with errors that say what to do."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from mhfd_client.files.whole import written
from mhfd_client.schedule.protocol import ScheduleError

ANSWER_S = 60.0


def call(*command: str, missing: str) -> str:
    """Run a program; what it printed.

    Parameters
    ----------
    missing : the sentence for when it is not there

    Raises
    ------
    ScheduleError
        It is not there, fails, or does not end.
    """
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=ANSWER_S, check=False)
    except FileNotFoundError as error:
        raise ScheduleError(f"There is no {command[0]} here: {missing}") from error
    except subprocess.TimeoutExpired as error:
        raise ScheduleError(f"{command[0]} did not answer within {ANSWER_S:g} s; try again") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise ScheduleError(f"{' '.join(command)}: {said or f'exit code {done.returncode}'}")
    return done.stdout.decode(errors="replace")


def put(path: Path, content: bytes) -> bool:
    """Write a file whole, unless it is there already; True if it was written."""
    if path.is_file() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    with written(path) as file:
        file.write(content)
    return True


def quoted(command: Sequence[str]) -> str:
    """A command as a person reads it."""
    return " ".join(f'"{each}"' if " " in each else each for each in command)
