"""Lock a results file for one run, on shared file systems too; a killed run's lock expires."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

from mhfd.contract import MhfdError

BEAT_S = 10.0
STALE_S = 90.0
"""A lock not touched for this long is left over. Its owner touches it every `BEAT_S`."""


class BusyError(MhfdError):
    """Another run holds the lock, or has taken it over."""


class Lock:
    """A file that one process creates (O_EXCL), keeps touching, and removes.

    A lock is left over when its process is known to be dead (same machine), or when it was not touched for `STALE_S`.
    Ages are measured by the file system's clock, so machines' clocks need not agree. A process that was suspended
    for longer finds its lock taken, and stops (`check`).

    Raises
    ------
    BusyError
        another run holds the lock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = uuid4().hex
        self._stop = threading.Event()
        self._beat = threading.Thread(target=self._keep_touching, name="mhfd-lock", daemon=True)

    def __enter__(self) -> Lock:
        for _ in range(2):
            if self._create():
                self._beat.start()
                return self
            self._remove_if_left_over()
        raise self._busy(_read(self._path))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._beat.join()
        if self._is_ours():
            self._path.unlink(missing_ok=True)

    def check(self) -> None:
        """Raise `BusyError` if the lock is no longer ours. Call this before each write."""
        if not self._is_ours():
            raise self._busy(_read(self._path))

    def _create(self) -> bool:
        about = {"token": self._token, "where": _where(), "host": platform.node(), "pid": os.getpid()}
        return self._put(json.dumps(about))

    def _put(self, text: str) -> bool:
        """Create the lock with this text; False when there is one."""
        try:
            handle = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        except PermissionError:
            if self._path.exists():  # on Windows: someone is just removing it
                return False
            raise
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
        except BaseException:  # a full disk: an empty lock would keep everybody out until it is stale
            self._path.unlink(missing_ok=True)
            raise
        return True

    def _is_ours(self) -> bool:
        return _read(self._path).get("token") == self._token

    def _keep_touching(self) -> None:
        while not self._stop.wait(BEAT_S):
            with contextlib.suppress(OSError):  # the share is away for a moment; `check` finds a lost lock
                if self._is_ours():
                    os.utime(self._path)

    def _remove_if_left_over(self) -> None:
        found = _read(self._path)
        if not (_is_dead(found) or self._age_s() > STALE_S):
            return
        # Only one process can rename a left-over lock. A late one may catch the lock's successor: it puts it back, but
        # never over a newer one.
        aside = self._path.with_name(f"{self._path.name}.{self._token}")
        try:
            self._path.rename(aside)
        except OSError:
            return
        try:
            if _read(aside).get("token") != found.get("token"):
                self._put_back(aside)
        finally:
            aside.unlink(missing_ok=True)

    def _put_back(self, aside: Path) -> None:
        try:
            os.link(aside, self._path)
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            self._put(aside.read_text(encoding="utf-8"))

    def _age_s(self) -> float:
        """Seconds since the lock was touched; 0 when it is gone."""
        probe = self._path.with_name(f"{self._path.name}.{self._token}.now")
        try:
            probe.touch()
            return probe.stat().st_mtime - self._path.stat().st_mtime
        except FileNotFoundError:
            return 0.0
        finally:
            probe.unlink(missing_ok=True)

    def _busy(self, found: dict[str, Any]) -> BusyError:
        who = f"process {found['pid']} on {found['host']}" if {"pid", "host"} <= set(found) else "another process"
        return BusyError(
            f"{who} is scoring this folder now ({self._path}): wait for it; if it died, try again in {STALE_S:g} s"
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # gone, or not yet written
        return {}
    return value if isinstance(value, dict) else {}


def _where() -> str:
    """Identity of the space of process numbers: the machine, its boot, and the container."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):  # not Linux
        parts += [
            Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            str(Path("/proc/self/ns/pid").readlink()),
        ]
    return " ".join(parts)


def _is_dead(found: dict[str, Any]) -> bool:
    """True if the process is known to have ended. Asked on POSIX only: on Windows the signal would be a Ctrl-C."""
    pid = found.get("pid")
    if os.name == "nt" or found.get("where") != _where() or not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # alive, and someone else's
        return False
    return False
