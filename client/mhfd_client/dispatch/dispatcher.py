"""Tiles out, rows in: our own queue, a window of tasks in flight, and what is done about each kind of failure.

One thread owns everything here; whatever happens elsewhere (tiles put, an answer, a status, a wish to stop) reaches
it as a step in its inbox. A tile is in exactly one place: in the queue, in a parcel that waits to be sent again, or
in a parcel in flight. It leaves with a row or an exception in its future, so nothing is lost and nobody waits for ever.

==========================  =======================================================================================
what happens                what is done
==========================  =======================================================================================
task lost, not sent         sent again, after a pause that doubles; given up after `patience_s`
task lost after arrival     sent again; the second time halved; a lone tile is given up after the sixth
worker died, task failed    halved, until the tile to blame stands alone: tried once more, then a failed row
payload or result too big   halved; a lone tile becomes a failed row
deadline passed             the endpoint is asked what became of it; lost: see above; offline: told, and waited for
many fail, none succeeds    everything that waits fails with the last error: something is wrong with the endpoint
refused, sign-in, no mhfd   the same, at once
==========================  =======================================================================================
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue

from mhfd.contract import ErrorCode, FocusParams, FocusResult, MhfdError, ParamsError
from mhfd_client.backoff import Backoff
from mhfd_client.compute.protocol import (
    Compute,
    EndpointUnavailableError,
    Json,
    PayloadTooLargeError,
    Reply,
    ResultTooLargeError,
    Status,
    TaskFailedError,
    TaskLostError,
    WorkerDiedError,
)
from mhfd_client.dispatch import answers
from mhfd_client.dispatch.pack import Packer, Parcel, Tile, failed_row

log = logging.getLogger(__name__)

LINGER_S = 0.001  # tiles that come one by one are waited for so long, to share a task
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
DEADLINE_FACTOR = 5.0
DURATIONS_KEPT = 200
FAILURES_IN_A_ROW = 16
TRIES_OF_A_LONE_TILE = 2
LOSSES_TO_HALVE = 2
LOSSES_OF_A_LONE_TILE = 6  # the endpoint, not the tile, is the likelier cause
STATE_SCHEMA = 1
ASK_S = 10.0  # for an answer of our own thread, which never waits for anything

Step = Callable[[], None]
Notice = Callable[[str], None]


@dataclass(eq=False)
class _InFlight:
    parcel: Parcel
    sent_s: float
    due_s: float


class Dispatcher:
    """Has tiles scored by one `Compute`.

    Parameters
    ----------
    overflow : takes tiles while the endpoint is offline; without it they wait
    on_notice : is told, in a sentence, what a person at the screen should know; by default the log
    on_change : is told, in this object's thread, when `state` has changed
    """

    def __init__(
        self,
        compute: Compute,
        packer: Packer,
        *,
        overflow: Callable[[Sequence[Tile]], None] | None = None,
        on_notice: Notice = log.warning,
        on_change: Callable[[Json], None] | None = None,
    ) -> None:
        self._compute = compute
        self._packer = packer
        self._limits = packer.limits
        self._overflow = overflow
        self._notice = on_notice
        self._on_change = on_change

        self._inbox: SimpleQueue[Step] = SimpleQueue()
        self._queue: deque[Tile] = deque()
        self._again: deque[Parcel] = deque()
        self._in_flight: dict[Reply, _InFlight] = {}
        self._durations: deque[float] = deque(maxlen=DURATIONS_KEPT)
        self._failures_in_a_row = 0
        self._not_before_s = 0.0
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._trouble_since_s: float | None = None  # the service or the endpoint is out of reach
        self._heard_s = time.monotonic()
        self._status: Status | None = None
        self._status_s = -math.inf
        self._well = True  # as far as the last look at the status has shown
        self._asking = False
        self._stopping_at_s: float | None = None
        self._ending = threading.Lock()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=f"mhfd-dispatch-{compute.name}", daemon=True)
        self._thread.start()

    # --- From any thread ------------------------------------------------------------------------------------------

    def put(self, tiles: Sequence[Tile], *, linger: bool = False) -> None:
        """Have tiles scored; `linger` when more may follow at once."""
        with self._ending:
            if self._ended:
                self._drop(tiles)
            else:
                self._inbox.put(partial(self._on_put, tiles, linger))

    def state(self) -> Json:
        """What is in flight, as plain data: enough for `resume` in another process."""
        answer: Future[Json] = Future()
        self._inbox.put(lambda: answer.set_result(self._snapshot()))
        try:
            return answer.result(ASK_S)
        except FutureTimeoutError:
            return self._snapshot() if not self._thread.is_alive() else {}

    def resume(self, state: Json) -> list[Tile]:
        """Take up the tasks of an earlier process; their tiles."""
        parcels: dict[str, Parcel] = {}
        fresh: list[Tile] = []
        for task in state["tasks"]:
            params = FocusParams.from_dict(task["params"])
            tiles = [
                Tile(each["name"], each["source"] or "", each["page"], params, each.get("place"), each.get("tag"))
                for each in task["tiles"]
            ]
            if task["task_id"] is None:
                fresh += tiles
            else:
                parcels[task["task_id"]] = Parcel(tiles)
        replies = self._compute.resume(state.get("compute", {}), list(parcels))
        for task_id, reply in replies.items():
            for tile in parcels[task_id].tiles:
                tile.claim()
            self._inbox.put(partial(self._watch, reply, parcels[task_id]))
        self.put(fresh)
        return [tile for parcel in parcels.values() for tile in parcel.tiles] + fresh

    def close(self, drain_s: float = 0.0) -> None:
        """Cancel what was not handed over, wait so long for what was, then let go of it."""
        self._inbox.put(partial(self._on_close, time.monotonic() + drain_s))
        if threading.current_thread() is not self._thread:  # a callback of a future may close
            self._thread.join(drain_s + ASK_S)

    # --- The thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        error: BaseException = CancelledError()
        try:
            while not self._stopped():
                self._take_steps(self._wait_s())
                self._hand_over()
                self._look_after()
        except Exception as exc:  # a fault of ours: whoever waits has to know
            log.exception("the dispatcher for '%s' stopped", self._compute.name)
            error = exc
        with self._ending:
            self._ended = True
            self._take_steps(0)  # tiles that came too late, questions
            self._fail_all(error)

    def _stopped(self) -> bool:
        if self._stopping_at_s is None:
            return False
        return not self._in_flight or time.monotonic() >= self._stopping_at_s

    def _take_steps(self, wait_s: float | None) -> None:
        """Wait for a step, then take all that are there."""
        with suppress(Empty):
            self._inbox.get(timeout=wait_s)()
            while True:
                self._inbox.get_nowait()()

    def _wait_s(self) -> float | None:
        """Until something has to be done without being asked; None: never."""
        now = time.monotonic()
        times = [each.due_s for each in self._in_flight.values()]
        if self._waiting() and len(self._in_flight) < self._compute.slots and self._stopping_at_s is None:
            times.append(max(self._not_before_s, now + self._compute.delay_s()))
        if self._in_flight and not self._asking:
            times.append(self._status_due_s())
        if self._trouble_since_s is not None and (self._waiting() or self._in_flight):
            times.append(self._trouble_since_s + self._limits.patience_s)
        if self._stopping_at_s is not None:
            times.append(self._stopping_at_s)
        return max(0.0, min(times) - now) if times else None

    def _waiting(self) -> bool:
        return bool(self._queue or self._again)

    def _hand_over(self) -> None:
        """Send what may be sent now."""
        sent = False
        while self._may_send():
            parcel = self._again.popleft() if self._again else self._next_parcel()
            if parcel.packed:
                self._send(parcel)
                sent = True
            else:  # taken up from an earlier process, and lost: from the beginning
                self._queue.extendleft(reversed(self._with_source(parcel.tiles)))
        if sent:
            self._changed()

    def _may_send(self) -> bool:
        return (
            self._waiting()
            and self._stopping_at_s is None
            and len(self._in_flight) < self._compute.slots
            and time.monotonic() >= self._not_before_s
            and self._compute.delay_s() <= 0
        )

    def _next_parcel(self) -> Parcel:
        """What waits is shared out over the free places, in tasks that are worth it."""
        free = max(1, min(self._compute.slots - len(self._in_flight), self._compute.sendable()))
        share = -(-len(self._queue) // free)
        return self._packer.next_parcel(self._queue, max(share, self._compute.grain), self._settle)

    def _with_source(self, tiles: Sequence[Tile]) -> list[Tile]:
        """Those that can be packed again; arrays were lost with the process that had them."""
        gone = [tile for tile in tiles if isinstance(tile.source, str) and not tile.source]
        self._fail(gone, TaskLostError("there is no answer for an array of an earlier process: submit it again"))
        return [tile for tile in tiles if tile not in gone]

    def _send(self, parcel: Parcel) -> None:
        try:
            reply = self._compute.submit(parcel.function, parcel.arguments())
        except Exception as error:  # whatever it is, it is the parcel's answer
            reply = Future()
            reply.set_exception(error)
        self._watch(reply, parcel)

    def _watch(self, reply: Reply, parcel: Parcel) -> None:
        now = time.monotonic()
        if not self._in_flight:
            self._heard_s = now
        self._in_flight[reply] = _InFlight(parcel, now, now + self._deadline_s())
        reply.add_done_callback(lambda done: self._inbox.put(partial(self._on_reply, done)))

    def _deadline_s(self) -> float:
        if not self._durations:
            return self._limits.first_deadline_s
        ordered = sorted(self._durations)
        return max(self._limits.deadline_s, DEADLINE_FACTOR * ordered[(99 * (len(ordered) - 1)) // 100])

    # --- Steps ----------------------------------------------------------------------------------------------------

    def _on_put(self, tiles: Sequence[Tile], linger: bool) -> None:
        if self._overflow and self._offline() and time.monotonic() < self._status_s + self._limits.status_every_s:
            self._overflow(tiles)
            return
        if linger and not self._waiting():
            self._not_before_s = max(self._not_before_s, time.monotonic() + LINGER_S)
        self._queue.extend(tiles)

    def _on_close(self, at_s: float) -> None:
        self._stopping_at_s = at_s if self._stopping_at_s is None else min(at_s, self._stopping_at_s)
        self._drop(self._queue)
        self._queue.clear()

    def _on_reply(self, reply: Reply) -> None:
        flight = self._in_flight.pop(reply, None)
        if flight is None:  # given up, or scored elsewhere meanwhile
            return
        try:
            error = None if reply.cancelled() else reply.exception()
            if error is not None:
                raise error
            rows = answers.rows(reply.result(), flight.parcel.tiles, self._compute.name)
        except TaskLostError as lost:
            self._on_lost(flight.parcel, lost)
        except TaskFailedError as failed:
            self._on_failed(flight.parcel, failed)
        except ParamsError as refused:
            self._fail(flight.parcel.tiles, refused)
        except Exception as fatal:  # refusals, and faults of ours: nothing that waits would fare better
            if not isinstance(fatal, MhfdError):
                log.exception("an answer from '%s'", self._compute.name)
            self._fail(flight.parcel.tiles, fatal)
            self._fail_all(fatal)
        else:
            self._on_rows(flight, rows)
        self._changed()

    def _on_rows(self, flight: _InFlight, rows: Iterable[FocusResult]) -> None:
        self._heard()
        self._failures_in_a_row = 0
        self._durations.append(time.monotonic() - flight.sent_s)
        for tile, row in zip(flight.parcel.tiles, rows, strict=True):
            self._settle(tile, row)

    def _on_lost(self, parcel: Parcel, error: TaskLostError) -> None:
        if error.sent:
            log.warning("%s; %d tiles are sent again", error, len(parcel.tiles))
            parcel.losses += 1
            if parcel.losses >= (LOSSES_TO_HALVE if len(parcel.tiles) > 1 else LOSSES_OF_A_LONE_TILE):
                self._divide(parcel, "worker_lost", str(error))
            else:
                self._again.appendleft(parcel)
            return
        now = time.monotonic()
        if self._trouble_since_s is None:
            self._trouble_since_s = now
            log.info("%s; trying again", error)
        if now >= self._not_before_s:  # one pause for all tasks that met with the same trouble
            pause_s = self._backoff.fail()
            self._not_before_s = now + (error.after_s if error.after_s > 0 else pause_s)
        self._again.append(parcel)

    def _on_failed(self, parcel: Parcel, error: TaskFailedError) -> None:
        self._heard()
        if isinstance(error, PayloadTooLargeError):
            self._divide(parcel, "too_large_to_send", str(error))
            return
        if isinstance(error, ResultTooLargeError):
            log.warning("%s; asking for fewer at once", error)
            self._divide(parcel, "result_too_large", str(error))
            return
        self._failures_in_a_row += 1
        if self._failures_in_a_row > FAILURES_IN_A_ROW:
            self._fail(parcel.tiles, error)
            self._fail_all(error)
            self._failures_in_a_row = 0
            return
        parcel.deaths += 1
        if len(parcel.tiles) == 1 and parcel.deaths < TRIES_OF_A_LONE_TILE:
            self._again.appendleft(parcel)
            return
        code: ErrorCode = "worker_lost" if isinstance(error, WorkerDiedError) else "internal"
        log.warning("a task of %d tiles failed as a whole: %s", len(parcel.tiles), error)
        self._divide(parcel, code, str(error))

    def _divide(self, parcel: Parcel, code: ErrorCode, message: str) -> None:
        """Halve, or, with one tile left, say what became of it."""
        if len(parcel.tiles) > 1:
            self._again.extendleft(reversed(parcel.halves()))
            return
        tile = parcel.tiles[0]
        self._settle(tile, failed_row(tile, code, message, self._compute.name))

    def _heard(self) -> None:
        """The endpoint works."""
        self._heard_s = time.monotonic()
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._trouble_since_s = None

    # --- What nobody asks for -------------------------------------------------------------------------------------

    def _look_after(self) -> None:
        now = time.monotonic()
        for reply, flight in self._in_flight.items():
            if now >= flight.due_s:
                flight.due_s = now + self._deadline_s()
                self._compute.chase(reply)
        if self._in_flight and not self._asking and now >= self._status_due_s():
            self._asking = True
            self._compute.status().add_done_callback(lambda done: self._inbox.put(partial(self._on_status, done)))
        if self._trouble_since_s is not None and now >= self._trouble_since_s + self._limits.patience_s:
            self._give_up()

    def _status_due_s(self) -> float:
        """The endpoint's status is looked at when nothing was heard of it for a while."""
        return max(self._heard_s + self._limits.status_after_s, self._status_s + self._limits.status_every_s)

    def _offline(self) -> bool:
        return self._status is not None and not self._status.online

    def _on_status(self, answer: Future[Status]) -> None:
        self._asking = False
        self._status_s = time.monotonic()
        was_offline, was_well = self._offline(), self._well
        self._well = not answer.cancelled() and answer.exception() is None and answer.result().online
        if not self._well and self._trouble_since_s is None:
            self._trouble_since_s = self._status_s
        if answer.cancelled() or answer.exception() is not None:
            log.warning("nobody can say how '%s' is: %s", self._compute.name, answer.exception())
            return
        self._status = answer.result()
        if self._status.online:
            if not was_well:
                self._trouble_since_s = None
            if was_offline:
                self._notice(f"endpoint '{self._compute.name}' is online again")
            return
        count = self._tiles_open()
        if self._overflow is None:
            self._notice(f"endpoint '{self._compute.name}' is {self._status}; {count} tiles wait")
        else:
            self._notice(f"endpoint '{self._compute.name}' is {self._status}; {count} tiles are scored on this machine")
            self._hand_on(self._overflow)

    def _hand_on(self, overflow: Callable[[Sequence[Tile]], None]) -> None:
        """All that waits goes elsewhere. What the endpoint has, it may still do; nobody will look at it."""
        parcels = [*(flight.parcel for flight in self._in_flight.values()), *self._again]
        tiles = [tile for parcel in parcels for tile in parcel.tiles] + list(self._queue)
        self._in_flight.clear()
        self._again.clear()
        self._queue.clear()
        self._trouble_since_s = None
        for tile in tiles:
            tile.packed = None  # it travels another way there
        overflow(tiles)
        self._changed()

    def _give_up(self) -> None:
        self._trouble_since_s = None
        reason = f"is {self._status}" if self._offline() else "cannot be reached"
        self._fail_all(
            EndpointUnavailableError(
                f"endpoint '{self._compute.name}' {reason}, and {self._tiles_open()} tiles have waited for "
                f"{self._limits.patience_s:.0f} s; look at `mhfd doctor --endpoint {self._compute.name}`, raise "
                "limits.patience_s, or score on local"
            )
        )

    # --- Ends of tiles --------------------------------------------------------------------------------------------

    def _settle(self, tile: Tile, row: FocusResult) -> None:
        tile.packed = None
        if not tile.future.done():
            tile.future.set_result(row)

    def _fail(self, tiles: Iterable[Tile], error: BaseException) -> None:
        for tile in tiles:
            tile.packed = None
            if tile.claim() and not tile.future.done():
                tile.future.set_exception(error)

    def _drop(self, tiles: Iterable[Tile]) -> None:
        """Cancelled before they were handed over."""
        for tile in tiles:
            if tile.future.cancel():
                tile.claim()  # wakes those who wait
            else:
                self._fail([tile], CancelledError())

    def _fail_all(self, error: BaseException) -> None:
        parcels = [*(flight.parcel for flight in self._in_flight.values()), *self._again]
        self._in_flight.clear()
        self._again.clear()
        for parcel in parcels:
            self._fail(parcel.tiles, error)
        self._fail(self._queue, error)
        self._queue.clear()

    def _tiles_open(self) -> int:
        parcels = [*(flight.parcel for flight in self._in_flight.values()), *self._again]
        return len(self._queue) + sum(len(parcel.tiles) for parcel in parcels)

    # --- State ----------------------------------------------------------------------------------------------------

    def acknowledged(self) -> None:
        """A task was acknowledged: its id is known, and the service can be reached."""
        self._inbox.put(self._on_acknowledged)

    def _on_acknowledged(self) -> None:
        self._backoff.succeed()
        if not self._offline():
            self._trouble_since_s = None
        self._changed()

    def _changed(self) -> None:
        if self._on_change is None:
            return
        try:
            self._on_change(self._snapshot())
        except Exception:  # somebody else's code; tiles matter more than the note of where they are
            log.exception("the state of '%s' could not be kept", self._compute.name)

    def _snapshot(self) -> Json:
        sent = [(self._compute.task_id(reply), flight.parcel) for reply, flight in list(self._in_flight.items())]
        waiting: list[tuple[str | None, Parcel]] = [(None, parcel) for parcel in list(self._again)]
        tasks = [
            {
                "task_id": task_id,
                "params": parcel.tiles[0].params.to_dict(),
                "tiles": [
                    {
                        "name": tile.name,
                        "source": tile.source if isinstance(tile.source, str) else None,
                        "page": tile.page,
                        "place": tile.place,
                        "tag": tile.tag,
                    }
                    for tile in parcel.tiles
                ],
            }
            for task_id, parcel in sent + waiting
        ]
        return {
            "schema": STATE_SCHEMA,
            "endpoint": self._compute.name,
            "compute": self._compute.state(),
            "tasks": tasks,
        }
