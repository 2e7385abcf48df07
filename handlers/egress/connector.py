"""Connections to receivers: kept for the next request, checked before it; and every private name of aiohttp in use.

A test says when one of those is gone; aiohttp promises none of them.
"""

from __future__ import annotations

import functools
import socket
import time
from collections.abc import Sequence
from typing import Any

from aiohttp import ClientSession, ClientTimeout, TCPConnector
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest, ConnectionKey
from aiohttp.connector import AddrInfoType, Connection
from aiohttp.http_writer import StreamWriter
from aiohttp.payload import Payload
from aiohttp.tracing import Trace

from handlers.egress import kept
from handlers.egress.connection import KEEP_ALIVE_S, Receiving
from handlers.egress.resolver import CheckingResolver
from streams import metrics
from streams.core import addresses

#: Module, class and attribute.
NAMES = (
    *(("aiohttp.connector", "TCPConnector", name) for name in ("_get", "_release", "_cleanup", "_create_connection")),
    *(
        ("aiohttp.client_proto", "ResponseHandler", name)
        for name in (
            "abort",
            "connection_lost",
            "connection_made",
            "data_received",
            "feed_data",
            "is_connected",
            "set_exception",
        )
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
    ("aiohttp.connector", "BaseConnector", "_acquired"),
    ("aiohttp.connector", "BaseConnector", "_closed"),
    ("aiohttp.connector", "BaseConnector", "_conns"),
    ("aiohttp.connector", "BaseConnector", "_factory"),
    ("aiohttp.connector", "Connection", "_protocol"),
    ("aiohttp.client_proto", "ResponseHandler", "_payload"),
    ("aiohttp", "ClientSession", "_retry_connection"),
)

#: The whole request has one deadline, elsewhere.
_NO_TIMEOUT = ClientTimeout(total=None, sock_connect=None)


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

    async def dial(self, request: ClientRequest) -> Receiving:
        """A new connection for what `request` names, in use. Raises aiohttp's errors and OSError."""
        connection = await self.connect(request, [], _NO_TIMEOUT)
        # Whoever asks answers for it from here on.
        protocol, connection._protocol = connection.protocol, None
        assert isinstance(protocol, Receiving)
        return protocol

    def let_go(self, protocol: Receiving) -> None:
        """Close a connection that is in use."""
        self._acquired.discard(protocol)
        protocol.abort()

    def _drop_useless(self, key: ConnectionKey) -> None:
        """Close kept connections until the next one can be used, or there is none."""
        waiting = self._conns.get(key)
        while waiting:
            protocol, since_s = waiting[0]
            self._idle.pop(protocol, None)
            assert isinstance(protocol, Receiving)
            if (
                time.monotonic() - since_s <= protocol.idle_s
                and protocol.is_connected()
                and not protocol.should_close
                and protocol.is_silent()
            ):
                metrics.CONNECTIONS_REUSED.inc()
                return
            metrics.CONNECTIONS_STALE.inc()
            waiting.popleft()
            protocol.abort()

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        self._drop_useless(key)
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
        if len(self._conns[key]) > kept.MAX_IDLE_PER_HOST:
            self._drop(self._conns[key][0][0], key)
        if len(self._idle) > kept.MAX_IDLE:
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
