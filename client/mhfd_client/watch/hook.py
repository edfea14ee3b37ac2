"""A listener for microscopes that say when a tile is finished, as SBEMimage does: POST .../tile/completed.

SBEMimage waits for the answer without a limit, and pauses the acquisition when there is none. So every request is
answered at once, before it is acted on; no file is opened here.

Only programs are meant to call. A page in a browser is refused, by its Origin, or by a Host that is not this machine's
(a name made to point here, "DNS rebinding"). Of many connections at once the oldest are cut: a microscope's own lasts
milliseconds, so no one can keep it out by holding connections open.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import os
import queue
import socket
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from mhfd.contract import ExitCode, MhfdError
from mhfd_client.config.address import parse_listen

MAX_PATH = 4096
KEPT_BYTES = 65_536  # of a request's body; a tile's message has some 300
READ_BYTES = 64 * 2**20  # most that is read and dropped: a sender reads the answer only after that
CONNECTIONS = 64  # at once; the oldest are cut for newer ones
PENDING = 1000  # calls that wait while `on_completed` is busy; beyond, a scan is due anyway

log = logging.getLogger(__name__)

Told = tuple[str | None]  # one message: the path sent with it


class HookError(MhfdError):
    """The listener cannot be started; the message says what to change."""

    exit_code = ExitCode.CONFIG


class Hook:
    """Listens from `start` to `close`; also a context manager.

    Parameters
    ----------
    listen : "HOST:PORT"; port 0 takes a free one
    on_completed : called in a thread of its own, one call at a time, with the path as it was sent,
        or None where none was sent. It may take its time.

    Raises
    ------
    HookError
        The address is not valid, or not free.
    """

    def __init__(self, listen: str, on_completed: Callable[[str | None], None]) -> None:
        self._on_completed = on_completed
        self._told: queue.SimpleQueue[Told | None] = queue.SimpleQueue()
        self._closed = False
        address = parse_listen(listen)
        try:
            self._server = _Server(address, self._told)
        except (OSError, OverflowError) as error:
            raise HookError(
                f"cannot listen at {listen}: {error}. Close the program that does, or choose another port"
            ) from error
        self._threads = (
            threading.Thread(target=self._server.serve_forever, args=(0.05,), name="mhfd-hook", daemon=True),
            threading.Thread(target=self._tell, name="mhfd-hook-calls", daemon=True),
        )

    @property
    def url(self) -> str:
        """The URL to enter in the microscope's program."""
        host, port = self._server.server_address[:2]
        return f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"

    def start(self) -> Hook:
        for thread in self._threads:
            thread.start()
        return self

    def close(self) -> None:
        """Stop listening; wait at most a second for a call of `on_completed` that is under way."""
        listener, calls = self._threads
        if listener.is_alive():
            self._server.shutdown()
        self._server.server_close()
        self._closed = True  # messages that wait are dropped: no scan follows
        self._told.put(None)
        if calls.is_alive():
            calls.join(1.0)

    def __enter__(self) -> Hook:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _tell(self) -> None:
        while (told := self._told.get()) is not None and not self._closed:
            self._tell_one(told[0])

    def _tell_one(self, path: str | None) -> None:
        try:
            self._on_completed(path)
        except Exception:  # someone else's code: the listener outlives its faults, and the next scan finds the tile
            log.exception("a finished tile could not be taken up at once")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = os.name != "nt"  # there it would let two programs listen at one port
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], told: queue.SimpleQueue[Told | None]) -> None:
        self.told = told
        self.listens_at = address[0]
        self._open: dict[socket.socket, None] = {}  # oldest first
        self._opening = threading.Lock()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's also looks up our host name: seconds

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._opening:
            stale = next(iter(self._open)) if len(self._open) >= CONNECTIONS else None
            if stale is not None:
                del self._open[stale]
                with contextlib.suppress(OSError):  # its own thread may have closed it just now
                    stale.shutdown(socket.SHUT_RDWR)
            self._open[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._opening:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        log.debug("a request from %s failed", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 5.0  # of silence; a sender that stops halfway is dropped
    server_version, sys_version = "mhfd", ""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self._body()
        refused = refusal(self.headers.get("Host"), self.headers.get("Origin"), self.server.listens_at)
        if refused is not None:
            self._reply(403, {"error": refused})
            return
        address, _, query = self.path.partition("?")
        route = unquote(address).rstrip("/")
        completed = route.endswith("/tile/completed")
        if completed or "/project/" in route:  # SBEMimage's other messages: it only needs an answer
            self._reply(200, {})
        else:
            self._reply(404, {"error": "POST to /tile/completed, or GET /tile/completed?path=..."})
        if completed and self.server.told.qsize() < PENDING:
            self.server.told.put((told_path(query, body),))

    def _body(self) -> bytes:
        """The body's first bytes; the rest is read, too, or closing would cut the sender off from the answer."""
        length = self.headers.get("Content-Length", "")
        left = min(int(length), READ_BYTES) if length.isdecimal() and len(length) < 20 else 0
        body = self.rfile.read(min(left, KEPT_BYTES))
        left -= KEPT_BYTES
        while left > 0 and (chunk := self.rfile.read(min(left, KEPT_BYTES))):
            left -= len(chunk)
        return body

    def _reply(self, status: int, said: dict[str, str]) -> None:
        text = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the base class's
        log.debug(format, *args)


def refusal(host: str | None, origin: str | None, listens_at: str) -> str | None:
    """Why a request with these headers is not from a program that was given our address; None where it may be.

    Host must be an address, "localhost", this machine's name, or the name that we listen at. An Origin is sent by
    browsers alone, for a page's script or form.
    """
    if origin is not None:
        return "requests from web pages are not taken"
    if host is None:  # HTTP/1.0
        return None
    try:
        name = (urlsplit("//" + host).hostname or "").rstrip(".")
    except ValueError:
        name = ""
    ours = {"localhost", listens_at.lower(), socket.gethostname().lower()}
    if name in ours or _is_address(name):
        return None
    return "the Host header names another machine: enter this machine's address or host name"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


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
