"""The ledger's records, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from mhfd.contract import ExitCode, FocusParams, MhfdError, page_path
from mhfd_client.files.order import Order as Order
from mhfd_client.naming.position import Position

Json: TypeAlias = dict[str, Any]

State = Literal["seen", "ready", "staged", "submitted", "scored", "failed"]
Queue = Literal["seen", "stalled", "ready", "sending", "staged", "submitted", "failed", "gone"]

UNFINISHED: tuple[State, ...] = ("seen", "ready", "staged", "submitted")


class LedgerError(MhfdError):
    """The ledger cannot be used as asked; the message says what to do."""

    exit_code = ExitCode.CONFIG


class LedgerFormatError(LedgerError):
    """It is not a ledger, is damaged, or is of an mhfd too new for this one."""


class LedgerUnavailableError(LedgerError):
    """The database is out of reach; later calls try again."""

    exit_code = ExitCode.UNAVAILABLE


class LedgerGoneError(LedgerError):
    """The ledger's file was deleted, renamed or replaced while it was open: what is written now is lost."""

    exit_code = ExitCode.TEMPORARY


class LedgerBusyError(LedgerError):
    """Another process is using it."""

    exit_code = ExitCode.TEMPORARY


class LedgerFullError(LedgerError):
    """The disk is full. Nothing of the call was stored; the same call works once there is room."""

    exit_code = ExitCode.TEMPORARY


@dataclass(frozen=True)
class SeenFile:
    """A file as a scan found it.

    Attributes
    ----------
    path : relative to the run's root, with "/" on every platform
    ctime_ns : when the file or its attributes last changed; on Windows, when it was made. None where that is not known
    """

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int | None = None


@dataclass(frozen=True)
class Known:
    """The newest generation of a file in the ledger."""

    size: int
    mtime_ns: int
    state: State
    gone: bool
    ctime_ns: int | None = None


class FileTimes(Protocol):
    """What a scan sees of a file's contents; `SeenFile` and `Known` have it."""

    @property
    def size(self) -> int: ...

    @property
    def mtime_ns(self) -> int: ...

    @property
    def ctime_ns(self) -> int | None: ...


def unchanged(was: FileTimes, now: FileTimes) -> bool:
    """True if nothing shows that a file was written in between.

    A copy may have size and modification time of the file that it replaces; its change time nobody can set. The number
    of its inode does not count: on shares and memory cards it changes by itself.
    """
    known = was.ctime_ns is not None and now.ctime_ns is not None
    return (was.size, was.mtime_ns) == (now.size, now.mtime_ns) and (not known or was.ctime_ns == now.ctime_ns)


@dataclass(frozen=True)
class Missing:
    """A tile that should be there and is not.

    Attributes
    ----------
    name : of its file, or None where only its position is known
    since : when it was first noted (Unix seconds); filled in by the ledger
    """

    name: str | None
    position: Position | None
    why: str
    since: float | None = None


@dataclass(frozen=True)
class Run:
    """One folder, scored with one set of parameters.

    Attributes
    ----------
    created_at, opened_at : when a watch took it up first, and last; Unix seconds
    """

    run_id: int
    root: str
    params: FocusParams
    params_sha256: str
    layout: str
    endpoint: str
    created_at: float
    opened_at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TileRow:
    """One tile: one page of one generation of one file. Times are Unix seconds.

    Attributes
    ----------
    path : of the file, relative to the run's root
    page, pages : which one, of how many; 0 of 1 until the file was read
    generation : 1, and one more each time the file was taken again
    reason : why a tile in state seen waits
    accepted : take the file as it is, even if it looks unfinished
    shape : (rows, cols) of the pixels
    position : None where the name has none
    seen_at, changed_at, state_at : first seen; size or time changed; entered its state
    gone_at : when the file was found gone
    stalled_at : when it was given up as unfinished
    superseded_by : tile_id of the first page of the next generation
    identical_to : tile_id of an earlier tile of the run with the same pixels, under another name
    attempts, task_id : number of submissions, and the task of the last
    ticket, place : of the transfer, and of the copy for the endpoint
    scored_at, result : when its result came, and the result: `FocusResult.to_dict()`, failed ones too
    """

    tile_id: int
    run_id: int
    path: str
    page: int
    pages: int
    generation: int
    state: State
    reason: str | None
    accepted: bool
    size: int
    mtime_ns: int
    tile_sha256: str | None
    shape: tuple[int, int] | None
    position: Position | None
    seen_at: float
    changed_at: float
    state_at: float
    gone_at: float | None
    stalled_at: float | None
    superseded_by: int | None
    attempts: int
    ticket: str | None
    place: Json | None
    task_id: str | None
    error_code: str | None
    error_message: str | None
    scored_at: float | None
    result: Json | None
    ctime_ns: int | None = None
    identical_to: int | None = None

    @property
    def name(self) -> str:
        """The tile's public name: `path`, with "#page=k" when the file has several pages."""
        return public_name(self.path, self.page, self.pages)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A run in numbers. `counts`, `gone` and `superseded` together are all its rows.

    Attributes
    ----------
    counts : tiles by state, without those that `gone` and `superseded` count
    gone : tiles whose file vanished before they were submitted
    superseded : earlier generations of tiles that were taken again
    stalled : of the tiles in state seen, those no longer waited for
    sending : of the tiles in state ready, those that a transfer has
    missing : tiles that should be there
    identical : tiles with the same pixels as an earlier one of another name
    waiting_since : when the tile that has waited longest was seen
    last_scored_at : when the last result came
    recent, window_s : the last results, of five minutes at most, and in how much time they came, without pauses
    heartbeat, heartbeat_at : the pipeline's last sign of life
    left_out : folders and files that the watch could not take; the watch knows this, the ledger does not
    """

    run_id: int
    counts: Mapping[State, int]
    gone: int
    superseded: int
    stalled: int
    sending: int
    missing: int
    waiting_since: float | None
    last_scored_at: float | None
    recent: int
    window_s: float
    heartbeat: Json | None
    heartbeat_at: float | None
    identical: int = 0
    left_out: int = 0

    @property
    def per_minute(self) -> float:
        """Results a minute while there is work, of the last five minutes; 0.0 where none came in these."""
        return self.recent / self.window_s * 60

    @property
    def eta_s(self) -> float | None:
        """Seconds until all that is to do is done at this rate; None without a rate, or where there is nothing."""
        return self.to_do / self.per_minute * 60 if self.to_do and self.recent else None

    @property
    def to_do(self) -> int:
        """Tiles on their way to a result."""
        return sum(self.counts.get(state, 0) for state in UNFINISHED) - self.stalled


@dataclass(frozen=True)
class RecoverReport:
    """Lines of a spool, by their outcome.

    Attributes
    ----------
    stored : tiles that got their result from it
    known : lines whose result was there already
    unmatched : lines of tiles that this run does not have, or not with these pixels and parameters
    failed : lines of tiles that the endpoint could not score; those are left to a new attempt
    unreadable : lines that this mhfd cannot read as a result
    """

    stored: int = 0
    known: int = 0
    unmatched: int = 0
    failed: int = 0
    unreadable: int = 0


def public_name(path: str, page: int, pages: int) -> str:
    return path if pages == 1 else page_path(path, page)
