"""All our uses of globus-compute-sdk beyond its public interface. Imports the SDK: 0.7 s.

Tested with 4.19. Each private name is looked up before use; where it is gone, the SDK's own behaviour remains (with a
warning for retries and latency). tests/loopback/test_client_over_loopback.py tries them all.
"""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from copy import copy
from functools import cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import globus_compute_sdk
from globus_compute_sdk import Client
from globus_compute_sdk.sdk import executor as executor_module
from globus_compute_sdk.sdk.batch import Batch, create_user_runtime
from globus_compute_sdk.serialize import ComputeSerializer, JSONData
from globus_sdk import GlobusApp

from mhfd_client.compute.failures import is_too_large
from mhfd_client.compute.prompt import executor_class
from mhfd_client.service.pacing import TokenBucket, make_once

try:
    import orjson
except ImportError:  # an SDK that was installed without mhfd's extra
    orjson = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

RELOAD_BATCH = 128  # tasks asked for in one request
ALL_TOGETHER = 1  # api_burst_limit: with this the SDK does not pace requests, our bucket does


_this_machine = cache(create_user_runtime)


def _json() -> Any:
    return JSONData()  # type: ignore[no-untyped-call]


class QuickSerializer(ComputeSerializer):
    """The SDK's, with data written by orjson where it is installed: 1 MiB of pixels in 0.3 ms instead of 6.

    What it writes is read by the SDK's `JSONData` on the endpoint, of any version.
    """

    def __init__(self) -> None:
        super().__init__(strategy_data=_json())

    def serialize(self, data: Any) -> str:
        if orjson is not None and not callable(data):
            with suppress(TypeError, UnicodeError):  # a name that is not UTF-8, say
                return str(JSONData.identifier) + orjson.dumps(data).decode()
        return str(super().serialize(data))


class PacedClient(Client):
    """A client whose every request waits for the token bucket, is made once, and is no larger than the service takes.

    Parameters
    ----------
    amqp_port : port of an encrypted result stream; a plain one (a broker of one's own) keeps its port
    most_bytes : of one request with several tasks
    on_submitted : called with a function's UUID and the ids of its tasks, in the order in which they were submitted
    on_too_large : called with the function of a task that the service refuses for its size, before that is raised

    Attributes
    ----------
    sent_to : the endpoint that has the tasks, as the service names it: the user endpoint that runs them, not the one
        that starts it
    """

    def __init__(
        self,
        app: GlobusApp,
        bucket: TokenBucket,
        amqp_port: int,
        most_bytes: int,
        on_submitted: Callable[[str, list[str]], None],
        on_too_large: Callable[[str], None],
    ) -> None:
        self._bucket = bucket
        self._port = amqp_port
        self._most_bytes = most_bytes
        self._on_submitted = on_submitted
        self._on_too_large = on_too_large
        self.sent_to: str | None = None
        super().__init__(app=app, do_version_check=False, data_serialization_strategy=_json())
        web = getattr(self, "_compute_web_client", None)
        for each in (getattr(web, "v2", None), getattr(web, "v3", None)):
            if each is None:
                log.warning("globus-compute-sdk %s: its retries are not paced", globus_compute_sdk.__version__)
                continue
            make_once(each)

    def create_batch(self, *, create_websocket_queue: bool = False, **options: Any) -> Batch:  # type: ignore[override]
        # As the SDK's, which describes this machine anew for every batch, and starts a process to do so (`file`).
        about: dict[str, Any] = {"serializer": self.fx_serializer, "user_runtime": _this_machine()}
        return Batch(request_queue=create_websocket_queue, **options, **about)

    def batch_run(self, endpoint_id: Any, batch: Any) -> Any:
        """One answer for all; if a request fails, `on_submitted` has named the tasks of those before it."""
        found: dict[str, list[str]] = defaultdict(list)
        answer: dict[str, Any] = {}
        waiting = deque(parts(batch, self._most_bytes))
        while waiting:
            part = waiting.popleft()
            self._bucket.take()
            try:
                answer = super().batch_run(endpoint_id, part)
            except Exception as error:  # the SDK raises nearly anything
                if not is_too_large(error):
                    raise
                if len(part) == 1:
                    self._on_too_large(str(next(iter(part.tasks))))
                    raise
                waiting.extendleft(reversed(list(parts(part, _size(part) // 2))))
                continue
            self.sent_to = str(answer.get("endpoint_id") or "") or None
            for function, tasks in answer["tasks"].items():
                found[function] += tasks
                self._on_submitted(function, tasks)
        return {**answer, "tasks": dict(found)}

    def get_task(self, task_id: Any) -> Any:
        self._bucket.take()
        return super().get_task(task_id)

    def get_endpoint_status(self, endpoint_uuid: Any) -> Any:
        self._bucket.take()
        return super().get_endpoint_status(endpoint_uuid)

    def get_result_amqp_url(self) -> Any:
        self._bucket.take()
        answer = super().get_result_amqp_url()
        return {**answer, "connection_url": _through_port(answer["connection_url"], self._port)}


def _through_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    if parts.scheme != "amqps" or parts.hostname is None:
        return url
    credentials, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{credentials}{at}{parts.hostname}:{port}"))


def parts(batch: Any, most_bytes: int) -> Iterator[Any]:
    """A batch of the SDK as batches no larger than that, or of a single task; the order of tasks is kept."""
    given = [(function, task) for function, tasks in batch.tasks.items() for task in tasks]
    while given:
        size, count = 0, 0
        while count < len(given) and (not count or size + _encoded_bytes(given[count][1]) <= most_bytes):
            size += _encoded_bytes(given[count][1])
            count += 1
        part = copy(batch)
        part.tasks = defaultdict(list)
        for function, task in given[:count]:
            part.tasks[function].append(task)
        yield part
        given = given[count:]


def _size(batch: Any) -> int:
    return sum(_encoded_bytes(task) for tasks in batch.tasks.values() for task in tasks)


def _encoded_bytes(task: str) -> int:
    """The bytes of a serialized task in a request, which is JSON."""
    return len(task) + task.count('"') + task.count("\\") + task.count("\n")


class Session:
    """One Executor, used until it fails, with a client of its own.

    Attributes
    ----------
    group : task group, which outlives the session
    unsent : function -> tags of its tasks that the service has not acknowledged, oldest first
    """

    def __init__(
        self,
        app: GlobusApp,
        bucket: TokenBucket,
        endpoint: UUID,
        *,
        group: UUID | None,
        amqp_port: int,
        most_bytes: int,
        tasks_per_request: int,
        low_latency: bool,
        user_endpoint_config: dict[str, Any],
        result_serializers: Iterable[str],
        on_sent: Callable[[Any, str], None],
        on_too_large: Callable[[Any], None],
    ) -> None:
        self.group = group or uuid4()
        self.unsent: dict[str, deque[Any]] = defaultdict(deque)
        self._on_sent = on_sent
        self._on_too_large = on_too_large
        self._bucket = bucket
        self._tasks_per_request = tasks_per_request
        self.client = PacedClient(
            app, bucket, amqp_port, most_bytes, self._on_submitted, self._on_refused
        )  # fmt: skip
        self._executor: Any = executor_class(low_latency)(
            endpoint_id=endpoint,
            client=self.client,
            task_group_id=self.group,
            user_endpoint_config=user_endpoint_config or None,
            batch_size=tasks_per_request,  # the SDK counts tasks, not bytes: the client parts what is too large
            api_burst_limit=ALL_TOGETHER,
            serializer=QuickSerializer(),
            result_serializers=list(result_serializers),
        )

    def submit(self, function: UUID, arguments: dict[str, Any], tag: Any) -> Any:
        """Submit a task; the SDK's future. RuntimeError if the Executor has failed.

        `on_sent` gets the tag and the task's id, once it has one. Submit from one thread at a time.
        """
        unsent = self.unsent[str(function)]
        unsent.append(tag)  # first: the task may be sent before the next line ends
        try:
            return self._executor.submit_to_registered_function(str(function), kwargs=arguments)
        except RuntimeError:
            unsent.pop()
            raise

    def reload(self, known: int) -> list[Any]:
        """The SDK's futures of the group's tasks, at least `known` of them, to which nobody listens yet."""
        for _ in range(1 + -(-known // RELOAD_BATCH)):
            self._bucket.take()
        _forget_dead_listener(self.group)
        self._executor.batch_size = RELOAD_BATCH
        try:
            return list(self._executor.reload_tasks())
        finally:
            self._executor.batch_size = self._tasks_per_request

    def close(self) -> None:
        """Stop sending. Results of what was sent still come."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _on_submitted(self, function: str, task_ids: list[str]) -> None:
        unsent = self.unsent[function]
        for task_id in task_ids:
            if unsent:
                self._on_sent(unsent.popleft(), task_id)

    def _on_refused(self, function: str) -> None:
        if self.unsent[function]:
            self._on_too_large(self.unsent[function][0])


def _forget_dead_listener(group: UUID) -> None:
    """Remove a dead listener, or the SDK may hand futures to it (reload_tasks, 4.19)."""
    watchers = getattr(executor_module, "_RESULT_WATCHERS", {})
    watcher = watchers.get(group)
    if watcher is not None and not watcher.is_alive():
        del watchers[group]


def stop_listening(group: UUID) -> None:
    """Stop waiting for a group's results: otherwise Python's exit waits for every open future, if need be for ever."""
    watcher = getattr(executor_module, "_RESULT_WATCHERS", {}).get(group)
    if watcher is not None:
        watcher.shutdown(wait=False, cancel_futures=True)
