"""Requests over aiohttp's own connections and parser, with the request written here.

aiohttp's request path makes up most of what a POST costs (docs/benchmark.md); its pool, its handshakes and its parser
do not.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import ClientTimeout
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from yarl import URL

from handlers.egress.connector import Connector, Receiving
from handlers.egress.exchange import MAX_UNSENT, Request

MAX_TARGETS = 4_096
#: The whole request has one deadline, elsewhere.
_NO_TIMEOUT = ClientTimeout(total=None, sock_connect=None)


@dataclass(frozen=True, slots=True)
class Target:
    """A URL as connections are asked for it, and the lines that every request to it begins with."""

    dial: ClientRequest
    path: str
    lines: str


class DirectExchange:
    """See `Exchange`."""

    def __init__(self, pool: Connector) -> None:
        self._pool = pool
        self._target = functools.lru_cache(MAX_TARGETS)(self._make_target)

    async def close(self) -> None:
        """See `Exchange.close`."""
        await self._pool.close()

    async def exchange(self, url: URL, request: Request) -> tuple[int, Mapping[str, str], bytes]:
        """See `Exchange.exchange`."""
        target = self._target(url, request.context)
        written = _write(target, request)
        for _ in range(MAX_UNSENT):
            connection = await self._pool.connect(target.dial, [], _NO_TIMEOUT)
            protocol = connection.protocol
            assert isinstance(protocol, Receiving)
            protocol.set_response_params(read_until_eof=True, auto_decompress=False)
            if protocol.takes_a_request():
                return await _exchange(connection, protocol, written, request)
            connection.close()
        raise ConnectionResetError("the connection was closed before the request")

    def _make_target(self, url: URL, context: ssl.SSLContext | None) -> Target:
        dial = ClientRequest("GET", url, loop=asyncio.get_running_loop(), ssl=context if context is not None else True)
        named = ((name.lower(), dial.headers.get(name)) for name in ("Host", "Authorization"))
        lines = "".join(f"{name}: {value}\r\n" for name, value in named if value is not None)
        return Target(dial, url.raw_path_qs, lines)


def _write(target: Target, request: Request) -> bytes:
    """The request's bytes. Raises ValueError where a header would be more than one."""
    lines = [f"{name}: {value}\r\n" for name, value in request.headers]
    if request.verb == "POST":
        lines.append(f"content-length: {len(request.body)}\r\n")
    text = "".join(lines)
    if text.count("\n") != len(lines) or text.count("\r") != len(lines) or "\0" in text:
        raise ValueError("a header has a line break in it")
    return f"{request.verb} {target.path} HTTP/1.1\r\n{target.lines}{text}\r\n".encode() + request.body


async def _exchange(
    connection: Connection, protocol: Receiving, written: bytes, request: Request
) -> tuple[int, Mapping[str, str], bytes]:
    try:
        transport = protocol.transport
        assert transport is not None
        transport.write(written)
        message, content = await protocol.read()
        while 100 <= message.code < 200 and message.code != 101:
            message, content = await protocol.read()
        answered = b""
        if not content.at_eof():
            answered = await content.read(request.max_answer_bytes)
            if not content.at_eof():
                gathered = bytearray(answered)
                limit = request.max_answer_bytes
                while len(gathered) < limit and (chunk := await content.read(limit - len(gathered))):
                    gathered += chunk
                answered = bytes(gathered)
    except BaseException:
        connection.close()
        raise
    # A receiver that has answered before it had read everything may not read the rest, ever.
    if content.at_eof() and (protocol.transport is None or not protocol.transport.get_write_buffer_size()):
        connection.release()
    else:
        connection.close()
    return message.code, message.headers, answered
