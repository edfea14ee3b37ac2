"""The driver, on endpoints that sleep in no time: what is sent, where, how often, and what becomes of what is lost."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from mhfd.contract import FocusParams
from mhfd_client.compute.protocol import (
    ComputeError,
    EndpointUnavailableError,
    NotPermittedError,
    TaskLostError,
    WorkerDiedError,
)
from mhfd_client.config import Limits
from mhfd_client.rescore.driver import Driver
from mhfd_client.rescore.job import JobFile, Record, SentTask
from mhfd_client.rescore.progress import Progress
from mhfd_client.rescore.request import Outcome, Request
from rescoring import RUN, Archive, Simulated, SleepingCompute, site

TILES, SHARD = 2000, 100


class Scene:
    """An archive, endpoints, and a driver."""

    def __init__(self, folder: Path, *workers: int, archive: Archive | None = None, **options: Any) -> None:
        self.events = Simulated()
        self.archive = archive or Archive(TILES, SHARD)
        self.computes = [
            SleepingCompute(f"e{i}", self.archive, self.events, workers=count, tiles_per_s=100.0, **options)
            for i, count in enumerate(workers)
        ]
        self.file = JobFile(folder / "job.json")
        self.notices: list[str] = []
        self.progress: list[Progress] = []
        self.live: dict[str, int] = {}

    def driver(self, limits: Limits | None = None, **given: Any) -> Driver:
        return Driver(
            Request(run=RUN, **given), [site(each, limits) for each in self.computes], self.file, events=self.events,
            on_notice=self.notices.append, on_progress=self.progress.append,
            live=lambda endpoint: self.live.get(endpoint, 0),
        )  # fmt: skip

    def run(self, limits: Limits | None = None, **given: Any) -> Outcome:
        return self.driver(limits, **given).run()

    def sent(self, function: str = "score_shard", endpoint: int = 0) -> list[dict[str, Any]]:
        return [arguments for name, arguments in self.computes[endpoint].calls if name == function]

    def shards_sent(self, endpoint: int = 0) -> list[int]:
        return [arguments["first"] // SHARD for arguments in self.sent(endpoint=endpoint)]


def test_every_shard_is_sent_once_and_the_run_is_finished(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 4)
    outcome = scene.run()
    assert outcome.state == "complete"
    assert scene.shards_sent() == list(range(20))
    assert [len(scene.sent(name)) for name in ("plan_run", "finish_run")] == [1, 1]
    assert outcome.tiles == TILES
    assert scene.archive.done() == list(range(20))


def test_the_calls_are_those_of_the_contract(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 4)
    params = FocusParams(n_scales=8)
    scene.run(params=params, pattern="*.tif", options={"sample": 0.5, "job": None}, references=({"name": "r"},))
    (plan,) = scene.sent("plan_run")
    assert plan == {"folder": RUN, "pattern": "*.tif", "params": params.to_dict(), "options": {"sample": 0.5}}
    manifest = f"{RUN}/.mhfd/job/manifest.parquet"
    options = {"time_budget_s": 120.0}
    first = {"manifest": manifest, "first": 0, "count": 100, "params": params.to_dict(), "options": options}
    assert scene.sent()[0] == first
    assert scene.sent("finish_run") == [
        {"manifest": manifest, "params": params.to_dict(), "reference": [{"name": "r"}]}
    ]


def test_the_last_shard_is_as_long_as_what_is_left(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 4, archive=Archive(1050, SHARD))
    assert scene.run().state == "complete"
    assert [each["count"] for each in scene.sent()] == [100] * 10 + [50]


def test_an_empty_run_is_complete(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 4, archive=Archive(0, SHARD))
    assert scene.run().state == "complete"
    assert scene.sent() == []


def test_shards_that_are_done_are_not_sent(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 4, archive=Archive(TILES, SHARD, parts=dict.fromkeys(range(15), SHARD)))
    assert scene.run().state == "complete"
    assert scene.shards_sent() == list(range(15, 20))


def test_a_quarter_of_the_workers_stays_free_for_live_tiles(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 8)
    scene.run()
    assert scene.computes[0].most_in_flight == 6


def test_with_normal_priority_no_worker_waits(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 8)
    scene.run(priority="normal")
    assert scene.computes[0].most_in_flight == 16


def test_while_live_tiles_wait_few_and_short_shards_are_sent(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 8)
    scene.live = {"e0": 3}
    assert scene.run().state == "complete"
    assert scene.computes[0].most_in_flight == 2
    assert {each["options"]["time_budget_s"] for each in scene.sent()} == {10.0}


def test_a_shard_whose_time_is_up_is_sent_until_it_is_done(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 1, archive=Archive(30_000, 30_000))  # 300 s of work
    outcome = scene.run()
    assert (outcome.state, outcome.tiles) == ("complete", 30_000)
    assert len(scene.sent()) == 3


def test_two_endpoints_share_the_shards_by_their_workers(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 4, 8)
    assert scene.run(priority="normal").state == "complete"
    assert len(scene.shards_sent(0)) == 7
    assert len(scene.shards_sent(1)) == 13
    assert sorted(scene.shards_sent(0) + scene.shards_sent(1)) == list(range(20))


def test_a_lost_task_is_found_and_its_shard_sent_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 4, answer=lambda function, number: number == 5 or None)  # never answered
    assert scene.run().state == "complete"
    assert len(scene.computes[0].chased) == 1
    assert sorted(scene.shards_sent()) == sorted([*range(20), 3])


def test_a_task_that_was_not_sent_is_sent_after_a_pause(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 4, answer=lambda function, number: TaskLostError("503") if number in (1, 2) else None)
    assert scene.run().state == "complete"
    assert len(scene.sent("plan_run")) == 3


def test_a_shard_that_kills_its_worker_is_left_out_and_the_others_are_done(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 2)
    scene.computes[0].answer = lambda function, number: (
        WorkerDiedError("it died") if scene.computes[0].calls[-1][1].get("first") == 300 else None
    )
    outcome = scene.run()
    assert outcome.state == "incomplete"
    assert list(outcome.lost) == [3]
    assert scene.shards_sent().count(3) == 4
    assert outcome.finish is not None and outcome.finish["missing"] == [3]
    assert any("shard 3 is left out after 4 attempts: it died" in each for each in scene.notices)


def test_an_endpoint_that_refuses_is_given_up_and_the_other_does_the_work(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 2, 2)
    scene.computes[1].answer = lambda function, number: NotPermittedError("not you")
    assert scene.run().state == "complete"
    assert any("'e1' gets no more work: not you" in each for each in scene.notices)
    assert set(scene.shards_sent(0)) == set(range(20))


def test_without_an_endpoint_left_its_error_is_raised(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 2, answer=lambda function, number: NotPermittedError("not you"))
    with pytest.raises(NotPermittedError):
        scene.run()


def test_an_endpoint_that_stays_offline_is_given_up(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 2)
    scene.computes[0].online = False
    with pytest.raises(EndpointUnavailableError, match="'e0' is offline"):
        scene.run(Limits(patience_s=600.0))
    assert 600 <= scene.events.now_s() < 800
    assert scene.notices == ["'e0' is offline; its shards wait"]


def test_an_endpoint_that_comes_back_goes_on(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 2)
    scene.events.after(70.0, lambda: setattr(scene.computes[0], "online", False))
    scene.events.after(500.0, lambda: setattr(scene.computes[0], "online", True))
    scene.archive.tiles = 5 * TILES
    assert scene.run().state == "complete"
    assert set(scene.shards_sent()) == set(range(100))
    assert len(scene.sent()) <= 100 + 2  # those that it had when it went


def test_a_job_whose_shards_say_paused_rests(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 2)
    scene.events.after(1.5, lambda: setattr(scene.archive, "state", "paused"))
    outcome = scene.run()
    assert (outcome.state, outcome.finish) == ("paused", None)
    assert len(scene.sent()) == 2
    kept = scene.file.load()
    assert kept is not None and kept.state == "paused"


def test_a_job_that_was_paused_before_gets_no_shards(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 2)
    scene.archive.state = "cancelled"
    assert scene.run().state == "cancelled"
    assert scene.sent() == []


def test_stopping_waits_for_the_shards_in_flight_and_sends_no_others(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 4)
    driver = scene.driver()
    scene.events.after(1.5, driver.stop)  # the first shards are on their way
    outcome = driver.run()
    assert outcome.state == "stopped"
    assert len(scene.archive.done()) == len(scene.sent()) < 20
    assert scene.run().state == "complete"  # and another process goes on
    assert sorted(scene.shards_sent()) == list(range(20))


def test_tasks_that_a_killed_process_sent_are_waited_for_and_not_sent_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 4)

    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    scene.events.after(1.5, kill)  # the first shards are on their way
    with pytest.raises(Killed):
        scene.run()
    kept = scene.file.load()
    assert kept is not None
    assert [task.shard for task in kept.tasks] == [0, 1, 2]
    assert scene.run().state == "complete"
    assert scene.shards_sent() == list(range(20))


def test_a_task_that_nobody_knows_any_more_is_sent_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 4)
    tasks = (SentTask("e0", "of another life", "score_shard", 7), SentTask("gone", "1", "score_shard", 8))
    scene.file.save(Record(run=RUN, endpoints=("e0",), computes={"e0": {"group": "e0"}}, tasks=tasks))
    assert scene.run().state == "complete"
    assert scene.shards_sent() == list(range(20))


def test_parts_that_vanish_are_scored_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 4)
    scene.archive.parts = dict.fromkeys(range(20), SHARD)

    def vanish(function: str, number: int) -> None:
        if function == "finish_run" and not scene.sent("score_shard"):
            del scene.archive.parts[4]

    scene.computes[0].answer = vanish
    assert scene.run().state == "complete"
    assert scene.shards_sent() == [4]


def test_one_request_carries_many_shards_and_a_minute_has_few_requests(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 64, archive=Archive(64_000, SHARD))
    scene.run(priority="normal")
    assert len(scene.sent()) == 640
    assert scene.computes[0].requests <= 12


def test_progress_tells_tiles_rate_and_what_is_left(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 4)
    scene.run()
    last = scene.progress[-1]
    assert (last.done, last.shards, last.tiles_done, last.tiles, last.eta_s) == (20, 20, TILES, TILES, 0.0)
    half = next(each for each in scene.progress if each.done == 10)
    assert half.tiles_per_s is not None and half.eta_s == pytest.approx(1000 / half.tiles_per_s)


def test_a_job_remembers_what_a_worker_scores_a_second(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 4)
    scene.run()
    kept = scene.file.load()
    assert kept is not None
    assert kept.tiles_per_s == {"e0": 50.0}  # 100 tiles in a second, and one second a task
    assert (kept.tasks, kept.state, kept.done, kept.shards) == ((), "complete", 20, 20)


def test_a_connection_that_fails_is_told(tmp_path: Path) -> None:
    class Refusing(SleepingCompute):
        def connect(self, *, interactive: bool | None = None) -> None:
            raise ComputeError("no SDK")

    scene = Scene(tmp_path)
    scene.computes = [Refusing("e0", scene.archive, scene.events, workers=1, tiles_per_s=1.0)]
    with pytest.raises(ComputeError, match="no SDK"):
        scene.run()


def test_an_answer_that_is_none_of_ours_counts_as_a_failure(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 2)
    scene.computes[0].resume({}, ())
    reply: Future[Any] = Future()
    reply.set_result({"schema": 7})
    before = scene.computes[0].submit
    scene.computes[0].submit = (  # type: ignore[method-assign]
        lambda function, arguments: reply if function == "finish_run" else before(function, arguments)
    )
    with pytest.raises(ComputeError, match="install the same version"):
        scene.run()
