"""Tiles out, rows in: a backlog, a window of tasks in flight, and the response to each kind of failure.

One thread owns everything here; all that happens elsewhere (tiles put, an answer, a status, a request to stop) reaches
it as a step in its inbox. A tile is in exactly one place: in the queue, in a parcel that waits to be sent again, or
in a parcel in flight. It leaves with a row or an exception in its future, so nothing is lost and nobody waits for ever.

==========================  =======================================================================================
what happens                what is done
==========================  =======================================================================================
task lost, not sent         sent again, after a pause that doubles; given up after `patience_s`
task lost after arrival     sent again; the second time halved; a lone tile is given up after the sixth
worker died, task failed    halved, until the tile to blame is alone: tried once more, then a failed row
payload or result too big   halved; a lone tile becomes a failed row
deadline passed             the endpoint is asked what became of it; lost: see above; offline: a notice, and wait
many fail, none succeeds    all that waits fails with the last error: the endpoint is at fault
refused, sign-in, no mhfd   the same, at once
==========================  =======================================================================================
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

from mhfd.contract import ErrorCode, FocusResult, MhfdError, ParamsError
from mhfd.text import counted
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
from mhfd_client.dispatch import answers, state
from mhfd_client.dispatch.backlog import Backlog
from mhfd_client.dispatch.flights import Flight, Flights
from mhfd_client.dispatch.health import Change, Health
from mhfd_client.dispatch.loads import Loads
from mhfd_client.dispatch.pack import Packer, Parcel, Tile, failed_row
from mhfd_client.dispatch.saving import Saving
from mhfd_client.dispatch.window import Window

log = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 16
TRIES_OF_A_LONE_TILE = 2
LOSSES_TO_HALVE = 2
LOSSES_OF_A_LONE_TILE = 6  # the endpoint, not the tile, is the likelier cause
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
    on_change : receives `state` when it has changed, in this object's thread
    """

    def __init__(
        self,
        compute: Compute,
        packer: Packer,
        *,
        overflow: Callable[[Sequence[Tile]], None] | None = None,
        on_notice: Notice = log.warning,
        on_change: Callable[[Json], None] | None = None,
        away: bool = False,
    ) -> None:
        self._compute = compute
        self._overflow = overflow
        self._notice = on_notice
        self._saving = Saving(self._snapshot, on_change)
        self._backlog = Backlog()
        self._flights = Flights(packer.limits)
        self._window = Window(packer.limits, compute.grain)
        self._loads = Loads(compute, packer, self._backlog, self._flights, self._window)
        self._health = Health(compute.name, packer.limits)
        self._patience_s = packer.limits.patience_s
        self._away = away and overflow is not None
        self._failures_in_a_row = 0
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
                self._drop(tiles)
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
            self._fail_all(error)

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
        if self._overflow and not self._away and (self._backlog or self._flights):
            times.append(self._health.trouble_until_s)
        if self._backlog or self._flights:
            times.append(self._health.give_up_s)
        if self._stopping_at_s is not None:
            times.append(self._stopping_at_s)
        return max(0.0, min(times) - now) if min(times) < math.inf else None

    def _hand_over(self) -> None:
        """Send what may be sent now."""
        while self._may_send() and time.monotonic() >= self._backlog.not_before_s and self._compute.delay_s() <= 0:
            for parcel in self._loads.take(self._settle):
                if parcel.packed:
                    self._send(parcel)
                    self._saving.changed()
                else:  # taken up from an earlier process, and lost: pack it again
                    self._backlog.tiles.extendleft(reversed(self._with_source(parcel.tiles)))

    def _may_send(self) -> bool:
        return self._stopping_at_s is None and self._loads.ready

    def _with_source(self, tiles: Sequence[Tile]) -> list[Tile]:
        """The tiles that can be packed again; arrays were lost with their process."""
        gone = [tile for tile in tiles if isinstance(tile.source, str) and not tile.source]
        self._fail(gone, TaskLostError("an array of an earlier process was lost: submit it again"))
        return [tile for tile in tiles if tile not in gone]

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
        if self._overflow and self._away:
            self._overflow(tiles)
        else:
            self._backlog.put(tiles, linger=linger)

    def _on_close(self, at_s: float) -> None:
        self._stopping_at_s = at_s if self._stopping_at_s is None else min(at_s, self._stopping_at_s)
        self._drop(self._backlog.tiles)
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
        except TaskLostError as lost:
            self._on_lost(flight.parcel, lost)
        except TaskFailedError as failed:
            self._on_failed(flight.parcel, failed)
        except EndpointUnavailableError as away:
            self._on_unavailable(flight.parcel, away)
        except ParamsError as refused:
            self._fail(flight.parcel.tiles, refused)
        except Exception as fatal:  # refusals, and faults of ours: all that waits would fail, too
            if not isinstance(fatal, MhfdError):
                log.exception("cannot take in an answer from '%s'", self._compute.name)
            self._fail(flight.parcel.tiles, fatal)
            self._fail_all(fatal)
        else:
            self._on_rows(flight, rows, answers.worker(reply.result()))
        self._saving.changed()

    def _on_rows(self, flight: Flight, rows: Iterable[FocusResult], worker: Hashable) -> None:
        self._heard()
        self._failures_in_a_row = 0
        self._window.measure(len(flight.parcel.tiles), flight.ahead, self._flights.measure(flight), worker)
        for tile, row in zip(flight.parcel.tiles, rows, strict=True):
            self._settle(tile, row)

    def _on_lost(self, parcel: Parcel, error: TaskLostError) -> None:
        if error.sent:
            log.warning("%s; %s sent again", error, counted(len(parcel.tiles), "tile is", "tiles are"))
            parcel.losses += 1
            if parcel.losses >= (LOSSES_TO_HALVE if len(parcel.tiles) > 1 else LOSSES_OF_A_LONE_TILE):
                self._divide(parcel, "worker_lost", str(error))
            else:
                self._backlog.parcels.appendleft(parcel)
            return
        if self._health.fail():
            log.info("%s; trying again", error)
        self._backlog.postpone(parcel, error.after_s)

    def _on_unavailable(self, parcel: Parcel, error: EndpointUnavailableError) -> None:
        """Nothing can be sent there. With an overflow that is no end: the tiles go there when it has lasted a while."""
        if self._overflow is None:
            self._fail(parcel.tiles, error)
            self._fail_all(error)
        else:
            self._on_lost(parcel, TaskLostError(str(error)))

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
            self._backlog.parcels.appendleft(parcel)
            return
        code: ErrorCode = "worker_lost" if isinstance(error, WorkerDiedError) else "internal"
        log.warning("a task of %s failed as a whole: %s", counted(len(parcel.tiles), "tile"), error)
        self._divide(parcel, code, str(error))

    def _divide(self, parcel: Parcel, code: ErrorCode, message: str) -> None:
        """Halve a parcel; a lone tile becomes a failed row."""
        if len(parcel.tiles) > 1:
            self._backlog.parcels.extendleft(reversed(parcel.halves()))
            return
        tile = parcel.tiles[0]
        self._settle(tile, failed_row(tile, code, message, self._compute.name))

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

    def _on_status(self, answer: Future[Status]) -> None:
        change = self._health.look(answer)
        if change in (Change.ONLINE, Change.ONLINE_AGAIN):
            if self._away or change is Change.ONLINE_AGAIN:
                self._notice(f"endpoint '{self._compute.name}' is online again")
            self._away = False
        elif change is Change.OFFLINE and self._overflow is None:
            waiting = counted(self._tiles_open(), "tile waits", "tiles wait")
            self._notice(f"endpoint '{self._compute.name}' is {self._health.status}; {waiting}")
        elif change is Change.OFFLINE:
            self._hand_on(f"is {self._health.status}")

    def _hand_on(self, why: str) -> None:
        """Give all open tiles to the overflow, until the endpoint is online again.

        The endpoint may still score what it has; its answers are ignored.
        """
        assert self._overflow is not None
        tiles = [tile for parcel in self._flights.clear() for tile in parcel.tiles] + self._backlog.clear()
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
        waiting = counted(self._tiles_open(), "tile has", "tiles have")
        self._fail_all(
            EndpointUnavailableError(
                f"endpoint '{name}' {reason}, and {waiting} waited for {self._patience_s:.0f} s; "
                f"look at `mhfd doctor --endpoint {name}`, raise limits.patience_s, or score on local"
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
        """Cancel tiles that were not sent."""
        for tile in tiles:
            if tile.future.cancel():
                tile.claim()  # wakes those who wait
            else:
                self._fail([tile], CancelledError())

    def _fail_all(self, error: BaseException) -> None:
        for parcel in self._flights.clear():
            self._fail(parcel.tiles, error)
        self._fail(self._backlog.clear(), error)

    def _tiles_open(self) -> int:
        return self._backlog.n_tiles + sum(len(parcel.tiles) for parcel in self._flights.parcels)

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
        return state.dump(self._compute, sent + waiting)
