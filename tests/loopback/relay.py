"""A TCP relay between the clients and the broker, so that a test can cut the result stream without harming the rest."""

from __future__ import annotations

import asyncio
import contextlib

CHUNK_BYTES = 256 * 1024


class Relay:
    """Forwards each connection to `target_port`; all calls but `cut` and `refusing` belong to the event loop."""

    def __init__(self, port: int, target_port: int) -> None:
        self.port = port
        self.target_port = target_port
        self.refusing = False  # True: new connections are closed at once
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", self.port, limit=CHUNK_BYTES)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self._close_all()
        await asyncio.sleep(0)  # the copying tasks see the end of their streams

    def cut(self) -> None:
        """Close every open connection; from any thread, and at once."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._close_all)

    def _close_all(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(writer.close)
            if self.refusing:
                return
            try:
                onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
            except OSError:
                return  # the broker is down: the client sees its connection closed
            stack.callback(onward_writer.close)
            ends = {writer, onward_writer}
            self._open |= ends
            stack.callback(self._open.difference_update, ends)
            copies = [
                asyncio.ensure_future(_copy(reader, onward_writer)),
                asyncio.ensure_future(_copy(onward_reader, writer)),
            ]
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
            for each in ends:
                each.transport.abort()
            await asyncio.wait(copies)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # either end closed, or cut
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
