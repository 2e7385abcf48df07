"""Receivers that answer before they have read everything: their connections carry no further request."""

import asyncio
from collections.abc import Callable

import pytest

from handlers.egress.client import Answer, Client
from handlers.egress.exchange import Request
from schemas.settings import EgressSettings
from tests.integration import receivers
from tests.integration.test_keep_alive import LOOPS, contexts

OPEN = EgressSettings(allow_http=True, allow_networks="127.0.0.0/8")
MIB = 1_048_576


@pytest.mark.parametrize("new_loop", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_connection_whose_request_was_not_read_is_not_used_again(
    new_loop: Callable[[], asyncio.AbstractEventLoop], secure: bool
) -> None:
    theirs, mine = contexts() if secure else (None, None)
    connections: list[asyncio.StreamReader] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(reader)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await asyncio.sleep(10)  # it reads no more

    async def scenario() -> list[Answer]:
        async with receivers.serving(serve, theirs) as port, Client(OPEN) as client:
            url = f"{'https' if secure else 'http'}://127.0.0.1:{port}/"
            large = Request(url, [], b"x" * 30 * MIB, 2_000, context=mine)
            return [await client.send(large), await client.send(large._replace(body=b"{}"))]

    with asyncio.Runner(loop_factory=new_loop) as runner:
        first, second = runner.run(scenario())
    assert first.outcome.accepted, first.outcome
    assert second.outcome.accepted, second.outcome
    assert len(connections) == 2
