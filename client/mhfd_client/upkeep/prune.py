"""Room on disks: what mhfd itself wrote and nobody needs any more. Never a tile.

A file goes only where all of this holds: it lies in a folder that was named, not below it; its name is one that mhfd
gives; it is a plain file with one name, no link of either kind; its first line is one that mhfd writes; it is old.
"""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from mhfd_client.ledger import Ledger, LedgerBusyError, Run
from mhfd_client.logs import LOG_NAME

DAY_S = 86400.0
LINE_BYTES = 2**22  # the longest first line that is read

FileKind: TypeAlias = Literal["log", "spool", "results"]

_NAMES: dict[FileKind, re.Pattern[str]] = {
    "log": LOG_NAME,
    "spool": re.compile(r"mhfd-spool-\d{8}-[\w.-]+-\d+\.jsonl"),
    "results": re.compile(r"mhfd-rows-\d{8}T\d{6}-[0-9a-f]{8}\.jsonl(\.part)?"),
}
_KEYS: dict[FileKind, set[str]] = {
    "log": {"time", "level", "logger", "message"},
    "spool": {"spool", "time", "row"},
    "results": {"path", "status", "provenance"},
}


@dataclass(frozen=True)
class OldFile:
    """A file that may go; `at` is when it was written last, in Unix seconds."""

    kind: FileKind
    path: Path
    size: int
    at: float

    def delete(self) -> int:
        """Remove it; the bytes that were freed. One that is gone, or in use on Windows, frees none."""
        with suppress(OSError):
            self.path.unlink()
            return self.size
        return 0


@dataclass(frozen=True)
class OldRun:
    """A run that may go, or `kept` says why it stays; `size` is about what it takes in the ledger."""

    run: Run
    size: int
    kept: str = ""


def old_files(
    kind: FileKind, folders: Iterable[Path], before: float, keep_bytes: int | None = None, now: float | None = None
) -> list[OldFile]:
    """The files of a kind that may go, the oldest first.

    Parameters
    ----------
    before : Unix seconds; files written last before this go
    keep_bytes : of all folders together; older files beyond it go, too, but none of the last day, which may be in use
    """
    now = time.time() if now is None else now
    found = sorted((each for folder in dict.fromkeys(folders) for each in _ours(kind, folder)), key=_newest_first)
    old, kept = [], 0
    for each in found:
        kept += each.size
        too_much = keep_bytes is not None and kept > keep_bytes
        if each.at < min(before, now - DAY_S) or (too_much and each.at < now - DAY_S):
            old.append(each)
    return old[::-1]


def old_runs(ledger: Ledger, before: float) -> Iterator[OldRun]:
    """The runs that were neither opened, nor scored, nor watched since `before` (Unix seconds)."""
    for run in ledger.runs():
        summary = ledger.summary(run.run_id)
        if max(run.opened_at, summary.last_scored_at or 0.0, summary.heartbeat_at or 0.0) >= before:
            continue
        copies = len(ledger.copies(run.run_id))
        kept = (
            f"copies of its tiles are at the endpoint, {copies} in all: watch it once more, which removes them"
            if copies
            else ""
        )
        yield OldRun(run, ledger.run_bytes(run.run_id), kept)


def forget(ledger: Ledger, run: Run) -> str:
    """Remove a run from the ledger; "" or why it stays."""
    try:
        with ledger.lease(run.run_id):
            ledger.forget_run(run.run_id)
    except LedgerBusyError as error:
        return str(error)
    return ""


def _newest_first(file: OldFile) -> tuple[float, str]:
    return -file.at, str(file.path)


def _ours(kind: FileKind, folder: Path) -> Iterator[OldFile]:
    try:
        entries = list(os.scandir(folder))
    except OSError:  # there is none, or it cannot be read: nothing of ours to find
        return
    for entry in entries:
        if _NAMES[kind].fullmatch(entry.name) is None:
            continue
        with suppress(OSError):  # gone meanwhile
            path = folder / entry.name
            state = path.lstat()
            if stat.S_ISREG(state.st_mode) and state.st_nlink == 1 and _begins_as(kind, path):
                yield OldFile(kind, path, state.st_size, state.st_mtime)


def _begins_as(kind: FileKind, path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline(LINE_BYTES)
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and _KEYS[kind] <= value.keys()
