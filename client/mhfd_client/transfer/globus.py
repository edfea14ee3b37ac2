"""Globus Transfer: everything that has accumulated goes as one task whenever there is a place for one.

Transfer takes seconds to begin and little more for a thousand files than for one, so its tasks are large and few: at
most two of the three that a user has. How many bytes a task is given follows from how fast the last ones were: results
are not to wait for the whole backlog.

=============================  ====================================================================================
what happens                   what is done
=============================  ====================================================================================
file not found                 skipped by Transfer, the others arrive; the file is looked at anew
file not readable              the same, but sent again; the third time it is a failed row. All of a task: a notice
copy differs                   Transfer copies again until it is right, or until the deadline
task failed or cancelled       what arrived counts, the rest goes again, after a pause when nothing arrived
quota, disk full, paused       told; what did not arrive goes again after a pause
deadline passed                Transfer ends the task; if it does not, we cancel it; then as above
task unknown to the service    all of it goes again: what is there already is not copied twice
service out of reach, 429      told; asked again after a pause that doubles, or as long as Retry-After says
sign-in or consent expired     `TransferSignInError`; everything is kept for when that is done
=============================  ====================================================================================

Why these options: `verify_checksum` since Globus Connect Personal's disks and networks are what they are; `sync_level`
"checksum" so that what is there already is not copied again, a partial copy is (a comparison of times would take it for
newer); no `external_checksum`, of which one mismatch, a tile replaced meanwhile, fails all of a task, and which means
reading each file once more here: that the right pixels were scored shows in the row's hash.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from mhfd_client.backoff import Backoff
from mhfd_client.service.attended import somebody_is_there
from mhfd_client.service.pacing import TokenBucket
from mhfd_client.transfer.protocol import (
    Arrived,
    Json,
    NotSent,
    Outgoing,
    TransferError,
    TransferRefusedError,
    TransferSignInError,
    TransferUnreachableError,
)
from mhfd_client.transfer.removal import Removal
from mhfd_client.transfer.staging import HOME, Staging
from mhfd_client.transfer.task import Task

if TYPE_CHECKING:
    from mhfd_client.config import TransferEntry
    from mhfd_client.transfer.service import Service, Submission

log = logging.getLogger(__name__)

FIRST_LOOK_S, LONGEST_LOOK_S = 0.3, 10.0  # between two looks at a task: a tenth of its age, within these
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0  # of requests while the service is out of reach
FIRST_REST_S, LONGEST_REST_S = 30.0, 900.0  # of sending after a task of which nothing arrived
BUSY_S = 10.0
GRACE_S = 30.0  # past its deadline, before we cancel a task; past that, before we give it up
TASK_S = 300.0  # a task is given what takes so long
FIRST_BYTES = 4_000_000_000  # while nothing is known of the speed
TYPICAL_BYTES = 16_000_000  # of a file, while nothing is known
TRIES = 3  # of a file that may not be read


class GlobusTransfer:
    """A `Transfer` from one collection to another.

    Parameters
    ----------
    endpoint : the Compute endpoint whose configuration `entry` is of
    """

    name = "globus"

    def __init__(self, endpoint: UUID, entry: TransferEntry, staging: Staging, *, requests_per_10_s: int = 15) -> None:
        self._endpoint = endpoint
        self._entry = entry
        self._staging = staging
        self._bucket = TokenBucket(requests_per_10_s)
        self._service: Service | None = None
        self._ready = False
        self._asked = False
        self._expired = False  # the sign-in, or a consent

        self._tickets: set[str] = set()  # made here and not used yet
        self._tasks: dict[str, Task] = {}  # by ticket
        self._decided: list[Arrived | NotSent] = []
        self._unreadable: Counter[str] = Counter()  # tail -> tries
        self._budget_bytes = min(float(entry.max_bytes), FIRST_BYTES)
        self._file_bytes: float | None = None
        self._moved = False

        self._trouble: tuple[float, str] | None = None  # since when the service is out of reach, and why
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._ask_not_before_s = 0.0
        self._rests = Backoff(FIRST_REST_S, LONGEST_REST_S)
        self._rest_until, self._rest_why = 0.0, ""
        self._send_not_before_s = 0.0

        self._removal = Removal()

    # --- Signing in -----------------------------------------------------------------------------------------------

    def connect(self, *, interactive: bool | None = None) -> None:
        if self._ready and not self._expired:
            return
        if interactive is None:  # later than at first somebody may be there, but does not expect to be asked
            interactive = not self._asked and somebody_is_there()
        self._asked = True
        if self._service is None:
            try:
                from mhfd_client.transfer.service import Service
            except ImportError as error:
                raise TransferRefusedError(
                    f'Globus Transfer needs the Globus SDKs, which are not here ({error}): pip install "mhfd[globus]"'
                ) from error
            self._service = Service(self._endpoint, self._bucket, interactive=interactive)
        elif self._expired:
            self._service.log_in(interactive=interactive, anew=interactive)
        self._look_at_collections(self._service, interactive)
        self._ready, self._expired = True, False

    def _look_at_collections(self, service: Service, interactive: bool) -> None:
        """Whether both can be used: now, when somebody may consent or correct the configuration, not with the first
        tile."""
        from mhfd_client.transfer.service import NotFoundError

        staging = self._staging
        try:
            service.look(staging.source_collection, staging.source_folder, interactive=interactive)
        except NotFoundError as error:
            raise TransferRefusedError(
                f"the folder {staging.source_folder} is not in the source collection {staging.source_collection}: set "
                "source_root to what the collection calls local_root, and with Globus Connect Personal allow the "
                f"folder under Options > Access ({error})"
            ) from error
        home = service.look(staging.destination_collection, HOME, interactive=interactive) if staging.needs_home else {}
        if staging.needs_home:
            if not home.get("absolute_path"):
                raise TransferRefusedError(
                    f"the collection {staging.destination_collection} does not say where {HOME} is: set "
                    "destination_root to a full path, or endpoint_root to what the endpoint's workers call it"
                )
            staging.know_home(home["absolute_path"])
        with contextlib.suppress(NotFoundError):  # Transfer makes the folders with the first file
            service.look(staging.destination_collection, staging.destination_folder, interactive=interactive)

    # --- Handing over ---------------------------------------------------------------------------------------------

    def room(self) -> int:
        if not self._ready or self._expired or len(self._tasks) >= self._entry.active_tasks:
            return 0
        if time.monotonic() < max(self._send_not_before_s, self._ask_not_before_s):
            return 0
        file_bytes = TYPICAL_BYTES if self._file_bytes is None else max(1.0, self._file_bytes)
        return max(1, min(self._entry.max_files, int(self._budget_bytes / file_bytes)))

    def ticket(self) -> str:
        service = self._signed_in()
        try:
            ticket = service.submission_id()
        except TransferUnreachableError as error:
            self._on_trouble(error)
            raise
        except TransferSignInError:
            self._expired = True
            raise
        self._on_answer()
        self._tickets.add(ticket)
        return ticket

    def send(self, ticket: str, files: Sequence[Outgoing]) -> None:
        if ticket in self._tasks:
            return
        budget = self._budget_bytes
        resumed = ticket not in self._tickets  # of an earlier process: the task may be there, with all of these files
        self._tickets.discard(ticket)
        task = Task(ticket, {}, self._entry.deadline_s)
        for outgoing in files:
            usual = outgoing.size if self._file_bytes is None else self._file_bytes
            self._file_bytes = usual + (outgoing.size - usual) / 100
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
            f"{outgoing.file} is not below transfer.local_root, so it has no name in the source collection: set "
            "local_root to a folder that has all of the run, and source_root to what the collection calls it"
        )

    # --- What becomes of it ---------------------------------------------------------------------------------------

    def poll(self) -> list[Arrived | NotSent]:
        refusal: TransferError | None = None
        for step in self._steps():
            if time.monotonic() < self._ask_not_before_s or self._bucket.delay_s() > 0:
                break
            try:
                step()
            except TransferUnreachableError as error:
                self._on_trouble(error)
            except TransferError as error:  # the other tasks may fare better
                refusal = refusal or error
                self._expired |= isinstance(error, TransferSignInError)
        decided, self._decided = self._decided, []
        if refusal is not None and not decided:  # else with the next call
            raise refusal
        return decided

    def _steps(self) -> list[Callable[[], None]]:
        """Each is a request or two at most."""
        if not (self._tasks or self._removal.under_way):
            return []
        service = self._signed_in()
        steps = [partial(self._advance, service, task) for task in self._tasks.values()]
        return [*steps, partial(self._remove, service)]

    def _remove(self, service: Service) -> None:
        if self._removal.step(service, self._about()):
            self._on_answer()

    def _advance(self, service: Service, task: Task) -> None:
        """The next request for this task, if its time has come."""
        if time.monotonic() < task.look_s:
            return
        if task.task_id is None:
            self._submit(service, task)
        elif task.unread:
            self._read_page(service, task)
        else:
            self._look(service, task)
        self._on_answer()
        if task.ended and not task.unread:
            self._decide(task)

    def _submit(self, service: Service, task: Task) -> None:
        from mhfd_client.transfer.service import BusyError, TicketError

        staging = self._staging
        pairs = [(str(staging.source(each)), staging.destination(tail)) for tail, each in task.files.items()]
        try:
            task.task_id, task.exact = service.submit(task.submission, pairs, self._about())
        except TicketError as error:
            if task.submission != task.ticket:  # nor does it take a new one
                raise
            log.warning("a new ticket, the service has forgotten the old one: %s", error)
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

    def _look(self, service: Service, task: Task) -> None:
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
                task.pause = task.pause if task.document.get("is_paused") else ""
                self._see(service, task)
        except NotFoundError as error:
            log.warning("the service knows nothing of transfer %s any more, its files are sent again", task_id)
            self._give_up(task, str(error))

    def _see(self, service: Service, task: Task) -> None:
        if task.ended:
            task.look_s = 0.0
            task.unread = task.listings()
        else:
            self._mind_deadline(service, task)

    def _mind_deadline(self, service: Service, task: Task) -> None:
        """The service ends tasks at their deadline; if it does not, we cancel, and in the end do without."""
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

    def _read_page(self, service: Service, task: Task) -> None:
        from mhfd_client.transfer.service import NotFoundError

        listing, marker = task.unread[0]
        try:
            page = service.page(listing, str(task.task_id), marker)
        except NotFoundError as error:  # the service keeps them for a month
            log.warning("the list of what arrived is not there any more: %s", error)
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

    def _by_source(self, task: Task, row: Json) -> str | None:
        source = row.get("source_path")
        return next((tail for tail, each in task.files.items() if self._staging.source(each) == source), None)

    def _give_up(self, task: Task, message: str) -> None:
        """Nothing is known of what arrived: all of it goes again, and what is there is not copied twice."""
        self._decided += [NotSent(each, message, None, again=True) for each in task.files.values()]
        self._tasks.pop(task.ticket, None)

    def _decide(self, task: Task) -> None:
        del self._tasks[task.ticket]
        if task.succeeded and task.exact:
            task.arrived |= task.files.keys() - task.skipped.keys()
        arrived = task.arrived & task.files.keys()
        why = self._rest_after(task, arrived)
        after_s = max(0.0, self._send_not_before_s - time.monotonic())
        for tail, outgoing in task.files.items():
            if tail in arrived:
                self._unreadable.pop(tail, None)
                self._decided.append(Arrived(outgoing, self._staging.place(tail)))
            elif tail in task.skipped:
                self._decided.append(self._on_skipped(tail, outgoing, task.skipped[tail], after_s, alone=not arrived))
            else:
                self._decided.append(NotSent(outgoing, why, None, again=True, after_s=after_s))

    def _rest_after(self, task: Task, arrived: set[str]) -> str:
        """Why files did not arrive; when others would fare no better now, nothing is sent for a while."""
        why = "it is not among the files that arrived" if task.succeeded else task.failure()
        if not task.succeeded:
            log.warning("transfer %s: %d of %d files arrived; %s", task.task_id, len(arrived), len(task.files), why)
        if arrived:
            self._rests.succeed()
            self._measure(task)
        if task.full or not (arrived or task.succeeded):
            self._rest(why)
        elif not arrived and any(code != "FILE_NOT_FOUND" for code, _ in task.skipped.values()):
            tail, (code, _) = next(iter(task.skipped.items()))
            self._rest(f"Globus may not read the files ({code}: {self._staging.source(task.files[tail])})")
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
            "Options > Access; look also at who may read the file"
        )
        log.warning("%s. %s", message, details)
        if not alone or self._moved:  # others can be read: it is this file
            self._unreadable[tail] += 1
        if self._unreadable[tail] >= TRIES:
            del self._unreadable[tail]
            return NotSent(outgoing, message, "permission_denied", again=False)
        return NotSent(outgoing, message, None, again=True, after_s=after_s)

    # --- Pace -----------------------------------------------------------------------------------------------------

    def _measure(self, task: Task) -> None:
        """Give the next tasks less when one took too long, more when one was quick: a small one tells no speed."""
        if not task.bytes_moved:
            return
        self._moved = True
        allowed_s = min(TASK_S, self._entry.deadline_s / 2)
        if task.age_s > allowed_s:
            self._budget_bytes = max(1.0, task.bytes_moved * allowed_s / task.age_s)
        elif task.age_s < allowed_s / 2:
            self._budget_bytes = min(float(self._entry.max_bytes), 2 * self._budget_bytes)

    def _rest(self, why: str) -> None:
        """Send nothing for a while: what failed for all files would fail again."""
        rest_s = self._rests.fail()
        self._send_not_before_s = time.monotonic() + rest_s
        self._rest_until, self._rest_why = time.time() + rest_s, why

    def _on_answer(self) -> None:
        self._trouble = None
        self._backoff.succeed()

    def _on_trouble(self, error: TransferUnreachableError) -> None:
        if self._trouble is None:
            log.info("%s; trying again", error)
        self._trouble = (self._trouble[0] if self._trouble else time.time(), str(error))
        self._ask_not_before_s = time.monotonic() + max(error.after_s, self._backoff.fail())

    # --- Telling, and ending --------------------------------------------------------------------------------------

    def clean(self, places: Sequence[Json]) -> None:
        if not self._entry.keep:
            self._removal.add(filter(None, map(self._staging.copy_at, places)))

    def notices(self) -> list[str]:
        told = [task.notice() for task in self._tasks.values()]
        if self._trouble is not None:
            since, why = self._trouble
            waiting = sum(len(task.files) for task in self._tasks.values())
            told.insert(0, f"no answer from Globus since {_local(since)}, {waiting} files are on their way: {why}")
        if time.monotonic() < self._send_not_before_s:
            told.append(f"nothing is sent until {_local(self._rest_until)}: {self._rest_why}")
        return [notice for notice in [*told, self._removal.notice] if notice]

    def close(self) -> None:
        service, self._service = self._service, None
        if service is not None:
            if self._ready:
                self._removal.finish(service, self._about())
            service.close()
        self._ready = False

    def _signed_in(self) -> Service:
        if not self._ready or self._service is None:
            raise RuntimeError("connect comes first")
        return self._service


def _local(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment):%Y-%m-%d %H:%M}"
