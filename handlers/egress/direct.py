"""Requests over aiohttp's own connections, with the request written here and plain answers read here.

aiohttp's request path makes up most of what a POST costs (docs/benchmark.md); its pool, its handshakes and its parser
of what is not plain do not.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from dataclasses import dataclass

from aiohttp.client_reqrep import ClientRequest, ConnectionKey
from yarl import URL

from handlers.egress.connection import Answered, Receiving
from handlers.egress.connector import Connector
from handlers.egress.deadlines import Deadlines
from handlers.egress.exchange import MAX_UNSENT, Over, Request
from handlers.wire import request as wire

MAX_TARGETS = 4_096


@dataclass(frozen=True, slots=True)
class Target:
    """A URL as connections are asked for it, and the lines that every request to it begins with."""

    dial: ClientRequest
    key: ConnectionKey
    path: str
    lines: str


class DirectExchange:
    """See `Exchange`."""

    def __init__(self, pool: Connector) -> None:
        self._pool = pool
        self._deadlines = Deadlines()
        self._target = functools.lru_cache(MAX_TARGETS)(self._make_target)

    async def close(self) -> None:
        """See `Exchange.close`."""
        await self._pool.close()

    def begin(self, url: URL, request: Request, over: Over) -> Sent:
        """See `Exchange.begin`. Written at once where a connection has been kept."""
        target = self._target(request.url, request.context)
        return Sent(self._pool, self._deadlines, target, _write(target, request), request, over)

    def _make_target(self, text: str, context: ssl.SSLContext | None) -> Target:
        url = URL(text)
        dial = ClientRequest("GET", url, loop=asyncio.get_running_loop(), ssl=context if context is not None else True)
        named = ((name.lower(), dial.headers.get(name)) for name in ("Host", "Authorization"))
        lines = "".join(f"{name}: {value}\r\n" for name, value in named if value is not None)
        return Target(dial, dial.connection_key, url.raw_path_qs, lines)


def _write(target: Target, request: Request) -> bytes:
    """The request's bytes. Raises ValueError where a header would be more than one."""
    lines = request.lines
    if request.headers:
        own = [f"{name}: {value}\r\n" for name, value in request.headers]
        wire.refuse_breaks("".join(own), len(own))
        lines += "".join(own)
    if request.verb == "POST":
        lines += f"content-length: {len(request.body)}\r\n"
    return f"{request.verb} {target.path} HTTP/1.1\r\n{target.lines}{lines}\r\n".encode() + request.body


class Sent:
    """One request under way: over a connection that was kept, or else over one that is made for it."""

    __slots__ = ("_connecting", "_deadlines", "_limit", "_over", "_pool", "_protocol", "_target", "_timeout_ms")

    def __init__(
        self, pool: Connector, deadlines: Deadlines, target: Target, written: bytes, request: Request, over: Over
    ) -> None:
        self._pool = pool
        self._deadlines = deadlines
        self._timeout_ms = request.timeout_ms
        self._target = target
        self._limit = request.max_answer_bytes
        self._over: Over | None = over
        self._connecting: asyncio.Task[None] | None = None
        self._protocol = pool.take(target.key)
        if self._protocol is not None:
            self._protocol.ask(written, self._limit, self._answered)
        else:
            self._connecting = asyncio.get_running_loop().create_task(self._connect(written))
        deadlines.add(self, request.timeout_ms)

    def cancel(self) -> None:
        """See `Running.cancel`."""
        self._over = None
        self._deadlines.remove(self, self._timeout_ms)
        if self._connecting is not None:
            self._connecting.cancel()
        if self._protocol is not None:
            self._let_go(keep=False)

    async def _connect(self, written: bytes) -> None:
        try:
            for _ in range(MAX_UNSENT):
                self._protocol = await self._pool.dial(self._target.dial)
                if self._protocol.takes_a_request():
                    self._protocol.ask(written, self._limit, self._answered)
                    return
                self._let_go(keep=False)
            raise ConnectionResetError("the connection was closed before the request")
        except Exception as problem:
            self._end(problem)

    def _answered(self, answered: Answered) -> None:
        assert self._protocol is not None
        self._let_go(keep=not isinstance(answered, Exception) and self._protocol.is_at_its_end)
        self._end(answered)

    def late(self) -> None:
        """See `Bounded.late`."""
        over = self._over
        self.cancel()
        if over is not None:
            over(TimeoutError())

    def _let_go(self, *, keep: bool) -> None:
        protocol, self._protocol = self._protocol, None
        assert isinstance(protocol, Receiving)
        self._pool.give_back(self._target.key, protocol, keep=keep)

    def _end(self, answered: Answered) -> None:
        self._deadlines.remove(self, self._timeout_ms)
        over, self._over = self._over, None
        if over is not None:
            over(answered)
