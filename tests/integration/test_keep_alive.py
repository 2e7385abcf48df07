"""Connections that are kept, and closed by the receiver at the worst of moments: nothing fails, nothing comes twice."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trustme
import uvloop

from handlers.egress import connector, kept
from handlers.egress.client import Client
from handlers.egress.connector import Connector
from handlers.egress.exchange import Request
from schemas.settings import EgressSettings
from streams import metrics

OPEN = EgressSettings(allow_http=True, allow_networks="127.0.0.0/8")
REQUESTS = 300
LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]
_ID = re.compile(rb"webhook-id: (\S+)", re.IGNORECASE)


class Receiver(asyncio.Protocol):
    """One connection of a receiver that counts ids, and does as it is told after an answer."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.got = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.server.open.append(self)

    def connection_lost(self, problem: Exception | None) -> None:
        if self in self.server.open:
            self.server.open.remove(self)

    def data_received(self, data: bytes) -> None:
        self.got += data
        while b"\r\n\r\n{}" in self.got or self.got.startswith((b"GET", b"OPTIONS")):
            head, _, self.got = self.got.partition(b"\r\n\r\n{}" if self.got.startswith(b"POST") else b"\r\n\r\n")
            found = _ID.search(head)
            self.server.ids[found[1] if found else b""] += 1
            self.server.answer(self)

    def answer(self, headers: bytes = b"") -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\n" + headers + b"content-length: 0\r\n\r\n")


class Server:
    """What its connections share."""

    def __init__(self, answer: Callable[[Receiver], None] = Receiver.answer) -> None:
        self.ids: Counter[bytes] = Counter()
        self.open: list[Receiver] = []
        self.answer = answer
        self.port = 0

    @asynccontextmanager
    async def serving(self, context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
        server = await asyncio.get_running_loop().create_server(lambda: Receiver(self), "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for receiver in self.open:
                receiver.transport.abort()

    def close_all(self) -> None:
        for receiver in list(self.open):
            receiver.transport.close()

    async def closed(self) -> None:
        """Until the receiver's sockets are closed. The client's loop may or may not have seen it."""
        while self.open:
            await asyncio.sleep(0)


def counts() -> tuple[float, float, float]:
    return tuple(
        metric.collect()[0].samples[0].value
        for metric in (metrics.CONNECTIONS_OPENED, metrics.CONNECTIONS_REUSED, metrics.CONNECTIONS_STALE)
    )  # type: ignore[return-value]


def request(server: Server, number: int, verb: str = "POST", context: ssl.SSLContext | None = None) -> Request:
    scheme = "http" if context is None else "https"
    url = f"{scheme}://127.0.0.1:{server.port}/"
    return Request(url, [("webhook-id", f"id-{number}")], b"{}", 5_000, verb, context)


def run(new_loop: Callable[[], asyncio.AbstractEventLoop], scenario: Any) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(scenario)


def closing_at_once(receiver: Receiver) -> None:
    receiver.answer()
    receiver.transport.close()


def closing_as_announced(receiver: Receiver) -> None:
    receiver.answer(b"connection: close\r\n")
    receiver.transport.close()


@pytest.mark.parametrize("new_loop", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("answer", [closing_at_once, closing_as_announced])
def test_a_connection_closed_after_every_answer_costs_no_attempt(
    new_loop: Callable[[], asyncio.AbstractEventLoop], secure: bool, answer: Callable[[Receiver], None]
) -> None:
    theirs, mine = contexts() if secure else (None, None)

    async def scenario() -> None:
        async with Server(answer).serving(theirs) as server, Client(OPEN) as client:
            for number in range(REQUESTS // 3 if secure else REQUESTS):
                sent = await client.send(request(server, number, context=mine))
                assert sent.outcome.accepted, (number, sent.outcome)
                await server.closed()
            assert set(server.ids.values()) == {1}

    run(new_loop, scenario())


@pytest.mark.parametrize("new_loop", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("verb", ["POST", "OPTIONS"])
def test_idle_connections_closed_just_before_the_next_requests_cost_no_attempt(
    new_loop: Callable[[], asyncio.AbstractEventLoop], verb: str
) -> None:
    async def scenario() -> None:
        async with Server().serving() as server, Client(OPEN) as client:
            for round_ in range(REQUESTS // 10):
                sent = await asyncio.gather(*(client.send(request(server, round_ * 10 + i, verb)) for i in range(10)))
                assert [answer.outcome.error_kind for answer in sent] == [None] * 10, round_
                if round_ % 3:
                    server.close_all()
                    await server.closed()
            assert set(server.ids.values()) == {1}
            assert len(server.ids) == REQUESTS

    run(new_loop, scenario())


@pytest.mark.parametrize("new_loop", LOOPS, ids=["asyncio", "uvloop"])
def test_a_connection_closed_after_it_was_chosen_costs_no_attempt(
    new_loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch, http_client: str
) -> None:
    """Before Python 3.12 `session` has a round of the loop between the choice and the write; `direct` has nothing."""
    choose = Connector._get
    server = Server()
    closed = 0

    async def choose_and_close(self: Connector, *arguments: Any) -> Any:
        nonlocal closed
        if (chosen := await choose(self, *arguments)) is not None:
            server.close_all()
            await server.closed()
            closed += 1
        return chosen

    monkeypatch.setattr(Connector, "_get", choose_and_close)

    async def scenario() -> None:
        async with server.serving(), Client(OPEN) as client:
            for number in range(REQUESTS):
                sent = await client.send(request(server, number))
                assert sent.outcome.accepted, (number, sent.outcome)
            assert set(server.ids.values()) == {1}
            assert closed == (REQUESTS - 1 if http_client == "session" else 0)

    run(new_loop, scenario())


@pytest.mark.parametrize("verb", ["POST", "GET", "OPTIONS"])
async def test_a_request_that_was_sent_is_not_sent_again(verb: str) -> None:
    async with Server(lambda receiver: receiver.transport.abort()).serving() as server, Client(OPEN) as client:
        sent = await client.send(request(server, 0, verb))
        assert sent.outcome.error_kind == "reset"
        assert server.ids == {b"id-0": 1}


@pytest.mark.parametrize("late", [b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", b"rubbish", b"HTTP/1.1 200 OK\r\n"])
async def test_what_a_receiver_says_out_of_turn_is_no_answer_to_the_next_request(late: bytes) -> None:
    async with Server().serving() as server, Client(OPEN) as client:
        for number in range(20):
            assert (await client.send(request(server, number))).outcome.accepted
            server.open[0].transport.write(late)
            for _ in range(number % 5):  # sometimes it has been read, sometimes not
                await asyncio.sleep(0)
        assert set(server.ids.values()) == {1}


@pytest.mark.parametrize("new_loop", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_connections_that_stay_open_are_used_again_and_counted(
    new_loop: Callable[[], asyncio.AbstractEventLoop], secure: bool
) -> None:
    theirs, mine = contexts() if secure else (None, None)

    async def scenario() -> None:
        async with Server().serving(theirs) as server, Client(OPEN) as client:
            before = counts()
            for number in range(50):
                assert (await client.send(request(server, number, context=mine))).outcome.accepted
            opened, reused, stale = (now - then for now, then in zip(counts(), before, strict=True))
            assert (opened, reused, stale) == (1, 49, 0)

    run(new_loop, scenario())


async def test_a_connection_is_given_up_before_its_receiver_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monotonic = connector.time.monotonic
    server = Server(lambda receiver: receiver.answer(b"keep-alive: timeout=5, max=100\r\n"))
    async with server.serving(), Client(OPEN) as client:
        for ahead_s, new in ((0.0, 1), (3.9, 0), (8.0, 1)):
            monkeypatch.setattr(connector.time, "monotonic", lambda ahead_s=ahead_s: monotonic() + ahead_s)
            before = counts()[0]
            assert (await client.send(request(server, 0))).outcome.accepted
            assert counts()[0] - before == new


async def test_idle_connections_are_bounded_to_a_host_and_in_all_and_the_oldest_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept, "MAX_IDLE_PER_HOST", 5)
    monkeypatch.setattr(kept, "MAX_IDLE", 12)
    servers = [Server() for _ in range(4)]
    async with AsyncExitStack() as stack, Client(OPEN) as client:
        for server in servers:
            await stack.enter_async_context(server.serving())
        for server in servers:
            assert all(
                answer.outcome.accepted
                for answer in await asyncio.gather(*(client.send(request(server, number)) for number in range(8)))
            )
            async with asyncio.timeout(10):
                while len(server.open) > 5:
                    await asyncio.sleep(0.01)
        async with asyncio.timeout(10):
            while sum(len(server.open) for server in servers) > 12:
                await asyncio.sleep(0.01)
        assert [len(server.open) for server in servers] == [0, 2, 5, 5]
        before = counts()
        assert (await client.send(request(servers[3], 9))).outcome.accepted
        assert counts()[1] - before[1] == 1


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    theirs, mine = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    authority.configure_trust(mine)
    return theirs, mine
