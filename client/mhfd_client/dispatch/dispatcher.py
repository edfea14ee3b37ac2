"""Tiles out, rows in: a backlog, a window of tasks in flight, and a look at the endpoint when it is silent.

One thread owns everything here; all that happens elsewhere (tiles put, an answer, a status, a request to stop) reaches
it as a step in its inbox. `responses` has a table of what is done about each kind of failure.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue

from mhfd.contract import FocusResult
from mhfd.text import counted
from mhfd_client.compute.protocol import (
    Compute,
    EndpointUnavailableError,
    Json,
    Reply,
    Status,
    TaskFailedError,
)
from mhfd_client.dispatch import answers, state
from mhfd_client.dispatch.flights import Flight, Flights
from mhfd_client.dispatch.health import Change, Health
from mhfd_client.dispatch.loads import Loads
from mhfd_client.dispatch.open_tiles import OpenTiles
from mhfd_client.dispatch.pack import Packer, Parcel, Tile
from mhfd_client.dispatch.queueing import Queue, Waiting
from mhfd_client.dispatch.responses import Responses
from mhfd_client.dispatch.saving import Saving
from mhfd_client.dispatch.window import Window

log = logging.getLogger(__name__)

ASK_S = 10.0  # for an answer of our own thread, which never waits for anything

Step = Callable[[], None]
Notice = Callable[[str], None]


class Dispatcher:
    """Has tiles scored by one `Compute`.

    Parameters
    ----------
    away : the endpoint was out of reach a moment ago: the overflow takes all tiles until it is online
    overflow : takes tiles while the endpoint is offline; without it they wait
    on_notice : receives each notice to a person, a sentence; by default the log
    on_queue : receives what is to be told of tiles that wait for workers, at each look; None when they wait no more. By
        default `on_notice` has the first
    on_change : receives `state` when it has changed, in this object's thread
    """

    def __init__(
        self,
        compute: Compute,
        packer: Packer,
        *,
        overflow: Callable[[Sequence[Tile]], None] | None = None,
        on_notice: Notice = log.warning,
        on_queue: Callable[[Waiting | None], None] | None = None,
        on_change: Callable[[Json], None] | None = None,
        away: bool = False,
    ) -> None:
        self._compute = compute
        self._overflow = overflow
        self._notice = on_notice
        self._on_queue = on_queue or self._notice_queue
        self._saving = Saving(self._snapshot, on_change)
        self._tiles = OpenTiles(compute.name, Flights(packer.limits))
        self._backlog, self._flights = self._tiles.backlog, self._tiles.flights
        self._window = Window(packer.limits, compute.grain)
        self._loads = Loads(compute, packer, self._backlog, self._flights, self._window)
        self._health = Health(compute.name, packer.limits)
        self._responses = Responses(compute.name, self._tiles, self._health, overflow=overflow is not None)
        self._queue = Queue(compute.name, packer.limits)
        self._waiting: Waiting | None = None  # as last told
        self._patience_s = packer.limits.patience_s
        self._away = away and overflow is not None
        self._inbox: SimpleQueue[Step] = SimpleQueue()
        self._stopping_at_s: float | None = None
        self._ending = threading.Lock()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=f"mhfd-dispatch-{compute.name}", daemon=True)
        self._thread.start()

    # --- From any thread ------------------------------------------------------------------------------------------

    def put(self, tiles: Sequence[Tile], *, linger: bool = False) -> None:
        """Score tiles; `linger`: True when more may follow at once."""
        with self._ending:
            if self._ended:
                self._tiles.drop(tiles)
            else:
                self._inbox.put(partial(self._on_put, tiles, linger))

    @property
    def window(self) -> int:
        """The number of tiles that may be in flight now; it follows the endpoint's rate."""
        return self._window.tiles

    def state(self) -> Json:
        """The tasks in flight as plain data, enough for `resume` in another process."""
        answer: Future[Json] = Future()
        self._inbox.put(lambda: answer.set_result(self._snapshot()))
        try:
            return answer.result(ASK_S)
        except FutureTimeoutError:
            return self._snapshot() if not self._thread.is_alive() else {}

    def resume(self, saved: Json) -> list[Tile]:
        """Take up the tasks of an earlier process; return their tiles."""
        parcels, fresh = state.load(saved)
        self._inbox.put(partial(self._queue.resume, saved.get("queued_since")))
        replies = self._compute.resume(saved.get("compute", {}), list(parcels))
        for task_id, reply in replies.items():
            for tile in parcels[task_id].tiles:
                tile.claim()
            self._inbox.put(partial(self._watch, reply, parcels[task_id]))
        self.put(fresh)
        return [tile for parcel in parcels.values() for tile in parcel.tiles] + fresh

    def close(self, drain_s: float = 0.0) -> None:
        """Cancel tiles not sent, wait up to `drain_s` for those sent, then abandon them."""
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
                self._saving.save()
        except Exception as exc:  # a fault of ours: whoever waits has to know
            log.exception("the dispatcher for '%s' stopped", self._compute.name)
            error = exc
        with self._ending:
            self._ended = True
            self._take_steps(0)  # tiles that came too late, questions
            self._saving.save(at_once=True)
            self._tiles.fail_all(error)

    def _stopped(self) -> bool:
        if self._stopping_at_s is None:
            return False
        return not self._flights or time.monotonic() >= self._stopping_at_s

    def _take_steps(self, wait_s: float | None) -> None:
        """Wait for a step, then take all that are there."""
        with suppress(Empty):
            self._inbox.get(timeout=wait_s)()
            while True:
                self._inbox.get_nowait()()

    def _wait_s(self) -> float | None:
        """Seconds until something has to be done without a step in the inbox; None: never."""
        now = time.monotonic()
        times = [self._flights.next_due_s, self._saving.due_s]
        if self._may_send():
            times.append(max(self._backlog.not_before_s, now + self._compute.delay_s()))
        if (self._flights or self._away) and not self._health.asking:
            times.append(self._health.ask_due_s)
        if self._overflow and not self._away and self._tiles:
            times.append(self._health.trouble_until_s)
        if self._tiles:
            times += [self._health.give_up_s, self._queue.give_up_s]
        if self._stopping_at_s is not None:
            times.append(self._stopping_at_s)
        return max(0.0, min(times) - now) if min(times) < math.inf else None

    def _hand_over(self) -> None:
        """Send what may be sent now."""
        while self._may_send() and time.monotonic() >= self._backlog.not_before_s and self._compute.delay_s() <= 0:
            for parcel in self._loads.take(self._tiles.settle):
                if parcel.packed:
                    self._send(parcel)
                    self._saving.changed()
                else:  # taken up from an earlier process, and lost: pack it again
                    self._tiles.unpack(parcel.tiles)

    def _may_send(self) -> bool:
        return self._stopping_at_s is None and self._loads.ready

    def _send(self, parcel: Parcel) -> None:
        try:
            reply = self._compute.submit(parcel.function, parcel.arguments())
        except Exception as error:  # any error is the parcel's answer
            reply = Future()
            reply.set_exception(error)
        self._watch(reply, parcel)

    def _watch(self, reply: Reply, parcel: Parcel) -> None:
        if not self._flights:
            self._health.begin()
        self._flights.add(reply, parcel)
        reply.add_done_callback(lambda done: self._inbox.put(partial(self._on_reply, done)))

    # --- Steps ----------------------------------------------------------------------------------------------------

    def _on_put(self, tiles: Sequence[Tile], linger: bool) -> None:
        if not self._tiles:
            self._queue.end()
        if self._overflow and self._away:
            self._overflow(tiles)
        else:
            self._backlog.put(tiles, linger=linger)

    def _on_close(self, at_s: float) -> None:
        self._stopping_at_s = at_s if self._stopping_at_s is None else min(at_s, self._stopping_at_s)
        self._tiles.drop(self._backlog.tiles)
        self._backlog.tiles.clear()

    def _on_reply(self, reply: Reply) -> None:
        flight = self._flights.pop(reply)
        if flight is None:  # given up, or scored elsewhere meanwhile
            return
        try:
            error = None if reply.cancelled() else reply.exception()
            if error is not None:
                raise error
            rows = answers.rows(reply.result(), flight.parcel.tiles, self._compute.name)
        except Exception as error:  # each kind has its response
            if isinstance(error, TaskFailedError):
                self._heard()
            self._responses.respond(flight.parcel, error)
        else:
            self._on_rows(flight, rows, answers.worker(reply.result()))
        self._saving.changed()

    def _on_rows(self, flight: Flight, rows: Iterable[FocusResult], worker: Hashable) -> None:
        self._heard()
        self._responses.succeeded()
        self._queue.end()
        self._tell_queue()
        self._window.measure(len(flight.parcel.tiles), flight.ahead, self._flights.measure(flight), worker)
        for tile, row in zip(flight.parcel.tiles, rows, strict=True):
            self._tiles.settle(tile, row)

    def _heard(self) -> None:
        self._health.heard()
        self._backlog.succeed()

    # --- Without being asked --------------------------------------------------------------------------------------

    def _look_after(self) -> None:
        for reply in self._flights.late():
            self._compute.chase(reply)
        now = time.monotonic()
        if (self._flights or self._away) and not self._health.asking and now >= self._health.ask_due_s:
            self._health.asking = True
            self._compute.status().add_done_callback(lambda done: self._inbox.put(partial(self._on_status, done)))
        if self._overflow and not self._away and now >= self._health.trouble_until_s:
            self._hand_on("cannot be reached")
        if now >= self._health.give_up_s:
            self._give_up()
        if self._tiles and now >= self._queue.give_up_s:
            self._give_up_queue()

    def _on_status(self, answer: Future[Status]) -> None:
        change = self._health.look(answer)
        if change in (Change.ONLINE, Change.ONLINE_AGAIN):
            if self._away or change is Change.ONLINE_AGAIN:
                self._notice(f"endpoint '{self._compute.name}' is online again")
            self._away = False
            self._look_at_queue()
        elif change is Change.OFFLINE and self._overflow is None:
            waiting = counted(len(self._tiles), "tile waits", "tiles wait")
            self._notice(f"endpoint '{self._compute.name}' is {self._health.status}; {waiting}")
        elif change is Change.OFFLINE:
            self._hand_on(f"is {self._health.status}")
        self._tell_queue()

    def _hand_on(self, why: str) -> None:
        """Give all open tiles to the overflow, until the endpoint is online again.

        The endpoint may still score what it has; its answers are ignored.
        """
        assert self._overflow is not None
        tiles = self._tiles.take_all()
        self._health.forget_trouble()
        if not self._away:
            scored_here = counted(len(tiles), "tile is", "tiles are")
            self._notice(f"endpoint '{self._compute.name}' {why}; {scored_here} scored on this machine")
        self._away = True
        for tile in tiles:
            tile.packed = None  # it travels another way there
        self._overflow(tiles)
        self._saving.changed()

    def _give_up(self) -> None:
        self._health.forget_trouble()
        name = self._compute.name
        reason = f"is {self._health.status}" if self._health.offline else "cannot be reached"
        waiting = counted(len(self._tiles), "tile has", "tiles have")
        self._tiles.fail_all(
            EndpointUnavailableError(
                f"endpoint '{name}' {reason}, and {waiting} waited for {self._patience_s:.0f} s; "
                f"look at `mhfd doctor --endpoint {name}`, raise limits.patience_s, or score on local"
            )
        )

    def _look_at_queue(self) -> None:
        """Where workers are not there yet, no task is late."""
        assert self._health.status is not None
        since = self._queue.since
        if self._flights and self._queue.look(self._health.status, self._health.quiet_s):
            self._flights.begin_anew()
        if self._queue.since != since:
            self._saving.changed()

    def _tell_queue(self) -> None:
        """One thing at a time: that an endpoint is offline comes first."""
        known = bool(self._tiles) and not self._health.offline
        waiting = self._queue.waiting(len(self._tiles)) if known else None
        if waiting != self._waiting:
            self._on_queue(waiting)
            self._waiting = waiting

    def _notice_queue(self, waiting: Waiting | None) -> None:
        """Tell of the first, not of each number."""
        if waiting is None:
            self._notice(f"endpoint '{self._compute.name}': the tiles wait for its workers no more")
        elif self._waiting is None or waiting.silent != self._waiting.silent:
            self._notice(str(waiting))

    def _give_up_queue(self) -> None:
        """The rows say why; the tiles can be tried again."""
        message = self._queue.too_long()
        self._queue.end()
        self._tiles.fail_rows(self._tiles.take_all(), "queue_too_long", message)
        self._tell_queue()
        self._saving.changed()

    # --- State ----------------------------------------------------------------------------------------------------

    def acknowledged(self) -> None:
        """A task was acknowledged: its id is known, and the service can be reached."""
        self._inbox.put(self._on_acknowledged)

    def _on_acknowledged(self) -> None:
        self._backlog.succeed()
        self._health.acknowledged()
        self._saving.changed()

    def _snapshot(self) -> Json:
        sent = [(self._compute.task_id(reply), parcel) for reply, parcel in self._flights.items()]
        waiting: list[tuple[str | None, Parcel]] = [(None, parcel) for parcel in list(self._backlog.parcels)]
        return {**state.dump(self._compute, sent + waiting), "queued_since": self._queue.since}
