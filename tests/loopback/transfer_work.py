"""Globus Transfer's work on a task: really copy and really delete, in the order of the submissions.

As the real service does it: a file is written under its own name from the first byte on; at most three transfers and
three deletions at a time; faults that may pass (a source that is not there, unless such are skipped; a full disk; a
copy with another checksum) are tried again until the deadline.
"""

from __future__ import annotations

import fnmatch
import hashlib
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from loopback.faults import TransferFaults
from loopback.transfer_state import Item, Json, Kind, Records, Task

TASKS_AT_A_TIME = 3
CHUNK_BYTES = 64 * 1024
TRY_AGAIN_S = 0.1
LOOK_S = 0.01


class RefusedPathError(Exception):
    """The path leads out of its collection, or there is no such collection."""


class EndedError(Exception):
    """The task was cancelled, or its deadline has passed."""


class TryAgainError(Exception):
    """A fault that may pass; `code` is Globus's name of it."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(details)
        self.code = code


class SourceError(TryAgainError):
    """The same at the source: the file may be skipped."""


class QuotaError(TryAgainError):
    """The same at the destination: the task may end."""


class Collections:
    """UUID -> folder. `/~/` is the folder `home` in it, as it is where a collection shows a whole file system."""

    def __init__(self, collections: Mapping[str, Json]) -> None:
        self.about = dict(collections)

    def home(self, collection: str) -> str:
        return str(self.about[collection].get("home") or "/")

    def folder(self, collection: str) -> Path:
        if collection not in self.about:
            raise RefusedPathError(f"No such endpoint '{collection}'")
        return Path(self.about[collection]["folder"]).resolve()

    def path(self, collection: str, path: str) -> Path:
        root = self.folder(collection)
        if path.startswith("/~"):
            path = f"{self.home(collection)}/{path[2:]}"
        found = (root / path.lstrip("/")).resolve()
        if not found.is_relative_to(root):
            raise RefusedPathError(f"Path '{path}' is not allowed")
        return found

    def used_bytes(self, collection: str) -> int:
        return sum(each.stat().st_size for each in self.folder(collection).rglob("*") if each.is_file())


class Crew:
    """Threads that work on tasks until the process ends."""

    def __init__(self, records: Records, collections: Collections, faults: TransferFaults) -> None:
        self._records = records
        self._collections = collections
        self._faults = faults
        self._taken: set[str] = set()
        self._lock = threading.Lock()
        for kind in ("TRANSFER", "DELETE"):
            for _ in range(TASKS_AT_A_TIME):
                threading.Thread(target=self._work, args=(kind,), daemon=True).start()

    def _work(self, kind: Kind) -> None:
        while True:
            if (task := self._next(kind)) is None:
                time.sleep(LOOK_S)
            else:
                self._do(task)

    def _next(self, kind: Kind) -> Task | None:
        with self._lock:
            for task in list(self._records.tasks.values()):
                if task.kind == kind and task.completed_s is None and task.id not in self._taken:
                    self._taken.add(task.id)
                    return task
        return None

    def _do(self, task: Task) -> None:
        if not task.events:
            self._records.event(task, "STARTED")
        try:
            for number, item in enumerate(task.items):
                while item.outcome == "pending":
                    self._wait_for_leave(task)
                    try:
                        self._move(task, number, item) if task.kind == "TRANSFER" else self._delete(task, number, item)
                    except TryAgainError as error:
                        self._on_trouble(task, number, error)
                    except OSError as error:
                        self._on_trouble(task, number, TryAgainError("ENDPOINT_ERROR", str(error)))
            if task.of("skipped"):
                self._records.event(task, "SKIPPED_ERRORS")
            self._records.end(task, "SUCCEEDED", "SUCCEEDED")
        except EndedError:
            pass

    def _wait_for_leave(self, task: Task) -> None:
        """Wait until the task may go on; stop waiting when the task ends."""
        while True:
            if task.completed_s is not None or task.id not in self._records.tasks:
                raise EndedError
            if time.time() > task.deadline_s and not self._faults.deaf:
                self._records.end(task, "FAILED", "EXPIRED", "The task did not end before its deadline")
                raise EndedError
            why, details = self._in_the_way(task)
            suspended = why == "EXPIRED_CREDENTIALS"
            if why != task.why and why not in ("OK", "Queued"):
                paused = why == "PAUSED_BY_ADMIN"
                self._records.event(task, "PAUSED" if paused else why, details, error=not paused)
            self._records.set(task, why=why, details=details, status="INACTIVE" if suspended else "ACTIVE")
            if why == "OK":
                return
            time.sleep(LOOK_S)

    def _in_the_way(self, task: Task) -> tuple[str, str]:
        faults = self._faults
        if faults.suspended:
            return "EXPIRED_CREDENTIALS", "Credentials on the collection have expired"
        if faults.paused is not None:
            return "PAUSED_BY_ADMIN", faults.paused
        if faults.disconnected:
            return "GC_NOT_CONNECTED", "Globus Connect Personal is not running"
        if faults.hanging:
            return "Queued", ""
        return "OK", ""

    def _on_trouble(self, task: Task, number: int, error: TryAgainError) -> None:
        if isinstance(error, SourceError) and task.document.get("skip_source_errors"):
            self._records.settle(task, number, outcome="skipped", error=error.code, details=str(error))
            return
        if isinstance(error, QuotaError) and task.document.get("fail_on_quota_errors"):
            self._records.end(task, "FAILED", error.code, str(error))
            raise EndedError
        self._records.event(task, error.code, str(error), error=True)
        time.sleep(TRY_AGAIN_S)

    def _move(self, task: Task, number: int, item: Item) -> None:
        source = self._readable(task, item)
        destination = self._collections.path(str(task.destination), item.destination)
        checked = bool(task.document.get("verify_checksum", True))
        if task.document.get("sync_level") is not None and _same(source, destination, task.document["sync_level"]):
            self._records.settle(task, number, outcome="same", size=source.stat().st_size)
            return
        if _matches(item.destination, self._faults.denied_destinations):
            raise TryAgainError("PERMISSION_DENIED", f"Path: {item.destination}; Permission denied")
        self._check_quota(task, source.stat().st_size)
        destination.parent.mkdir(parents=True, exist_ok=True)
        self._dawdle(task)
        self._copy(task, source, destination)
        self._corrupt(task, number, item, destination)
        checksum = _checksum(source) if checked else None
        if checked and checksum != _checksum(destination):
            details = f"File: {item.source}; checksum of the copy differs"
            raise TryAgainError("VERIFY_CHECKSUM", details)
        if item.expected is not None and _checksum(destination, item.expected[0]) != item.expected[1]:
            details = f"File: {item.source}; checksum differs from the external one"
            self._records.end(task, "FAILED", "VERIFY_CHECKSUM", details)
            raise EndedError
        self._records.settle(task, number, outcome="done", size=destination.stat().st_size, checksum=checksum)

    def _readable(self, task: Task, item: Item) -> Path:
        source = self._collections.path(task.source, item.source)
        if _matches(item.source, self._faults.denied):
            raise SourceError("PERMISSION_DENIED", f"Path: {item.source}; Permission denied")
        if source.is_dir():
            raise TryAgainError("IS_A_DIRECTORY", item.source)
        if not source.exists():
            raise SourceError("FILE_NOT_FOUND", f"Path: {item.source}; No such file or directory")
        return source

    def _check_quota(self, task: Task, size: int) -> None:
        quota = self._faults.quota_bytes
        if quota is not None and self._collections.used_bytes(str(task.destination)) + size > quota:
            raise QuotaError("QUOTA_EXCEEDED", f"The destination holds {quota} bytes at most")

    def _dawdle(self, task: Task) -> None:
        """Take the time that a file costs beside its bytes."""
        begun_s = time.monotonic()
        while time.monotonic() < begun_s + self._faults.file_s:
            self._wait_for_leave(task)
            time.sleep(min(LOOK_S, self._faults.file_s))

    def _copy(self, task: Task, source: Path, destination: Path) -> None:
        begun_s, copied = time.monotonic(), 0
        with source.open("rb") as reader, destination.open("wb") as writer:
            while chunk := reader.read(CHUNK_BYTES):
                writer.write(chunk)
                copied += len(chunk)
                rate = self._faults.bytes_per_s
                while rate and time.monotonic() < begun_s + copied / rate:
                    self._wait_for_leave(task)
                    time.sleep(LOOK_S)
                    rate = self._faults.bytes_per_s
                self._wait_for_leave(task)

    def _corrupt(self, task: Task, number: int, item: Item, copy: Path) -> None:
        first = number not in task.spoilt and _matches(item.source, self._faults.corrupt_once)
        if first or _matches(item.source, self._faults.corrupt):
            task.spoilt.append(number)
            with copy.open("r+b") as file:
                byte = file.read(1) or b"\0"
                file.seek(0)
                file.write(bytes([byte[0] ^ 0xFF]))

    def _delete(self, task: Task, number: int, item: Item) -> None:
        path = self._collections.path(task.source, item.source)
        if _matches(item.source, self._faults.denied_destinations):
            raise TryAgainError("PERMISSION_DENIED", f"Path: {item.source}; Permission denied")
        if not path.exists() and not task.document.get("ignore_missing"):
            raise TryAgainError("FILE_NOT_FOUND", item.source)
        if path.is_dir() and task.document.get("recursive"):
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        self._records.settle(task, number, outcome="done")


def _matches(path: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def _same(source: Path, copy: Path, sync_level: int) -> bool:
    """True if the copy matches at this level."""
    if not copy.exists():
        return False
    theirs, ours = source.stat(), copy.stat()
    return (
        (sync_level < 1 or theirs.st_size == ours.st_size)
        and (sync_level != 2 or theirs.st_mtime <= ours.st_mtime)
        and (sync_level < 3 or _checksum(source) == _checksum(copy))
    )


def _checksum(path: Path, algorithm: str = "md5") -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
