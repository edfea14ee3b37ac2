"""uvicorn in a thread: listens when it is made, answers from `start` to `close`.

Of many connections at once the oldest idle ones are cut, and so is one that is silent in the middle of a request: a
program's own question lasts milliseconds, so no one can keep others out by holding connections open.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from mhfd_client.serving import ServingError

CONNECTIONS = 64
"""Idle ones at once."""

SILENT_S = 5.0
"""Within this a request must be there as a whole."""

CLOSE_S = 1.0
START_S = 10.0
BACKLOG = 128


@dataclass(frozen=True)
class Certificate:
    """For TLS: files in PEM."""

    cert: Path
    key: Path


class Server:
    """Serves an app at an address; also a context manager.

    Parameters
    ----------
    address : host and port; port 0 takes a free one
    certificate : speak TLS

    Raises
    ------
    ServingError
        The address is not valid or not free, or the certificate cannot be used.
    """

    def __init__(self, app: ASGIApp, address: tuple[str, int], certificate: Certificate | None = None) -> None:
        self._socket = _bound(address)
        self._secure = certificate is not None
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=int(SILENT_S),
            timeout_graceful_shutdown=int(CLOSE_S),
            ssl_certfile=str(certificate.cert) if certificate else None,
            ssl_keyfile=str(certificate.key) if certificate else None,
        )
        try:
            config.load()
        except (OSError, ValueError) as error:
            self._socket.close()
            raise ServingError(
                f"the certificate cannot be used: {error}; --tls-cert and --tls-key are PEM files"
            ) from error
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._run, name="mhfd-server", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    @property
    def url(self) -> str:
        """The URL of the server, without a path."""
        host, port = self.address
        return f"{'https' if self._secure else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    def start(self) -> Server:
        self._thread.start()
        self._server.ready.wait(START_S)
        return self

    def close(self) -> None:
        """Stop listening, and cut connections that have not ended after a second."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(CLOSE_S + 2.0)
        self._socket.close()

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        asyncio.run(self._server.serve([self._socket]))


class _Server(uvicorn.Server):
    """Says when it answers, and leaves the process's signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


class _Protocol(H11Protocol):
    """One connection."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watched: asyncio.TimerHandle | None = None
        self._expect_request()
        self._opened_s = self.loop.time()
        idle = [each for each in self.connections if isinstance(each, _Protocol) and each.is_idle]
        for each in sorted(idle, key=lambda each: each._opened_s)[: max(0, len(idle) - CONNECTIONS)]:
            each.transport.close()

    def data_received(self, data: bytes) -> None:
        if self._watched is None:
            self._expect_request()
        super().data_received(data)
        if not self.is_idle:
            self._stop_watching()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    @property
    def is_idle(self) -> bool:
        """True without a request that is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _expect_request(self) -> None:
        self._watched = self.loop.call_later(SILENT_S, self._cut_if_idle)

    def _stop_watching(self) -> None:
        if self._watched is not None:
            self._watched.cancel()
            self._watched = None

    def _cut_if_idle(self) -> None:
        self._watched = None
        if self.is_idle and not self.transport.is_closing():
            self.transport.close()


def _bound(address: tuple[str, int]) -> socket.socket:
    host, port = address
    listening: socket.socket | None = None
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        if os.name != "nt":  # there it would let two programs listen at one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen(BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        if listening is not None:
            listening.close()
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise ServingError(
            f"cannot listen at {shown}: {error}. Close the program that does, or choose another port"
        ) from error
    return listening
