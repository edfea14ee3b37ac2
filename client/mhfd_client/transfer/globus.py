"""Globus Transfer: all files that wait go as one task whenever a place for one is free.

Transfer takes seconds to begin and little more for a thousand files than for one, so its tasks are large and few: at
most two of the three that a user has. A task's bytes follow from the speed of the last ones, so that results do not
wait for the whole backlog.

=============================  ====================================================================================
what happens                   what is done
=============================  ====================================================================================
file not found                 skipped by Transfer, the others arrive; the gate reads the file again
file not readable              the same, but sent again; the third time it is a failed row. All of a task: a notice
copy differs                   Transfer copies again until it is right, or until the deadline
task failed or cancelled       what arrived counts, the rest goes again, after a pause when nothing arrived
quota, disk full, paused       a notice; what did not arrive goes again after a pause
deadline passed                Transfer ends the task; if it does not, we cancel it; then as above
task unknown to the service    all of it goes again: what is there already is not copied twice
service out of reach, 429      a notice; asked again after a pause that doubles, or after Retry-After
sign-in or consent expired     `TransferSignInError`; everything is kept until somebody signs in
=============================  ====================================================================================

Why these options: `verify_checksum`, since disks and networks behind Globus Connect Personal may fail; `sync_level`
"checksum", which skips complete copies and repeats partial ones (a comparison of times would take those for newer); no
`external_checksum`: one mismatch, such as a tile replaced meanwhile, fails the whole task, and each file would be read
once more here. The row's hash shows that the right pixels were scored.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from mhfd_client.service.pacing import TokenBucket
from mhfd_client.transfer.bundling import Bundling
from mhfd_client.transfer.connection import Connection
from mhfd_client.transfer.pace import Load, Patience
from mhfd_client.transfer.protocol import (
    Arrived,
    Json,
    NotSent,
    Outgoing,
    TransferError,
    TransferSignInError,
    TransferUnreachableError,
)
from mhfd_client.transfer.removal import Removal
from mhfd_client.transfer.staging import Staging
from mhfd_client.transfer.task import TransferTask

if TYPE_CHECKING:
    from mhfd_client.config import TransferEntry
    from mhfd_client.transfer.service import Service, Submission

log = logging.getLogger(__name__)

FIRST_LOOK_S, LONGEST_LOOK_S = 0.3, 10.0  # between two looks at a task: a tenth of its age, within these
BUSY_S = 10.0
GRACE_S = 30.0  # from a task's deadline until we cancel it, and from then until we give it up
TRIES = 3  # of a file that may not be read


class GlobusTransfer:
    """A `Transfer` from one collection to another.

    Parameters
    ----------
    endpoint : the Compute endpoint that `entry` belongs to
    """

    name = "globus"

    def __init__(self, endpoint: UUID, entry: TransferEntry, staging: Staging, *, requests_per_10_s: int = 15) -> None:
        self._entry = entry
        self._staging = staging
        self._connection = Connection(endpoint, staging, TokenBucket(requests_per_10_s))
        self._load = Load(entry.max_bytes, entry.deadline_s)
        self._patience = Patience()
        self._removal = Removal()
        self._bundling = Bundling(entry, staging)
        self._tickets: set[str] = set()  # made here and not used yet
        self._tasks: dict[str, TransferTask] = {}  # by ticket
        self._decided: list[Arrived | NotSent] = []
        self._unreadable: Counter[str] = Counter()  # tail -> tries

    def connect(self, *, interactive: bool | None = None) -> None:
        self._connection.open(interactive=interactive)

    # --- Handing over ---------------------------------------------------------------------------------------------

    def room(self) -> int:
        if not self._connection.usable or len(self._tasks) >= self._entry.active_tasks or not self._patience.may_send:
            return 0
        return self._load.files(self._entry.max_files)

    def ticket(self) -> str:
        try:
            ticket = self._connection.service.submission_id()
        except TransferUnreachableError as error:
            self._patience.unreachable(error)
            raise
        except TransferSignInError:
            self._connection.expired = True
            raise
        self._patience.answered()
        self._tickets.add(ticket)
        return ticket

    def send(self, ticket: str, files: Sequence[Outgoing]) -> None:
        if ticket in self._tasks:
            return
        budget = self._load.budget_bytes
        resumed = ticket not in self._tickets  # of an earlier process: the task may be there, with all of these files
        self._tickets.discard(ticket)
        task = TransferTask(ticket, {}, self._entry.deadline_s, resumed=resumed)
        for outgoing in files:
            self._load.see(outgoing.size)
            if self._staging.source(outgoing) is None:
                self._decided.append(NotSent(outgoing, self._outside(outgoing), "permission_denied", again=False))
            elif resumed or not task.files or (outgoing.size <= budget and len(task.files) < self._entry.max_files):
                budget -= outgoing.size
                task.files[self._staging.tail(outgoing)] = outgoing
            else:
                self._decided.append(NotSent(outgoing, "goes with the next transfer", None, again=True))
        if task.files:
            self._tasks[ticket] = task

    def _outside(self, outgoing: Outgoing) -> str:
        return (
            f"{outgoing.file} is not below transfer.local_root, so it has no path in the source collection: set "
            "local_root to a folder that contains the run, and source_root to its path in the collection"
        )

    # --- What becomes of it ---------------------------------------------------------------------------------------

    def poll(self) -> list[Arrived | NotSent]:
        self._bundling.stored()
        refusal: TransferError | None = None
        for step in self._steps():
            if not self._patience.may_ask or self._connection.bucket.delay_s() > 0:
                break
            try:
                step()
            except TransferUnreachableError as error:
                self._patience.unreachable(error)
            except TransferError as error:  # the other tasks may fare better
                refusal = refusal or error
                self._connection.expired |= isinstance(error, TransferSignInError)
        decided, self._decided = self._decided, []
        if refusal is not None and not decided:  # else with the next call
            raise refusal
        return decided

    def _steps(self) -> list[Callable[[], None]]:
        """One step per task: a request or two."""
        if not (self._tasks or self._removal.under_way):
            return []
        service = self._connection.service
        steps = [partial(self._advance, service, task) for task in self._tasks.values()]
        return [*steps, partial(self._remove, service)]

    def _remove(self, service: Service) -> None:
        if self._removal.step(service):
            self._patience.answered()

    def _advance(self, service: Service, task: TransferTask) -> None:
        """Make the next request for this task if it is due."""
        if time.monotonic() < task.look_s:
            return
        if not task.prepared:
            self._bundling.prepare(service, task)
        if task.task_id is None:
            self._submit(service, task)
        elif task.unread:
            self._read_page(service, task)
        else:
            self._look(service, task)
        self._patience.answered()
        if task.ended and not task.unread:
            self._decide(task)

    def _submit(self, service: Service, task: TransferTask) -> None:
        from mhfd_client.transfer.service import BusyError, TicketError

        try:
            task.task_id, task.exact = service.submit(task.submission, self._bundling.items(task), self._about())
        except TicketError as error:
            if task.submission != task.ticket:  # it refuses a new one, too
                raise
            log.warning("Globus has forgotten a ticket, a new one is used: %s", error)
            task.submission = service.submission_id()
        except BusyError as error:
            task.reason, task.look_s = str(error), time.monotonic() + BUSY_S
            if task.age_s > task.deadline_s:
                self._give_up(task, str(error))
        else:
            task.reason, task.look_s = "", time.monotonic() + FIRST_LOOK_S

    def _about(self) -> Submission:
        from mhfd_client.transfer.service import Submission

        staging = self._staging
        return Submission(
            staging.source_collection, staging.destination_collection, staging.label, self._entry.deadline_s
        )

    def _look(self, service: Service, task: TransferTask) -> None:
        from mhfd_client.transfer.service import NotFoundError

        now, task_id = time.monotonic(), str(task.task_id)
        try:
            if task.document.get("faults", 0) > task.faults:
                task.reason, task.faults = service.trouble(task_id), task.document["faults"]
            elif task.document.get("is_paused") and not task.pause:
                task.pause = service.pause_message(task_id) or "an administrator, who left no message"
            else:
                before, task.document = task.bytes_moved, service.task(task_id)
                task.reason = "" if task.bytes_moved > before else task.reason
                task.look_s = now + min(max(FIRST_LOOK_S, task.age_s / 10), LONGEST_LOOK_S)
                task.pause = task.pause if task.ended or task.document.get("is_paused") else ""
                self._see(service, task)
        except NotFoundError as error:
            log.warning("Globus no longer knows transfer %s; its files are sent again", task_id)
            self._give_up(task, str(error))

    def _see(self, service: Service, task: TransferTask) -> None:
        if task.ended:
            task.look_s = 0.0
            task.unread = task.listings()
        else:
            self._mind_deadline(service, task)

    def _mind_deadline(self, service: Service, task: TransferTask) -> None:
        """Cancel a task that the service did not end at its deadline; if that fails, too, give it up."""
        now = time.monotonic()
        deadline = task.document.get("deadline")
        left_s = service.seconds_until(deadline) if deadline else task.deadline_s - task.age_s
        if left_s > -GRACE_S:
            return
        if task.cancelled_s is None:
            log.warning("transfer %s did not end at its deadline and is cancelled: %s", task.task_id, task.state())
            service.cancel(str(task.task_id))
            task.cancelled_s = now
            task.look_s = now + FIRST_LOOK_S
        elif now > task.cancelled_s + GRACE_S:
            self._give_up(task, f"the transfer neither ended nor could be cancelled ({task.state()})")

    def _read_page(self, service: Service, task: TransferTask) -> None:
        from mhfd_client.transfer.service import NotFoundError

        listing, marker = task.unread[0]
        try:
            page = service.page(listing, str(task.task_id), marker)
        except NotFoundError as error:  # the service keeps them for a month
            log.warning("Globus no longer has the list of what arrived: %s", error)
            page = {"DATA": [], "next_marker": None}
            task.exact = False
        for row in page["DATA"]:
            tail = self._staging.tail_of(row.get("destination_path") or "") or self._by_source(task, row)
            if tail is None:
                continue
            if listing == "successful_transfers":
                task.arrived.add(tail)
            else:
                task.skipped[tail] = (row["error_code"], str(row.get("error_details") or ""))
        task.unread.pop(0)
        if page.get("next_marker") is not None:
            task.unread.insert(0, (listing, str(page["next_marker"])))

    def _by_source(self, task: TransferTask, row: Json) -> str | None:
        source = row.get("source_path")
        return next((tail for tail, each in task.files.items() if self._staging.source(each) == source), None)

    def _give_up(self, task: TransferTask, message: str) -> None:
        """Send all files again, since which arrived is unknown; what is there is not copied twice."""
        self._decided += [NotSent(each, message, None, again=True) for each in task.files.values()]
        self._tasks.pop(task.ticket, None)
        self._bundling.ended(task)

    def _decide(self, task: TransferTask) -> None:
        del self._tasks[task.ticket]
        if task.succeeded and task.exact:
            task.arrived |= (task.alone.keys() | task.bundles.keys()) - task.skipped.keys()
        self._bundling.ended(task)
        arrived = task.files.keys() & {file for tail in task.arrived for file in task.within(tail)}
        why = self._rest_after(task, arrived)
        after_s = self._patience.send_after_s
        for tail, outgoing in task.files.items():
            if tail in arrived:
                self._unreadable.pop(tail, None)
                self._decided.append(Arrived(outgoing, self._bundling.place(task, tail)))
            elif tail in task.skipped:
                self._decided.append(self._on_skipped(tail, outgoing, task.skipped[tail], after_s, alone=not arrived))
            else:
                self._decided.append(NotSent(outgoing, why, None, again=True, after_s=after_s))

    def _rest_after(self, task: TransferTask, arrived: set[str]) -> str:
        """The reason why files did not arrive; pause sending when others would fail, too."""
        why = "it is not among the files that arrived" if task.succeeded else task.failure()
        if not task.succeeded:
            log.warning("transfer %s: %d of %d files arrived; %s", task.task_id, len(arrived), len(task.files), why)
        if arrived:
            self._patience.arrived()
            self._load.measure(task.bytes_moved, task.age_s)
        if task.full or not (arrived or task.succeeded):
            self._patience.rest(why)
        elif not arrived and any(code != "FILE_NOT_FOUND" for code, _ in task.skipped.values()):
            tail, (code, _) = next(iter(task.skipped.items()))
            self._patience.rest(f"Globus may not read the files ({code}: {tail})")
        return why

    def _on_skipped(
        self, tail: str, outgoing: Outgoing, error: tuple[str, str], after_s: float, *, alone: bool
    ) -> NotSent:
        code, details = error
        if code == "FILE_NOT_FOUND":
            message = f"{outgoing.file} was not there when Globus came for it; it may have been moved or removed"
            return NotSent(outgoing, message, "not_found", again=False)
        message = (
            f"Globus may not read {outgoing.file} ({code}): with Globus Connect Personal, allow its folder under "
            "Options > Access; check also who may read the file"
        )
        log.warning("%s. %s", message, details)
        if not alone or self._load.moved:  # others can be read: it is this file
            self._unreadable[tail] += 1
        if self._unreadable[tail] >= TRIES:
            del self._unreadable[tail]
            return NotSent(outgoing, message, "permission_denied", again=False)
        return NotSent(outgoing, message, None, again=True, after_s=after_s)

    # --- Notices, and closing -------------------------------------------------------------------------------------

    def clean(self, places: Sequence[Json]) -> bool:
        alone = [place for place in places if "offset" not in place]  # others are in a bundle: see `sweep`
        copies = list(filter(None, map(self._staging.copy_at, alone)))
        return self._entry.keep or self._asked(partial(self._delete, copies))

    def sweep(self, used: Callable[[], Iterable[Json]]) -> None:
        self._bundling.tidy(self._tasks.keys())
        if not self._entry.keep:
            self._asked(partial(self._sweep, used))

    def _sweep(self, used: Callable[[], Iterable[Json]]) -> None:
        arrived = [each.place for each in self._decided if isinstance(each, Arrived) and each.place]
        busy = {tail for task in self._tasks.values() for tail in task.bundles}
        busy |= {tail for place in arrived if (tail := self._staging.tail_at(place))}
        idle = self._bundling.idle(self._connection.service, busy, used)
        self._delete([self._staging.destination(tail) for tail in idle])
        self._bundling.removed(idle)

    def _delete(self, copies: Sequence[str]) -> None:
        self._removal.remove(self._connection.service, copies, self._about())

    def _asked(self, request: Callable[[], None]) -> bool:
        """Make a request that can wait; True if it was made."""
        if not self._connection.usable or not self._patience.may_ask or self._connection.bucket.delay_s() > 0:
            return False
        try:
            request()
        except TransferUnreachableError as error:
            self._patience.unreachable(error)
            return False
        except TransferError as error:  # it does not keep files from being sent
            self._connection.expired |= isinstance(error, TransferSignInError)
            self._removal.refused(error)
            return False
        return True

    def notices(self) -> list[str]:
        on_their_way = sum(len(task.files) for task in self._tasks.values())
        found = [
            self._patience.trouble(on_their_way),
            *(task.notice() for task in self._tasks.values()),
            self._patience.resting(),
            self._removal.notice,
        ]
        return [notice for notice in found if notice]

    def close(self) -> None:
        self._bundling.close()
        self._connection.close()
