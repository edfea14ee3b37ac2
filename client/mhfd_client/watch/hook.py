"""A listener for microscopes that say when a tile is finished, as SBEMimage does: POST .../tile/completed.

SBEMimage waits for the answer without a limit, and pauses the acquisition when there is none. So every request is
answered at once, before it is acted on; no file is opened here.

Only programs are meant to call. A page in a browser is refused, by its Origin, or by a Host that is not this machine's
(a name made to point here, "DNS rebinding").
"""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import threading
from collections.abc import Callable
from types import TracebackType
from urllib.parse import parse_qs, unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mhfd_client.config.address import parse_listen
from mhfd_client.serving.hosts import Names
from mhfd_client.serving.server import Server

MAX_PATH = 4096
KEPT_BYTES = 65_536  # of a request's body; a tile's message has some 300
READ_BYTES = 64 * 2**20  # most that is read and dropped: a sender reads the answer only after that
SILENT_S = 5.0  # a sender that stops halfway is dropped
PENDING = 1000  # calls that wait while `on_completed` is busy; beyond, a scan is due anyway

COMPLETED, OTHERS = "/tile/completed", "/project/"
"""How the path of a finished tile's message ends; and what those of SBEMimage's other messages hold."""

log = logging.getLogger(__name__)

Told = tuple[str | None]  # one message: the path sent with it


class Calls:
    """Calls that wait for their turn; also a context manager.

    Parameters
    ----------
    on_completed : called in a thread of its own, one call at a time, with the path as it was sent,
        or None where none was sent. It may take its time.
    """

    def __init__(self, on_completed: Callable[[str | None], None]) -> None:
        self._on_completed = on_completed
        self._told: queue.SimpleQueue[Told | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._tell, name="mhfd-hook-calls", daemon=True)

    def put(self, path: str | None) -> None:
        """Have a call made; dropped where too many wait."""
        if self._told.qsize() < PENDING:
            self._told.put((path,))

    def __enter__(self) -> Calls:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait at most a second for a call that is under way; those that wait are dropped: no scan follows."""
        self._closed = True
        self._told.put(None)
        self._thread.join(1.0)

    def _tell(self) -> None:
        while (told := self._told.get()) is not None and not self._closed:
            self._tell_one(told[0])

    def _tell_one(self, path: str | None) -> None:
        try:
            self._on_completed(path)
        except Exception:  # someone else's code: the listener outlives its faults, and the next scan finds the tile
            log.exception("a finished tile could not be taken up at once")


class Hook:
    """Listens from `start` to `close`; also a context manager.

    Parameters
    ----------
    listen : "HOST:PORT"; port 0 takes a free one
    on_completed : see `Calls`

    Raises
    ------
    ServingError
        The address is not valid, or not free.
    """

    def __init__(self, listen: str, on_completed: Callable[[str | None], None]) -> None:
        address = parse_listen(listen)
        self._calls = Calls(on_completed)
        app = Starlette(routes=hook_routes(self._calls, address[0]))
        self._server = Server(app, address)
        self._calls_began = False

    @property
    def url(self) -> str:
        """The URL to enter in the microscope's program."""
        return self._server.url

    def start(self) -> Hook:
        self._calls.__enter__()
        self._calls_began = True
        self._server.start()
        return self

    def close(self) -> None:
        """Stop listening; wait at most a second for a call of `on_completed` that is under way."""
        self._server.close()
        if self._calls_began:
            self._calls_began = False
            self._calls.__exit__(None, None, None)

    def __enter__(self) -> Hook:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def hook_routes(calls: Calls, listens_at: str) -> list[Route]:
    """The route for a microscope's messages, to be put after all others: it takes every path.

    Parameters
    ----------
    listens_at : the host of the server
    """

    async def answer(request: Request) -> Response:
        body = await _body(request)
        if (refused := refusal(request.headers.get("host"), request.headers.get("origin"), listens_at)) is not None:
            return JSONResponse({"error": refused}, 403)
        path = unquote(request.url.path).rstrip("/")
        if path.endswith(COMPLETED):
            calls.put(told_path(request.url.query, body))
        elif OTHERS not in path:  # SBEMimage's other messages only need an answer
            return JSONResponse({"error": f"POST to {COMPLETED}, or GET {COMPLETED}?path=..."}, 404)
        return JSONResponse({})

    return [Route("/{path:path}", answer, methods=["GET", "POST", "PUT"])]


async def _body(request: Request) -> bytes:
    """The body's first bytes; the rest is read, too, or closing would cut the sender off from the answer."""
    kept, n = b"", 0
    chunks = request.stream()
    try:
        while n < READ_BYTES and (chunk := await asyncio.wait_for(anext(chunks, b""), SILENT_S)):
            n += len(chunk)
            kept = (kept + chunk)[:KEPT_BYTES]
    except asyncio.TimeoutError:
        raise HTTPException(408) from None
    except ClientDisconnect:
        raise HTTPException(400) from None
    return kept


def refusal(host: str | None, origin: str | None, listens_at: str) -> str | None:
    """Why a request with these headers is not from a program that was given our address; None where it may be.

    Host must be an address, "localhost", this machine's name, or the name that we listen at. An Origin is sent by
    browsers alone, for a page's script or form.
    """
    if origin is not None:
        return "requests from web pages are not taken"
    if host is not None and not Names(listens_at).has(host):  # HTTP/1.0 sends none
        return "the Host header names another machine: enter this machine's address or host name"
    return None


def told_path(query: str, body: bytes) -> str | None:
    """The tile's path from a JSON object's "filename" (SBEMimage) or "path", or from the address's ?path=."""
    try:
        sent = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        sent = {}
    named = {key: values[-1] for key, values in parse_qs(query, errors="surrogateescape").items()}
    for given in (sent if isinstance(sent, dict) else {}, named):
        for key in ("filename", "path"):
            path = given.get(key)
            if isinstance(path, str) and path and len(path) <= MAX_PATH and path.isprintable():
                return path
    return None
