"""Globus Flows and Globus Timers on one machine, as much of them as the unmodified `FlowsClient`, `SpecificFlowClient`
and `TimersClient` (globus_sdk 4.9) need to keep a flow, run it, and run it on a timer.

A definition is checked by flow_rules.py, an input against the flow's schema; runs (flow_run.py) call the loopback's
Compute and Transfer. One port for both services; the state is in this process, and gone with it.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jsonschema
import orjson
import uvicorn
from jsonschema import Draft7Validator
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loopback.broker import free_port, wait_until
from loopback.faults import Refusals, Stats
from loopback.flow_actions import COMPUTE_URL, TRANSFER_URL, ComputeActions, TransferActions
from loopback.flow_rules import faults_of
from loopback.flow_run import ActionProvider, Run, UnableToRunError
from loopback.flow_state import Json
from loopback.flow_timers import Timer, now
from loopback.tokens import scopes_of

TICK_S = 0.02
SCOPE = re.compile(r"[^\s\[\]*]+")
SCOPES = "https://auth.globus.org/scopes"
FLOWS_SCOPE = f"{SCOPES}/eec9b274-0c81-4334-bdc2-54e90e689b9a/"
TIMERS_SCOPE = f"{SCOPES}/524230d7-ea86-4a52-8312-86065a9e0417/timer"


class RefusedError(Exception):
    def __init__(self, status: int, code: str, detail: Any) -> None:
        super().__init__(f"{code}: {detail}")
        self.status = status
        self.body = {"error": {"code": code, "detail": detail, "status": status}}


@dataclass
class FlowFaults(Refusals):
    """Faults of Flows and Timers.

    Attributes
    ----------
    hurry : flows' Wait states and WaitTimes pass this many times faster
    ahead : the timers' clock is ahead by this
    """

    hurry: float = 1.0
    ahead: timedelta = timedelta()


class Flows:
    """Both services on `url`, in a thread. Tests read `flows`, `runs` and `timers`, and set `faults`."""

    def __init__(self, compute_url: str, transfer_url: Callable[[], str], token_prefix: str) -> None:
        self.port = free_port()
        self.faults = FlowFaults()
        self.stats = Stats()
        self.flows: dict[str, Json] = {}
        self.runs: dict[str, Run] = {}
        self.timers: dict[str, Timer] = {}
        self.compute = ComputeActions(compute_url)
        self.token_prefix = token_prefix
        self._transfer_url = transfer_url
        self._server: uvicorn.Server | None = None
        self._threads: list[threading.Thread] = []
        self._ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        routes = [Route(path, self._answering(*each), methods=[each[1]]) for *each, path in ROUTES]
        config = uvicorn.Config(
            Starlette(routes=routes), host="127.0.0.1", port=self.port, ws="none", log_config=None, access_log=False
        )
        server = self._server = uvicorn.Server(config)
        self._ended.clear()
        self._threads = [
            threading.Thread(target=server.run, name="loopback-flows", daemon=True),
            threading.Thread(target=self._tick, name="loopback-timers", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        wait_until(lambda: server.started, 20.0, f"Flows listens on {self.url}")

    def stop(self) -> None:
        self.clear()
        self._ended.set()
        if self._server is not None:
            self._server.should_exit = True
        for thread in self._threads:
            thread.join(timeout=10)
        self._server, self._threads = None, []

    def running(self) -> bool:
        return self._server is not None

    def clear(self) -> None:
        """No flows, timers and faults; runs are cancelled."""
        self.timers.clear()
        for run in list(self.runs.values()):
            run.cancel()
        self.runs.clear()
        self.flows.clear()
        self.faults.clear()
        self.stats.clear()
        self.compute.strategy = "JSONData"
        self.compute.submitted.clear()

    def begin(self, flow: Json, request: Json) -> Run:
        """Begin a run of a flow, if its input is one that the schema takes."""
        errors = [each.message for each in Draft7Validator(flow["input_schema"]).iter_errors(request["body"])]
        if errors:
            raise RefusedError(422, "UNPROCESSABLE_ENTITY", [{"loc": ["body"], "msg": each} for each in errors])
        about = {"label": request.get("label"), "tags": request.get("tags", [])}
        run = Run(flow, request["body"], about, self._provider, self.faults.hurry)
        self.runs[run.id] = run
        return run

    def need_scope(self, token: str, *needed: str) -> None:
        """Refuse a token that lacks a scope; a dependency counts, since the user consented to it."""
        scopes = scopes_of(token, self.token_prefix)
        if scopes is None:
            raise RefusedError(401, "UNAUTHORIZED", "The token is not known")
        if lacking := [
            each for each in needed if not {each, f"{each.rpartition('/')[0]}/all"} & set(SCOPE.findall(scopes))
        ]:
            raise RefusedError(403, "MISSING_SCOPE", f"This action requires the following scope: {' '.join(lacking)}")

    def _provider(self, url: str) -> ActionProvider:
        if url == COMPUTE_URL:
            return self.compute
        if url == TRANSFER_URL:
            return TransferActions(self._transfer_url())
        raise UnableToRunError(f"There is no action provider {url}")

    def _tick(self) -> None:
        while not self._ended.wait(TICK_S):
            moment = now() + self.faults.ahead
            for timer in [each for each in list(self.timers.values()) if each.due(moment)]:
                with contextlib.suppress(KeyError, RefusedError):
                    timer.runs.append((moment, self.begin(self.flows[timer.flow], timer.body)))

    def _answering(self, kind: str, method: str, handler: Handler) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            body = await request.body()
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            given = Call({**request.path_params, **request.query_params}, orjson.loads(body or b"{}"), token)
            response = await run_in_threadpool(self._answer, kind, handler, given)
            self.stats.add(kind, response.status_code, len(body))
            return response

        return answer

    def _answer(self, kind: str, handler: Handler, call: Call) -> Response:
        try:
            if refusal := self.faults.take_refusal(kind):
                raise RefusedError(refusal.status, "REFUSED", "Refused on purpose")
            return JSONResponse(handler(self, call))
        except RefusedError as error:
            return JSONResponse(error.body, status_code=error.status)


@dataclass(frozen=True)
class Call:
    about: Json
    body: Json
    token: str


Handler = Callable[[Flows, Call], Json]
ROUTES: list[tuple[str, str, Handler, str]] = []


def route(kind: str, method: str, path: str) -> Callable[[Handler], Handler]:
    """Serve `path`; `kind` is its name in the faults and the statistics."""

    def add(handler: Handler) -> Handler:
        ROUTES.append((kind, method, handler, path))
        return handler

    return add


# --- Flows


def user_scope(flow: str) -> str:
    return f"{SCOPES}/{flow}/flow_{flow.replace('-', '_')}_user"


def _checked(request: Json) -> None:
    faults = faults_of(request["definition"])
    try:
        Draft7Validator.check_schema(request["input_schema"])
    except jsonschema.SchemaError as error:
        faults.append(f"input_schema: {error.message}")
    if faults:
        raise RefusedError(422, "UNPROCESSABLE_ENTITY", [{"loc": ["definition"], "msg": each} for each in faults])


def _flow(service: Flows, call: Call) -> Json:
    found = service.flows.get(call.about["flow"])
    if found is None:
        raise RefusedError(404, "FLOW_NOT_FOUND", f"No flow {call.about['flow']}")
    return found


@route("create_flow", "POST", "/flows")
def create_flow(service: Flows, call: Call) -> Json:
    service.need_scope(call.token, f"{FLOWS_SCOPE}manage_flows")
    _checked(call.body)
    name = str(uuid.uuid4())
    about = {"id": name, "globus_auth_scope": user_scope(name), "created_at": now().isoformat()}
    service.flows[name] = {**call.body, **about, "updated_at": about["created_at"]}
    return service.flows[name]


@route("validate_flow", "POST", "/flows/validate")
def validate_flow(service: Flows, call: Call) -> Json:
    service.need_scope(call.token, f"{FLOWS_SCOPE}manage_flows")
    _checked(call.body)
    return {"scopes": {"User": []}}


@route("list_flows", "GET", "/flows")
def list_flows(service: Flows, call: Call) -> Json:
    service.need_scope(call.token, f"{FLOWS_SCOPE}view_flows")
    wanted = call.about.get("filter_fulltext", "")
    return {"flows": [each for each in service.flows.values() if wanted in each["title"]], "has_next_page": False}


@route("get_flow", "GET", "/flows/{flow}")
def get_flow(service: Flows, call: Call) -> Json:
    service.need_scope(call.token, f"{FLOWS_SCOPE}view_flows")
    return _flow(service, call)


@route("update_flow", "PUT", "/flows/{flow}")
def update_flow(service: Flows, call: Call) -> Json:
    service.need_scope(call.token, f"{FLOWS_SCOPE}manage_flows")
    flow = _flow(service, call)
    _checked({**flow, **call.body})
    service.flows[flow["id"]] = {**flow, **call.body, "updated_at": now().isoformat()}
    return service.flows[flow["id"]]


@route("delete_flow", "DELETE", "/flows/{flow}")
def delete_flow(service: Flows, call: Call) -> Json:
    service.need_scope(call.token, f"{FLOWS_SCOPE}manage_flows")
    return service.flows.pop(_flow(service, call)["id"])


@route("run_flow", "POST", "/flows/{flow}/run")
def run_flow(service: Flows, call: Call) -> Json:
    flow = _flow(service, call)
    service.need_scope(call.token, user_scope(flow["id"]))
    return service.begin(flow, call.body).document()


def _run(service: Flows, call: Call) -> Run:
    if call.about["run"] not in service.runs:
        raise RefusedError(404, "RUN_NOT_FOUND", f"No run {call.about['run']}")
    return service.runs[call.about["run"]]


@route("get_run", "GET", "/runs/{run}")
def get_run(service: Flows, call: Call) -> Json:
    service.need_scope(call.token, f"{FLOWS_SCOPE}run_status")
    return _run(service, call).document()


@route("cancel_run", "POST", "/runs/{run}/cancel")
def cancel_run(service: Flows, call: Call) -> Json:
    service.need_scope(call.token, f"{FLOWS_SCOPE}run_manage")
    run = _run(service, call)
    run.cancel()
    return run.document()


@route("list_runs", "GET", "/runs")
def list_runs(service: Flows, call: Call) -> Json:
    service.need_scope(call.token, f"{FLOWS_SCOPE}run_status")
    found = [each for each in service.runs.values() if call.about.get("filter_flow_id") in (None, each.flow["id"])]
    return {"runs": [each.document() for each in reversed(found)], "has_next_page": False}


# --- Timers


def _timer(service: Flows, call: Call) -> Timer:
    service.need_scope(call.token, TIMERS_SCOPE)
    if call.about["timer"] not in service.timers:
        raise RefusedError(404, "ERROR", f"No job {call.about['timer']}")
    return service.timers[call.about["timer"]]


@route("create_timer", "POST", "/v2/timer")
def create_timer(service: Flows, call: Call) -> Json:
    request = call.body["timer"]
    service.need_scope(call.token, TIMERS_SCOPE, user_scope(request["flow_id"]))
    if request["timer_type"] != "flow" or request["flow_id"] not in service.flows:
        raise RefusedError(422, "ERROR", "This needs a flow that exists")
    try:
        timer = Timer.of_request(request, now() + service.faults.ahead)
    except (KeyError, ValueError) as error:
        raise RefusedError(422, "ERROR", str(error)) from error
    service.timers[timer.id] = timer
    return {"timer": timer.document()}


@route("list_jobs", "GET", "/jobs/")
def list_jobs(service: Flows, call: Call) -> Json:
    service.need_scope(call.token, TIMERS_SCOPE)
    return {"jobs": [each.document() for each in service.timers.values()]}


@route("get_job", "GET", "/jobs/{timer}")
def get_job(service: Flows, call: Call) -> Json:
    return _timer(service, call).document()


@route("delete_job", "DELETE", "/jobs/{timer}")
def delete_job(service: Flows, call: Call) -> Json:
    return service.timers.pop(_timer(service, call).id).document()


@route("pause_job", "POST", "/jobs/{timer}/pause")
def pause_job(service: Flows, call: Call) -> Json:
    _timer(service, call).active = False
    return {"message": "Successfully paused job."}


@route("resume_job", "POST", "/jobs/{timer}/resume")
def resume_job(service: Flows, call: Call) -> Json:
    _timer(service, call).active = True
    return {"message": "Successfully resumed job."}


def ended(run: Run, timeout_s: float) -> Json:
    """Wait for the end of a run; its document."""
    deadline = time.monotonic() + timeout_s
    while run.status == "ACTIVE" and time.monotonic() < deadline:
        time.sleep(TICK_S)
    return run.document()
