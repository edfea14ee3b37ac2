"""A task of Globus Transfer as last seen, and its notice to a person."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mhfd.text import counted
from mhfd_client.transfer.bundle import Bundle
from mhfd_client.transfer.protocol import Json, Outgoing

if TYPE_CHECKING:
    from mhfd_client.transfer.service import Listing

ENDED = ("SUCCEEDED", "FAILED")
FULL = ("QUOTA_EXCEEDED", "NO_SPACE_LEFT")
WELL = (None, "OK", "Queued")
SLOW_AFTER_S = 60.0


@dataclass
class TransferTask:
    """Files that go together, by their tails (see `Staging`).

    Attributes
    ----------
    resumed : the ticket is of an earlier process, whose task may be there
    bundles : by their tails; each has some of the files
    prepared : it was decided what goes in bundles
    submission : submission id; the ticket, unless the service has forgotten that
    exact : the service's task has these files; one found again by its ticket may have fewer
    document : the service's answer, as last seen
    look_s : earliest time of the next request
    faults : number of faults that `reason` covers
    reason : the latest error
    pause : who paused it, and why
    unread : pages of listings that are still to be read
    arrived : tails of files and of bundles
    skipped : code and details for each file or bundle that could not be read
    """

    ticket: str
    files: dict[str, Outgoing]
    deadline_s: float
    resumed: bool = False
    bundles: dict[str, Bundle] = field(default_factory=dict)
    prepared: bool = False
    submission: str = ""
    begun_s: float = field(default_factory=time.monotonic)
    task_id: str | None = None
    exact: bool = True
    document: Json = field(default_factory=dict)
    look_s: float = 0.0
    faults: int = 0
    reason: str = ""
    pause: str = ""
    cancelled_s: float | None = None
    unread: list[tuple[Listing, str | None]] = field(default_factory=list)
    arrived: set[str] = field(default_factory=set)
    skipped: dict[str, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.submission = self.submission or self.ticket

    @property
    def alone(self) -> dict[str, Outgoing]:
        """The files that are in no bundle."""
        if not self.bundles:
            return self.files
        bundled = {tail for bundle in self.bundles.values() for tail in bundle.parts}
        return {tail: each for tail, each in self.files.items() if tail not in bundled}

    def within(self, tail: str) -> Iterable[str]:
        """The files of a bundle, by their tails; a file alone is itself."""
        return self.bundles[tail].parts if tail in self.bundles else (tail,)

    @property
    def ended(self) -> bool:
        return self.document.get("status") in ENDED

    @property
    def succeeded(self) -> bool:
        return bool(self.document.get("status") == "SUCCEEDED")

    @property
    def full(self) -> bool:
        """True if the destination is full."""
        return self.fatal in FULL

    @property
    def fatal(self) -> str:
        """Code of the error that ended it; "" if none did."""
        return self._fatal("code")

    @property
    def why(self) -> str:
        """Why some files did not arrive."""
        if not self.succeeded:
            return self.failure()
        return ", ".join(sorted({code for code, _ in self.skipped.values()})) or "nothing arrived"

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.begun_s

    @property
    def bytes_moved(self) -> int:
        return int(self.document.get("bytes_transferred") or 0)

    def listings(self) -> list[tuple[Listing, str | None]]:
        """The listings to read to know about each file; none if the whole task succeeded."""
        listings: list[tuple[Listing, str | None]] = []
        if not (self.succeeded and self.exact):
            listings.append(("successful_transfers", None))
        if self.document.get("subtasks_skipped_errors", 1):
            listings.append(("skipped_errors", None))
        return listings

    def state(self) -> str:
        """Globus's reason why a task makes no progress."""
        said = self.document.get("nice_status_details") or self.document.get("nice_status_short_description")
        paused = f"it is paused by {self.pause}" if self.pause else ""
        return self.reason or paused or str(said or "Globus gives no reason")

    def failure(self) -> str:
        """Why it failed, in a sentence."""
        code, said = self.fatal, self._fatal("description")
        if who := self.document.get("canceled_by_admin"):
            message = self.document.get("canceled_by_admin_message") or "no reason was given"
            side = {"SOURCE": "source", "DESTINATION": "destination"}.get(who, "collections")
            return f"the transfer was cancelled by the administrator of the {side}: {message}"
        if self.full:
            return f"the destination is full, make room there ({said})"
        if code == "EXPIRED":
            return f"the transfer did not end within {self.deadline_s:.0f} s ({self.state()})"
        return f"the transfer failed ({code}: {said}; {self.state()})"

    def notice(self) -> str:
        """The reason why it does not end; "" if all is well."""
        files = counted(len(self.files), "file")
        if self.task_id is None:
            return f"{files} wait: {self.reason}" if self.reason else ""
        if self.ended:
            return ""
        if self.document.get("status") == "INACTIVE":
            where = f"https://app.globus.org/activity/{self.task_id}"
            return f"a transfer of {files} is suspended until you sign in to the collection again: {where}"
        if self.pause:
            return f"a transfer of {files} is paused by {self.pause}"
        if self.document.get("nice_status") == "GC_NOT_CONNECTED":
            return f"a transfer of {files} waits for Globus Connect Personal: start it on the computer with the files"
        if self.document.get("nice_status") not in WELL or self.reason:
            return f"a transfer of {files} makes no progress: {self.state()}"
        return self._slowness()

    def _slowness(self) -> str:
        size, rate = sum(each.size for each in self.files.values()), self.bytes_moved / max(1e-3, self.age_s)
        if self.age_s < SLOW_AFTER_S or self.bytes_moved + rate * (self.deadline_s - self.age_s) >= size:
            return ""
        return f"a transfer is slow: {rate / 1e6:.1f} MB/s, {(size - self.bytes_moved) / 1e6:.0f} MB to go"

    def _fatal(self, key: str) -> str:
        return str((self.document.get("fatal_error") or {}).get(key, ""))
