"""Run a command that cannot outlive the process that asked for it.

``python guard.py COMMAND...`` starts the command in a session of its own and reads standard input. A line with a number
means: end the command, with this many seconds to end cleanly. The end of the input means that the caller is gone (even
by ``kill -9``): kill everything at once. As the *subreaper* of all that the command started, daemons that left its
session included, this process finds them all as its descendants.

:class:`Guarded` is the other end of the pipe.
"""

from __future__ import annotations

import ctypes
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

POLL_S = 0.1
PR_SET_CHILD_SUBREAPER = 36


class Guarded:
    """A command and all its descendants, started now."""

    def __init__(self, command: Sequence[str], *, log: Path, cwd: Path, env: Mapping[str, str]) -> None:
        with log.open("ab") as out:
            self._guard = subprocess.Popen(
                [sys.executable, __file__, *command],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is for the one who asked
                cwd=cwd,
                env=dict(env),
            )

    def alive(self) -> bool:
        return self._guard.poll() is None

    def descendants(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self._guard.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def stop(self, grace_s: float) -> None:
        """End the command, at the latest after `grace_s` with force, and wait until no process is left."""
        assert self._guard.stdin is not None
        try:
            with self._guard.stdin as pipe:
                pipe.write(f"{grace_s}\n".encode())
        except BrokenPipeError:
            pass  # all of it had ended already
        self._guard.wait(timeout=grace_s + 10)


def main(command: Sequence[str]) -> None:
    """Run `command` until it and its descendants have ended, or have to."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = psutil.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    while _anyone_left():
        if select.select([sys.stdin], [], [], POLL_S)[0]:
            _end(child, grace_s=float(sys.stdin.readline() or 0))
            return


def _end(child: psutil.Process, grace_s: float) -> None:
    deadline = time.monotonic() + grace_s
    if grace_s > 0 and child.is_running():
        child.terminate()
        while child.is_running() and time.monotonic() < deadline:
            _anyone_left()
            time.sleep(POLL_S)
    while _anyone_left():  # more than once: what dies may have been starting something
        for process in psutil.Process().children(recursive=True):
            process.kill()
        time.sleep(POLL_S / 4)


def _anyone_left() -> bool:
    """Collect ended children; True if any is left, our own or an orphan that we adopted."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
