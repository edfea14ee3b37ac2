"""Hands work out to endpoints, takes answers in, and sends again what was lost.

==================  ==============================================================
the task            then
==================  ==============================================================
is lost             sent again, at once or after the service's pause
failed, or killed   sent again, ATTEMPTS times; then it is given up
its worker
==================  ==============================================================

An endpoint that refuses, or stays offline longer than `patience_s`, gets no more work; the error is raised when no
other is left.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from mhfd.contract import ParamsError
from mhfd.text import counted
from mhfd_client.backoff import Backoff
from mhfd_client.compute.protocol import (
    ComputeError,
    EndpointUnavailableError,
    Json,
    Reply,
    Status,
    TaskFailedError,
    TaskLostError,
)
from mhfd_client.dispatch import answers
from mhfd_client.rescore.calls import Call, Calls, Work
from mhfd_client.rescore.events import Events
from mhfd_client.rescore.job import Record
from mhfd_client.rescore.share import Priority, shares
from mhfd_client.rescore.site import Site

log = logging.getLogger(__name__)

ATTEMPTS = 4
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0


@dataclass(frozen=True)
class Orders:
    """What a crew asks of its driver, always in the driver's thread.

    Attributes
    ----------
    arguments : of a call
    wanted : False for lost work that turned out to be done, or not to be needed
    answered : an answer came
    given_up : all attempts failed
    """

    arguments: Callable[[Work, Site], Json]
    wanted: Callable[[Work], bool]
    answered: Callable[[Work, Site, Json], None]
    given_up: Callable[[Work, TaskFailedError], None]


class Crew:
    """Endpoints that work on one job.

    Parameters
    ----------
    live : the number of live tiles that wait for an endpoint

    Attributes
    ----------
    calls : in flight
    todo : work that waits; what concerns the whole run comes first
    unsaved : something was sent, or answered, since this was last set to False
    """

    def __init__(
        self,
        sites: Sequence[Site],
        events: Events,
        orders: Orders,
        *,
        priority: Priority,
        live: Callable[[str], int],
        on_notice: Callable[[str], None],
    ) -> None:
        self.sites = list(sites)
        self.calls = Calls()
        self.todo: deque[Work] = deque()
        self.unsaved = False
        self._events = events
        self._orders = orders
        self._priority = priority
        self._live = live
        self._on_notice = on_notice
        self._failures: Counter[Work] = Counter()
        self._pauses = {site: Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S) for site in self.sites}

    @property
    def working(self) -> list[Site]:
        return [site for site in self.sites if not site.gone]

    def connect(self) -> None:
        """Connect all; the user may be asked to sign in.

        Raises
        ------
        ComputeError
            None can be reached.
        """
        for site in self.sites:
            site.compute.acknowledged = partial(self._events.put, self._changed)
            try:
                site.compute.connect()
            except ComputeError as error:
                self._give_up(site, error)

    def take_up(self, record: Record) -> None:
        """Wait for the tasks that an earlier process sent."""
        for site in self.working:
            sent = {each.task_id: each for each in record.tasks if each.endpoint == site.name}
            if not sent:
                continue
            try:
                replies = site.compute.resume(dict(record.computes.get(site.name, {})), list(sent))
            except (ComputeError, ValueError, KeyError, TypeError) as error:  # its state is of another version, say
                log.warning("tasks of '%s' are not taken up, and sent again: %s", site.name, error)
                continue
            log.info("%s of an earlier process taken up on '%s'", counted(len(replies), "task"), site.name)
            for task_id, reply in replies.items():
                self._await(Work(sent[task_id].function, sent[task_id].shard), site, reply)

    def put(self, works: Iterable[Work]) -> None:
        self.todo.extend(works)

    def step(self, *, sending: bool) -> bool:
        """Look around; send what there is room for. True if shards were sent."""
        now = self._events.now_s()
        for site in self.sites:
            site.look(now, partial(self._on_status, site))
        for call in self.calls.late(now):  # whether one is lost, the endpoint's connection decides
            call.site.compute.chase(call.reply)
        return sending and bool(self.todo) and self._send_some(now)

    # --- Sending --------------------------------------------------------------------------------------------------

    def _send_some(self, now: float) -> bool:
        sites = self.working
        if self.todo[0].shard is None:  # it comes before all shards, and needs no room
            if ready := [site for site in sites if site.ready(now)]:
                self._send(self.todo.popleft(), ready[0])
            return False
        rooms = [site.free(now, self._priority, live=self._live(site.name) > 0) for site in sites]
        counts = shares(len(self.todo), rooms)
        for site, count in zip(sites, counts, strict=True):
            for _ in range(count):
                if site.gone:
                    break
                self._send(self.todo.popleft(), site)
            if count:
                site.sent(now)
        return any(counts)

    def _send(self, work: Work, site: Site) -> None:
        try:
            reply = site.compute.submit(work.function, self._orders.arguments(work, site))
        except ComputeError as error:
            self.todo.appendleft(work)
            self._give_up(site, error)
            return
        self._await(work, site, reply)

    def _await(self, work: Work, site: Site, reply: Reply) -> None:
        call = self.calls.add(work, site, reply, self._events.now_s())
        reply.add_done_callback(lambda _: self._events.put(partial(self._answered, call)))

    def _changed(self) -> None:
        self.unsaved = True

    # --- Answers --------------------------------------------------------------------------------------------------

    def _answered(self, call: Call) -> None:
        if not self.calls.pop(call):
            return
        self.unsaved = True
        work, site = call.work, call.site
        try:
            answer = answers.check(call.reply.result(), site.name)
        except TaskLostError as error:
            self.calls.lost(work)
            self._again(work, site, error.after_s or (0.0 if error.sent else self._pauses[site].fail()))
        except TaskFailedError as error:
            self._fail(work, site, error)
        except ParamsError as error:
            if site is self.sites[0] or work.shard is None:
                raise
            self.todo.appendleft(work)
            self._give_up(site, ComputeError(f"{error}; do all endpoints see the same folder?"))
        except ComputeError as error:
            self.todo.appendleft(work)
            self._give_up(site, error)
        else:
            site.heard(self._events.now_s())
            self._pauses[site].succeed()
            self._orders.answered(work, site, answer)

    def _again(self, work: Work, site: Site, after_s: float) -> None:
        if not self._orders.wanted(work):
            return
        if after_s > 0:
            site.hold(self._events.now_s() + after_s)
        self.todo.appendleft(work)

    def _fail(self, work: Work, site: Site, error: TaskFailedError) -> None:
        self._failures[work] += 1
        if self._failures[work] < ATTEMPTS:
            log.warning("%s %s: %s; sent again", work.function, work.shard, error)
            self._again(work, site, self._pauses[site].fail())
        else:
            self._orders.given_up(work, error)

    # --- Endpoints ------------------------------------------------------------------------------------------------

    def _on_status(self, site: Site, answer: Future[Status]) -> None:
        self._events.put(partial(self._see, site, answer))

    def _see(self, site: Site, answer: Future[Status]) -> None:
        now = self._events.now_s()
        if (sentence := site.see(answer, now)) is not None:
            self._on_notice(sentence)
        if site.offline_for_s(now) > site.limits.patience_s:
            self._give_up(site, EndpointUnavailableError(f"'{site.name}' is offline: run `mhfd doctor`, or wait"))

    def _give_up(self, site: Site, error: ComputeError) -> None:
        """Give an endpoint no more work. Its tasks may run on, so another may do a shard twice.

        Raises
        ------
        ComputeError
            It was the last one.
        """
        if site.gone:
            return
        site.gone = error
        if not self.working:
            raise error
        self._on_notice(f"'{site.name}' gets no more work: {error}")
        for call in self.calls:
            if call.site is site and self.calls.pop(call) and self._orders.wanted(call.work):
                self.todo.appendleft(call.work)
