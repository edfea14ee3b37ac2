"""Files that their writers were seen to close: a sign that they are finished, where writers can be trusted so far."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mhfd_client.ledger.model import SeenFile, unchanged

log = logging.getLogger(__name__)

REMEMBERED = 65_536  # files
DISTRUST_S = 600.0


@dataclass
class _Closing:
    """A file as it was when it was closed, when that was, and whether that is still to be acted upon."""

    seen: SeenFile
    at_s: float
    open: bool = True


class Closings:
    """Takes a closed file for finished, unless somebody closes files here and then goes on with them.

    Some programs open and close a file for each part of it. The first file that changes within `settle_s` after it was
    closed shows that: from then on closings mean nothing, until none has done so for ten minutes.
    """

    def __init__(self, settle_s: float, clock: Callable[[], float]) -> None:
        self._settle_s, self._clock = settle_s, clock
        self._closings: OrderedDict[Path, _Closing] = OrderedDict()
        self._distrust_until_s: float | None = None
        self._lock = threading.Lock()

    def add(self, file: Path, seen: SeenFile) -> None:
        """Note that a file was closed, or renamed to this name, and is now as `seen`."""
        now_s = self._clock()
        with self._lock:
            before = self._closings.pop(file, None)
            self._closings[file] = _Closing(seen, now_s)
            if len(self._closings) > REMEMBERED:
                self._closings.popitem(last=False)
            if before is None or unchanged(before.seen, seen) or now_s - before.at_s >= self._settle_s:
                return
            if self._distrust_until_s is None:
                log.info("%s was closed and then written again: files have to settle", file)
            self._distrust_until_s = now_s + DISTRUST_S

    def awaits(self, file: Path) -> bool:
        """True if a closing of this file has not been acted upon."""
        with self._lock:
            closing = self._closings.get(file)
            return closing is not None and closing.open and self._trusts()

    def take(self, file: Path, scanned: SeenFile, state: SeenFile) -> bool:
        """True, once a closing, if the file is still as it was when it was closed.

        Parameters
        ----------
        scanned : the file at the last scan that the caller knows of, which may be before it was closed
        state : the file now
        """
        with self._lock:
            closing = self._closings.get(file)
            if closing is None or not closing.open:
                return False
            as_closed = unchanged(closing.seen, state)
            closing.open = as_closed and not unchanged(scanned, state)  # the caller will come again with a later scan
            return as_closed and not closing.open and self._trusts()

    def _trusts(self) -> bool:
        if self._distrust_until_s is not None and self._clock() >= self._distrust_until_s:
            self._distrust_until_s = None
        return self._distrust_until_s is None
