"""One file -> finished, not yet, or never; see `Gate`."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mhfd.contract import ErrorCode, TileError
from mhfd.images import DEFAULT_MAX_PIXELS
from mhfd_client.files.markers import check_marker, marker_of
from mhfd_client.files.names import for_system, is_away
from mhfd_client.gate.closings import Closings
from mhfd_client.gate.pages import BadPage, Page, ends_in_zeros, read_pages
from mhfd_client.gate.writers import has_holes, is_locked, refuse_writers
from mhfd_client.ledger.model import SeenFile, unchanged

Reason = Literal[
    "growing",  # its size or time is not what the scan saw
    "settling",  # it has not been still for long enough
    "marker",  # its marker is not there
    "empty",  # zero bytes
    "locked",  # a program has it open for writing (Windows)
    "truncated",  # it ends before its pixels do
    "zero_tail",  # it ends in zeros: its space was reserved and is not filled yet
    "unreadable",  # it does not decode, but has only just been written
    "denied",  # this user may not read it
    "no_memory",  # too little is free now
    "gone",  # it is not there
    "away",  # the share or drive is out of reach
]

REMEMBERED = 65_536  # files looked at
TOLD = 10_000  # files reported as finished and not examined yet
AWAY_S = 5.0
AGAIN_S = 60.0
SHORT_BYTES = 512  # a shorter file lacks even its header
DOUBTFUL = 3  # times settle_s, until a file that does not decode counts as damaged

OPEN_ENDED: tuple[Reason, ...] = ("truncated", "locked", "growing", "away", "gone", "denied")  # more is to come

_NOT_THE_FILE: dict[ErrorCode, Reason] = {"not_found": "gone", "permission_denied": "denied", "read_failed": "away"}
_MORE_BYTES: dict[ErrorCode, Reason] = {
    "truncated": "truncated", "empty_file": "empty", "out_of_memory": "no_memory",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class GateRules:
    """The rules by which a file is finished.

    Attributes
    ----------
    settle_s : its size and time must be the same at two looks so far apart, unless its writer was seen to close it
    marker : name of a file beside it that appears when it is finished, like "{name}.done" or "{stem}.ok"; replaces
        the wait of settle_s
    max_pixels : larger tiles are refused before they are read
    """

    settle_s: float = 2.0
    marker: str | None = None
    max_pixels: int = DEFAULT_MAX_PIXELS

    def __post_init__(self) -> None:
        if self.marker is not None:
            check_marker(self.marker)


@dataclass(frozen=True)
class Finished:
    """No program writes the file now, and all of it was read. Of several pages some may be bad."""

    pages: tuple[Page, ...]


@dataclass(frozen=True)
class NotYet:
    """The file may yet become a tile.

    Attributes
    ----------
    again_s : look again after these seconds, or when it has changed
    unchanged_s : seconds without a change that this process saw; 0 for a file out of reach
    pages : of a file that ends where it should, if one of several can be scored: to be taken when the wait is given up
    """

    reason: Reason
    message: str
    again_s: float
    unchanged_s: float = 0.0
    pages: tuple[Page, ...] = ()


@dataclass(frozen=True)
class Unreadable:
    """The file is finished, but not a readable tile."""

    code: ErrorCode
    message: str


class Gate:
    """Decides whether a file is finished. May be used from several threads, for different files.

    Only the monotonic `clock` measures time. Times of files are compared with each other and not with now, so the
    system's clock may be wrong, and be corrected.

    Parameters
    ----------
    refuse_writers : raises OSError while another program has a file open for writing
    """

    def __init__(
        self,
        rules: GateRules,
        clock: Callable[[], float] = time.monotonic,
        *,
        refuse_writers: Callable[[Path], None] = refuse_writers,
    ) -> None:
        self._rules, self._clock, self._refuse_writers = rules, clock, refuse_writers
        self._since: OrderedDict[Path, tuple[SeenFile, float]] = OrderedDict()
        self._told: OrderedDict[Path, None] = OrderedDict()
        self._closings = Closings(rules.settle_s, clock)
        self._lock = threading.Lock()

    def note(self, file: Path, seen: SeenFile) -> None:
        """Count what a scan saw as the first look; `examine` then has to wait less, or not at all."""
        self._unchanged_s(file, seen)

    def told(self, file: Path) -> None:
        """Note the microscope's report that a file is finished: it need not settle, but must be whole."""
        with self._lock:
            self._told[file] = None
            if len(self._told) > TOLD:
                self._told.popitem(last=False)

    def closed(self, file: Path, seen: SeenFile) -> None:
        """Note that its writer closed a file: it need not settle, but must be whole, and filled from end to end.

        Not with a marker, which says more.
        """
        if self._rules.marker is None:
            self._closings.add(file, seen)

    def is_due(self, file: Path) -> bool:
        """True if there is reason to look at a file before the time that its last answer named."""
        return self._closings.awaits(file)

    def examine(self, file: Path, seen: SeenFile, *, accepted: bool = False) -> Finished | NotYet | Unreadable:
        """Check a file, and read it if it has settled.

        Parameters
        ----------
        seen : the file at the last scan; if it has changed since, the next scan has to come first
        accepted : a person called the file final: take it, or report it as unreadable
        """
        system_file = Path(for_system(file))
        try:
            state = _state(system_file)
            unchanged_s = self._unchanged_s(file, state)
            closed = self._closings.take(file, seen, state) and not has_holes(system_file)
            told = closed or file in self._told
            answer = self._still_written(system_file, state, seen, unchanged_s, accepted, told) or self._read(
                system_file, unchanged_s, accepted
            )
            if not unchanged(state, _state(system_file)):
                answer = self._wait("growing", f"{file} changed while it was read", 0.0)
        except OSError as error:
            return self._out_of_reach(file, error)
        if not isinstance(answer, NotYet):
            with self._lock:
                self._since.pop(file, None)
                self._told.pop(file, None)
        return answer

    def _unchanged_s(self, file: Path, state: SeenFile) -> float:
        now = self._clock()
        with self._lock:
            known, since = self._since.pop(file, (state, now))
            same = unchanged(known, state)
            self._since[file] = state, since if same else now
            if len(self._since) > REMEMBERED:
                self._since.popitem(last=False)
        return now - since if same else 0.0

    def _still_written(
        self, file: Path, state: SeenFile, seen: SeenFile, unchanged_s: float, accepted: bool, told: bool
    ) -> NotYet | Unreadable | None:
        """The reason not to read it yet, or None."""
        if not unchanged(seen, state):
            return self._wait("growing", f"{file} has changed since the last scan", unchanged_s)
        settled = unchanged_s >= self._rules.settle_s or told
        if self._rules.marker and not accepted:
            marker = marker_of(file, self._rules.marker)
            try:
                # An older marker is of an earlier acquisition, or was copied: then the file has to settle.
                settled |= marker.stat().st_mtime_ns >= state.mtime_ns
            except FileNotFoundError:
                return self._wait("marker", f"{file} waits for {marker.name}, which marks it as finished", unchanged_s)
        if not settled:
            left_s = self._rules.settle_s - unchanged_s
            return NotYet("settling", f"{file} was written a moment ago", left_s, unchanged_s)
        if not state.size:
            message = f"{file} is empty; take the tile again"
            return Unreadable("empty_file", message) if accepted else self._wait("empty", message, unchanged_s)
        return None

    def _read(self, file: Path, unchanged_s: float, accepted: bool) -> Finished | NotYet | Unreadable:
        try:
            self._refuse_writers(file)
            pages = read_pages(file, self._rules.max_pixels, blank_ok=accepted)
            return self._judge(file, pages, unchanged_s, accepted)
        except TileError as error:
            reason = self._why_wait(file, error, unchanged_s, accepted)
            return self._wait(reason, error.message, unchanged_s) if reason else Unreadable(error.code, error.message)
        except OSError as error:
            if not is_locked(error):
                raise
            return self._wait("locked", f"{file} is open in the program that writes it", unchanged_s)

    def _judge(
        self, file: Path, pages: tuple[Page, ...], unchanged_s: float, accepted: bool
    ) -> Finished | NotYet | Unreadable:
        """Each page by itself: a bad one does not fail the others, but may show that the file is still written."""
        bad = [page for page in pages if isinstance(page, BadPage)]
        for page in bad:
            reason: Reason | None
            if not page.blank_end:
                reason = self._why_wait(file, page.error, unchanged_s, accepted)
            elif page is pages[-1] or self._is_doubtful(unchanged_s):
                reason = "zero_tail"
            else:  # files are filled in order, and a later page is there: this one is dark
                reason = None
            if reason:
                rest = () if reason in OPEN_ENDED or len(bad) == len(pages) else pages
                return replace(self._wait(reason, page.error.message, unchanged_s), pages=rest)
        if len(pages) == 1 and bad:
            return Unreadable(bad[0].error.code, bad[0].error.message)
        return Finished(pages)

    def _is_doubtful(self, unchanged_s: float) -> bool:
        """True if the file was written so recently that it may yet become better."""
        return unchanged_s < DOUBTFUL * self._rules.settle_s

    def _why_wait(self, file: Path, error: TileError, unchanged_s: float, accepted: bool) -> Reason | None:
        """The reason to wait; None if it is not a tile."""
        cause = error.__cause__
        if isinstance(cause, OSError) and is_locked(cause):
            return "locked"
        if error.code == "read_failed" and not isinstance(cause, OSError):  # a large page, read by rows
            return "growing"
        if reason := _NOT_THE_FILE.get(error.code):
            return reason
        if accepted:
            return None
        if reason := _MORE_BYTES.get(error.code):
            return reason
        if file.stat().st_size < SHORT_BYTES:
            return "truncated"
        if ends_in_zeros(file):
            return "zero_tail"
        return "unreadable" if self._is_doubtful(unchanged_s) else None

    def _wait(self, reason: Reason, message: str, unchanged_s: float) -> NotYet:
        """Wait longer before the next look the longer it is unchanged."""
        again_s = max(self._rules.settle_s, min(unchanged_s / 2, AGAIN_S))
        return NotYet(reason, message, again_s, unchanged_s)

    def _out_of_reach(self, file: Path, error: OSError) -> NotYet:
        with self._lock:
            self._since.pop(file, None)  # the time away is not time without a change
        if is_away(error):
            return NotYet("away", f"{file} is out of reach ({error.strerror or error}): check the share", AWAY_S)
        if isinstance(error, PermissionError):
            return NotYet("denied", f"{file} may not be read by this user; change its permissions", AWAY_S)
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return NotYet("gone", f"{file} is not there any more", AWAY_S)
        return NotYet("away", f"{file} cannot be looked at ({error.strerror or error})", AWAY_S)


def _state(file: Path) -> SeenFile:
    told = file.stat()
    return SeenFile(file.name, told.st_size, told.st_mtime_ns, told.st_ctime_ns)
