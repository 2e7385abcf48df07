"""Receivers that misbehave, all of them at once, on both event loops: each ends in its own way, and in time."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import trustme
import uvloop

from handlers.egress.client import Answer, Client
from handlers.egress.exchange import MAX_ANSWER_BYTES, Request
from schemas.settings import EgressSettings
from tests.integration import receivers
from tests.integration.receivers import BODY, Serve, answering, endless, resetting, serving

OPEN = EgressSettings(allow_http=True, allow_networks="127.0.0.0/8")
TIMEOUT_MS = 1_500
#: How late a deadline may be on a machine that does much else; the bound must only tell it from "never".
LATE_MS = 3_000
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]


@dataclass(frozen=True)
class Case:
    """A receiver, and what becomes of an attempt there: the kind of its error, its status, its body."""

    serve: Serve
    kind: str | None
    status: int | None = None
    body: bytes | None = None


def numbered() -> itertools.chain[bytes]:
    return itertools.chain.from_iterable([b"x-%d: y\r\n" % n * 100] for n in itertools.count())


CASES = {
    "never answers": Case(receivers.silent, "timeout"),
    "drips its head": Case(endless(OK + b"x-a: ", b"x", 0.1), "timeout"),
    "drips its body": Case(endless(OK + b"content-length: 1000\r\n\r\n", b"x", 0.1), "timeout"),
    "half a head, and waits": Case(answering(OK + b"x-a"), "timeout"),
    "interim answers, slowly": Case(endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.1), "timeout"),
    "interim answers, a flood": Case(endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000), "protocol"),
    "interim answers, then a real one": Case(
        answering(
            b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 100 Go\r\n\r\n" + OK + b"content-length: 0\r\n\r\n"
        ),
        None,
        200,
    ),
    "another protocol": Case(answering(b"HTTP/1.1 101 Go\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"), "status", 101),
    "closes without a word": Case(answering(hold=False), "reset"),
    "resets before its answer": Case(resetting(b""), "reset"),
    "resets in its head": Case(resetting(OK + b"x-a"), "reset"),
    "resets in its body": Case(resetting(OK + b"content-length: 1000\r\n\r\nhalf"), "reset"),
    "less than it said": Case(answering(OK + b"content-length: 1000\r\n\r\nhalf", hold=False), "reset"),
    "cut off in a chunk": Case(answering(CHUNKED + b"5\r\nhel", hold=False), "reset"),
    "cut off between chunks": Case(answering(CHUNKED + b"5\r\nhello\r\n", hold=False), "reset"),
    "closes at the end": Case(answering(b"HTTP/1.0 200 OK\r\n\r\nhello", hold=False), None, 200, b"hello"),
    "rubbish": Case(answering(b"this is not HTTP at all\r\n\r\n"), "protocol"),
    "HTTP/2": Case(answering(b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0d"), "protocol"),
    "a mail server": Case(answering(b"220 mx.example ESMTP\r\n"), "protocol"),
    "rubbish for a chunk": Case(answering(CHUNKED + b"zz\r\nhello\r\n"), "protocol"),
    "rubbish for a chunk, later": Case(answering(CHUNKED + b"2\r\nhe\r\n", b"zz\r\n", pause_s=0.05), "protocol"),
    "two lengths": Case(answering(OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nokk"), "protocol"),
    "a length and chunks": Case(
        answering(OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"), "protocol"
    ),
    "a length below nothing": Case(answering(OK + b"content-length: -2\r\n\r\n"), "protocol"),
    "a NUL in its head": Case(answering(OK + b"x: a\0b\r\ncontent-length: 0\r\n\r\n"), "protocol"),
    "a header too long": Case(answering(OK + b"x-a: " + b"x" * 10_000 + b"\r\ncontent-length: 0\r\n\r\n"), "protocol"),
    "a header without end": Case(endless(OK + b"x-a: ", b"x" * 65_536), "protocol"),
    "headers without end": Case(endless(OK, numbered()), "protocol"),
    "trailers without end": Case(endless(CHUNKED + b"0\r\n", numbered()), "protocol"),
    "a chunk extension without end": Case(endless(CHUNKED + b"1;", b"x" * 65_536), "protocol"),
    "chunks of a byte": Case(endless(CHUNKED, b"1\r\ny\r\n" * 5_000), None, 200, b"y" * MAX_ANSWER_BYTES),
    "204 with a body": Case(answering(b"HTTP/1.1 204 No\r\n\r\nhello"), None, 204, b""),
    "204 with a body, and its length": Case(
        answering(b"HTTP/1.1 204 No\r\ncontent-length: 5\r\n\r\nhello"), None, 204, b""
    ),
    "more than it said": Case(answering(OK + b"content-length: 2\r\n\r\nokay"), None, 200, b"ok"),
    "two answers": Case(
        answering(OK + b"content-length: 2\r\n\r\nokHTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"), None, 200, b"ok"
    ),
    "500 without end": Case(endless(b"HTTP/1.1 500 No\r\n\r\n", b"y" * 65_536), "status", 500, b"y" * MAX_ANSWER_BYTES),
    "gzip": Case(
        answering(OK + b"content-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x08\x00"),
        None,
        200,
        b"\x1f\x8b\x08\x00",
    ),
    "Latin-1": Case(answering(b"HTTP/1.1 200 \xff\r\nx: \xff\r\ncontent-length: 0\r\n\r\n"), None, 200),
    "cookies": Case(answering(OK + b"set-cookie: \xff=;;\r\n" * 50 + b"content-length: 0\r\n\r\n"), None, 200),
}


async def attempt(
    serve: Serve, scheme: str = "http", context: ssl.SSLContext | None = None, body: bytes = BODY
) -> Answer:
    async with serving(serve, context) as port, Client(OPEN) as client:
        return await client.send(Request(f"{scheme}://127.0.0.1:{port}/", [("x-a", "b")], body, TIMEOUT_MS))


def in_time(answer: Answer, kind: str | None) -> bool:
    least_ms = TIMEOUT_MS - 50 if kind == "timeout" else 0
    return least_ms <= answer.outcome.latency_ms <= TIMEOUT_MS + LATE_MS


@pytest.mark.parametrize("new_loop", LOOPS, ids=["asyncio", "uvloop"])
def test_a_receiver_that_misbehaves_is_told_by_its_kind_and_in_time(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def attempts() -> list[Answer]:
        return await asyncio.gather(*(attempt(case.serve) for case in CASES.values()))

    with asyncio.Runner(loop_factory=new_loop) as runner:
        answers = runner.run(attempts())
    ended = {name: (a.outcome.error_kind, a.outcome.status_code) for name, a in zip(CASES, answers, strict=True)}
    assert ended == {name: (case.kind, case.status) for name, case in CASES.items()}
    for (name, case), answer in zip(CASES.items(), answers, strict=True):
        assert in_time(answer, case.kind), (name, answer.outcome.latency_ms)
        assert case.body is None or answer.body == case.body, name
        assert len(answer.body) <= MAX_ANSWER_BYTES, name


@pytest.mark.parametrize("new_loop", LOOPS, ids=["asyncio", "uvloop"])
def test_a_receiver_that_misbehaves_in_tls_is_told_by_its_kind_and_in_time(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(stranger)
    unused = answering(OK + b"content-length: 0\r\n\r\n")

    async def handshake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        for byte in b"\x16\x03\x03\x40\x00\x02" + b"\0" * 1_000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.1)

    async def text(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 No\r\n\r\n")
        await reader.read()

    async def ending(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    cases: dict[str, tuple[Serve, ssl.SSLContext | None, set[str]]] = {
        "nobody vouches for it": (unused, stranger, {"tls"}),
        "no TLS": (text, None, {"tls"}),
        "never begins": (receivers.silent, None, {"timeout"}),
        "never ends its handshake": (handshake, None, {"timeout"}),
        "ends in its handshake": (ending, None, {"tls", "reset"}),
        "resets": (resetting(b"", reads=False), None, {"reset"}),
    }

    async def attempts() -> list[Answer]:
        return await asyncio.gather(*(attempt(serve, "https", context) for serve, context, _ in cases.values()))

    with asyncio.Runner(loop_factory=new_loop) as runner:
        answers = runner.run(attempts())
    for (name, (_, _, kinds)), answer in zip(cases.items(), answers, strict=True):
        assert answer.outcome.error_kind in kinds, (name, answer.outcome)
        assert in_time(answer, answer.outcome.error_kind), (name, answer.outcome.latency_ms)


@pytest.mark.parametrize("new_loop", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_what_a_receiver_will_not_read_is_let_go_of(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    secure: bool,
) -> None:
    context, scheme = None, "http"
    if secure:
        authority = trustme.CA()
        context, scheme = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "https"
        authority.issue_cert("127.0.0.1").configure_cert(context)
        mine = ssl.create_default_context()
        authority.configure_trust(mine)
    body, deaf = b"x" * 30_000_000, receivers.Deaf(context)

    async def scenario() -> tuple[Answer, int]:
        async with Client(OPEN) as client:
            request = Request(f"{scheme}://127.0.0.1:{deaf.port}/", [], body, 600, context=mine if secure else None)
            return await client.send(request), await asyncio.to_thread(deaf.read)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        answer, got = runner.run(scenario())
    assert answer.outcome.error_kind == "timeout"
    assert 550 <= answer.outcome.latency_ms <= 600 + LATE_MS
    assert got < len(body) // 2, "the rest of the body went out after the attempt had ended"


async def test_of_a_flood_only_the_beginning_is_taken() -> None:
    sent = [0]
    flood = itertools.repeat(b"y" * 1_000_000, 200)
    answer = await attempt(endless(OK + b"content-length: 200000000\r\n\r\n", flood, sent=sent))
    assert (answer.outcome.error_kind, answer.outcome.status_code) == (None, 200)
    assert answer.body == b"y" * MAX_ANSWER_BYTES
    assert sent[0] < 40_000_000
