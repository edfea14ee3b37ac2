"""All our uses of globus-compute-sdk beyond its public interface. Imports the SDK: 0.7 s.

Tested with 4.19. Each private name is looked up before use; where it is gone, the SDK's own behaviour remains (with a
warning for retries and latency). tests/loopback/test_client_over_loopback.py tries them all.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
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
    """A client whose every request waits for the token bucket, and is made once.

    Parameters
    ----------
    amqp_port : port of an encrypted result stream; a plain one (a broker of one's own) keeps its port
    on_submitted : called with the ids of a submission's tasks, in order
    """

    def __init__(
        self, app: GlobusApp, bucket: TokenBucket, amqp_port: int, on_submitted: Callable[[list[str]], None]
    ) -> None:
        self._bucket = bucket
        self._port = amqp_port
        self._on_submitted = on_submitted
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
        self._bucket.take()
        answer = super().batch_run(endpoint_id, batch)
        self._on_submitted([task for tasks in answer["tasks"].values() for task in tasks])
        return answer

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


class Session:
    """One Executor, used until it fails, with a client of its own.

    Attributes
    ----------
    group : task group, which outlives the session
    unsent : tags of tasks that the service has not acknowledged, oldest first
    """

    def __init__(
        self,
        app: GlobusApp,
        bucket: TokenBucket,
        endpoint: UUID,
        *,
        group: UUID | None,
        amqp_port: int,
        low_latency: bool,
        user_endpoint_config: dict[str, Any],
        result_serializers: Iterable[str],
        on_sent: Callable[[Any, str], None],
    ) -> None:
        self.group = group or uuid4()
        self.unsent: deque[Any] = deque()
        self._on_sent = on_sent
        self._bucket = bucket
        self.client = PacedClient(app, bucket, amqp_port, self._on_submitted)
        self._executor: Any = executor_class(low_latency)(
            endpoint_id=endpoint,
            client=self.client,
            task_group_id=self.group,
            user_endpoint_config=user_endpoint_config or None,
            batch_size=1,  # our tasks are requests of the right size already; the SDK counts tasks, not bytes
            api_burst_limit=ALL_TOGETHER,
            serializer=QuickSerializer(),
            result_serializers=list(result_serializers),
        )

    def submit(self, function: UUID, arguments: dict[str, Any], tag: Any) -> Any:
        """Submit a task; the SDK's future. RuntimeError if the Executor has failed.

        `on_sent` gets the tag and the task's id, once it has one. Submit from one thread at a time.
        """
        self.unsent.append(tag)  # first: the task may be sent before the next line ends
        try:
            return self._executor.submit_to_registered_function(str(function), kwargs=arguments)
        except RuntimeError:
            self.unsent.pop()
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
            self._executor.batch_size = 1

    def close(self) -> None:
        """Stop sending. Results of what was sent still come."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _on_submitted(self, task_ids: list[str]) -> None:
        for task_id in task_ids:
            if self.unsent:
                self._on_sent(self.unsent.popleft(), task_id)


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
