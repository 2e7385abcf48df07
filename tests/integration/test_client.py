"""Real sockets that misbehave, each in its own way; every one ends in its own kind of outcome, in time."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trustme

from handlers.egress.client import Client
from handlers.egress.exchange import MAX_ANSWER_BYTES, Request
from handlers.wire.outcome import Outcome
from schemas.settings import EgressSettings

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
TIMEOUT_MS = 700
OPEN = EgressSettings(allow_http=True, allow_networks="127.0.0.0/8")
CLOSED = EgressSettings(allow_http=True)


@asynccontextmanager
async def serving(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def post(url: str, settings: EgressSettings = OPEN) -> Outcome:
    async with Client(settings) as client:
        return (await client.send(Request(url, [("x-a", "b")], b"{}", TIMEOUT_MS))).outcome


def answer(text: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text)
        await writer.drain()

    return serve


async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.1)


async def reset_mid_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf")
    await writer.drain()
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    writer.transport.abort()


async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 204 No\r\n\r\n")
    await writer.drain()


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 500 Oh\r\ncontent-length: 200000000\r\n\r\n")
    for _ in range(200):
        writer.write(b"y" * 1_000_000)
        await writer.drain()


@pytest.mark.parametrize(
    ("serve", "kind"),
    [
        (answer(b"HTTP/1.1 204 No Content\r\n\r\n"), None),
        (answer(b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n"), "status"),
        (never, "timeout"),
        (drip, "timeout"),
        (reset_mid_body, "reset"),
        (answer(b""), "reset"),
        (answer(b"this is not HTTP at all\r\n\r\n"), "protocol"),
        (flood, "status"),
    ],
    ids=["good", "bad", "never", "drip", "reset", "silent", "garbage", "flood"],
)
async def test_a_receiver_that_misbehaves_is_told_by_its_kind_and_in_time(serve: Serve, kind: str | None) -> None:
    async with serving(serve) as port:
        outcome = await post(f"http://127.0.0.1:{port}/")
    assert outcome.error_kind == kind
    assert outcome.latency_ms <= TIMEOUT_MS + 500
    if kind == "timeout":
        assert outcome.latency_ms >= TIMEOUT_MS - 50
    assert len(outcome.response_excerpt or "") <= MAX_ANSWER_BYTES


async def test_a_redirect_is_not_followed() -> None:
    visited = []

    async def second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visited.append(1)

    async with serving(second) as other:
        first = answer(f"HTTP/1.1 307 Go\r\nlocation: http://127.0.0.1:{other}/\r\ncontent-length: 0\r\n\r\n".encode())
        async with serving(first) as port:
            outcome = await post(f"http://127.0.0.1:{port}/")
    assert (outcome.error_kind, outcome.status_code) == ("redirect", 307)
    assert visited == []


async def test_nobody_listens_and_no_such_name() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert (await post(f"http://127.0.0.1:{port}/")).error_kind == "refused"
    assert (await post("http://no-such-name.invalid/")).error_kind in ("dns", "timeout")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254"])
async def test_an_address_out_of_reach_gets_no_connection(host: str) -> None:
    connected = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(1)

    async with serving(serve) as port:
        assert (await post(f"http://{host}:{port}/", CLOSED)).error_kind == "blocked"
    assert connected == []


async def test_a_name_that_resolves_out_of_reach_is_blocked_at_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    # The system's resolver is asked; the name stands for one that changed its mind after registration.
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, port, *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))],
    )
    assert (await post("http://rebound.example/", CLOSED)).error_kind == "blocked"


async def test_plain_http_is_blocked_where_it_is_not_allowed() -> None:
    assert (await post("http://127.0.0.1:9/", EgressSettings(allow_networks="127.0.0.0/8"))).error_kind == "blocked"


async def test_a_certificate_nobody_vouches_for_is_a_tls_failure() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with serving(answer(b"HTTP/1.1 204 No\r\n\r\n"), context) as port:
        assert (await post(f"https://127.0.0.1:{port}/")).error_kind == "tls"
    async with serving(plain) as port:
        assert (await post(f"https://127.0.0.1:{port}/")).error_kind == "tls"


async def test_connections_are_used_again() -> None:
    connections = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        while True:
            await reader.readuntil(b"\r\n\r\n{}")
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with serving(serve) as port, Client(OPEN) as client:
        for _ in range(20):
            assert (await client.send(Request(f"http://127.0.0.1:{port}/", [], b"{}", 2_000))).outcome.accepted
    assert len(connections) == 1
