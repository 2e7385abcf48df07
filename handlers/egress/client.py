"""One HTTP request within one deadline, and what it ended with. No redirect is followed, no cookie is kept."""

from __future__ import annotations

import asyncio
import errno
import functools
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType, TracebackType
from typing import NamedTuple, Self

import aiohttp
from yarl import URL

from handlers.egress.connection import Answered
from handlers.egress.connector import Connector, OutOfReach
from handlers.egress.direct import DirectExchange
from handlers.egress.exchange import Exchange, Over, Request, Running
from handlers.egress.resolver import Blocked
from handlers.egress.session import SessionExchange
from handlers.wire import outcome
from handlers.wire.outcome import Outcome
from schemas.results import ErrorKind
from schemas.settings import EgressSettings
from streams.core import addresses
from streams.lane import clock

#: What `HOOKFOLD_HTTP_CLIENT` selects.
EXCHANGES: dict[str, Callable[[Connector], Exchange]] = {"direct": DirectExchange, "session": SessionExchange}
#: URLs whose check is remembered.
MAX_URLS = 4_096

#: By type, the most special first; a type that is not here is a fault of our own and costs the receiver no attempt.
ERROR_KINDS: tuple[tuple[type[BaseException], ErrorKind], ...] = (
    (Blocked, ErrorKind.BLOCKED),
    (OutOfReach, ErrorKind.BLOCKED),
    (TimeoutError, ErrorKind.TIMEOUT),
    (aiohttp.ClientSSLError, ErrorKind.TLS),
    (aiohttp.ServerFingerprintMismatch, ErrorKind.TLS),
    (ssl.SSLError, ErrorKind.TLS),
    (aiohttp.ServerDisconnectedError, ErrorKind.RESET),
    (aiohttp.ClientOSError, ErrorKind.RESET),
    (ConnectionRefusedError, ErrorKind.REFUSED),
    (ConnectionError, ErrorKind.RESET),
    (aiohttp.ClientPayloadError, ErrorKind.RESET),
    (aiohttp.ClientResponseError, ErrorKind.PROTOCOL),
    (aiohttp.InvalidURL, ErrorKind.PROTOCOL),
    (aiohttp.http_exceptions.HttpProcessingError, ErrorKind.PROTOCOL),
    # A request that cannot be written will never be; it must not be put off for ever.
    (ValueError, ErrorKind.PROTOCOL),
)
#: What this machine lacks when it cannot connect or resolve a name.
OUR_ERRNOS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
OUR_DNS_ERRNOS = OUR_ERRNOS | {socket.EAI_MEMORY, socket.EAI_SYSTEM}


class Answer(NamedTuple):
    """What came back: the outcome, and where there was an answer its headers and the beginning of its body."""

    outcome: Outcome
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""


class Client:
    """Sends requests over pooled connections."""

    def __init__(self, settings: EgressSettings) -> None:
        self._allow_http = settings.allow_http
        self._allowed = settings.allowed_networks
        self._make: Callable[[Connector], Exchange] = EXCHANGES[settings.http_client]
        self._checked = functools.lru_cache(MAX_URLS)(self._check)
        self._exchange: Exchange | None = None

    async def __aenter__(self) -> Self:
        self._exchange = self._make(Connector(self._allowed))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._exchange is not None:
            await self._exchange.close()

    def begin(self, request: Request, over: Over) -> Running | None:
        """Send it, by the next `flush` at the latest; `over` is told what came, after this has returned."""
        assert self._exchange is not None
        try:
            return self._exchange.begin(self._checked(request.url), request, over)
        except Exception as problem:
            asyncio.get_running_loop().call_soon(over, problem)
            return None

    def flush(self) -> None:
        """Send all that has been begun."""
        assert self._exchange is not None
        self._exchange.flush()

    async def send(self, request: Request) -> Answer:
        """The answer. Raises only what is not the receiver's fault."""
        ended: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        began_s = time.monotonic()

        def tell(came: Answered) -> None:
            if not ended.done():
                ended.set_result(came)

        running = self.begin(request, tell)
        self.flush()
        try:
            came = await ended
        finally:
            if running is not None and not ended.done():
                running.cancel()
        classified = outcome_of(came, began_s)
        return Answer(classified) if isinstance(came, Exception) else Answer(classified, came[1], came[2])

    def _check(self, text: str) -> URL:
        """The URL, parsed. Raises `Blocked`: aiohttp dials a literal address without asking the resolver."""
        if addresses.refuse_url(text, allow_http=self._allow_http, allowed=self._allowed) is not None:
            raise Blocked(text)
        return URL(text)


def outcome_of(came: Answered, began_s: float) -> Outcome:
    """What came of a request that began at a monotonic time. Raises what is not the receiver's fault."""
    latency_ms = int((time.monotonic() - began_s) * 1000)
    if isinstance(came, Exception):
        kind = kind_of(came)
        if kind is None:
            raise came
        return outcome.classify_failure(kind, latency_ms=latency_ms)
    status, headers, body = came
    now_ms = clock.now_ms() if "retry-after" in headers else 0
    return outcome.classify_response(status, headers, body, latency_ms=latency_ms, now_ms=now_ms)


def kind_of(problem: BaseException) -> ErrorKind | None:
    """The kind of a failed attempt; None where it is not the receiver's."""
    if isinstance(problem, aiohttp.ClientConnectorDNSError):
        return None if problem.os_error.errno in OUR_DNS_ERRNOS else ErrorKind.DNS
    if isinstance(problem, aiohttp.ClientConnectorError) and not isinstance(problem, aiohttp.ClientSSLError):
        if problem.os_error.errno in OUR_ERRNOS:
            return None
        return _named(problem.os_error) or ErrorKind.REFUSED
    return _named(problem)


def _named(problem: BaseException) -> ErrorKind | None:
    return next((kind for known, kind in ERROR_KINDS if isinstance(problem, known)), None)
