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
from handlers.egress.exchange import Exchange, Request, Running
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

    def begin(self, request: Request, over: Callable[[Answer | Exception], None]) -> Running | None:
        """Send it, by the next `flush` at the latest.

        `over` is told the answer, or what is not the receiver's fault, after this has returned.
        """
        assert self._exchange is not None
        started = time.monotonic()
        try:
            url = self._checked(request.url)
            return self._exchange.begin(url, request, functools.partial(_tell, over, started))
        except Exception as problem:
            asyncio.get_running_loop().call_soon(_tell, over, started, problem)
            return None

    def flush(self) -> None:
        """Send all that has been begun."""
        assert self._exchange is not None
        self._exchange.flush()

    async def send(self, request: Request) -> Answer:
        """The answer. Raises only what is not the receiver's fault."""
        ended: asyncio.Future[Answer | Exception] = asyncio.get_running_loop().create_future()

        def tell(answer: Answer | Exception) -> None:
            if not ended.done():
                ended.set_result(answer)

        running = self.begin(request, tell)
        self.flush()
        try:
            told = await ended
        finally:
            if running is not None and not ended.done():
                running.cancel()
        if isinstance(told, Exception):
            raise told
        return told

    def _check(self, text: str) -> URL:
        """The URL, parsed. Raises `Blocked`: aiohttp dials a literal address without asking the resolver."""
        if addresses.refuse_url(text, allow_http=self._allow_http, allowed=self._allowed) is not None:
            raise Blocked(text)
        return URL(text)


def _tell(over: Callable[[Answer | Exception], None], started: float, came: Answered) -> None:
    """Say what came, as an answer; what is not the receiver's fault as it is."""
    latency_ms = int((time.monotonic() - started) * 1000)
    if isinstance(came, Exception):
        kind = kind_of(came)
        over(came if kind is None else Answer(outcome.classify_failure(kind, latency_ms=latency_ms)))
        return
    status, headers, body = came
    now_ms = clock.now_ms() if "retry-after" in headers else 0
    classified = outcome.classify_response(status, headers, body, latency_ms=latency_ms, now_ms=now_ms)
    over(Answer(classified, headers, body))


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
