"""A `Compute` whose answers a test writes: nothing is patched, it is a third implementation of the Protocol."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from datetime import datetime
from typing import Any

from mhfd.contract import FocusResult, Provenance
from mhfd_client.compute.protocol import Json, Reply, Status, TaskLostError, Workers

ANSWER_S = 10.0  # no test waits longer than this for anything

Answer = Callable[[str, list[str]], "Json | Exception | None"]


def names_of(arguments: Json) -> list[str]:
    """The names of the tiles of a task."""
    items: list[Json] = arguments.get("tiles") or arguments.get("paths") or []
    return [item["name"] for item in items]


def rows_for(_function: str, names: list[str]) -> Json:
    """The answer of an endpoint that scores everything."""
    provenance = Provenance(mhfd="0", params_sha256="0", backend="scripted", device="none")
    rows = [FocusResult(path=name, status="scored", provenance=provenance, focus_score=1.0) for name in names]
    return {"schema": 1, "rows": [row.to_dict() for row in rows], "rows_file": None, "count": len(rows)}


class ScriptedCompute:
    """Answers each task with what `answer(function, names)` returns; an exception fails it, None leaves it open.

    Attributes
    ----------
    tasks : names in each task, in the order in which they came
    chased : tasks passed to `chase`
    workers, workers_s : of the status
    looks : how often the status was asked for
    """

    name = "scripted"
    functions: Collection[str] = ("score_inline", "score_paths")
    grain = 1

    def __init__(self, answer: Answer = rows_for, *, slots: int = 2) -> None:
        self.acknowledged: Callable[[], None] = lambda: None
        self.slots = slots
        self.answer = answer
        self.tasks: list[list[str]] = []
        self.arguments: list[Json] = []
        self.chased: list[list[str]] = []
        self.on_chase: Callable[[Reply], None] = lambda reply: None
        self.online = True
        self.status_error: Exception | None = None
        self.workers, self.workers_s = Workers.THERE, 0.0
        self.looks = 0
        self.wait_s = 0.0
        self.requests_left = 1000
        self.ids: dict[Reply, str] = {}
        self.came = threading.Condition()

    def connect(self, *, interactive: bool | None = None) -> None:
        pass

    def submit(self, function: str, arguments: Json) -> Reply:
        reply: Reply = Future()
        names = names_of(arguments)
        with self.came:
            self.tasks.append(names)
            self.arguments.append(arguments)
            self.ids[reply] = str(len(self.tasks))
            self.came.notify_all()
        outcome = self.answer(function, names)
        if isinstance(outcome, Exception):
            reply.set_exception(outcome)
        elif outcome is not None:
            reply.set_result(outcome)
        return reply

    def wait_for_tasks(self, count: int) -> None:
        with self.came:
            assert self.came.wait_for(lambda: len(self.tasks) >= count, ANSWER_S), f"{len(self.tasks)} tasks came"

    def delay_s(self) -> float:
        return self.wait_s

    def sendable(self) -> int:
        return self.requests_left

    def chase(self, reply: Reply) -> None:
        self.chased.append([self.ids[reply]])
        self.on_chase(reply)

    def status(self) -> Future[Status]:
        answer: Future[Status] = Future()
        if self.status_error:
            answer.set_exception(self.status_error)
        else:
            since = datetime(2026, 1, 31, 12, 3)
            answer.set_result(Status(self.online, since, {}, self.workers, self.workers_s))
        with self.came:
            self.looks += 1
            self.came.notify_all()
        return answer

    def wait_for_looks(self, count: int) -> None:
        """Wait until the status was asked for so many times more."""
        with self.came:
            goal = self.looks + count
            assert self.came.wait_for(lambda: self.looks >= goal, ANSWER_S), f"{self.looks} looks came"

    def task_id(self, reply: Reply) -> str | None:
        return self.ids.get(reply)

    def state(self) -> Json:
        return {"group": "g"}

    def resume(self, state: Json, task_ids: Collection[str]) -> dict[str, Reply]:
        assert state == self.state()
        replies: dict[str, Reply] = {}
        for task_id in task_ids:
            replies[task_id] = Future()
            self.ids[replies[task_id]] = task_id
            outcome: Any = self.answer("resume", [task_id])
            if outcome is None:
                replies[task_id].set_exception(TaskLostError("not known", sent=True))
            else:
                replies[task_id].set_result(outcome)
        return replies

    def close(self) -> None:
        pass
