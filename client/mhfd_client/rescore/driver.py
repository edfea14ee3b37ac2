"""Has a run scored by its endpoints, shard by shard, and goes on where an earlier process ended.

    plan -> shards, as many at a time as there are workers to spare -> finish

One thread decides; answers come to it as events. What it knows can be lost at any time: the parts beside the data tell
what is done, and a shard that is sent twice is scored once or, at worst, twice with the same result. A shard that comes
back early, as its time was up, is sent again: what it did is kept. One that was stopped ends the job for now: somebody
paused or cancelled it.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from mhfd.text import counted
from mhfd_client.compute.protocol import Json, TaskFailedError
from mhfd_client.rescore.calls import Work, budget_s
from mhfd_client.rescore.crew import ATTEMPTS, Crew, Orders
from mhfd_client.rescore.events import Events
from mhfd_client.rescore.job import JobFile, Record
from mhfd_client.rescore.progress import Progress, Rate
from mhfd_client.rescore.request import (
    Outcome,
    Request,
    State,
    Stopped,
    finish_arguments,
    first_and_count,
    plan_arguments,
    shard_arguments,
    shard_works,
)
from mhfd_client.rescore.site import Site

log = logging.getLogger(__name__)

TICK_S = 1.0
"""The driver looks around so often: for live tiles, deadlines, endpoints that are back."""


class Driver:
    """Does one job. `run` is called once, in the thread that owns the driver.

    Parameters
    ----------
    sites : endpoints that all see the run; the first that works plans and finishes
    file : the job's, held by the caller
    live : the number of live tiles that wait for an endpoint
    """

    def __init__(
        self,
        request: Request,
        sites: Sequence[Site],
        file: JobFile,
        *,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        on_notice: Callable[[str], None] = log.warning,
        live: Callable[[str], int] = lambda endpoint: 0,
        events: Events | None = None,
    ) -> None:
        self._request = request
        self._file = file
        self._on_progress = on_progress
        self._on_notice = on_notice
        self._live = live
        self._events = events or Events()
        orders = Orders(self._arguments, self._wanted, self._answered, self._given_up)
        self._crew = Crew(sites, self._events, orders, priority=request.priority, live=live, on_notice=on_notice)
        self._answers: dict[str, Json] = {}
        self._plan: Json | None = None
        self._done: set[int] = set()
        self._lost: dict[int, str] = {}
        self._stop: State | None = None
        self._tiles = 0
        self._have: Counter[int] = Counter()  # tiles of shards that were answered
        self._scored: Counter[str] = Counter()
        self._busy_s: dict[str, float] = defaultdict(float)
        self._rate = Rate(self._events.now_s())
        self._record = Record(run=request.run, endpoints=tuple(site.name for site in sites))
        self._saved: Record | None = None

    def stop(self) -> None:
        """Send nothing more, and end when shards in flight are done; from any thread, also from a signal handler."""
        self._events.put(self._stop_now)

    def run(self) -> Outcome:
        """Do the job, or what is left of it.

        Raises
        ------
        ComputeError
            No endpoint works; the kind and the message say why.
        ParamsError
            The request is wrong.
        Stopped
            The job was stopped before there was a plan, or while it was finished.
        """
        if (earlier := self._file.load()) is not None:
            self._record = replace(earlier, endpoints=self._record.endpoints, state="open")
        state: State = "stopped"
        try:
            self._crew.connect()
            self._crew.take_up(self._record)
            self._plan = plan = self._ask("plan_run")
            self._record = replace(self._record, job=plan["job"], manifest=plan["manifest"], shards=plan["shards"])
            self._done = set(plan["done"])  # not what came meanwhile: the plan may be another than then
            self._rest_if(plan.get("state"))
            self._score(plan)
            finish = None if self._stop else self._finish(plan)
            complete = finish is not None and bool(finish.get("complete"))
            state = self._stop or ("complete" if complete else "incomplete")
            return Outcome(state=state, plan=plan, finish=finish, tiles=self._tiles, lost=self._lost)
        except Stopped as stopped:
            state = stopped.state
            raise
        finally:
            self._record = replace(self._record, state=state, tiles_per_s={**self._record.tiles_per_s, **self._rates()})
            self._save()

    # --- From beginning to end ------------------------------------------------------------------------------------

    def _ask(self, function: str) -> Json:
        """Call a function that concerns the whole run, until it is answered."""
        if not self._crew.calls.open_for(function):
            self._crew.todo.appendleft(Work(function))
        self._until(lambda: function in self._answers or self._stop is not None)
        if function not in self._answers:
            assert self._stop is not None
            raise Stopped(self._stop)
        return self._answers.pop(function)

    def _score(self, plan: Json) -> None:
        """Have all shards scored that are not done."""
        busy = self._done | self._crew.calls.shards()
        self._crew.put(shard_works([shard for shard in range(plan["shards"]) if shard not in busy]))
        self._tell()
        self._until(lambda: self._settled(plan["shards"]))

    def _settled(self, shards: int) -> bool:
        if self._stop:
            return not self._crew.calls.shards()
        return len(self._done) + len(self._lost) >= shards

    def _finish(self, plan: Json) -> Json:
        """Finish; where parts are missing that were there, as after somebody removed some, once more."""
        answer = self._ask("finish_run")
        gone = set(answer.get("missing") or ()) & self._done
        if not gone or answer.get("complete"):
            return answer
        log.warning("%s of %s are missing again, and are scored again", counted(len(gone), "part"), plan["job"])
        self._done -= gone
        self._score(plan)
        return self._ask("finish_run")

    def _until(self, done: Callable[[], bool]) -> None:
        while not done():
            if self._crew.step(sending=self._stop is None):
                self._tell()
            if self._crew.unsaved:
                self._save()
            event = self._events.wait(min(TICK_S, self._crew.calls.next_due_s - self._events.now_s()))
            while event is not None:
                event()
                event = self._events.wait(0.0)

    # --- What the crew asks -----------------------------------------------------------------------------------------

    def _arguments(self, work: Work, site: Site) -> Json:
        if work.function == "plan_run":
            return plan_arguments(self._request, site)
        assert self._plan is not None
        if work.shard is None:
            return finish_arguments(self._request, self._plan)
        return shard_arguments(
            self._request, self._plan, work.shard, budget_s(site.limits, live=self._live(site.name) > 0)
        )

    def _wanted(self, work: Work) -> bool:
        if work.shard is None:
            return True
        return self._plan is not None and work.shard not in self._done and work.shard < self._plan["shards"]

    def _answered(self, work: Work, site: Site, answer: Json) -> None:
        if work.shard is None:
            self._answers[work.function] = answer
            return
        have = int(answer["count"]) - int(answer["remaining"])
        tiles, self._have[work.shard] = have - self._have[work.shard], have
        if not answer.get("already"):
            self._tiles += tiles
            self._scored[site.name] += tiles
            self._busy_s[site.name] += float(answer.get("seconds") or 0.0)
            self._rate.add(self._events.now_s(), tiles)
        self._rest_if(answer.get("stopped"))
        if not self._stop and self._wanted(work):
            if answer.get("remaining"):
                self._crew.todo.appendleft(work)
            else:
                self._done.add(work.shard)
        self._tell()

    def _given_up(self, work: Work, error: TaskFailedError) -> None:
        if work.shard is None:
            raise error
        self._lost[work.shard] = str(error)
        self._on_notice(f"shard {work.shard} is left out after {counted(ATTEMPTS, 'attempt')}: {error}")

    def _stop_now(self) -> None:
        self._stop = self._stop or "stopped"

    def _rest_if(self, said: object) -> None:
        """Send nothing more if somebody paused or cancelled the job."""
        if said in ("paused", "cancelled"):
            self._stop = self._stop or ("paused" if said == "paused" else "cancelled")

    # --- What is told, and what is kept -----------------------------------------------------------------------------

    def _tell(self) -> None:
        if self._plan is None:
            return
        done = sum(first_and_count(self._plan, shard)[1] for shard in self._done)
        rate = self._rate.tiles_per_s(self._events.now_s())
        in_flight = len(self._crew.calls.shards())
        self._on_progress(Progress(len(self._done), self._plan["shards"], done, self._plan["tiles"], in_flight, rate))

    def _rates(self) -> dict[str, float]:
        """Tiles a second of one worker, by endpoint."""
        return {
            name: round(tiles / self._busy_s[name], 3) for name, tiles in self._scored.items() if self._busy_s[name]
        }

    def _save(self) -> None:
        """Write down what another process would need, if that changed."""
        states = {site.name: site.compute.state() for site in self._crew.working}
        record = replace(self._record, computes=states, tasks=self._crew.calls.tasks(), done=len(self._done))
        if record != self._saved:
            self._file.save(record)
            self._saved = record
        self._crew.unsaved = False
