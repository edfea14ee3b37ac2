"""File system events, used as a bell: something may have changed, so scan now. The scan finds what it was."""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver

from mhfd_client.files.names import is_image_name
from mhfd_client.files.shares import share_below

log = logging.getLogger(__name__)

TRY_AGAIN_S = 600.0  # after the system refused
CLOSED = 100_000  # files that were closed and not asked for yet; beyond, a scan has to find them
MEND_S = 10.0  # after watching had begun, so that a watch that fails at once is not begun all the time

# Not the reading of files, which the gate does all the time; nor, where closing is reported, what comes before it.
_EVENTS: list[type[FileSystemEvent]] = (
    [FileClosedEvent, FileDeletedEvent, DirCreatedEvent]
    if sys.platform == "linux"
    else [FileCreatedEvent, FileModifiedEvent, FileMovedEvent, DirCreatedEvent, DirMovedEvent]
)


def new_observer() -> BaseObserver:
    """What reports changes on this system."""
    if sys.platform == "linux":
        from mhfd_client.watch import inotify

        return inotify.new_observer()
    from watchdog.observers import Observer

    return Observer()


class Waker:
    """A bell that rings when something changes below a folder, as far as the platform reports it.

    When watching has ended, or the folder has come back, it begins again by itself. Without events there is one
    notice, and `wait` is a plain pause. Only `ring` may be called from other threads.

    Parameters
    ----------
    wakes : True if a change of a file of this name is worth a scan
    notice : called once, with a sentence on why there are no events
    observer : makes the observer
    """

    def __init__(
        self,
        root: Path,
        *,
        wakes: Callable[[str], bool] = is_image_name,
        notice: Callable[[str], None] = log.warning,
        observer: Callable[[], BaseObserver] = new_observer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root, self._wakes, self._notice, self._new_observer = root.absolute(), wakes, notice, observer
        self._clock = clock
        self._bell = threading.Event()
        self._closed: deque[str] = deque(maxlen=CLOSED)
        self._scan = True
        self._observer: BaseObserver | None = None
        self._identity: tuple[int, int] | None = None
        self._not_before = 0.0
        self._told = False
        self._mend()
        self._bell.clear()

    @property
    def has_events(self) -> bool:
        """True if changes are reported, not only found by scans."""
        return self._observer is not None and _is_running(self._observer)

    def wait(self, timeout_s: float) -> bool:
        """Wait for the bell, at most `timeout_s`; True if it rang since the last call."""
        self._mend()
        rang = self._bell.wait(timeout_s)
        self._bell.clear()
        return rang

    def ring(self) -> None:
        """End the wait, from any thread; a scan is wanted."""
        self._scan = True
        self._bell.set()

    def closed(self) -> tuple[list[Path], bool]:
        """The files that their writers have closed or renamed since the last call; True if a scan is wanted, too."""
        scan, self._scan = self._scan, False
        files: dict[str, None] = {}
        with suppress(IndexError):
            while True:
                files[self._closed.popleft()] = None
        return list(map(Path, files)), scan or not files

    def close(self) -> None:
        observer, self._observer = self._observer, None
        if observer is not None:
            _end(observer)

    def __enter__(self) -> Waker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _mend(self) -> None:
        identity = _identity(self._root)
        if self.has_events and identity == self._identity:
            return
        self.close()
        if identity is None or (identity == self._identity and self._clock() < self._not_before):
            return
        self._identity, self._not_before = identity, self._clock() + TRY_AGAIN_S
        if reason := _why_silent(self._root):
            self._tell(reason)
            return
        try:
            self._observer = self._begin()
        # Each platform has its own ways to fail, and watchdog adds some; none may stop the scans.
        except Exception as error:
            self._tell(_explain(error))
            return
        self._not_before = self._clock() + MEND_S
        self.ring()  # for what happened in between

    def _begin(self) -> BaseObserver:
        observer = self._new_observer()
        observer.schedule(_Handler(self._on_event), str(self._root), recursive=True, event_filter=_EVENTS)
        try:
            observer.start()
        except BaseException:
            _end(observer)
            raise
        return observer

    def _on_event(self, event: FileSystemEvent) -> None:
        source, target = os.fsdecode(event.src_path), os.fsdecode(event.dest_path)
        if event.is_directory:
            self.ring()
        elif isinstance(event, FileDeletedEvent):  # by a rename: the new name rings, if it is one here
            self._scan |= self._is_tile(source)
        elif isinstance(event, FileClosedEvent | FileMovedEvent) and self._is_tile(target or source):
            self._scan |= bool(target) and self._is_tile(source)  # it is no longer there
            self._scan |= len(self._closed) == CLOSED
            self._closed.append(target or source)
            self._bell.set()
        elif any(path and self._wakes(os.path.basename(path)) for path in (source, target)):  # noqa: PTH119
            self.ring()

    def _is_tile(self, path: str) -> bool:
        name = os.path.basename(path)  # noqa: PTH119 - thousands a second
        return is_image_name(name) and self._wakes(name)

    def _tell(self, reason: str) -> None:
        if not self._told:
            self._told = True
            self._notice(f"Changes below {self._root} are found by a scan every few seconds: {reason}")


class _Handler(FileSystemEventHandler):
    def __init__(self, on_event: Callable[[FileSystemEvent], None]) -> None:
        self._on_event = on_event

    def on_any_event(self, event: FileSystemEvent) -> None:
        self._on_event(event)


def _is_running(observer: BaseObserver) -> bool:
    return observer.is_alive() and all(emitter.is_alive() for emitter in observer.emitters)


def _end(observer: BaseObserver) -> None:
    observer.stop()
    if observer.is_alive():
        observer.join(timeout=5.0)


def _identity(root: Path) -> tuple[int, int] | None:
    try:
        state = root.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino


def _explain(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if sys.platform == "linux" and number in (errno.ENOSPC, errno.EMFILE):
        what = "max_user_watches" if number == errno.ENOSPC else "max_user_instances"
        return (
            f"this system cannot watch more {'folders' if number == errno.ENOSPC else 'programs'}. "
            f"An administrator can raise the limit: sysctl fs.inotify.{what} shows it, and sets it with =NUMBER"
        )
    return f"the system does not watch this folder ({error})"


def _why_silent(root: Path) -> str | None:
    """The reason if neither events nor an error would come: inotify reports only what this machine writes."""
    share = share_below(root) if sys.platform == "linux" else None
    return share and f"it is on a network share ({share}), which does not report what other machines write"
