"""Tiles that wait for workers, as while a job waits in a batch queue: nothing fails, and nothing is sent twice."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

import pytest

from mhfd.contract import FocusParams
from mhfd_client.compute.protocol import Json, TaskLostError, Workers
from mhfd_client.config import LocalEndpoint, LocalLimits
from mhfd_client.dispatch.dispatcher import Dispatcher
from mhfd_client.dispatch.pack import Packer, Tile
from mhfd_client.dispatch.queueing import SILENT_S, Waiting
from scripted import ANSWER_S, ScriptedCompute, rows_for

PARAMS = FocusParams()
HASTE = {"status_after_s": 0.02, "status_every_s": 0.02, "deadline_s": 0.2, "first_deadline_s": 0.2}
LOOKS = 30  # several times as long as the deadline
Start = Callable[..., Dispatcher]


def tiles(count: int) -> list[Tile]:
    return [Tile(f"t{number}", f"/run/t{number}", None, PARAMS) for number in range(count)]


def codes(given: Sequence[Tile]) -> list[str | None]:
    rows = [tile.future.result(ANSWER_S) for tile in given]
    return [row.error.code if row.error else None for row in rows]


class Silent(ScriptedCompute):
    """Answers no task until `release`; a task that it is asked after is lost, unless it waits for workers."""

    def __init__(self, workers: Workers, **options: Any) -> None:
        super().__init__(lambda *_: None, **options)
        self.workers = workers
        self.on_chase = self._lose

    def _lose(self, reply: Future[Json]) -> None:
        if self.workers is Workers.THERE:
            reply.set_exception(TaskLostError("gone", sent=True))

    def release(self) -> None:
        self.workers, self.answer = Workers.THERE, rows_for
        for reply, names in zip(list(self.ids), list(self.tasks), strict=True):
            if not reply.done():
                reply.set_result(rows_for("", names))


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Dispatcher] = []

    def start(compute: ScriptedCompute, limits: dict[str, Any] | None = None, **options: Any) -> Dispatcher:
        entry = LocalEndpoint(limits=LocalLimits(**{**HASTE, **(limits or {})}))
        started.append(Dispatcher(compute, Packer(compute.name, entry), **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


def test_nothing_is_sent_twice_and_no_tile_fails_while_workers_are_awaited(start: Start) -> None:
    compute, given = Silent(Workers.AWAITED), tiles(10)
    start(compute).put(given)
    compute.wait_for_looks(LOOKS)
    sent = [name for names in compute.tasks for name in names]
    assert sorted(sent) == sorted(tile.name for tile in given)
    assert not compute.chased
    assert not any(tile.future.done() for tile in given)
    compute.release()
    assert codes(given) == [None] * 10
    assert len([name for names in compute.tasks for name in names]) == 10


def test_the_deadline_begins_when_workers_are_there(start: Start) -> None:
    compute, given = Silent(Workers.AWAITED, slots=1), tiles(1)
    start(compute).put(given)
    compute.wait_for_looks(LOOKS)
    assert not compute.chased
    compute.answer, compute.workers = rows_for, Workers.THERE  # the next task is answered; the first is lost
    assert codes(given) == [None]
    assert compute.tasks == [["t0"], ["t0"]]


def test_a_task_of_which_nothing_is_known_is_asked_for(start: Start) -> None:
    compute, given = Silent(Workers.UNKNOWN, slots=1), tiles(1)
    compute.on_chase = lambda reply: reply.set_result(rows_for("", ["t0"]))  # its answer was lost on the way
    start(compute).put(given)
    assert codes(given) == [None]
    assert compute.tasks == [["t0"]]


def test_a_person_is_told_since_when_how_many_wait_and_when_it_is_over(start: Start) -> None:
    compute, given = Silent(Workers.AWAITED), tiles(4)
    told: SimpleQueue[str] = SimpleQueue()
    begun = time.time()
    start(compute, on_notice=told.put).put(given)
    clocks = {time.strftime("%H:%M", time.localtime(at)) for at in (begun, time.time())}
    said = told.get(timeout=ANSWER_S)
    found = re.fullmatch(r"endpoint 'scripted' has no workers yet: queued since (\S+), 4 tiles wait", said)
    assert found
    assert found[1] in clocks
    compute.release()
    assert told.get(timeout=ANSWER_S) == "endpoint 'scripted': the tiles wait for its workers no more"
    assert told.empty()


def test_a_queue_of_yesterday_has_a_date() -> None:
    text = str(Waiting("dgx", time.time() - 86_400, 812))
    assert re.search(r"queued since \d{4}-\d\d-\d\d \d\d:\d\d, 812 tiles wait", text)


def test_the_first_look_tells_nobody_as_workers_may_just_start(start: Start) -> None:
    compute, given = Silent(Workers.AWAITED), tiles(1)
    told: list[str] = []
    dispatcher = start(compute, {"status_every_s": 3600.0}, on_notice=told.append)
    dispatcher.put(given)
    compute.wait_for_looks(1)
    compute.release()
    assert codes(given) == [None]
    dispatcher.close()
    assert told == []


def test_workers_that_do_not_start_are_told_of_and_fail_no_tile(start: Start) -> None:
    compute, given = Silent(Workers.SILENT), tiles(3)
    told: SimpleQueue[Waiting | None] = SimpleQueue()
    start(compute, on_queue=told.put).put(given)
    compute.wait_for_looks(LOOKS)
    assert told.empty(), "they came just now"
    compute.workers_s = SILENT_S
    waiting = told.get(timeout=ANSWER_S)
    assert waiting is not None
    assert waiting.silent
    assert "runs, its workers do not start" in str(waiting)
    assert not any(tile.future.done() for tile in given)
    compute.release()
    assert codes(given) == [None] * 3
    assert told.get(timeout=ANSWER_S) is None


def test_a_queue_that_is_too_long_fails_tiles_with_a_code_and_what_to_do(start: Start) -> None:
    compute, given = Silent(Workers.AWAITED, slots=1), tiles(200)  # some are sent, some wait here
    start(compute, {"queue_patience_s": 0.3, "max_tiles_per_task": 2}, on_notice=lambda _: None).put(given)
    assert codes(given) == ["queue_too_long"] * 200
    row = given[0].future.result(0)
    assert row.error is not None
    assert "queue_patience_s" in row.error.message
    assert "mhfd retry RUN --failed --code queue_too_long" in row.error.message


def test_after_a_queue_that_was_too_long_another_one_may_be_as_long(start: Start) -> None:
    compute, first, second = Silent(Workers.AWAITED, slots=1), tiles(1), tiles(2)[1:]
    dispatcher = start(compute, {"queue_patience_s": 1.0}, on_notice=lambda _: None)
    dispatcher.put(first)
    assert codes(first) == ["queue_too_long"]
    begun_s = time.monotonic()
    dispatcher.put(second)
    assert codes(second) == ["queue_too_long"]
    assert time.monotonic() - begun_s > 0.9


def test_an_offline_endpoint_is_told_of_before_its_queue(start: Start) -> None:
    compute, given = Silent(Workers.AWAITED), tiles(2)
    told: SimpleQueue[Waiting | None] = SimpleQueue()
    start(compute, on_queue=told.put, on_notice=lambda _: None).put(given)
    assert told.get(timeout=ANSWER_S) is not None
    compute.online = False
    assert told.get(timeout=ANSWER_S) is None


def test_the_next_process_waits_on_and_sends_nothing_again(start: Start) -> None:
    compute, given = Silent(Workers.AWAITED, slots=2), tiles(4)
    told: SimpleQueue[Waiting | None] = SimpleQueue()
    first = start(compute, on_queue=told.put)
    first.put(given)
    before = told.get(timeout=ANSWER_S)
    assert before is not None
    saved = first.state()
    first.close()

    class Resumed(Silent):
        """Knows the tasks of the earlier process, and has no answers yet."""

        def resume(self, state: Json, task_ids: Any) -> dict[Future[Json], str]:
            replies: dict[str, Future[Json]] = {task_id: Future() for task_id in task_ids}
            self.ids.update({reply: task_id for task_id, reply in replies.items()})
            return replies  # type: ignore[return-value]

    later, told_later = Resumed(Workers.AWAITED, slots=2), SimpleQueue[Waiting | None]()
    taken_up = start(later, on_queue=told_later.put).resume(saved)
    after = told_later.get(timeout=ANSWER_S)
    assert after is not None
    assert (after.since, after.tiles) == (before.since, 4)
    assert sorted(tile.name for tile in taken_up) == sorted(tile.name for tile in given)
    later.wait_for_looks(LOOKS)
    assert later.tasks == []
