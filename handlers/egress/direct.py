"""Requests over aiohttp's own connections, with the request written here and plain answers read here.

aiohttp's request path makes up most of what a POST costs (docs/benchmark.md); its handshakes and its parser of what is
not plain do not.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import ssl
from dataclasses import dataclass
from weakref import WeakValueDictionary

from aiohttp.client_reqrep import ClientRequest, ConnectionKey
from yarl import URL

from handlers.egress.connection import Answered, Receiving
from handlers.egress.connector import Connector
from handlers.egress.deadlines import Deadlines
from handlers.egress.exchange import MAX_UNSENT, Over, Request
from handlers.egress.kept import Kept, Line
from handlers.wire import request as wire

logger = logging.getLogger(__name__)

MAX_TARGETS = 4_096
#: More requests do not wait for each other: an attempt is under way from when it has begun.
MAX_BEGUN = 32


@dataclass(frozen=True, slots=True)
class Target:
    """A URL as connections are asked for it, and the lines that every request to it begins with."""

    dial: ClientRequest
    line: Line
    path: str
    lines: str


class DirectExchange:
    """See `Exchange`.

    Requests are written together, and answers are told together: what is done for one of them is quick when it has just
    been done for another.
    """

    def __init__(self, pool: Connector) -> None:
        self.pool = pool
        self.kept = Kept(pool.let_go)
        self.deadlines = Deadlines()
        self._target = functools.lru_cache(MAX_TARGETS)(self._make_target)
        #: By where they lead; as long as somebody knows them.
        self._lines: WeakValueDictionary[ConnectionKey, Line] = WeakValueDictionary()
        self._begun: list[Sent] = []
        self._come: list[Sent] = []

    async def close(self) -> None:
        """See `Exchange.close`."""
        self.kept.close()
        await self.pool.close()

    def begin(self, url: URL, request: Request, over: Over) -> Sent:
        """See `Exchange.begin`."""
        target = self._target(request.url, request.context)
        sent = Sent(self, target, _write(target, request), request, over)
        self._begun.append(sent)
        if len(self._begun) == MAX_BEGUN:
            self.flush()
        return sent

    def flush(self) -> None:
        """See `Exchange.flush`. Written at once where a connection has been kept."""
        begun, self._begun = self._begun, []
        for sent in begun:
            sent.go()

    def come(self, sent: Sent) -> None:
        """Its answer has come."""
        if not self._come:
            asyncio.get_running_loop().call_soon(self._tell)
        self._come.append(sent)

    def _tell(self) -> None:
        come, self._come = self._come, []
        for sent in come:
            try:
                sent.tell()
            except Exception:  # the others are told nevertheless
                logger.exception("answer.faulted")

    def _make_target(self, text: str, context: ssl.SSLContext | None) -> Target:
        url = URL(text)
        dial = ClientRequest("GET", url, loop=asyncio.get_running_loop(), ssl=context if context is not None else True)
        named = ((name.lower(), dial.headers.get(name)) for name in ("Host", "Authorization"))
        lines = "".join(f"{name}: {value}\r\n" for name, value in named if value is not None)
        line = self._lines.setdefault(dial.connection_key, Line())
        return Target(dial, line, url.raw_path_qs, lines)


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

    __slots__ = (
        "_answered",
        "_connecting",
        "_exchange",
        "_limit",
        "_over",
        "_protocol",
        "_target",
        "_timeout_ms",
        "_written",
    )

    def __init__(self, exchange: DirectExchange, target: Target, written: bytes, request: Request, over: Over) -> None:
        self._exchange = exchange
        self._target = target
        self._written = written
        self._timeout_ms = request.timeout_ms
        self._limit = request.max_answer_bytes
        self._over: Over | None = over
        self._connecting: asyncio.Task[None] | None = None
        self._protocol: Receiving | None = None
        self._answered: Answered | None = None
        exchange.deadlines.add(self, request.timeout_ms)

    def go(self) -> None:
        """Write it, now or when there is a connection."""
        if self._over is None:
            return
        try:
            protocol = self._exchange.kept.take(self._target.line)
            if protocol is not None:
                self._ask(protocol)
            else:
                self._connecting = asyncio.get_running_loop().create_task(self._connect())
        except Exception as problem:  # the others go nevertheless
            self._answer(problem)

    def cancel(self) -> None:
        """See `Running.cancel`."""
        self._over = None
        self._exchange.deadlines.remove(self, self._timeout_ms)
        if self._connecting is not None:
            self._connecting.cancel()
        if self._protocol is not None:
            self._let_go(keep=False)

    def _ask(self, protocol: Receiving) -> None:
        written, self._written = self._written, b""
        self._protocol = protocol
        protocol.ask(written, self._limit, self._answer)

    async def _connect(self) -> None:
        try:
            for _ in range(MAX_UNSENT):
                protocol = await self._exchange.pool.dial(self._target.dial)
                if protocol.takes_a_request():
                    self._ask(protocol)
                    return
                self._exchange.pool.let_go(protocol)
            raise ConnectionResetError("the connection was closed before the request")
        except Exception as problem:
            self._end(problem)

    def _answer(self, answered: Answered) -> None:
        self._answered = answered
        self._exchange.come(self)

    def tell(self) -> None:
        """Say what has come, unless it has been given up meanwhile."""
        assert self._answered is not None
        if self._protocol is not None:
            self._let_go(keep=not isinstance(self._answered, Exception) and self._protocol.is_at_its_end)
        self._end(self._answered)

    def late(self) -> None:
        """See `Bounded.late`. An answer that has come by then counts."""
        over = self._over
        if self._answered is None and over is not None:
            self.cancel()
            over(TimeoutError())

    def _let_go(self, *, keep: bool) -> None:
        protocol, self._protocol = self._protocol, None
        assert protocol is not None
        if keep:
            self._exchange.kept.keep(self._target.line, protocol)
        else:
            self._exchange.pool.let_go(protocol)

    def _end(self, answered: Answered) -> None:
        self._exchange.deadlines.remove(self, self._timeout_ms)
        over, self._over = self._over, None
        if over is not None:
            over(answered)
