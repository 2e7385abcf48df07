"""Connections to receivers: kept for the next request, checked before it; and every private name of aiohttp in use.

A test says when one of those is gone; aiohttp promises none of them.
"""

from __future__ import annotations

import functools
import re
import select
import socket
import time
from collections.abc import Sequence
from typing import Any

from aiohttp import ClientSession, ClientTimeout, TCPConnector
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest, ConnectionKey
from aiohttp.connector import AddrInfoType, Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_writer import StreamWriter
from aiohttp.payload import Payload
from aiohttp.tracing import Trace

from handlers.egress.resolver import CheckingResolver
from streams import metrics
from streams.core import addresses

#: Module, class and attribute.
NAMES = (
    *(("aiohttp.connector", "TCPConnector", name) for name in ("_get", "_release", "_cleanup", "_create_connection")),
    *(
        ("aiohttp.client_proto", "ResponseHandler", name)
        for name in ("abort", "connection_made", "data_received", "feed_data", "is_connected", "set_exception")
    ),
    ("aiohttp.client_proto", "ResponseHandler", "set_response_params"),
    ("aiohttp.client_proto", "ResponseHandler", "should_close"),
    ("aiohttp.client_proto", "ResponseHandler", "exception"),
    ("aiohttp.client_proto", "ResponseHandler", "read"),
    ("aiohttp.client_reqrep", "ClientRequest", "connection_key"),
    ("aiohttp.http_writer", "StreamWriter", "protocol"),
    ("aiohttp.payload", "Payload", "write_with_length"),
)
#: Instance attributes, set in constructors.
ATTRIBUTES = (
    ("aiohttp.connector", "BaseConnector", "_closed"),
    ("aiohttp.connector", "BaseConnector", "_conns"),
    ("aiohttp.connector", "BaseConnector", "_factory"),
    ("aiohttp.client_proto", "ResponseHandler", "_payload"),
    ("aiohttp", "ClientSession", "_retry_connection"),
)

#: Less than the 60 s after which load balancers close: a request sent just then would be lost.
KEEP_ALIVE_S = 55.0
#: How much sooner than it says that it will (`keep-alive: timeout=5`) a receiver's idle connection is given up.
KEEP_ALIVE_MARGIN_S = 1.0
#: Well below the 1,024 files that a process may often have open at most.
MAX_IDLE = 500
MAX_IDLE_PER_HOST = 100
#: Answers with a 1xx before the real one.
MAX_INTERIM = 32
#: All that one answer may take on the wire, so that a flood of what is no body (chunk extensions) ends, too.
MAX_WIRE_BYTES = 4 << 20

_HEAD_END = b"\r\n\r\n"
_TIMEOUT = re.compile(r"\btimeout=([0-9]{1,9})\b", re.IGNORECASE)


class OutOfReach(PermissionError):
    """A socket was asked for to an address that deliveries may not reach."""


class Body(Payload):
    """The body of a request. `begun`: some of the request may have been sent."""

    _value: bytes

    def __init__(self, value: bytes) -> None:
        super().__init__(value)
        self._size = len(value)
        self.begun = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """aiohttp's interface."""
        return self._value.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """aiohttp's interface; the head has not been written yet. Raises ConnectionResetError where nothing can be."""
        assert isinstance(writer, StreamWriter)
        assert isinstance(writer.protocol, Receiving)
        if not writer.protocol.takes_a_request():
            raise ConnectionResetError("the connection was closed before the request")
        self.begun = True
        await writer.write(self._value)


class Receiving(ResponseHandler):
    """One connection. What follows an answer does not undo it, and no answer is endless."""

    idle_s = KEEP_ALIVE_S
    _fileno = -1
    _requests = 0
    _interim = 0
    _wire_bytes = 0
    _in_head = True

    def connection_made(self, transport: Any) -> None:
        """asyncio's interface."""
        super().connection_made(transport)
        if (raw := transport.get_extra_info("socket")) is not None:
            self._fileno = raw.fileno()

    def set_response_params(self, **params: Any) -> None:
        """aiohttp's interface: a request is about to be sent."""
        self._requests += 1
        self._interim = self._wire_bytes = 0
        self._in_head = True
        super().set_response_params(**params)

    def takes_a_request(self) -> bool:
        """False when the receiver has closed the connection or spoken out of turn, also where asyncio has yet to see.

        A connection that was never used may have something to read: TLS 1.3 sends tickets.
        """
        if not self.is_connected() or self.exception() is not None:
            return False
        return self._requests <= 1 or self.is_silent()

    def is_silent(self) -> bool:
        """Whether nothing has come, neither bytes nor the end; for a connection that waits for a request."""
        poll = select.poll()
        poll.register(self._fileno, select.POLLIN)
        return not poll.poll(0)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """aiohttp's interface: the head of an answer has come."""
        message = data[0]
        if message.code < 200 and message.code != 101:
            self._interim += 1
            if self._interim > MAX_INTERIM:
                self._give_up("no end of interim answers")
                return
        elif (said := message.headers.get("keep-alive")) and (seconds := _TIMEOUT.search(said)):
            self.idle_s = min(KEEP_ALIVE_S, int(seconds[1]) - KEEP_ALIVE_MARGIN_S)
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """asyncio's interface.

        The head goes to the parser by itself: where rubbish follows an answer, the parser forgets an answer that it
        got in one piece with the rubbish (RFC 9112, 6.3: the answer stands, and the connection is closed).
        """
        self._wire_bytes += len(data)
        if self._wire_bytes > MAX_WIRE_BYTES:
            self._give_up("no end of the answer")
            return
        if self._in_head and (end := data.find(_HEAD_END)) >= 0:
            self._in_head = False
            end += len(_HEAD_END)
            super().data_received(data[:end])
            data = data[end:]
            if not data:
                return
        super().data_received(data)
        if isinstance(problem := self.exception(), HttpProcessingError):
            self._fail_body(problem)

    def _give_up(self, why: str) -> None:
        transport = self.transport
        problem = HttpProcessingError(message=why)
        self.set_exception(problem)
        self._fail_body(problem)
        if transport is not None:
            transport.abort()

    def _fail_body(self, problem: HttpProcessingError) -> None:
        """Tell who reads a body that its rest cannot be read; aiohttp leaves them to wait."""
        if self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(problem)


class Connector(TCPConnector):
    """Dials only addresses within reach; keeps a bounded number of idle connections, and gives out what is still open.

    Connections in use are bounded by whoever sends.
    """

    def __init__(self, allowed: Sequence[addresses.Network]) -> None:
        super().__init__(
            limit=0,
            ttl_dns_cache=60,
            keepalive_timeout=KEEP_ALIVE_S,
            resolver=CheckingResolver(allowed),
            socket_factory=self._open_socket,
        )
        self._allowed = allowed
        factory: functools.partial[Any] = functools.partial(Receiving, loop=self._loop)
        self._factory = factory
        #: By age, the oldest first. One that has been closed meanwhile may linger.
        self._idle: dict[ResponseHandler, ConnectionKey] = {}

    def _open_socket(self, address: AddrInfoType) -> socket.socket:
        """The last word on an address, whatever was resolved or cached. Raises `OutOfReach`."""
        family, kind, protocol, _, place = address
        if addresses.refuse_address(str(place[0]), self._allowed) is not None:
            raise OutOfReach(str(place[0]))
        return socket.socket(family, kind, protocol)

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        waiting = self._conns.get(key)
        now_s = time.monotonic()
        while waiting:
            protocol, since_s = waiting[0]
            self._idle.pop(protocol, None)
            assert isinstance(protocol, Receiving)
            if (
                now_s - since_s <= protocol.idle_s
                and protocol.is_connected()
                and not protocol.should_close
                and protocol.is_silent()
            ):
                metrics.CONNECTIONS_REUSED.inc()
                break
            metrics.CONNECTIONS_STALE.inc()
            waiting.popleft()
            protocol.abort()
        return await super()._get(key, traces)

    async def _create_connection(
        self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout
    ) -> ResponseHandler:
        protocol = await super()._create_connection(req, traces, timeout)
        metrics.CONNECTIONS_OPENED.inc()
        return protocol

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        if should_close or protocol.should_close or self._closed:
            # `close` would wait for a receiver to read what is left of the request, or to end its TLS, for ever.
            protocol.abort()
            super()._release(key, protocol, should_close=True)
            return
        super()._release(key, protocol)
        self._idle[protocol] = key
        if len(self._conns[key]) > MAX_IDLE_PER_HOST:
            self._drop(self._conns[key][0][0], key)
        if len(self._idle) > MAX_IDLE:
            self._drop(*next(iter(self._idle.items())))

    def _drop(self, protocol: ResponseHandler, key: ConnectionKey) -> None:
        """Close an idle connection that is the oldest to its host."""
        self._idle.pop(protocol, None)
        waiting = self._conns.get(key)
        if waiting and waiting[0][0] is protocol:
            waiting.popleft()
            if not waiting:
                del self._conns[key]
        protocol.abort()

    def _cleanup(self) -> None:
        super()._cleanup()
        self._idle = {protocol: key for protocol, key in self._idle.items() if protocol.is_connected()}


def never_repeat(session: ClientSession) -> None:
    """Have aiohttp send no request again by itself, of which some may have been read."""
    session._retry_connection = False
