"""Events of Linux as watchdog passes them on, but only those that the bell needs, many in one read.

watchdog's own reader holds each renamed file back until it has searched all that waits for the other name: of thousands
of tiles a second, which microscopes rename into place, that takes longer than all else. Here both names stand alone.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import select
import struct
import threading
from collections.abc import Iterator

from watchdog.events import DirCreatedEvent, FileClosedEvent, FileDeletedEvent
from watchdog.observers.api import BaseObserver, EventEmitter

log = logging.getLogger(__name__)

_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE_SELF = 0x8, 0x40, 0x80, 0x100, 0x400
_OVERFLOW, _IGNORED, _IS_FOLDER = 0x4000, 0x8000, 0x4000_0000
_ONLY_FOLDERS, _DONT_FOLLOW = 0x0100_0000, 0x0200_0000
_CLOSE_ON_EXEC, _NO_WAIT = 0x8_0000, 0x800  # O_CLOEXEC and O_NONBLOCK of Linux
_WANTED = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE_SELF | _ONLY_FOLDERS
_HEAD = struct.Struct("iIII")  # folder, what, cookie, bytes of the name

READ_BYTES = 2**18

_libc = ctypes.CDLL(None, use_errno=True)


def new_observer() -> BaseObserver:
    """An observer of folders on Linux, all below them included."""
    return BaseObserver(Emitter)


class Emitter(EventEmitter):
    """Tells of files that were closed or renamed to a name, of names that went by a rename, and of new folders."""

    def on_thread_start(self) -> None:
        self._fd_lock = threading.Lock()
        self._folders: dict[int, str] = {}
        self._fd: int | None = _checked(_libc.inotify_init1(_CLOSE_ON_EXEC | _NO_WAIT))
        try:
            self._root = _add(self._fd, self.watch.path, _WANTED)
            self._folders[self._root] = self.watch.path
            self._add_below(self.watch.path)
        except BaseException:
            self._close()
            raise
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def on_thread_stop(self) -> None:
        """Wake the thread: a folder that is watched no longer is an event, too."""
        with self._fd_lock:
            if self._fd is not None:
                _libc.inotify_rm_watch(self._fd, self._root)

    def run(self) -> None:
        try:
            super().run()
        except OSError as error:  # `Waker` begins anew, and tells why where that fails
            log.debug("watching %s ended: %s", self.watch.path, error)
        finally:
            self._close()

    def queue_events(self, timeout: float) -> None:
        if self._fd is None or not self._poll.poll(1000 * timeout):
            return
        for folder, what, name in _events(os.read(self._fd, READ_BYTES)):
            if what & _OVERFLOW:
                self._take_up(self.watch.path)
            elif what & _IGNORED:
                self._folders.pop(folder, None)
                if folder == self._root:
                    self.stop()
            elif name and (inside := self._folders.get(folder)) is not None:
                self._tell(os.path.join(inside, os.fsdecode(name)), what)  # noqa: PTH118 - thousands a second

    def _tell(self, path: str, what: int) -> None:
        if what & _IS_FOLDER:
            if what & (_CREATE | _MOVED_TO):
                self._take_up(path)
        elif what & (_CLOSE_WRITE | _MOVED_TO):
            self.queue_event(FileClosedEvent(path))
        elif what & _MOVED_FROM:
            self.queue_event(FileDeletedEvent(path))

    def _take_up(self, folder: str) -> None:
        """Watch a folder that is new here, or all again; what happened in it before, a scan has to find."""
        self._add_below(folder)
        self.queue_event(DirCreatedEvent(folder))

    def _add_below(self, folder: str) -> None:
        """Watch a folder and all below it; one that is watched already keeps its number, under its newest name."""
        for path, _, _ in os.walk(folder):
            self._add(path)

    def _add(self, folder: str) -> None:
        link = 0 if folder == self.watch.path else _DONT_FOLLOW
        try:
            self._folders[_add(self._fd, folder, _WANTED | link)] = folder
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.ENOMEM):
                raise
            log.debug("%s is not watched: %s", folder, error)  # it has gone, or may not be read

    def _close(self) -> None:
        with self._fd_lock:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None


def _events(read: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Number of the folder, what happened, and the name in it, of each event in a read."""
    at = 0
    while at < len(read):
        folder, what, _, length = _HEAD.unpack_from(read, at)
        at += _HEAD.size + length
        yield folder, what, read[at - length : at].rstrip(b"\0")


def _add(fd: int | None, folder: str, what: int) -> int:
    return _checked(_libc.inotify_add_watch(fd, os.fsencode(folder), ctypes.c_uint32(what)))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
