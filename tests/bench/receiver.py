"""A receiver in a process of its own, whose CPU time does not count. It notes what comes, and can be told to be sick.

`python -m tests.bench.receiver N [PEM]` prints `[control, port, …]`: a port for orders, and N that take webhooks, with
TLS where PEM has a key and its certificates.
"""

import asyncio
import re
import ssl
import sys
import time
from typing import NamedTuple, cast

import orjson
import uvloop

NOTED = re.compile(rb'"number":(\d+),"sent_us":(\d+)')
ATTEMPT = re.compile(rb"\r\nwebhook-attempt: *(\d+)")
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
FAILURE = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"
DRIPPED = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b" " * 100_000
DRIP_S = 1.0


class Arrival(NamedTuple):
    """A request that was answered. `sent_s`: when its event was published, `came_s`: when it came; s since 1970."""

    number: int
    sent_s: float
    came_s: float
    path: str
    attempt: int
    replayed: bool


#: How the receiver of each number treats requests: `hang`, `drip` or `fail`; others answer 204.
manners: dict[int, str] = {}
arrivals: list[Arrival] = []


class Sink(asyncio.Protocol):
    """Just enough HTTP/1.1 for requests with a content-length."""

    def __init__(self, number: int) -> None:
        self._number = number

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by name
        self._buffer = bytearray()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end]).lower()
            start = head.find(b"content-length:") + 15
            length = int(head[start:].split(b"\r\n", 1)[0])
            if len(self._buffer) < end + 4 + length:
                return
            body = bytes(self._buffer[end + 4 : end + 4 + length])
            del self._buffer[: end + 4 + length]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        manner = manners.get(self._number)
        if manner in (None, "fail"):
            if (found := NOTED.search(body)) is not None:
                path = head.split(b" ", 2)[1].decode()
                attempt = ATTEMPT.search(head)
                numbers = int(found[1]), int(found[2]) / 1e6, time.time()
                attempts = int(attempt[1]) if attempt is not None else 0
                arrivals.append(Arrival(*numbers, path, attempts, b"\r\nwebhook-replay:" in head))
            self._transport.write(FAILURE if manner else ANSWER)
        elif manner == "drip":
            self._drip(0)

    def _drip(self, place: int) -> None:
        if not self._transport.is_closing():
            self._transport.write(DRIPPED[place : place + 1])
            asyncio.get_running_loop().call_later(DRIP_S, self._drip, place + 1)


async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Orders, a line of JSON each: `{"hang": [0, 1], "drip": [2]}` sets manners, a number asks for what came since."""
    while line := await reader.readline():
        order = orjson.loads(line)
        if isinstance(order, dict):
            manners.clear()
            manners.update({number: manner for manner, numbers in order.items() for number in numbers})
        writer.write(orjson.dumps([tuple(one) for one in arrivals[order:]] if isinstance(order, int) else []) + b"\n")
        await writer.drain()


async def main() -> None:
    loop = asyncio.get_running_loop()
    context = None
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2])
    server = await asyncio.start_server(control, "127.0.0.1", 0)
    ports = [server.sockets[0].getsockname()[1]]
    for number in range(int(sys.argv[1])):
        sink = await loop.create_server(
            lambda number=number: Sink(number),
            "127.0.0.1",
            0,
            backlog=1_000,
            ssl=context,
        )
        ports.append(sink.sockets[0].getsockname()[1])
    print(orjson.dumps(ports).decode(), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
