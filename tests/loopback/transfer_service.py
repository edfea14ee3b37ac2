"""Globus Transfer on one machine, as much of it as the unmodified `globus_sdk.TransferClient` (4.9) needs of a mover of
files: collections are folders, tasks really copy and delete.

A process of its own, so that it can be killed: ``python -m loopback.transfer_service FOLDER PORT``, in tests/. FOLDER
holds collections.json and the journal, from which a later process takes the tasks up. transfer.py starts it; what it
does with a task is in transfer_work.py, its faults are in faults.py. Directories are not transferred, and there are no
permissions but those of the faults. It gives out tokens, too, so that a test of transfers needs no other service.
"""

from __future__ import annotations

import base64
import json
import re
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loopback.faults import Stats, TransferFaults
from loopback.identity import consents, id_token, public_key
from loopback.tokens import issue, scopes_of, session_of
from loopback.transfer_state import Item, Json, Kind, Records, Task, iso
from loopback.transfer_work import Collections, Crew, RefusedPathError

V = "/v0.10"
PAGE = 100
CONSENT = "https://auth.globus.org/scopes/{}/data_access"
TRANSFER_SCOPE = "urn:globus:auth:scope:transfer.api.globus.org:all"
WITH_DEPENDENCIES = re.compile(r"[^\s\[\]]+(?:\[[^\]]*\])?")
TOKEN = "transfer-"
CODES = {401: "AuthenticationFailed", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}


class RefusedError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, code: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "message": message, "request_id": uuid.uuid4().hex[:9], "resource": "", **more}
        self.retry_after_s: int | None = None


class Service:
    """The handlers' shared state."""

    def __init__(self, folder: Path) -> None:
        self.records = Records(folder)
        self.collections = Collections(json.loads((folder / "collections.json").read_text(encoding="utf-8")))
        self.faults = TransferFaults()
        self.stats = Stats()
        self.consents: set[str] = set()
        self.tokens_seen: set[str] = set()
        self.tokens_expired: set[str] = set()
        self.crew = Crew(self.records, self.collections, self.faults)

    def task(self, call: Call) -> Task:
        name = call.path["task"]
        if name not in self.records.tasks:
            raise RefusedError(404, "ClientError.NotFound", f"Task '{name}' not found")
        return self.records.tasks[name]

    def check_collection(self, collection: str, call: Call) -> None:
        """Refuse a collection that does not exist, or that wants a consent or another sign-in."""
        self.collections.folder(collection)
        session = self.collections.about[collection].get("session") or {}
        if unmet := _unmet(session, call.token):
            message = "The session of your sign-in does not meet the requirements of the collection"
            parameters = {"session_message": "Sign in as the collection asks", **unmet}
            raise RefusedError(403, "AuthorizationRequired", message, authorization_parameters=parameters)
        if self.collections.about[collection].get("consent") and not _has_consent(call.token, collection):
            needed = f"{TRANSFER_SCOPE}[*{CONSENT.format(collection)}]"
            raise RefusedError(403, "ConsentRequired", "Missing required data_access consent", required_scopes=[needed])


class Call:
    """A request, read."""

    def __init__(self, request: Request, body: bytes) -> None:
        self.path = request.path_params
        self.query = request.query_params
        self.body = body
        self.token = request.headers.get("authorization", "").removeprefix("Bearer ")

    def json(self) -> Json:
        found: Json = json.loads(self.body or b"{}")
        return found


Handler = Callable[[Service, Call], Json]
ROUTES: list[tuple[str, str, str, bool, Handler]] = []


def route(kind: str, method: str, path: str, *, signed_in: bool = True) -> Callable[[Handler], Handler]:
    """Serve `path`; `kind` is its name in the faults and the statistics."""

    def add(handler: Handler) -> Handler:
        ROUTES.append((kind, method, path, signed_in, handler))
        return handler

    return add


# --------------------------------------------------------------------------------------------------------- signing in


@route("authorize", "GET", "/v2/oauth2/authorize", signed_in=False)
def authorize(service: Service, call: Call) -> Json:
    """The page that a person opens to sign in, who does whatever it asks; its code carries scopes and session."""
    session = {key: value for key, value in call.query.items() if key.startswith("session_required_")}
    asked = {"scope": call.query["scope"], "client_id": call.query["client_id"], "session": session}
    service.consents |= set(WITH_DEPENDENCIES.findall(call.query["scope"]))
    return {"code": base64.urlsafe_b64encode(json.dumps(asked).encode()).decode(), "asked": dict(call.query)}


@route("keys", "GET", "/.well-known/openid-configuration", signed_in=False)
def openid_configuration(_service: Service, _call: Call) -> Json:
    return {"id_token_signing_alg_values_supported": ["RS256"], "jwks_uri": "/jwk.json"}


@route("consents", "GET", "/v2/api/identities/{identity}/consents", signed_in=False)
def consents_of(service: Service, _call: Call) -> Json:
    return {"consents": list(consents(service.consents))}


@route("keys", "GET", "/jwk.json", signed_in=False)
def keys(_service: Service, _call: Call) -> Json:
    return {"keys": [public_key()]}


@route("token", "POST", "/v2/oauth2/token", signed_in=False)
def token(_service: Service, call: Call) -> Json:
    """Tokens for a client with a secret, or for a code; each carries the scope that was asked for, and the session."""
    form = {key: values[0] for key, values in parse_qs(call.body.decode()).items()}
    if "code" not in form:
        return issue(form.get("scope", "openid"), TOKEN)
    asked = json.loads(base64.urlsafe_b64decode(form["code"]))
    answer = issue(asked["scope"], TOKEN, asked["session"], refresh_token="refresh")
    return {**answer, "id_token": id_token(asked["client_id"])}


def _has_consent(access_token: str, collection: str) -> bool:
    """A token of another service (the loopback's for Compute) is good for everything."""
    scopes = scopes_of(access_token, TOKEN)
    return scopes is None or CONSENT.format(collection) in scopes


def _unmet(wanted: Json, access_token: str) -> Json:
    """What the session of a token lacks of what a collection wants."""
    if (session := session_of(access_token, TOKEN)) is None:
        return {}
    text = {key: ",".join(value) if isinstance(value, list) else str(value) for key, value in wanted.items()}
    return {key: value for key, value in wanted.items() if session.get(key, "").lower() != text[key].lower()}


# -------------------------------------------------------------------------------------------------------- submissions


@route("submission_id", "GET", f"{V}/submission_id")
def submission_id(service: Service, _call: Call) -> Json:
    name = str(uuid.uuid4())
    service.records.change("submission", submission=name)
    return {"DATA_TYPE": "submission_id", "value": name}


@route("submit", "POST", f"{V}/transfer")
def submit(service: Service, call: Call) -> Json:
    document = call.json()
    for collection in (document["source_endpoint"], document["destination_endpoint"]):
        service.check_collection(collection, call)
    items = [
        Item(each["source_path"], each["destination_path"], expected=_expected(each))
        for each in document.pop("DATA", [])
    ]
    for item in items:
        service.collections.path(document["source_endpoint"], item.source)
        service.collections.path(document["destination_endpoint"], item.destination)
    return _accept(service, "TRANSFER", document, items)


def _expected(item: Json) -> tuple[str, str] | None:
    if "external_checksum" not in item:
        return None
    algorithm = item.get("checksum_algorithm", "MD5")
    if algorithm not in ("MD5", "SHA1", "SHA256", "SHA512"):
        raise RefusedError(400, "ClientError.BadRequest", f"Checksum algorithm '{algorithm}' is not supported")
    return algorithm.lower(), item["external_checksum"]


@route("submit_delete", "POST", f"{V}/delete")
def submit_delete(service: Service, call: Call) -> Json:
    document = call.json()
    service.check_collection(document["endpoint"], call)
    items = [Item(each["path"], "") for each in document.pop("DATA", [])]
    for item in items:
        service.collections.path(document["endpoint"], item.source)
    return _accept(service, "DELETE", document, items)


def _accept(service: Service, kind: Kind, document: Json, items: list[Item]) -> Json:
    records, submission = service.records, document.get("submission_id")
    if not items:
        raise RefusedError(400, "ClientError.BadRequest.NoTransferItems", "A task needs at least one item")
    if submission not in records.submissions:
        raise RefusedError(400, "ClientError.BadRequest", f"Invalid submission_id '{submission}'")
    if (known := records.submissions[submission]) is not None:
        return _result(kind, "Duplicate", "A task with this submission id has already been created", submission, known)
    for other in records.tasks.values():
        if kind == other.kind == "TRANSFER" and other.completed_s is None and _same_paths(other.items, items):
            raise RefusedError(409, "Conflict", "A transfer with identical paths has not yet completed")
    task = Task(str(uuid.uuid1()), kind, document, time.time(), items)
    records.change("task", submission=submission, task=asdict(task))
    return _result(kind, "Accepted", "A task has been created and queued for execution", submission, task.id)


def _same_paths(some: list[Item], others: list[Item]) -> bool:
    return [(each.source, each.destination) for each in some] == [(each.source, each.destination) for each in others]


def _result(kind: Kind, code: str, message: str, submission: str, task: str) -> Json:
    about = {"code": code, "message": message, "submission_id": submission, "task_id": task}
    return {"DATA_TYPE": f"{kind.lower()}_result", "request_id": uuid.uuid4().hex[:9], "resource": "", **about}


# -------------------------------------------------------------------------------------------------------------- tasks


@route("task", "GET", V + "/task/{task}")
def task(service: Service, call: Call) -> Json:
    return service.task(call).public()


@route("task_list", "GET", f"{V}/task_list")
def task_list(service: Service, _call: Call) -> Json:
    found = [each.public() for each in service.records.tasks.values()]
    return {"DATA_TYPE": "task_list", "DATA": found, "total": len(found), "limit": 1000, "offset": 0}


@route("cancel", "POST", V + "/task/{task}/cancel")
def cancel(service: Service, call: Call) -> Json:
    found = service.task(call)
    code = "TaskComplete" if found.completed_s else "Canceled"
    if not service.faults.deaf:
        service.records.end(found, "FAILED", "CANCELED", "The task was canceled")
    return {"DATA_TYPE": "result", "code": code, "message": code, "request_id": uuid.uuid4().hex[:9], "resource": ""}


@route("events", "GET", V + "/task/{task}/event_list")
def events(service: Service, call: Call) -> Json:
    found = list(reversed(service.task(call).events))  # the newest first
    if "is_error:1" in call.query.get("filter", ""):
        found = [event for event in found if event["is_error"]]
    limit, offset = int(call.query.get("limit", 10)), int(call.query.get("offset", 0))
    page = found[offset : offset + limit]
    return {"DATA_TYPE": "event_list", "DATA": page, "total": len(found), "limit": limit, "offset": offset}


@route("pause_info", "GET", V + "/task/{task}/pause_info")
def pause_info(service: Service, call: Call) -> Json:
    service.task(call)
    message = service.faults.paused
    return {
        "DATA_TYPE": "pause_info_limited",
        "pause_rules": [],
        "source_pause_message": None,
        "destination_pause_message": message,
    }


@route("successful_transfers", "GET", V + "/task/{task}/successful_transfers")
def successful_transfers(service: Service, call: Call) -> Json:
    """Files that were copied; not those that were there already."""
    found = service.task(call)
    if found.completed_s is None:
        message = f"Task '{found.id}' is still in progress, successful transfers are not yet available"
        raise RefusedError(400, "ClientError.BadRequest", message)
    rows = [
        {
            "DATA_TYPE": "successful_transfer",
            "source_path": item.source,
            "destination_path": item.destination,
            "size": item.size,
            "checksum": item.checksum,
            "checksum_algorithm": "MD5" if item.checksum else None,
            "dynamic": False,
        }
        for item in found.of("done")
    ]
    return _page("successful_transfers", rows, call)


@route("skipped_errors", "GET", V + "/task/{task}/skipped_errors")
def skipped_errors(service: Service, call: Call) -> Json:
    rows = [
        {
            "DATA_TYPE": "skipped_error",
            "source_path": item.source,
            "destination_path": item.destination,
            "error_code": item.error,
            "error_details": item.details,
            "error_time": iso(time.time()),
            "is_directory": False,
            "is_symlink": False,
            "is_delete_destination_extra": False,
        }
        for item in service.task(call).of("skipped")
    ]
    return _page("skipped_errors", rows, call)


def _page(kind: str, rows: list[Json], call: Call) -> Json:
    first = int(call.query.get("marker") or 0)
    following = first + PAGE if first + PAGE < len(rows) else None
    return {"DATA_TYPE": kind, "marker": first, "next_marker": following, "DATA": rows[first : first + PAGE]}


# -------------------------------------------------------------------------------------------------------- collections


@route("endpoint", "GET", V + "/endpoint/{collection}")
def endpoint(service: Service, call: Call) -> Json:
    name = call.path["collection"]
    folder = service.collections.folder(name)
    kind = "GCSv5_mapped_collection" if service.collections.about[name].get("consent") else "GCP_mapped_collection"
    return {"DATA_TYPE": "endpoint", "id": name, "display_name": folder.name, "entity_type": kind, "DATA": []}


@route("ls", "GET", V + "/operation/endpoint/{collection}/ls")
def ls(service: Service, call: Call) -> Json:
    name, asked = call.path["collection"], call.query.get("path") or "/~/"
    service.check_collection(name, call)
    if service.faults.disconnected and not service.collections.about[name].get("consent"):
        code = "ExternalError.DirListingFailed.GCDisconnected"
        raise RefusedError(502, code, "The Globus Connect Personal endpoint is not currently connected to Globus")
    folder = service.collections.path(name, asked)
    if not folder.is_dir():
        raise RefusedError(404, "ClientError.NotFound", f"Directory '{asked}' not found on endpoint '{name}'")
    home = service.collections.home(name)
    absolute = str(PurePosixPath(home, asked[2:].lstrip("/"))) if asked.startswith("/~") else asked
    rows = [
        {
            "DATA_TYPE": "file",
            "name": each.name,
            "type": "dir" if each.is_dir() else "file",
            "size": each.stat().st_size,
        }
        for each in sorted(folder.iterdir())
    ]
    limit = int(call.query.get("limit", 100_000))
    absolute_path = f"{absolute.rstrip('/')}/"
    return {"DATA_TYPE": "file_list", "path": asked, "absolute_path": absolute_path, "DATA": rows[:limit]}


# ----------------------------------------------------------------------------------------- for tests, and for a person


@route("faults", "POST", "/faults", signed_in=False)
def set_faults(service: Service, call: Call) -> Json:
    """``{"clear": true}``, ``{"hanging": true}``, ``{"refuse": {"status": 429, "times": 3}}``; ``{}`` to look."""
    faults = service.faults
    for name, value in call.json().items():
        if name == "clear":
            faults.clear()
            service.tokens_expired.clear()
            service.stats.clear()
        elif name == "refuse":
            faults.refuse(**value)
        elif name == "expire_tokens":
            service.tokens_expired |= service.tokens_seen
        elif name == "forget_tasks":
            service.records.forget()
        elif name == "cancel_as_admin":
            for each in list(service.records.tasks.values()):
                if each.completed_s is None:
                    service.records.set(each, cancelled_by_admin=value)
                    service.records.end(each, "FAILED", "CANCELED", "The task was canceled by an administrator")
        elif hasattr(faults, name):
            setattr(faults, name, value)
        else:
            raise RefusedError(400, "BadRequest", f"There is no fault named {name!r}")
    return asdict(faults)


@route("faults", "GET", "/requests", signed_in=False)
def requests(service: Service, _call: Call) -> Json:
    return {"requests": [asdict(each) for each in service.stats.requests]}


@route("faults", "POST", "/collections", signed_in=False)
def set_collections(service: Service, call: Call) -> Json:
    service.collections.about.update(call.json())
    return service.collections.about


# ---------------------------------------------------------------------------------------------------- the web server


def application(service: Service) -> Starlette:
    def answering(kind: str, signed_in: bool, handler: Handler) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            call = Call(request, await request.body())
            response = await run_in_threadpool(_answer, service, call, kind, signed_in, handler)
            if kind != "faults":
                service.stats.add(kind, response.status_code, len(call.body))
            return response

        return answer

    return Starlette(
        routes=[
            Route(path, answering(kind, signed_in, handler), methods=[method])
            for kind, method, path, signed_in, handler in ROUTES
        ]
    )


def _answer(service: Service, call: Call, kind: str, signed_in: bool, handler: Handler) -> Response:
    try:
        _admit(service, call, kind, signed_in)
        return JSONResponse(handler(service, call))
    except RefusedPathError as error:
        refused = RefusedError(404, "EndpointNotFound", str(error))
    except RefusedError as error:
        refused = error
    headers = {} if refused.retry_after_s is None else {"Retry-After": str(refused.retry_after_s)}
    return JSONResponse(refused.body, status_code=refused.status, headers=headers)


def _admit(service: Service, call: Call, kind: str, signed_in: bool) -> None:
    if kind == "faults":
        return
    if refusal := service.faults.take_refusal(kind):
        refused = RefusedError(refusal.status, CODES.get(refusal.status, "Refused"), "Refused on purpose")
        refused.retry_after_s = refusal.retry_after_s
        raise refused
    if signed_in:
        service.tokens_seen.add(call.token)
        if not call.token or call.token in service.tokens_expired:
            raise RefusedError(401, "AuthenticationFailed", "Token is not active")


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    uvicorn.run(application(Service(folder)), host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
