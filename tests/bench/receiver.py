"""A receiver in a process of its own, whose CPU time does not count. It notes what comes, and can be told to be sick.

`python -m tests.bench.receiver N` prints `[control, port, …]`: a port for orders, and N that take webhooks.
"""

import asyncio
import json
import re
import sys
import time
from typing import cast

import uvloop

NOTED = re.compile(rb'"number":(\d+),"sent_us":(\d+)')
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
DRIPPED = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b" " * 100_000
DRIP_S = 1.0

#: How the receiver of each number treats requests: `hang` or `drip`; others answer 204.
manners: dict[int, str] = {}
#: Of each request that was answered: the event's number, when it was published and when it came (s since 1970).
arrivals: list[tuple[int, float, float]] = []


class Sink(asyncio.Protocol):
    """Just enough HTTP/1.1 for requests with a content-length."""

    def __init__(self, number: int) -> None:
        self._number = number

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by name
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            start = head.find(b"content-length:") + 15
            length = int(head[start:].split(b"\r\n", 1)[0])
            if len(self._buffer) < end + 4 + length:
                return
            body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        manner = manners.get(self._number)
        if manner is None:
            if (found := NOTED.search(body)) is not None:
                arrivals.append((int(found[1]), int(found[2]) / 1e6, time.time()))
            self._transport.write(ANSWER)
        elif manner == "drip":
            self._drip(0)

    def _drip(self, place: int) -> None:
        if not self._transport.is_closing():
            self._transport.write(DRIPPED[place : place + 1])
            asyncio.get_running_loop().call_later(DRIP_S, self._drip, place + 1)


async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Orders, a line of JSON each: `{"hang": [0, 1], "drip": [2]}` sets manners, a number asks for what came since."""
    while line := await reader.readline():
        order = json.loads(line)
        if isinstance(order, dict):
            manners.clear()
            manners.update({number: manner for manner, numbers in order.items() for number in numbers})
        writer.write(json.dumps(arrivals[order:] if isinstance(order, int) else []).encode() + b"\n")
        await writer.drain()


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(control, "127.0.0.1", 0)
    ports = [server.sockets[0].getsockname()[1]]
    for number in range(int(sys.argv[1])):
        sink = await loop.create_server(lambda number=number: Sink(number), "127.0.0.1", 0)  # type: ignore[misc]
        ports.append(sink.sockets[0].getsockname()[1])
    print(json.dumps(ports), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
