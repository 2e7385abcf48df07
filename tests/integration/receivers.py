"""Raw sockets that answer as they are told, for tests of the client: bytes, pauses, and ends of every kind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

BODY = b"{}"
#: A zero linger time makes the end of a connection a reset.
LINGER_0 = b"\x01\x00\x00\x00\x00\x00\x00\x00"


@asynccontextmanager
async def serving(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a receiver. A connection is closed when `serve` returns."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def answering(*parts: bytes, pause_s: float = 0.0, hold: bool = True) -> Serve:
    """Reads a request, answers with the parts, and waits for the other side to close (`hold`) or closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n" + BODY)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_s)
        if hold:
            await reader.read()
        else:
            writer.close()
            await writer.wait_closed()

    return serve


def endless(first: bytes, more: bytes | Iterable[bytes], pause_s: float = 0.0, sent: list[int] | None = None) -> Serve:
    """Reads a request, answers with `first`, and goes on with `more` until the other side closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n" + BODY)
        writer.write(first)
        for part in iter(lambda: more, None) if isinstance(more, bytes) else more:
            writer.write(part)
            await writer.drain()
            if sent is not None:
                sent[0] += len(part)
            await asyncio.sleep(pause_s)

    return serve


def resetting(first: bytes, *, reads: bool = True) -> Serve:
    """Answers with `first` and resets the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if reads:
            await reader.readuntil(b"\r\n\r\n" + BODY)
        if first:
            writer.write(first)
            await writer.drain()
            await asyncio.sleep(0.05)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)

    return serve


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads, and never answers."""
    await reader.read()


class Deaf:
    """Accepts one connection, does not read before it is told to, and then counts what comes until the end."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._may_read = threading.Event()
        self._got = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        self.port: int = self._listener.getsockname()[1]

    def read(self) -> int:
        """How many bytes came."""
        self._may_read.set()
        self._thread.join(30)
        self._listener.close()
        assert not self._thread.is_alive(), "the connection did not end"
        return self._got

    def _serve(self) -> None:
        accepted, _ = self._listener.accept()
        if self._context is not None:
            accepted = self._context.wrap_socket(accepted, server_side=True)
        with accepted, contextlib.suppress(OSError):
            self._may_read.wait(30)
            while chunk := accepted.recv(1 << 20):
                self._got += len(chunk)
