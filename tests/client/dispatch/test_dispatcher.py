"""The response to each kind of failure; a `Compute` that answers by script makes each happen."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest

from mhfd.contract import FocusParams, FocusResult, ParamsError
from mhfd_client.compute.protocol import (
    EndpointUnavailableError,
    Json,
    NotInstalledError,
    NotPermittedError,
    PayloadTooLargeError,
    ResultTooLargeError,
    TaskFailedError,
    TaskLostError,
    WorkerDiedError,
)
from mhfd_client.config import LocalEndpoint, LocalLimits
from mhfd_client.dispatch.dispatcher import Dispatcher
from mhfd_client.dispatch.pack import Packer, Tile
from scripted import ANSWER_S, ScriptedCompute, rows_for

PARAMS = FocusParams()
DEFAULTS = {"max_tiles_per_task": 64, "deadline_s": 120.0, "first_deadline_s": 600.0}  # those of a Globus endpoint
Start = Callable[..., Dispatcher]


def tiles(count: int) -> list[Tile]:
    return [Tile(f"t{number}", f"/run/t{number}", None, PARAMS) for number in range(count)]


def results(given: Sequence[Tile]) -> list[FocusResult]:
    return [tile.future.result(ANSWER_S) for tile in given]


def codes(given: Sequence[Tile]) -> dict[str, str | None]:
    return {row.path: row.error.code if row.error else None for row in results(given)}


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Dispatcher] = []

    def start(compute: ScriptedCompute, limits: dict[str, Any] | None = None, **options: Any) -> Dispatcher:
        entry = LocalEndpoint(limits=LocalLimits(**{**DEFAULTS, **(limits or {})}))
        started.append(Dispatcher(compute, Packer(compute.name, entry), **options))
        return started[-1]

    yield start
    for each in started:
        each.close()
        assert not each._thread.is_alive()


class Script:
    """Answers the first tasks as given, the others with rows."""

    def __init__(self, *first: Json | Exception | None) -> None:
        self.first = list(first)

    def __call__(self, function: str, names: list[str]) -> Json | Exception | None:
        return self.first.pop(0) if self.first else rows_for(function, names)


class Poison:
    """Every task with one of these tiles fails as a whole."""

    def __init__(self, error: Exception, *names: str) -> None:
        self.error, self.names = error, set(names)

    def __call__(self, function: str, names: list[str]) -> Json | Exception:
        return self.error if self.names & set(names) else rows_for(function, names)


# ------------------------------------------------------------------------------------------------------- in good order


def test_every_tile_has_its_row(start: Start) -> None:
    given = tiles(50)
    start(ScriptedCompute()).put(given)
    assert [row.path for row in results(given)] == [tile.name for tile in given]


def test_what_waits_is_shared_out_over_the_slots(start: Start) -> None:
    compute, given = ScriptedCompute(lambda *_: None, slots=4), tiles(10)
    start(compute).put(given)
    compute.wait_for_tasks(4)
    assert [len(names) for names in compute.tasks] == [3, 3, 2, 2]


def test_what_waits_is_shared_out_over_the_requests_that_are_left(start: Start) -> None:
    compute, given = ScriptedCompute(lambda *_: None, slots=8), tiles(10)
    compute.requests_left = 2
    start(compute).put(given)
    compute.wait_for_tasks(1)
    assert len(compute.tasks[0]) == 5


def test_no_more_tasks_are_in_flight_than_slots(start: Start) -> None:
    in_flight: list[int] = []  # number of open tasks as each one comes, that one included

    def count(_function: str, _names: list[str]) -> None:
        in_flight.append(sum(not reply.done() for reply in compute.ids))

    compute, given = ScriptedCompute(count, slots=3), tiles(10)
    start(compute, {"max_tiles_per_task": 1}).put(given)
    for number in range(10):
        compute.wait_for_tasks(min(number + 3, 10))
        list(compute.ids)[number].set_result(rows_for("", compute.tasks[number]))
    results(given)
    assert max(in_flight) == 3


def test_few_tiles_share_a_task_where_tasks_are_dear(start: Start) -> None:
    compute, given = ScriptedCompute(slots=16), tiles(10)
    compute.grain = 8
    start(compute).put(given)
    results(given)
    assert [len(names) for names in compute.tasks] == [10]


def test_tiles_put_one_by_one_share_a_task(start: Start) -> None:
    compute, given = ScriptedCompute(slots=1), tiles(5)
    dispatcher = start(compute)
    for tile in given:
        dispatcher.put([tile], linger=True)
    results(given)
    assert len(compute.tasks) < 5


def test_nothing_is_sent_while_the_bucket_is_empty(start: Start) -> None:
    class Bucket(ScriptedCompute):
        """An empty bucket, until it has been asked ten times."""

        asked = 0

        def delay_s(self) -> float:
            self.asked += 1
            return 0.01 if self.asked <= 10 else 0.0

    asked: list[int] = []  # as each task comes

    def answer(function: str, names: list[str]) -> Json:
        asked.append(compute.asked)
        return rows_for(function, names)

    compute, given = Bucket(answer), tiles(2)
    start(compute).put(given)
    results(given)
    assert asked[0] > 10


# ------------------------------------------------------------------------------------- lost, refused, failed, too large


def test_task_that_was_not_sent_is_sent_again(start: Start) -> None:
    compute, given = ScriptedCompute(Script(TaskLostError("503"), TaskLostError("503")), slots=1), tiles(3)
    start(compute).put(given)
    assert set(codes(given).values()) == {None}
    assert compute.tasks == [["t0", "t1", "t2"]] * 3


def test_retry_after_is_obeyed(start: Start) -> None:
    compute, given = ScriptedCompute(Script(TaskLostError("429", after_s=0.4)), slots=1), tiles(1)
    begun = time.monotonic()
    start(compute).put(given)
    results(given)
    assert time.monotonic() - begun >= 0.4


def test_nothing_is_lost_when_all_in_flight_fail_at_once(start: Start) -> None:
    """As when the SDK's Executor shuts down."""
    compute, given = ScriptedCompute(Script(*[TaskLostError("shut down")] * 4), slots=4), tiles(40)
    start(compute, {"max_tiles_per_task": 10}).put(given)
    assert set(codes(given).values()) == {None}
    assert Counter(map(tuple, compute.tasks)).most_common()[0][1] == 2  # each was sent twice, none more often


def test_service_out_of_reach_is_given_up_at_last(start: Start) -> None:
    compute, given = ScriptedCompute(lambda *_: TaskLostError("no network")), tiles(3)
    start(compute, {"patience_s": 0.2}).put(given)
    with pytest.raises(EndpointUnavailableError, match="patience_s"):
        given[0].future.result(ANSWER_S)


def test_poison_tile_ends_alone_as_a_failed_row(start: Start) -> None:
    compute, given = ScriptedCompute(Poison(WorkerDiedError("WorkerLost"), "t5"), slots=1), tiles(16)
    start(compute).put(given)
    assert codes(given) == {tile.name: "worker_lost" if tile.name == "t5" else None for tile in given}
    assert compute.tasks.count(["t5"]) == 2  # once more: the machine may have been to blame


def test_two_poison_tiles_end_alone(start: Start) -> None:
    compute, given = ScriptedCompute(Poison(WorkerDiedError("WorkerLost"), "t0", "t7"), slots=2), tiles(8)
    start(compute).put(given)
    assert [name for name, code in codes(given).items() if code] == ["t0", "t7"]


def test_task_that_raises_is_halved_too(start: Start) -> None:
    compute, given = ScriptedCompute(Poison(TaskFailedError("KeyError"), "t1"), slots=1), tiles(4)
    start(compute).put(given)
    assert codes(given)["t1"] == "internal"


def test_endpoint_where_everything_fails_is_given_up_soon(start: Start) -> None:
    compute, given = ScriptedCompute(lambda *_: WorkerDiedError("segmentation fault"), slots=2), tiles(400)
    start(compute).put(given)
    with pytest.raises(WorkerDiedError, match="segmentation fault"):
        given[-1].future.result(ANSWER_S)
    assert len(compute.tasks) < 40


def test_payload_too_large_is_halved(start: Start) -> None:
    def refuse_more_than_two(function: str, names: list[str]) -> Json | Exception:
        return PayloadTooLargeError("413") if len(names) > 2 else rows_for(function, names)

    given = tiles(8)
    start(ScriptedCompute(refuse_more_than_two, slots=1)).put(given)
    assert set(codes(given).values()) == {None}


def test_lone_tile_too_large_is_a_failed_row(start: Start) -> None:
    given = tiles(2)
    start(ScriptedCompute(Poison(PayloadTooLargeError("413"), "t1"), slots=1)).put(given)
    assert codes(given) == {"t0": None, "t1": "too_large_to_send"}


def test_rows_left_in_a_file_are_asked_for_in_halves(start: Start) -> None:
    def too_many(function: str, names: list[str]) -> Json:
        told = {"schema": 1, "rows": None, "rows_file": "/scratch/rows.jsonl", "count": len(names)}
        return told if len(names) > 2 else rows_for(function, names)

    given = tiles(8)
    start(ScriptedCompute(too_many, slots=1)).put(given)
    assert set(codes(given).values()) == {None}


def test_lone_row_too_large_is_a_failed_row(start: Start) -> None:
    given = tiles(1)
    start(ScriptedCompute(lambda *_: ResultTooLargeError("8 MiB"))).put(given)
    assert codes(given) == {"t0": "result_too_large"}


@pytest.mark.parametrize("error", [NotPermittedError("mhfd register"), NotInstalledError("pip install")])
def test_refusal_ends_everything_at_once(start: Start, error: Exception) -> None:
    compute, given = ScriptedCompute(lambda *_: error), tiles(100)
    start(compute).put(given)
    with pytest.raises(type(error), match=str(error)):
        given[-1].future.result(ANSWER_S)
    assert len(compute.tasks) <= 2


def test_refused_dispatcher_serves_what_comes_later(start: Start) -> None:
    compute, first, second = ScriptedCompute(Script(NotPermittedError("no"))), tiles(1), tiles(1)
    dispatcher = start(compute)
    dispatcher.put(first)
    with pytest.raises(NotPermittedError):
        first[0].future.result(ANSWER_S)
    dispatcher.put(second)
    assert codes(second) == {"t0": None}


def test_bad_parameters_fail_only_their_tiles(start: Start) -> None:
    refusal = {"schema": 1, "error": {"code": "bad_params", "message": "n_scales"}}
    compute, good = ScriptedCompute(Script(refusal), slots=1), tiles(1)
    bad = [Tile("bad", "/run/bad", None, FocusParams(n_scales=3))]
    dispatcher = start(compute)
    dispatcher.put(bad)
    dispatcher.put(good)
    with pytest.raises(ParamsError, match="n_scales"):
        bad[0].future.result(ANSWER_S)
    assert codes(good) == {"t0": None}


# ------------------------------------------------------------------------------------------------- late, offline, gone


def test_late_task_is_asked_after(start: Start) -> None:
    compute, given = ScriptedCompute(Script(None), slots=1), tiles(1)
    compute.on_chase = lambda reply: reply.set_result(rows_for("", ["t0"]))
    start(compute, {"first_deadline_s": 0.1}).put(given)
    assert codes(given) == {"t0": None}


def test_task_lost_on_the_endpoint_is_sent_again(start: Start) -> None:
    compute, given = ScriptedCompute(Script(None), slots=1), tiles(2)
    compute.on_chase = lambda reply: reply.set_exception(TaskLostError("killed", sent=True))
    start(compute, {"first_deadline_s": 0.1}).put(given)
    assert codes(given) == {"t0": None, "t1": None}
    assert compute.tasks == [["t0", "t1"]] * 2


def test_task_lost_again_and_again_is_halved(start: Start) -> None:
    compute, given = ScriptedCompute(Poison(TaskLostError("gone", sent=True), "t2"), slots=1), tiles(4)
    start(compute).put(given)
    assert codes(given) == {"t0": None, "t1": None, "t2": "worker_lost", "t3": None}


def test_a_tile_that_was_sent_again_is_stored_once(start: Start) -> None:
    compute, given = ScriptedCompute(Script(None), slots=1), tiles(1)
    compute.on_chase = lambda reply: reply.set_exception(TaskLostError("gone", sent=True))
    stored: list[str] = []
    done = threading.Event()

    def store(future: Future[FocusResult]) -> None:
        stored.append(future.result().path)
        done.set()

    given[0].future.add_done_callback(store)
    start(compute, {"first_deadline_s": 0.1}).put(given)
    assert done.wait(ANSWER_S)
    assert stored == ["t0"]


def test_offline_endpoint_is_told_of_and_waited_for(start: Start) -> None:
    compute, given = ScriptedCompute(lambda *_: None, slots=1), tiles(3)
    compute.online = False
    told: list[str] = []
    heard = threading.Event()

    def notice(text: str) -> None:
        told.append(text)
        heard.set()

    start(compute, {"status_after_s": 0.05}, on_notice=notice).put(given)
    assert heard.wait(ANSWER_S)
    assert told == ["endpoint 'scripted' is offline since 12:03; 3 tiles wait"]
    assert not any(tile.future.done() for tile in given)


def test_return_is_told_of(start: Start) -> None:
    compute = ScriptedCompute(lambda *_: None, slots=1)
    compute.online = False
    told: list[str] = []
    back = threading.Event()

    def notice(text: str) -> None:
        told.append(text)
        compute.online = True
        if "online again" in text:
            back.set()

    start(compute, {"status_after_s": 0.05, "status_every_s": 0.05}, on_notice=notice).put(tiles(1))
    assert back.wait(ANSWER_S)


def test_offline_for_too_long_is_given_up(start: Start) -> None:
    compute, given = ScriptedCompute(lambda *_: None, slots=1), tiles(3)
    compute.online = False
    limits = {"status_after_s": 0.05, "patience_s": 0.1}
    start(compute, limits, on_notice=lambda _: None).put(given)
    with pytest.raises(EndpointUnavailableError, match="offline since 12:03, and 3 tiles"):
        given[0].future.result(ANSWER_S)


def test_silent_service_is_given_up_at_last(start: Start) -> None:
    compute, given = ScriptedCompute(lambda *_: None, slots=1), tiles(2)
    compute.status_error = TaskLostError("no network")
    limits = {"status_after_s": 0.05, "patience_s": 0.1}
    start(compute, limits).put(given)
    with pytest.raises(EndpointUnavailableError, match="cannot be reached"):
        given[0].future.result(ANSWER_S)


class Elsewhere:
    """An overflow: scores what it is given."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, given: Sequence[Tile]) -> None:
        for tile in given:
            self.names.append(tile.name)
            if tile.claim():
                tile.future.set_result(FocusResult.from_dict(rows_for("", [tile.name])["rows"][0]))


UNREACHABLE: list[Exception] = [TaskLostError("no route to host"), EndpointUnavailableError("nobody can sign in")]
HASTE = {"status_after_s": 0.05, "status_every_s": 0.05}


@pytest.mark.parametrize("error", UNREACHABLE, ids=lambda error: type(error).__name__)
def test_service_out_of_reach_from_the_start_leaves_tiles_to_another(start: Start, error: Exception) -> None:
    compute, given, elsewhere = ScriptedCompute(lambda *_: error), tiles(10), Elsewhere()
    compute.status_error = error
    told: list[str] = []
    start(compute, HASTE, overflow=elsewhere, on_notice=told.append).put(given)
    results(given)
    assert sorted(elsewhere.names) == sorted(tile.name for tile in given)
    assert told == ["endpoint 'scripted' cannot be reached; 10 tiles are scored on this machine"]


def test_endpoint_known_to_be_away_is_not_tried(start: Start) -> None:
    compute, given, elsewhere = ScriptedCompute(), tiles(3), Elsewhere()
    compute.status_error = TaskLostError("no network")
    start(compute, overflow=elsewhere, away=True).put(given)
    results(given)
    assert compute.tasks == []


def test_service_lost_in_mid_run_leaves_tiles_to_another_until_it_is_back(start: Start) -> None:
    compute, elsewhere = ScriptedCompute(), Elsewhere()
    back = threading.Event()
    first, second, third = tiles(30)[:10], tiles(30)[10:20], tiles(30)[20:]
    dispatcher = start(
        compute, HASTE, overflow=elsewhere, on_notice=lambda text: back.set() if "online again" in text else None
    )
    dispatcher.put(first)
    results(first)
    compute.answer, compute.status_error = (lambda *_: TaskLostError("no route")), TaskLostError("no route")
    dispatcher.put(second)
    results(second)
    assert sorted(elsewhere.names) == sorted(tile.name for tile in second)
    compute.answer, compute.status_error = rows_for, None
    assert back.wait(ANSWER_S)
    dispatcher.put(third)
    results(third)
    assert sorted(elsewhere.names) == sorted(tile.name for tile in second)


def test_offline_endpoint_leaves_its_tiles_to_another(start: Start) -> None:
    compute, given = ScriptedCompute(lambda *_: None, slots=1), tiles(30)
    compute.online = False
    here = start(ScriptedCompute())
    limits = {"status_after_s": 0.05, "max_tiles_per_task": 10}
    start(compute, limits, overflow=here.put, on_notice=lambda _: None).put(given)
    assert set(codes(given).values()) == {None}


# ------------------------------------------------------------------------------------------------- cancelling, closing


def test_cancelled_tile_is_not_sent(start: Start) -> None:
    compute, given = ScriptedCompute(lambda *_: None, slots=1), tiles(3)
    dispatcher = start(compute, {"max_tiles_per_task": 1})
    dispatcher.put(given)
    compute.wait_for_tasks(1)
    assert given[1].future.cancel()
    assert not given[0].future.cancel()  # it is under way


def test_close_cancels_what_waits_and_drains_what_does_not(start: Start) -> None:
    compute, given = ScriptedCompute(lambda *_: None, slots=1), tiles(2)
    dispatcher = start(compute, {"max_tiles_per_task": 1})
    dispatcher.put(given)
    compute.wait_for_tasks(1)
    reply = next(iter(compute.ids))
    threading.Timer(0.1, lambda: reply.set_result(rows_for("", ["t0"]))).start()
    dispatcher.close(ANSWER_S)
    assert given[0].future.result(0).status == "scored"
    assert given[1].future.cancelled()


def test_close_leaves_nobody_waiting(start: Start) -> None:
    compute, given = ScriptedCompute(lambda *_: None, slots=1), tiles(1)
    dispatcher = start(compute)
    dispatcher.put(given)
    compute.wait_for_tasks(1)
    dispatcher.close(0.0)
    with pytest.raises(CancelledError):
        given[0].future.result(0)


def test_tile_put_after_the_end_is_cancelled(start: Start) -> None:
    dispatcher, given = start(ScriptedCompute()), tiles(1)
    dispatcher.close()
    dispatcher.put(given)
    assert given[0].future.cancelled()


def test_fault_of_ours_reaches_those_who_wait(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    compute, given = ScriptedCompute(lambda *_: ZeroDivisionError("a bug")), tiles(1)
    start(compute).put(given)
    with pytest.raises(ZeroDivisionError):
        given[0].future.result(ANSWER_S)


# --------------------------------------------------------------------------------------------------- beginning again


def test_state_names_the_tasks_in_flight(start: Start) -> None:
    compute, given = ScriptedCompute(lambda *_: None, slots=1), tiles(3)
    dispatcher = start(compute, {"max_tiles_per_task": 2})
    dispatcher.put(given)
    compute.wait_for_tasks(1)
    (task,) = dispatcher.state()["tasks"]
    assert task["task_id"] == "1"
    assert [tile["name"] for tile in task["tiles"]] == ["t0", "t1"]


def test_change_of_state_is_told_of(start: Start) -> None:
    states: list[Json] = []
    given = tiles(1)
    start(ScriptedCompute(), on_change=states.append).put(given)
    results(given)
    assert [[task["task_id"] for task in state["tasks"]] for state in states[:1]] == [["1"]]


def test_another_dispatcher_takes_up_what_was_in_flight(start: Start) -> None:
    dead, given = ScriptedCompute(lambda *_: None, slots=2), tiles(4)
    first = start(dead, {"max_tiles_per_task": 2})
    first.put(given)
    dead.wait_for_tasks(2)
    state = first.state()

    def known(function: str, names: list[str]) -> Json | None:
        if function != "resume":
            return rows_for(function, names)
        return rows_for("", ["t0", "t1"]) if names == ["1"] else None  # the service has lost the second task

    compute = ScriptedCompute(known)
    taken_up = start(compute).resume(state)
    assert codes(taken_up) == {"t0": None, "t1": None, "t2": None, "t3": None}
    assert [name for names in compute.tasks for name in names] == ["t2", "t3"]  # sent again; the others were not


def test_state_that_cannot_be_kept_stops_nothing() -> None:
    def refuse(state: Json) -> None:
        raise OSError("no room")

    compute, given = ScriptedCompute(), tiles(5)
    dispatcher = Dispatcher(compute, Packer("scripted", LocalEndpoint()), on_change=refuse)
    dispatcher.put(given)
    assert [row.status for row in results(given)] == ["scored"] * 5
    dispatcher.close()
