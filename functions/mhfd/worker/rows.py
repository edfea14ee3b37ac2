"""Rows on disk: JSON lines that survive a kill, and the answers that are too long to be sent.

A file of lines is only ever appended to, whole lines at a time, and synchronised before anyone is told. A kill, a
full disk or a power cut can tear the last line; the next writer begins a new one, and readers pass over what is
no JSON object.

The spool (MHFD_SPOOL_DIR) has a file a process and day, `mhfd-spool-YYYYMMDD-HOST-PID.jsonl`. Each line is

    {"spool": 1, "time": "2026-01-31T12:00:00+00:00", "task": "<Globus task UUID>" | null, "row": {...}}

with the row as the task returned it. Lines with equal path, `params_sha256`, `tile_sha256` and mhfd version are the
same result. Nothing here deletes a spool file: remove those older than you may want to recover from.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO
from uuid import uuid4

log = logging.getLogger(__name__)

Row = dict[str, Any]

MAX_RESULT_BYTES = 8 * 2**20
"""Of rows as JSON. Globus Compute loses results of more than 10 MiB, everything around them included."""

SPOOL_BATCH = 256
"""Rows between two synchronisations with the disk."""


# --- Lines --------------------------------------------------------------------------------------------------------


def line(value: Row) -> str:
    return json.dumps(value, allow_nan=False)


def append(path: Path, values: Iterable[Row]) -> None:
    """Append objects as lines; they are on the disk when this returns."""
    text = "".join(f"{line(value)}\n" for value in values).encode()
    with path.open("a+b") as file:  # "a": at the end, whoever else appends
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # the last writer was killed in mid-line
                text = b"\n" + text
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: str | os.PathLike[str]) -> Iterator[Row]:
    """The objects of a file of lines, in order; torn lines are passed over."""
    with Path(path).open("rb") as file:
        for number, text in enumerate(file, 1):
            try:
                value = json.loads(text)
            except ValueError:
                value = None
            if isinstance(value, dict):
                yield value
            elif text.strip():
                log.warning("%s: line %d is torn, and passed over", path, number)


def read_rows(path: str | os.PathLike[str]) -> Iterator[Row]:
    """The rows (`FocusResult.to_dict()`) of a rows file, of an archive's results or of a spool file, in order."""
    for value in read_lines(path):
        row = value.get("row", value)
        if isinstance(row, dict) and "provenance" in row:
            yield row


# --- Spool --------------------------------------------------------------------------------------------------------


class Spool:
    """Keeps each row on the worker's disk before the answer leaves, if MHFD_SPOOL_DIR says where.

    Attributes
    ----------
    error : why rows could not be kept. They are sent all the same: a full disk must not cost the result as well.
    """

    def __init__(self) -> None:
        folder = os.environ.get("MHFD_SPOOL_DIR")
        self._folder = Path(folder) if folder else None
        self._waiting: list[Row] = []
        self.error: str | None = None

    def add(self, row: Row) -> None:
        if self._folder is None:
            return
        self._waiting.append(row)
        if len(self._waiting) >= SPOOL_BATCH:
            self.flush()

    def flush(self) -> None:
        if self._folder is None or not self._waiting:
            return
        now = datetime.now(timezone.utc)
        host = re.sub(r"[^\w.-]", "_", platform.node()) or "host"
        path = self._folder / f"mhfd-spool-{now:%Y%m%d}-{host}-{os.getpid()}.jsonl"
        about = {"spool": 1, "time": now.isoformat(timespec="seconds"), "task": os.environ.get("GC_TASK_UUID")}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            append(path, ({**about, "row": row} for row in self._waiting))
        except OSError as error:
            self.error = f"{path} cannot be written ({error}); correct MHFD_SPOOL_DIR, or make room"
            log.error("%s", self.error)
        self._waiting.clear()


def read_spool(folder: str | os.PathLike[str]) -> Iterator[Row]:
    """The lines of all spool files of a folder, file by file in the order of their names.

    Yields
    ------
    {"spool": 1, "time", "task", "row"}; a row may come more than once, when its task was run again.
    """
    for path in sorted(Path(folder).glob("mhfd-spool-*.jsonl")):
        for value in read_lines(path):
            if value.get("spool") == 1 and isinstance(value.get("row"), dict):
                yield value


# --- Answers ------------------------------------------------------------------------------------------------------


class Rows:
    """The rows of one answer: in memory while they may be sent, else in a file that appears when it is complete.

    Attributes
    ----------
    rows, path : one of them is None
    """

    def __init__(self, folders: Sequence[Path] = (), limit: int | None = None) -> None:
        """`folders`: where the file may go, best first, after MHFD_RESULT_DIR and before the temporary folder."""
        told = os.environ.get("MHFD_RESULT_DIR")
        self._folders = [*([Path(told)] if told else []), *folders, Path(tempfile.gettempdir())]
        self._limit = MAX_RESULT_BYTES if limit is None else limit
        self._bytes = 0
        self._file: BinaryIO | None = None
        self._part: Path | None = None
        self.count = 0
        self.rows: list[Row] | None = []
        self.path: Path | None = None

    def __enter__(self) -> Rows:
        return self

    def add(self, row: Row) -> None:
        """Take a row; raises OSError when it belongs into a file and none can be written."""
        text = line(row)
        self.count += 1
        if self.rows is not None:
            self.rows.append(row)
            self._bytes += len(text) + len(", ")
            if self._bytes > self._limit:
                self._spill(self.rows)
        elif self._file is not None:
            self._file.write(text.encode() + b"\n")

    def _spill(self, rows: list[Row]) -> None:
        stem = f"mhfd-rows-{datetime.now(timezone.utc):%Y%m%dT%H%M%S}-{uuid4().hex[:8]}.jsonl"
        self._file, self.path = self._opened(stem)
        self.rows = None
        self._file.writelines(line(row).encode() + b"\n" for row in rows)

    def _opened(self, name: str) -> tuple[BinaryIO, Path]:
        *others, last = self._folders
        for folder in others:
            with contextlib.suppress(OSError):  # not ours to write to, or full: the next one
                return self._created(folder, name)
        return self._created(last, name)

    def _created(self, folder: Path, name: str) -> tuple[BinaryIO, Path]:
        folder.mkdir(parents=True, exist_ok=True)
        self._part = folder / f"{name}.part"
        return self._part.open("xb"), folder / name

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is None or self._part is None or self.path is None:
            return
        try:
            with self._file as file:
                file.flush()
                os.fsync(file.fileno())
            if kind is None:
                self._part.replace(self.path)
        finally:
            self._part.unlink(missing_ok=True)
