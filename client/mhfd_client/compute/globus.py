"""A Globus Compute endpoint: the SDK's Executor, rebuilt when it fails; answers that the result stream does not bring
are asked for.

Each task has a future of the SDK and one of ours. Ours ends when the answer is known, however it came, or when none
will come. An SDK future fails for one of three reasons: the endpoint reports that the task failed, the service refused
the task, or the result stream broke while the task runs on.

Threads: one of ours, for requests to the service; two of the SDK's, one that submits and one that listens.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any
from uuid import UUID

from mhfd.extras import install_hint
from mhfd_client.compute.failures import endpoints_word, failure, refusal
from mhfd_client.compute.protocol import (
    ComputeError,
    EndpointUnavailableError,
    Json,
    NotPermittedError,
    PayloadTooLargeError,
    Reply,
    Status,
    TaskLostError,
    WorkersCannotStartError,
)
from mhfd_client.compute.reports import Reports
from mhfd_client.config import GlobusEndpoint
from mhfd_client.service.attended import somebody_is_there
from mhfd_client.service.pacing import TokenBucket

if TYPE_CHECKING:
    from mhfd_client.compute.sdk import Session

log = logging.getLogger(__name__)

TASKS_PER_REQUEST = 64  # if their bytes allow it
KEPT_FOR_QUESTIONS = 3  # requests kept for status and results: waiting tiles make tasks larger, not more
RECOVER_PAUSE_S = 2.0
FRESH_S = 5.0  # the age of a status by which tasks are called lost: many are late together
GATHER_S = 0.2  # a broken stream fails many futures at once: they are looked up together
PENDING_ELSEWHERE = ("waiting-for-nodes", "waiting-for-launch")  # in a scheduler's queue: late, but not lost

_buckets: dict[int, TokenBucket] = {}
_buckets_lock = threading.Lock()


def shared_bucket(tokens: int) -> TokenBucket:
    """This process's token bucket: the service counts all our clients together."""
    with _buckets_lock:
        return _buckets.setdefault(tokens, TokenBucket(tokens))


@dataclass(eq=False)
class _Task:
    """A task: our future, the part of a request that it takes, the SDK's future, its id once the service has it."""

    reply: Reply
    request: float = 1.0
    sdk: Any = None
    task_id: str | None = None
    too_large: bool = False  # refused alone; others of its request are only sent again


class GlobusCompute:
    """See `mhfd_client.compute.protocol.Compute`."""

    grain = 8

    def __init__(self, name: str, entry: GlobusEndpoint) -> None:
        self.name = name
        self.acknowledged: Callable[[], None] = lambda: None
        self._entry = entry
        self._bucket = shared_bucket(entry.limits.requests_per_10_s)
        self._lock = threading.RLock()
        self._app: Any = None
        self._group: UUID | None = None
        self._session: Session | None = None
        self._tasks: dict[Reply, _Task] = {}
        self._strays: dict[str, _Task] = {}
        self._sent = 0
        self._reports = Reports(self._client, str(entry.uuid))
        self._asked_where = False  # or need not ask
        self._closed = False
        self._until_closed = threading.Event()
        self._errands: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def functions(self) -> Collection[str]:
        return self._entry.functions

    @property
    def slots(self) -> int:
        return self._entry.limits.tasks_in_flight

    def connect(self, *, interactive: bool | None = None) -> None:
        with self._lock:
            if self._app is not None:
                return
            try:
                from mhfd_client.service import signin
            except ImportError as error:
                raise ComputeError(
                    f"the endpoint '{self.name}' needs globus-compute-sdk, which is not installed ({error}): "
                    f"{install_hint('globus')}"
                ) from error
            try:
                self._app = signin.sign_in(interactive=somebody_is_there() if interactive is None else interactive)
            except Exception as error:  # the SDKs raise nearly anything; all of it means: not now
                judged = refusal(error, self.name)
                if isinstance(judged, TaskLostError):
                    judged = EndpointUnavailableError(f"Globus cannot be reached for signing in ({error})")
                raise judged from error

    # --- Sending --------------------------------------------------------------------------------------------------

    def submit(self, function: str, arguments: Json) -> Reply:
        # Pixels fill requests; of tasks by path many share one.
        task = _Task(Future(), 1.0 if function == "score_inline" else 1.0 / TASKS_PER_REQUEST)
        uuid = self._entry.functions.get(function)
        if uuid is None:
            known = ", ".join(self.functions)
            raise NotPermittedError(
                f"the endpoint '{self.name}' has no function '{function}' ({known}): run `mhfd register`"
            )
        self.connect()
        with self._lock:
            session = self._open_session()
            try:
                task.sdk = session.submit(uuid, arguments, task)
            except RuntimeError:  # "is shutdown": it failed a moment ago, and its other tasks with it
                session = self._open_session(anew=True)
                task.sdk = session.submit(uuid, arguments, task)
            self._tasks[task.reply] = task
        task.sdk.add_done_callback(partial(self._on_done, task))
        return task.reply

    def delay_s(self) -> float:
        return max(self._bucket.delay_s(ahead=self._unsent()), self._bucket.spread_s())

    def sendable(self) -> int:
        return max(1, self._bucket.free() - self._unsent() - KEPT_FOR_QUESTIONS) * TASKS_PER_REQUEST

    def _unsent(self) -> int:
        """The number of requests on their way, but for one that has room for more tasks."""
        unsent = list(self._session.unsent.values()) if self._session else []
        return int(sum(task.request for tasks in unsent for task in list(tasks)))

    def _open_session(self, *, anew: bool = False) -> Session:
        from mhfd_client.compute.sdk import Session

        if self._closed:
            raise RuntimeError(f"the connection to '{self.name}' is closed")
        if anew and self._session is not None:
            self._session.close()
            self._session = None
        if self._session is None:
            self._session = Session(
                self._app,
                self._bucket,
                self._entry.uuid,
                group=self._group,
                amqp_port=self._entry.amqp_port,
                most_bytes=self._entry.limits.max_task_bytes,
                tasks_per_request=TASKS_PER_REQUEST,
                low_latency=self._entry.low_latency,
                user_endpoint_config=self._entry.user_endpoint_config,
                result_serializers=self._entry.serializers,
                on_sent=self._on_sent,
                on_too_large=self._on_too_large,
            )
            self._group = self._session.group
        return self._session

    def _on_sent(self, task: _Task, task_id: str) -> None:
        task.task_id = task_id
        self._sent += 1
        if self._session is not None:
            self._reports.learn(self._session.client.sent_to)
        self.acknowledged()

    def _on_too_large(self, task: _Task) -> None:
        task.too_large = True

    # --- Answers --------------------------------------------------------------------------------------------------

    def _on_done(self, task: _Task, future: Any) -> None:
        """Handle an ended SDK future, in the SDK's thread."""
        if task.sdk is not future:  # another way to the answer was found meanwhile
            return
        if future.cancelled():
            self._end(task, TaskLostError(f"the connection to '{self.name}' ended before the task was sent"))
        elif (error := future.exception()) is None:
            self._on_answer(task)
            self._end(task, future.result())
        elif (remote := endpoints_word(error)) is not None:
            self._on_failure(task, remote)
        elif task.task_id is None:
            self._drop_session(error)
            judged = self._judged(error)
            innocent = isinstance(judged, PayloadTooLargeError) and not task.too_large
            self._end(task, TaskLostError(f"not sent: {judged}") if innocent else judged)
        else:
            log.warning("the result stream of '%s' broke (%s); looking results up", self.name, error)
            with self._lock:
                self._strays[task.task_id] = task
            self._run_errand(self._recover)

    def _on_answer(self, task: _Task) -> None:
        self._reports.staff.answered()
        if self._reports.user_endpoint is None and task.task_id is not None and not self._asked_where:
            self._asked_where = True
            self._run_errand(partial(self._ask_where, task.task_id))

    def _ask_where(self, task_id: str) -> None:
        """Which endpoint had a finished task: the service did not say when it took the task."""
        details = self._client().get_task(task_id).get("details") or {}
        self._reports.learn(details.get("endpoint_id"))

    def _on_failure(self, task: _Task, remote: str) -> None:
        error = failure(remote)
        if not isinstance(error, WorkersCannotStartError):
            self._reports.staff.answered()
        self._end(task, error)

    def _end(self, task: _Task, outcome: Json | ComputeError) -> None:
        with self._lock:
            if self._tasks.pop(task.reply, None) is None:
                return
            self._strays.pop(task.task_id or "", None)
        if isinstance(outcome, ComputeError):
            task.reply.set_exception(outcome)
        else:
            task.reply.set_result(outcome)

    def _drop_session(self, error: BaseException) -> None:
        """Close the Executor, of no use after a failed submission. Results of what it has sent still come."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            log.info("'%s': a new Executor after %s", self.name, type(error).__name__)
            session.close()

    def _judged(self, error: BaseException) -> ComputeError:
        """The error for a failed request; its Retry-After holds the bucket."""
        judged = refusal(error, self.name)
        if isinstance(judged, TaskLostError) and judged.after_s > 0:
            self._bucket.hold(judged.after_s)
        return judged

    # --- Errands: our thread asks the service ---------------------------------------------------------------------

    def _run_errand(self, errand: Callable[[], None]) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run_errands, name=f"mhfd-ask-{self.name}", daemon=True)
                self._thread.start()
        self._errands.put(errand)

    def _run_errands(self) -> None:
        while (errand := self._errands.get()) is not None:
            try:
                errand()
            except Exception:  # noqa: PERF203 - the SDKs raise nearly anything; the next errand must run
                log.exception("asking the service about '%s' failed", self.name)

    def chase(self, reply: Reply) -> None:
        with self._lock:
            task = self._tasks.get(reply)
        if task is not None:
            self._run_errand(partial(self._chase, task))

    def _chase(self, task: _Task) -> None:
        if task.task_id is None:
            self._drop_session(TimeoutError("nothing was sent"))
            self._end(task, TaskLostError(f"the service did not take the task for '{self.name}' in time"))
            return
        try:
            found = self._client().get_task(task.task_id)
        except Exception as error:  # whatever comes, the dispatcher chases again
            if (remote := endpoints_word(error)) is not None:
                self._on_failure(task, remote)
            elif getattr(error, "http_status", None) == 404:
                self._end(task, TaskLostError(f"the service no longer knows task {task.task_id}", sent=True))
            else:
                judged = self._judged(error)
                log.warning("task %s is late, and the service does not say why: %s", task.task_id, judged)
                if not isinstance(judged, TaskLostError):
                    self._end(task, judged)
            return
        if not found.get("pending", True):
            self._reports.staff.answered()
            self._end(task, found["result"])
        elif found.get("status") not in PENDING_ELSEWHERE and self._may_be_lost():
            self._end(
                task, TaskLostError(f"'{self.name}' is online but has no answer to task {task.task_id}", sent=True)
            )

    def _recover(self) -> None:
        """Listen again to running tasks and fetch finished ones: the stream broke, or was an earlier process's."""
        self._until_closed.wait(GATHER_S)
        with self._lock:
            strays = dict(self._strays)
            if not strays or self._closed:
                return
            session = self._open_session()
        try:
            found = {future.task_id: future for future in session.reload(max(len(strays), self._sent))}
        except Exception as error:  # network or service: try later
            judged = self._judged(error)
            log.warning("results of '%s' cannot be looked up now (%s); trying again", self.name, judged)
            if not isinstance(judged, TaskLostError):
                for task in strays.values():
                    self._end(task, judged)
                return
            self._until_closed.wait(max(RECOVER_PAUSE_S, judged.after_s))
            self._run_errand(self._recover)
            return
        for task_id, task in strays.items():
            with self._lock:
                self._strays.pop(task_id, None)
            if (future := found.get(task_id)) is None:
                self._end(task, TaskLostError(f"the service does not know task {task_id}", sent=True))
            else:
                task.sdk = future
                future.add_done_callback(partial(self._on_done, task))

    def status(self) -> Future[Status]:
        answer: Future[Status] = Future()
        if (known := self._reports.known(self._entry.limits.status_every_s)) is not None:
            answer.set_result(known)
        else:
            self._run_errand(partial(self._answer_status, answer))
        return answer

    def _answer_status(self, answer: Future[Status]) -> None:
        try:
            answer.set_result(self._ask_status())
        except Exception as error:  # the SDKs raise nearly anything
            answer.set_exception(self._judged(error))

    def _ask_status(self) -> Status:
        self.connect(interactive=False)
        return self._reports.ask()

    def _may_be_lost(self) -> bool:
        """True if the endpoint is online, and has workers or had some."""
        seconds = min(FRESH_S, self._entry.limits.status_every_s)
        return (self._reports.known(seconds) or self._ask_status()).online and self._reports.staff.may_lose

    def _client(self) -> Any:
        with self._lock:
            return self._open_session().client

    # --- Beginning again, and ending ------------------------------------------------------------------------------

    def task_id(self, reply: Reply) -> str | None:
        task = self._tasks.get(reply)
        return None if task is None else task.task_id

    def state(self) -> Json:
        return {
            "task_group_id": None if self._group is None else str(self._group),
            "user_endpoint": self._reports.user_endpoint,
        }

    def resume(self, state: Json, task_ids: Collection[str]) -> dict[str, Reply]:
        self.connect()
        tasks = {task_id: _Task(Future(), task_id=task_id) for task_id in task_ids}
        with self._lock:
            if self._tasks:
                raise RuntimeError("resume comes before the first task")
            if self._session is not None:  # it only asked for the status
                self._session.close()
                self._session = None
            self._group = UUID(state["task_group_id"])
            self._reports.learn(state.get("user_endpoint"))
            self._strays.update(tasks)
            self._tasks.update({task.reply: task for task in tasks.values()})
        if tasks:
            self._run_errand(self._recover)
        return {task_id: task.reply for task_id, task in tasks.items()}

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            session, self._session = self._session, None
            group = self._group
            self._tasks.clear()
        self._until_closed.set()
        self._errands.put(None)
        if session is not None:
            session.close()
        if group is not None and session is not None:
            from mhfd_client.compute.sdk import stop_listening

            stop_listening(group)
