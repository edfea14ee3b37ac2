"""Broker, service and endpoint together, and the environment for a client.

The SDK ignores ``GLOBUS_SDK_SERVICE_URL_COMPUTE``; its environment "local" means ``http://localhost:5000``, fixed. So
that any free port will do, with SDK and endpoint unmodified and unpatched, the service is also an HTTP proxy of the
simplest kind: with ``http_proxy`` set, what is meant for localhost:5000 arrives here.
"""

from __future__ import annotations

import contextlib
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopback.broker import Broker, wait_until
from loopback.endpoint import Endpoint
from loopback.faults import Faults, Stats
from loopback.flows_service import Flows
from loopback.service import TOKEN, Service
from loopback.transfer import Transfer

if TYPE_CHECKING:
    import globus_compute_sdk

ONLINE_TIMEOUT_S = 20.0
THREAD_END_S = 5.0
THREADS = {"engine": "ThreadPoolEngine"}
PROCESSES = {"engine": "GlobusComputeEngine"}


class Loopback:
    """The Globus Compute service and one endpoint on this machine.

    Attributes
    ----------
    environment : variables that lead the Compute SDK, in this process or another, to the service
    faults, stats : the faults on purpose, and the requests that came in
    broker, service, endpoint : the parts, to stop, start and kill
    transfer : Globus Transfer, which starts when it is first asked for
    flows : Globus Flows and Timers, likewise
    """

    def __init__(
        self, folder: Path, *, endpoint_folder: Path | None = None, worker_environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.broker = Broker(folder / "broker")
        self.broker.start()
        self.service = Service(self.broker)
        with contextlib.ExitStack() as undo:
            undo.callback(self.broker.kill)
            self.service.start()
            undo.callback(self.service.stop)
            home = folder / "home"
            self._transfer = Transfer(folder / "transfer")
            undo.callback(self._transfer.kill)
            self._flows = Flows(self.service.url, lambda: self.transfer.url, TOKEN)
            undo.callback(self._flows.stop)
            self.environment = self._environment(home / "client")
            self.endpoint = Endpoint(
                home, self.environment, source=endpoint_folder, worker_environment=worker_environment
            )
            undo.callback(self.endpoint.kill)
            self.start_endpoint()
            self._undo = undo.pop_all()

    @property
    def faults(self) -> Faults:
        return self.service.faults

    @property
    def stats(self) -> Stats:
        return self.service.stats

    @property
    def transfer(self) -> Transfer:
        if not self._transfer.running():
            self._transfer.start()
        return self._transfer

    @property
    def flows(self) -> Flows:
        if not self._flows.running():
            self._flows.start()
        return self._flows

    @property
    def endpoint_id(self) -> str:
        return self.endpoint.id

    def online(self) -> bool:
        return self.service.cloud.online(self.endpoint_id)

    def start_endpoint(self) -> None:
        """Start the endpoint, the first time or again, and wait until the service has heard of it."""
        self.endpoint.start()
        wait_until(self.online, ONLINE_TIMEOUT_S, "the endpoint is online")

    def client(self) -> globus_compute_sdk.Client:
        """A client of the service; `environment` must be in force."""
        from globus_compute_sdk import Client

        return Client()

    def executor(self, **options: Any) -> globus_compute_sdk.Executor:
        """The SDK's Executor for the endpoint, by default with a task group of its own.

        ``user_endpoint_config=THREADS`` or ``PROCESSES`` chooses the engine.
        """
        from globus_compute_sdk import Executor

        options.setdefault("task_group_id", uuid.uuid4())
        return Executor(endpoint_id=self.endpoint_id, **options)

    def close_executors(self) -> None:
        """Forget all Executors of this process and their futures, like a client that dies; the tasks run on."""
        if module := sys.modules.get("globus_compute_sdk.sdk.executor"):
            _close_all(module)

    def settle(self) -> None:
        """Prepare the next test: no faults, no executors, every part up again."""
        self._calm()
        if not self.broker.running():
            self.broker.start()
        if not self.service.running():
            self.service.start()
        if not self.endpoint.processes("core"):
            self.endpoint.kill()
            self.start_endpoint()
        self.stats.clear()

    def stop(self) -> None:
        """End everything; the folder stays."""
        self._calm()
        self._undo.close()

    def _calm(self) -> None:
        self.faults.clear()
        self._flows.clear()
        self._transfer.calm()
        self.service.accept_tokens()
        self.service.relay.refusing = False
        self.close_executors()

    def _environment(self, compute_dir: Path) -> dict[str, str]:
        return {
            "GLOBUS_SDK_ENVIRONMENT": "local",  # http://localhost:5000 ...
            "http_proxy": self.service.url,  # ... which is here
            "no_proxy": "127.0.0.1",
            "NO_PROXY": "127.0.0.1",
            "GLOBUS_SDK_SERVICE_URL_AUTH": f"{self.service.url}/",
            "GLOBUS_SDK_SERVICE_URL_TRANSFER": f"{self._transfer.url}/",
            "GLOBUS_SDK_SERVICE_URL_FLOWS": f"{self._flows.url}/",
            "GLOBUS_SDK_SERVICE_URL_TIMER": f"{self._flows.url}/",
            "GLOBUS_COMPUTE_CLIENT_ID": str(uuid.uuid4()),
            "GLOBUS_COMPUTE_CLIENT_SECRET": "loopback",
            "GLOBUS_COMPUTE_USER_DIR": str(compute_dir),  # tokens
        }


def _close_all(module: Any) -> None:
    """Close all Executors: their shutdown alone leaves threads that wait for open futures, as Python's exit does."""
    for executor in list(module._REGISTERED_EXECUTORS.values()):
        executor.shutdown(wait=False, cancel_futures=True)
        executor._task_submitter.join(THREAD_END_S)
    for watcher in list(module._RESULT_WATCHERS.values()):
        watcher.shutdown(cancel_futures=True)  # up to 10 s while it pauses before it connects again
    module.Executor._default_task_group_id = None
