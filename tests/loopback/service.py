"""The Globus Compute web service, as much of it as the SDK and the endpoint (4.19) need: REST here, tasks and results
over the broker.

`Cloud` is the service's state; it lives in one event loop and needs no locks. `Service` runs it, with the web server
and the relay for the clients' result streams, in a thread of this process, so that a test sets `faults` and reads
`stats` as plain attributes. Only what the two clients ask of the real service is imitated.

Messages are one byte 0x01 and JSON ``{message_type, data}`` (globus_compute_common.messagepack).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from loopback.amqp import EXCHANGE, Connection, Message, Outbox
from loopback.broker import Broker, free_port, wait_until
from loopback.faults import CODES, Faults, Stats
from loopback.relay import Relay
from loopback.tokens import issue

Json = dict[str, Any]

USER_ID = "11111111-1111-4111-8111-111111111111"
USER = {"sub": USER_ID, "username": "loopback@example.org", "name": "Loopback", "email": "loopback@example.org"}
RESULTS_QUEUE = "results"  # from the endpoints
HEARTBEATS_QUEUE = "heartbeats"
GROUP_PREFIX = "group."  # + task group: to the clients
OFFLINE_AFTER_HEARTBEATS = 3
TICK_S = 0.02  # how late a message is that was held back
RATE_WINDOW_S = 10.0
COMMAND_EXPIRES_S = 150  # the core endpoint refuses, and reports as a failure, what is older than 180 s
TOKEN = "loopback-"


class RefusedError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, reason: str, code: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.code = code or CODES.get(status, "REFUSED")
        self.retry_after_s = retry_after_s


# ---------------------------------------------------------------------------------------------- what the service knows


@dataclass
class Endpoint:
    """A core endpoint, or a user endpoint that one started; known by its heartbeats."""

    id: str
    registration: Json = field(default_factory=dict)
    state: Json = field(default_factory=dict)
    heard_s: float | None = None  # None: never, or it said good-bye
    period_s: float = 30.0
    start_arguments: Json = field(default_factory=dict)  # of a user endpoint

    def online(self) -> bool:
        return self.heard_s is not None and time.monotonic() - self.heard_s < OFFLINE_AFTER_HEARTBEATS * self.period_s

    def heartbeat(self, state: Json) -> None:
        self.state = state
        self.period_s = state.get("heartbeat_period", 30.0)
        leaving = state.get("active") is False or not self.period_s or "error" in state
        self.heard_s = None if leaving else time.monotonic()


@dataclass
class Task:
    id: str
    group: str
    user_endpoint: str
    streamed: bool  # a client listens for the result
    created: float
    outcome: Json | None = None  # status, result or exception, completion_t, details

    def document(self) -> Json:
        return {"task_id": self.id, **(self.outcome or {"status": "waiting-for-ep"})}


class Cloud:
    """Functions, endpoints, tasks and task groups; survives the web server's restarts, not the process."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.functions: dict[str, str] = {}  # id -> packed code
        self.endpoints: dict[str, Endpoint] = {}
        self.user_endpoints: dict[str, Endpoint] = {}
        self.tasks: dict[str, Task] = {}
        self.groups: dict[str, list[Task]] = {}
        self.tokens_seen: set[str] = set()
        self.tokens_expired: set[str] = set()
        self._broker_url = ""
        self._to_endpoint = Outbox(self._publish, held=lambda: faults.offline)
        self._to_client = Outbox(self._publish, held=lambda: faults.withhold_results)
        self._connection: Connection | None = None

    # ---- the broker

    async def run(self, broker_url: str, ready: asyncio.Event) -> None:
        """Stay connected and deliver, until cancelled."""
        self._broker_url = broker_url
        consumers = {RESULTS_QUEUE: self._on_result, HEARTBEATS_QUEUE: self._on_heartbeat}
        self._connection = Connection(broker_url, consumers)
        running = asyncio.ensure_future(self._connection.run())
        try:
            await self._connection.up.wait()
            ready.set()
            while True:
                self._to_endpoint.flush()
                self._to_client.flush()
                await asyncio.sleep(TICK_S)
        finally:
            running.cancel()
            await asyncio.wait([running])

    def _publish(self, message: Message) -> bool:
        return self._connection is not None and self._connection.publish(message)

    async def _declare(self, queue: str) -> None:
        assert self._connection is not None
        await self._connection.declare(queue)

    def _publishing(self, queue: str) -> Json:
        """An endpoint's queues, in the form that its ResultPublisher expects."""
        properties = {"content_type": "application/json", "content_encoding": "utf-8", "delivery_mode": 2}
        how = {"exchange": EXCHANGE, "routing_key": queue, "mandatory": True, "properties": properties}
        return {"connection_url": self._broker_url, "exchange": EXCHANGE, "queue": queue, "queue_publish_kwargs": how}

    def _consuming(self, queue: str) -> Json:
        return {"connection_url": self._broker_url, "exchange": EXCHANGE, "queue": queue}

    def _on_result(self, body: bytes) -> None:
        data = orjson.loads(body[1:])["data"]
        task = self.tasks.get(data["task_id"])
        if task is not None:  # else it is of a queue older than this service
            self._finish(task, data, body)

    def _on_heartbeat(self, body: bytes) -> None:
        data = orjson.loads(body[1:])["data"]
        name, state = data["endpoint_id"], data["global_state"]
        endpoint = self.endpoints.get(name) or self.user_endpoints.get(name)
        if endpoint is None:
            return
        was_online = endpoint.online()
        endpoint.heartbeat(state)
        if name in self.endpoints and endpoint.online() and not was_online:
            self._start_waiting(endpoint)
        if error := state.get("error"):
            self._fail_waiting(endpoint, str(error))

    # ---- functions and endpoints

    def register_function(self, request: Json) -> str:
        code = request["function_code"]
        if request.get("serialized") is False:  # source text: the service packs it as PureSourceTextInspect does
            source = f"st\n{request['function_name']}:{code}"
            code = f"{len(source)}\n{source}"
        name = str(uuid.uuid4())
        self.functions[name] = code
        return name

    async def register_endpoint(self, name: str | None, registration: Json) -> Json:
        name = name or str(uuid.uuid4())
        endpoint = self.endpoints.setdefault(name, Endpoint(name))
        endpoint.registration = registration
        commands = f"{endpoint.id}.commands"
        await self._declare(commands)
        return {
            "endpoint_id": endpoint.id,
            "command_queue_info": self._consuming(commands),
            "heartbeat_queue_info": self._publishing(HEARTBEATS_QUEUE),
        }

    def endpoint(self, name: str) -> Endpoint:
        endpoint = self.endpoints.get(name) or self.user_endpoints.get(name)
        if endpoint is None:
            raise RefusedError(404, f"Endpoint {name} not found", "ENDPOINT_NOT_FOUND")
        return endpoint

    def online(self, name: str) -> bool:
        return not self.faults.offline and self.endpoint(name).online()

    async def _user_endpoint(self, core: Endpoint, request: Json) -> Endpoint:
        """The user endpoint for these options. The core is told to start it each time: nothing else revives it."""
        options = request.get("user_endpoint_config") or {}
        key = orjson.dumps([core.id, USER_ID, options], option=orjson.OPT_SORT_KEYS).decode()
        name = str(uuid.uuid5(uuid.NAMESPACE_OID, key))
        user_endpoint = self.user_endpoints.setdefault(name, Endpoint(name))
        tasks = f"{name}.tasks"
        await self._declare(tasks)
        user_endpoint.start_arguments = {
            "name": f"uep.{core.id}.{name[:8]}",
            "user_opts": options,
            "user_runtime": request.get("user_runtime") or {},
            "amqp_creds": {
                "endpoint_id": name,
                "task_queue_info": self._consuming(tasks),
                "result_queue_info": self._publishing(RESULTS_QUEUE),
                "heartbeat_queue_info": self._publishing(HEARTBEATS_QUEUE),
            },
        }
        self._start(core, user_endpoint)
        return user_endpoint

    def _start(self, core: Endpoint, user_endpoint: Endpoint) -> None:
        command = {
            "command": "cmd_start_endpoint",
            "args": [],
            "kwargs": user_endpoint.start_arguments,
            "globus_username": USER["username"],
            "globus_effective_identity": USER_ID,
            "globus_identity_set": [USER],
        }
        body, now = orjson.dumps(command), int(time.time())
        self._to_endpoint.post(Message(f"{core.id}.commands", body, timestamp=now, expires_s=COMMAND_EXPIRES_S))

    def _start_waiting(self, core: Endpoint) -> None:
        """A core endpoint is back: the commands sent meanwhile may have expired."""
        waiting = {task.user_endpoint for task in self.tasks.values() if task.outcome is None}
        for user_endpoint in self.user_endpoints.values():
            if user_endpoint.id in waiting and core.id in user_endpoint.start_arguments["name"]:
                self._start(core, user_endpoint)

    # ---- tasks

    async def submit(self, core_name: str, request: Json) -> Json:
        core = self.endpoint(core_name)
        self._check_functions(core, request["tasks"])
        group = request.get("task_group_id") or str(uuid.uuid4())
        self.groups.setdefault(group, [])
        await self._declare(GROUP_PREFIX + group)
        user_endpoint = await self._user_endpoint(core, request)
        headers: dict[str, str | list[str]] = {
            "resource_specification": orjson.dumps(request.get("resource_specification") or None).decode()
        }
        if request.get("result_serializers"):
            headers["result_serializers"] = request["result_serializers"]
        streamed = bool(request.get("create_queue"))
        tasks: dict[str, list[str]] = {}
        for function, payloads in request["tasks"].items():
            created = [self._create(group, user_endpoint, streamed) for _ in payloads]
            tasks[function] = [task.id for task in created]
            for task, payload in zip(created, payloads, strict=True):
                data = {"task_id": task.id, "task_buffer": self.functions[function] + payload}
                about = {**headers, "function_uuid": function, "task_uuid": task.id}
                self._to_endpoint.post(Message(f"{user_endpoint.id}.tasks", _packed("task", data), about))
        accepted = {"request_id": str(uuid.uuid4()), "task_group_id": group, "endpoint_id": user_endpoint.id}
        return {**accepted, "tasks": tasks}

    def task(self, name: str) -> Task:
        if name not in self.tasks:
            raise RefusedError(404, f"Task {name} not found", "TASK_NOT_FOUND")
        return self.tasks[name]

    def group(self, name: str) -> list[Task]:
        if name not in self.groups:
            raise RefusedError(404, f"Task group {name} not found", "TASK_GROUP_NOT_FOUND")
        return self.groups[name]

    def _check_functions(self, core: Endpoint, functions: Json) -> None:
        allowed = core.registration.get("allowed_functions")
        for function in functions:
            if function not in self.functions:
                raise RefusedError(404, f"Function {function} could not be resolved", "FUNCTION_NOT_FOUND")
            if allowed and function not in allowed:
                reason = f"Function {function} not permitted on endpoint {core.id}"
                raise RefusedError(403, reason, "FUNCTION_NOT_PERMITTED")

    def _create(self, group: str, user_endpoint: Endpoint, streamed: bool) -> Task:
        task = Task(str(uuid.uuid4()), group, user_endpoint.id, streamed, time.time())
        self.tasks[task.id] = task
        self.groups[group].append(task)
        return task

    def _finish(self, task: Task, data: Json, body: bytes) -> None:
        """Store the outcome and stream it; one that comes again is streamed again, the first may have been lost."""
        failed = data.get("error_details") is not None
        task.outcome = {
            "status": "failed" if failed else "success",
            "exception" if failed else "result": data["data"],
            "completion_t": str(time.time()),
            "details": data.get("details") or {},
        }
        if task.streamed:
            due_s = time.monotonic() + self.faults.result_latency_s
            message = Message(GROUP_PREFIX + task.group, body, {"task_uuid": task.id}, int(time.time()), due_s=due_s)
            for _ in range(self._copies()):
                self._to_client.post(message)

    def _copies(self) -> int:
        if self.faults.lose_results > 0:
            self.faults.lose_results -= 1
            return 0
        if self.faults.duplicate_results > 0:
            self.faults.duplicate_results -= 1
            return 2
        return 1

    def _fail_waiting(self, user_endpoint: Endpoint, error: str) -> None:
        """Fail the tasks that wait for an endpoint that did not start."""
        if self._connection is not None:
            self._connection.purge(f"{user_endpoint.id}.tasks")
        for task in self.tasks.values():
            if task.user_endpoint == user_endpoint.id and task.outcome is None:
                details = {"code": "ENDPOINT_STARTUP_FAILURE", "user_message": error}
                data: Json = {
                    "task_id": task.id,
                    "data": error,
                    "details": None,
                    "error_details": details,
                    "task_statuses": [],
                }
                self._finish(task, data, _packed("result", data))


def _packed(message_type: str, data: Json) -> bytes:
    return b"\x01" + orjson.dumps({"message_type": message_type, "data": data})


# ---------------------------------------------------------------------------------------------------------------- REST

Handler = Callable[["Service", Request], Awaitable[Any]]
ROUTES: list[tuple[str, str, str, bool, Handler]] = []


def route(kind: str, method: str, path: str, *, signed_in: bool = True) -> Callable[[Handler], Handler]:
    """Serve `path`; `kind` is its name in the faults and the statistics."""

    def add(handler: Handler) -> Handler:
        ROUTES.append((kind, method, path, signed_in, handler))
        return handler

    return add


async def body_of(request: Request) -> Json:
    return cast(Json, orjson.loads(await request.body()))


@route("token", "POST", "/v2/oauth2/token", signed_in=False)
async def token(_service: Service, request: Request) -> Json:
    form = parse_qs((await request.body()).decode())
    return issue(form.get("scope", ["openid"])[0], TOKEN)


@route("userinfo", "GET", "/v2/oauth2/userinfo")
async def userinfo(_service: Service, _request: Request) -> Json:
    return {**USER, "preferred_username": USER["username"], "identity_set": [USER]}


@route("revoke", "POST", "/v2/oauth2/token/revoke", signed_in=False)
async def revoke(_service: Service, _request: Request) -> Json:
    return {"active": False}


@route("version", "GET", "/v2/version", signed_in=False)
async def version(_service: Service, _request: Request) -> Json:
    return {"api": "1.50.0", "min_sdk_version": "4.0.0", "min_ep_version": "4.0.0"}


@route("result_stream", "GET", "/v2/get_amqp_result_connection_url")
async def result_stream(service: Service, _request: Request) -> Json:
    return {"queue_prefix": GROUP_PREFIX, "connection_url": Broker.url_at(service.relay.port)}


@route("register_function", "POST", "/v3/functions")
@route("register_function", "POST", "/v2/functions")
async def register_function(service: Service, request: Request) -> Json:
    return {"function_uuid": service.cloud.register_function(await body_of(request))}


@route("register_endpoint", "POST", "/v3/endpoints")
@route("register_endpoint", "PUT", "/v3/endpoints/{endpoint}")
async def register_endpoint(service: Service, request: Request) -> Json:
    return await service.cloud.register_endpoint(request.path_params.get("endpoint"), await body_of(request))


@route("endpoint", "GET", "/v2/endpoints/{endpoint}")
async def endpoint(service: Service, request: Request) -> Json:
    known = service.cloud.endpoint(request.path_params["endpoint"])
    about = known.registration
    return {"uuid": known.id, "name": about.get("endpoint_name"), **about.get("metadata", {})}


@route("endpoints", "GET", "/v2/endpoints")
async def endpoints(service: Service, _request: Request) -> list[Json]:
    known = service.cloud.endpoints.values()
    return [{"uuid": each.id, "name": each.registration.get("endpoint_name"), "owner": USER_ID} for each in known]


@route("allowed_functions", "GET", "/v3/endpoints/{endpoint}/allowed_functions")
async def allowed_functions(service: Service, request: Request) -> Json:
    known = service.cloud.endpoint(request.path_params["endpoint"])
    allowed = known.registration.get("allowed_functions") or []
    return {"endpoint_id": known.id, "restricted": bool(allowed), "functions": allowed}


@route("status", "GET", "/v2/endpoints/{endpoint}/status")
async def status(service: Service, request: Request) -> Json:
    known = service.cloud.endpoint(request.path_params["endpoint"])
    return {"status": "online" if service.cloud.online(known.id) else "offline", "details": known.state}


@route("submit", "POST", "/v3/endpoints/{endpoint}/submit")
async def submit(service: Service, request: Request) -> Json:
    limit, size = service.faults.payload_bytes, len(await request.body())
    if size > limit:
        raise RefusedError(413, f"A submission of {size} bytes exceeds the limit of {limit}", "TASK_PAYLOAD_TOO_LARGE")
    return await service.cloud.submit(request.path_params["endpoint"], await body_of(request))


@route("task", "GET", "/v2/tasks/{task}")
async def task(service: Service, request: Request) -> Json:
    return service.cloud.task(request.path_params["task"]).document()


@route("batch_status", "POST", "/v2/batch_status")
async def batch_status(service: Service, request: Request) -> Json:
    wanted = (await body_of(request))["task_ids"]
    known = service.cloud.tasks
    return {"response": "batch", "results": {name: known[name].document() for name in wanted if name in known}}


@route("task_group", "GET", "/v2/taskgroup/{group}")
async def task_group(service: Service, request: Request) -> Json:
    name = request.path_params["group"]
    tasks = [{"id": each.id, "created_at": each.created} for each in service.cloud.group(name)]
    return {"taskgroup_id": name, "create_websockets_queue": True, "tasks": tasks}


@route("faults", "POST", "/faults", signed_in=False)
async def set_faults(service: Service, request: Request) -> Json:
    """For a person with curl: ``{"offline": true}``, ``{"refuse": {"status": 429, "times": 3}}``, ``{}`` to look."""
    for name, value in (await body_of(request)).items():
        if name == "clear":
            service.faults.clear()
        elif name == "refuse":
            service.faults.refuse(**value)
        elif name == "cut_result_streams":
            service.relay.cut()
        elif hasattr(service.faults, name):
            setattr(service.faults, name, value)
        else:
            raise RefusedError(400, f"There is no fault named {name!r}.")
    return cast(Json, orjson.loads(orjson.dumps(service.faults)))


# ------------------------------------------------------------------------------------------------------ the web server


class Service:
    """REST on `url` and the relay for result streams, in a thread; ``stop()`` and ``start()`` keep ports and state."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.faults = Faults()
        self.stats = Stats()
        self.cloud = Cloud(self.faults)
        self.port = free_port()
        self.relay = Relay(free_port(), broker.port)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, timeout_s: float = 20.0) -> None:
        app = _PathOnly(Starlette(routes=[self._route(*each) for each in ROUTES], lifespan=self._lifespan))
        config = uvicorn.Config(
            app,
            host="127.0.0.1",
            port=self.port,
            http=_PromptAcknowledgement,
            ws="none",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        server = self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=server.run, name="loopback-service", daemon=True)
        self._thread.start()
        wait_until(lambda: server.started or not self.running(), timeout_s, f"the service listens on {self.url}")
        if not self.running():
            raise RuntimeError(f"The service did not start on {self.url}; is the broker up at {self.broker.url}?")

    def stop(self) -> None:
        """Refuse connections from now on, as an unreachable service does."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(timeout=10)
            self._server = self._thread = None

    def expire_tokens(self) -> None:
        """Refuse all tokens seen so far from now on (401)."""
        self.cloud.tokens_expired |= self.cloud.tokens_seen

    def accept_tokens(self) -> None:
        """Undo `expire_tokens`."""
        self.cloud.tokens_expired.clear()

    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: object) -> AsyncIterator[None]:
        ready = asyncio.Event()
        running = asyncio.ensure_future(self.cloud.run(self.broker.url, ready))
        await self.relay.start()
        await ready.wait()
        yield
        await self.relay.stop()
        running.cancel()
        await asyncio.wait([running])

    def _route(self, kind: str, method: str, path: str, signed_in: bool, handler: Handler) -> Route:
        async def answer(request: Request) -> Response:
            await asyncio.sleep(self.faults.latency_s)
            body = await request.body()
            try:
                self._admit(kind, request, signed_in)
                response = _json(await handler(self, request), 200)
            except RefusedError as exc:
                response = _refusal(exc)
            if kind != "faults":
                self.stats.add(kind, response.status_code, len(body))
            return response

        return Route(path, answer, methods=[method], name=kind)

    def _admit(self, kind: str, request: Request, signed_in: bool) -> None:
        if refusal := self.faults.take_refusal(kind):
            raise RefusedError(refusal.status, "Refused on purpose", retry_after_s=refusal.retry_after_s)
        if not signed_in:
            return
        scheme, _, access_token = request.headers.get("authorization", "").partition(" ")
        self.cloud.tokens_seen.add(access_token)
        if scheme != "Bearer" or access_token in self.cloud.tokens_expired:
            raise RefusedError(401, "Credentials are required")
        allowed = self.faults.requests_per_10_s
        if allowed is not None:
            since_s = time.monotonic() - RATE_WINDOW_S
            recent = [each for each in self.stats.requests if each.at_s > since_s and each.kind != "token"]
            if len(recent) >= allowed:
                raise RefusedError(429, "Too many requests", retry_after_s=recent[-allowed].at_s - since_s)


class _PromptAcknowledgement(H11Protocol):
    """Acknowledge each packet at once: urllib3 lets connections to proxies collect small packets (Nagle), and the body
    of a request would wait 40 ms for the acknowledgement of its head."""

    def data_received(self, data: bytes) -> None:
        connection = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        super().data_received(data)


class _PathOnly:
    """Clients that use this service as their proxy ask for ``http://localhost:5000/v2/...``: keep the path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith("/"):
            path = urlsplit(scope["path"]).path
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)


def _json(content: Any, status_code: int) -> Response:
    return Response(orjson.dumps(content), status_code=status_code, media_type="application/json")


def _refusal(exc: RefusedError) -> Response:
    about = {"code": exc.code, "reason": exc.reason, "http_status_code": exc.status}
    response = _json({"status": "Failed", "error_args": [], **about}, exc.status)
    if exc.retry_after_s is not None:
        response.headers["Retry-After"] = str(max(0, -int(-exc.retry_after_s // 1)))
    return response
