"""Rows on disk: the spool, and answers that are too long to send.

The spool (MHFD_SPOOL_DIR) has a file per process and day, `mhfd-spool-YYYYMMDD-HOST-PID.jsonl`. Each line is

    {"spool": 1, "time": "2026-01-31T12:00:00+00:00", "task": "<Globus task UUID>" | null, "row": {...}}

with the row as the task returned it. Lines with equal path, `params_sha256`, `tile_sha256` and mhfd version are the
same result. mhfd deletes no spool file: remove those too old to recover from.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import re
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import BinaryIO
from uuid import uuid4

from mhfd.contract import FocusResult
from mhfd.lines import Row, append_lines, line, read_lines

log = logging.getLogger(__name__)

MAX_RESULT_BYTES = 8 * 2**20
"""Limit of rows as JSON. Globus Compute loses results of more than 10 MiB, all overhead included."""

SPOOL_BATCH = 256
"""Rows between two synchronisations with the disk."""

COPY_BYTES = 2**20

KEPT_TOGETHER = 32
"""Results that are made into rows together, while the next tiles are scored."""


def read_rows(path: str | os.PathLike[str]) -> Iterator[Row]:
    """The rows (`FocusResult.to_dict()`) of a rows file, of an archive's results or of a spool file, in order."""
    for value in read_lines(path):
        row = value.get("row", value)
        if isinstance(row, dict) and "provenance" in row:
            yield row


class Keeper:
    """Makes the rows of one task, each once, for its answer and for the spool.

    A thread of its own does it, so that the one that feeds the device never waits for JSON or for a disk; a task of few
    tiles does without.

        with Keeper(folders) as keeper:
            for result in results:
                keeper.add(result)

    Parameters
    ----------
    folders : as in `Rows`

    Attributes
    ----------
    rows, spool : complete at the end of the block, which raises `OSError` when rows cannot be written
    """

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self.rows, self.spool = Rows(folders), Spool()
        self._waiting: list[FocusResult] = []
        self._thread = ThreadPoolExecutor(1, "mhfd-rows")
        self._kept: deque[Future[None]] = deque()

    def __enter__(self) -> Keeper:
        return self

    def add(self, result: FocusResult) -> None:
        """Add a result; raises the `OSError` of one added before."""
        self._waiting.append(result)
        if len(self._waiting) < KEPT_TOGETHER:
            return
        self._kept.append(self._thread.submit(self._keep, self._waiting))
        self._waiting = []
        while self._kept and self._kept[0].done():
            self._kept.popleft().result()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._thread.shutdown(wait=True, cancel_futures=kind is not None)
        if kind is not None:
            self.rows.__exit__(kind, error, at)
            return
        with self.rows:
            for each in self._kept:
                each.result()
            self._keep(self._waiting)
            self.spool.flush()

    def _keep(self, results: Sequence[FocusResult]) -> None:
        for result in results:
            row = result.to_dict()
            text = line(row)
            self.rows.add(row, text)
            self.spool.add(text)


# --- Spool --------------------------------------------------------------------------------------------------------


class Spool:
    """Writes each row to the folder MHFD_SPOOL_DIR, if set, before the answer is sent.

    Attributes
    ----------
    error : why rows could not be kept. They are sent all the same: a full disk must not cost the result as well.
    """

    def __init__(self) -> None:
        folder = os.environ.get("MHFD_SPOOL_DIR")
        self._folder = Path(folder) if folder else None
        self._waiting: list[str] = []
        self.error: str | None = None

    def add(self, text: str) -> None:
        """Add a row as JSON."""
        if self._folder is None:
            return
        self._waiting.append(text)
        if len(self._waiting) >= SPOOL_BATCH:
            self.flush()

    def flush(self) -> None:
        if self._folder is None or not self._waiting:
            return
        now = datetime.now(timezone.utc)
        host = re.sub(r"[^\w.-]", "_", platform.node()) or "host"
        path = self._folder / f"mhfd-spool-{now:%Y%m%d}-{host}-{os.getpid()}.jsonl"
        about = {"spool": 1, "time": now.isoformat(timespec="seconds"), "task": os.environ.get("GC_TASK_UUID")}
        opening = line(about).removesuffix("}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            append_lines(path, (f'{opening}, "row": {text}}}' for text in self._waiting))
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
    """The rows of one answer: in memory while small enough to send, else in a file that appears when complete.

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
        self._file: _RowsFile | None = None
        self.count = 0
        self.rows: list[Row] | None = []

    @property
    def path(self) -> Path | None:
        return None if self._file is None else self._file.path

    def __enter__(self) -> Rows:
        return self

    def add(self, row: Row, text: str) -> None:
        """Add a row, also given as JSON; raises OSError when it must go to a file and none can be written."""
        self.count += 1
        if self._file is not None:
            self._file.write(text.encode() + b"\n")
        elif self.rows is not None:
            self.rows.append(row)
            self._bytes += len(text) + len(", ")
            if self._bytes > self._limit:
                self._file = _RowsFile(self._folders)
                self._file.write(b"".join(line(each).encode() + b"\n" for each in self.rows))
                self.rows = None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close(keep=kind is None)


class _RowsFile:
    """A file of rows in the first folder that takes it; when that fails or fills up, it moves to the next one."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._name = f"mhfd-rows-{datetime.now(timezone.utc):%Y%m%dT%H%M%S}-{uuid4().hex[:8]}.jsonl"
        self._folders = iter(folders)
        self._size = 0  # bytes that are surely in the file
        self._file, self.path = self._opened()

    def write(self, data: bytes) -> None:
        """Append; raises the last folder's OSError when none takes it."""
        while not self._appended(data):
            pass

    def close(self, *, keep: bool) -> None:
        """Let the file appear under its name, or remove it."""
        try:
            while keep and not self._synchronised():
                pass
            if keep:
                self._file.close()
                _part(self.path).replace(self.path)
        finally:
            _discard(self._file, self.path)

    def _appended(self, data: bytes) -> bool:
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            self._move(error)
            return False
        self._size += len(data)
        return True

    def _synchronised(self) -> bool:
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            self._move(error)
            return False
        return True

    def _opened(self, because: OSError | None = None) -> tuple[BinaryIO, Path]:
        for folder in self._folders:
            path = folder / self._name
            try:
                folder.mkdir(parents=True, exist_ok=True)
                return _part(path).open("xb"), path
            except OSError as error:  # not ours to write to: the next one
                because = error
        raise because or OSError("there is no folder for rows")

    def _move(self, error: OSError) -> None:
        """Go on in the next folder, with what is in the file."""
        while True:
            file, path = self._opened(error)
            try:
                self._copy_to(file)
            except OSError as again:
                _discard(file, path)
                error = again
                continue
            _discard(self._file, self.path)
            self._file, self.path = file, path
            return

    def _copy_to(self, file: BinaryIO) -> None:
        left = self._size
        with _part(self.path).open("rb") as source:
            while left and (data := source.read(min(left, COPY_BYTES))):
                file.write(data)
                left -= len(data)
        if left:
            raise OSError(f"{_part(self.path)} has lost {left} bytes")
        file.flush()


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _discard(file: BinaryIO, path: Path) -> None:
    """Close a file whose buffer may not be writable, and remove it unless it has its name."""
    with contextlib.suppress(OSError):
        file.close()
    with contextlib.suppress(OSError):
        _part(path).unlink(missing_ok=True)
