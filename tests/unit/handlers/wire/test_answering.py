"""Answers that are plain are read as aiohttp's parser reads them; all others are left to it."""

import asyncio
from collections.abc import Iterator

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpResponseParser
from aiohttp.streams import EMPTY_PAYLOAD
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.wire import answering
from handlers.wire.answering import Plain

OK = b"HTTP/1.1 200 OK\r\n"
LIMIT = 65_536
PIECES = [
    b"HTTP/1.1 ", b"HTTP/1.0 ", b"200", b"204", b"304", b"500", b"999", b"101", b" ", b"OK", b"\r\n", b"\n", b"\r",
    b": ", b":", b"content-length", b"Content-Length", b"0", b"2", b"02", b"+2", b"2, 2", b"chunked",
    b"transfer-encoding", b"connection", b"close", b"keep-alive", b"upgrade", b"x-a", b"x a", b"\t", b"\0", b"\xff",
    b"okay", b"trailer",
]  # fmt: skip
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [b"Content-Length", b"x-a", b"Retry-After", b"connection", b"date", b"Transfer-Encoding", b"x a"]
        ),
        st.sampled_from([b"0", b"2", b"5", b"keep-alive", b"close", b"a  b", b" \t x \t", b"", b"chunked", b"\xe9"]),
    ),
    max_size=4,
)
ANSWERS = st.one_of(
    st.builds(
        lambda status, headers, body: (
            b"HTTP/1.1 %d Some words\r\n" % status
            + b"".join(b"%b: %b\r\n" % header for header in headers)
            + b"\r\n"
            + body
        ),
        st.sampled_from([200, 201, 204, 304, 404, 410, 503, 101]),
        HEADERS,
        st.binary(max_size=6),
    ),
    st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join),
)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def parsed(loop: asyncio.AbstractEventLoop, data: bytes) -> tuple[int, dict[str, str], bytes, bool] | None:
    """What aiohttp's parser makes of an answer that is whole: status, headers, body, whether the connection ends."""
    protocol = BaseProtocol(loop, parser=None)
    parser = HttpResponseParser(protocol, loop, 2**16, read_until_eof=True, auto_decompress=False)
    messages, upgraded, rest = parser.feed_data(data)
    if len(messages) != 1 or upgraded or rest:
        return None
    ((message, payload),) = messages
    if not payload.is_eof():
        return None
    body = b"" if payload is EMPTY_PAYLOAD else payload.read_nowait(-1)
    return message.code, {name.lower(): message.headers[name] for name in message.headers}, body, message.should_close


@settings(max_examples=600, deadline=None)
@given(data=ANSWERS)
def test_what_is_plain_is_what_aiohttp_reads(loop: asyncio.AbstractEventLoop, data: bytes) -> None:
    found = answering.read(data, LIMIT)
    if isinstance(found, Plain):
        assert parsed(loop, data) == (found.status, found.headers, found.body, False)
    elif isinstance(found, int):
        assert found > len(data)
        whole = data.ljust(found, b"x")
        assert isinstance(answering.read(whole, LIMIT), Plain)
        assert parsed(loop, data) is None
        assert parsed(loop, whole) is not None


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", Plain(204, {}, b"")),
        (
            OK + b"Content-Length: 2\r\nX-A: 1\r\nx-a: 2\r\n\r\nok",
            Plain(200, {"content-length": "2", "x-a": "1"}, b"ok"),
        ),
        (OK + b"content-length: 10\r\n\r\nhalf", len(OK) + 32),
    ],
)
def test_the_usual_answers_are_plain(data: bytes, found: object) -> None:
    assert answering.read(data, LIMIT) == found


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.0 204 No\r\n\r\n", OK + b"\r\n", OK + b"x: 1", OK,
        OK + b"content-length: 2\r\n\r\nokay", OK + b"content-length: 2\r\ncontent-length: 2\r\n\r\nok",
        OK + b"content-length: -2\r\n\r\n", OK + b"content-length: 65537\r\n\r\n",
        OK + b"content-length: 2\r\nconnection: close\r\n\r\nok", OK + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"content-length: 0\r\nupgrade: x\r\n\r\n", OK + b"content-length: 0\r\n folded\r\n\r\n",
        OK + b"x-a: \xff\r\ncontent-length: 0\r\n\r\n", b"HTTP/1.1 204 No\r\ncontent-length: 5\r\n\r\n", b"rubbish",
        b"", OK + b"x-a: " + b"x" * 4_096 + b"\r\ncontent-length: 0\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_out_of_the_ordinary_is_not_plain(data: bytes) -> None:
    assert answering.read(data, LIMIT) is None
