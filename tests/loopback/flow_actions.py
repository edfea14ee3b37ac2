"""The action providers of Globus Compute (v3) and Globus Transfer, which call the loopback's services.

What they take is what docs/actionprovider of globus-compute and the Transfer API describe. How the real one for
Compute serializes a task's arguments is written nowhere; here `strategy` says it.
"""

from __future__ import annotations

import uuid
from typing import Any

import requests
from globus_compute_sdk import serialize
from globus_compute_sdk.serialize import ComputeSerializer

from loopback.flow_run import UnableToRunError
from loopback.flow_state import Json

COMPUTE_URL = "https://compute.actions.globus.org/v3"
TRANSFER_URL = "https://transfer.actions.globus.org/transfer"
ANSWER_S = 30.0
REQUEST_BYTES = 10_000_000
COMPUTE_KEYS = frozenset(
    {"endpoint_id", "tasks", "task_group_id", "user_endpoint_config", "resource_specification", "create_queue"}
)


class Requests:
    """JSON requests to one of the services, past any proxy of the environment."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = "Bearer of-a-flow"

    def ask(self, method: str, path: str, body: Json | None = None) -> Json:
        """The answer; raises `UnableToRunError` when the service refuses or is away."""
        try:
            response = self._session.request(method, self._url + path, json=body, timeout=ANSWER_S)
        except requests.RequestException as error:
            raise UnableToRunError(str(error)) from error
        answer: Json = response.json()
        if not response.ok:
            raise UnableToRunError(answer.get("reason") or answer.get("message"))
        return answer


class ComputeActions:
    """Submits tasks to the loopback's Compute; done when each has a result.

    Attributes
    ----------
    strategy : name of the class of globus_compute_sdk.serialize for arguments
    submitted : for each action, the number of its tasks
    """

    def __init__(self, url: str) -> None:
        self.strategy = "JSONData"
        self.submitted: list[int] = []
        self._service = Requests(url)
        self._tasks: dict[str, list[str]] = {}

    def run(self, body: Json) -> str:
        if unknown := body.keys() - COMPUTE_KEYS:
            raise UnableToRunError(f"Additional properties are not allowed: {', '.join(sorted(unknown))}")
        if not body.get("tasks"):
            raise UnableToRunError("tasks: should be non-empty")
        payloads: dict[str, list[str]] = {}
        places = []
        for task in body["tasks"]:
            of_function = payloads.setdefault(task["function_id"], [])
            places.append((task["function_id"], len(of_function)))
            of_function.append(self._packed(task.get("args", []), task.get("kwargs", {})))
        request = {**body, "tasks": payloads, "user_runtime": {}}
        answer = self._service.ask("POST", f"/v3/endpoints/{request.pop('endpoint_id')}/submit", request)
        action = f"tg_{uuid.uuid4()}"
        self._tasks[action] = [answer["tasks"][function][at] for function, at in places]
        self.submitted.append(len(places))
        return action

    def status(self, action: str) -> Json:
        tasks = self._tasks[action]
        results = self._service.ask("POST", "/v2/batch_status", {"task_ids": tasks})["results"]
        ended = [results[each] for each in tasks]
        if any("completion_t" not in each for each in ended):
            return {"status": "ACTIVE", "details": {}}
        if failures := [each["exception"] for each in ended if each["status"] == "failed"]:
            return {"status": "FAILED", "details": {"failures": [each[-2000:] for each in failures]}}
        outputs = [ComputeSerializer().deserialize(each["result"]) for each in ended]
        pairs = [{"task_id": task, "output": output} for task, output in zip(tasks, outputs, strict=True)]
        return {"status": "SUCCEEDED", "details": {"result": outputs, "results": pairs}}

    def _packed(self, args: list[Any], kwargs: Json) -> str:
        serializer = ComputeSerializer(strategy_data=getattr(serialize, self.strategy)())
        return serializer.pack_buffers([serializer.serialize(args), serializer.serialize(kwargs)])


class TransferActions:
    """Submits a transfer to the loopback's Transfer, a folder file by file."""

    def __init__(self, url: str) -> None:
        self._service = Requests(f"{url}/v0.10")

    def run(self, body: Json) -> str:
        source = body["source_endpoint"]
        items = [pair for item in body["DATA"] for pair in self._files(source, item)]
        data = [{"DATA_TYPE": "transfer_item", "source_path": a, "destination_path": b} for a, b in items]
        submission = self._service.ask("GET", "/submission_id")["value"]
        request = {**body, "DATA_TYPE": "transfer", "submission_id": submission, "DATA": data}
        return str(self._service.ask("POST", "/transfer", request)["task_id"])

    def status(self, action: str) -> Json:
        task = self._service.ask("GET", f"/task/{action}")
        return {"status": task["status"], "details": task}

    def _files(self, source: str, item: Json) -> list[tuple[str, str]]:
        if not item.get("recursive"):
            return [(item["source_path"], item["destination_path"])]
        here, there = item["source_path"].rstrip("/"), item["destination_path"].rstrip("/")
        found = []
        for each in self._service.ask("GET", f"/operation/endpoint/{source}/ls?path={here}/")["DATA"]:
            inner = {"source_path": f"{here}/{each['name']}", "destination_path": f"{there}/{each['name']}"}
            found += self._files(source, {**inner, "recursive": each["type"] == "dir"})
        return found
