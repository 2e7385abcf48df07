"""One connection to a receiver: a request is written, its answer is read, and where that is plain without a task."""

from __future__ import annotations

import asyncio
import re
import select
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

from handlers.wire import answering

#: Less than the 60 s after which load balancers close: a request sent just then would be lost.
KEEP_ALIVE_S = 55.0
#: How much sooner than it says that it will (`keep-alive: timeout=5`) a receiver's idle connection is given up.
KEEP_ALIVE_MARGIN_S = 1.0
#: Answers with a 1xx before the real one.
MAX_INTERIM = 32
#: All that one answer may take on the wire, so that a flood of what is no body (chunk extensions) ends, too.
MAX_WIRE_BYTES = 4 << 20

_HEAD_END = b"\r\n\r\n"
_TIMEOUT = re.compile(r"\btimeout=([0-9]{1,9})\b", re.IGNORECASE)

#: Status, headers and as much of the body as is wanted; or what came instead.
Answered = tuple[int, Mapping[str, str], bytes] | Exception


class Receiving(ResponseHandler):
    """One connection. What follows an answer does not undo it, and no answer is endless."""

    idle_s = KEEP_ALIVE_S
    #: Since when it has been kept, monotonic time in seconds.
    kept_s = 0.0
    #: It has said something that nobody had asked for.
    _spoke = False
    _poll: select.poll | None = None
    #: Says of a connection with TLS whether more could be written: how much waits below TLS, nobody tells.
    _outgoing: select.poll | None = None
    _requests = 0
    _interim = 0
    _wire_bytes = 0
    _in_head = True
    #: Who waits for an answer that has been plain so far, the most that they want of its body, what has come of it, and
    #: how much there is to come of it.
    _over: Callable[[Answered], None] | None = None
    _limit = 0
    _got = b""
    _expected = 0
    _whole = True
    #: Reads an answer that is not plain.
    _reading: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        """asyncio's interface."""
        super().connection_made(transport)
        if (raw := transport.get_extra_info("socket")) is not None:
            self._poll = select.poll()
            self._poll.register(raw.fileno(), select.POLLIN)
            if transport.get_extra_info("ssl_object") is not None:
                self._outgoing = select.poll()
                self._outgoing.register(raw.fileno(), select.POLLOUT)

    def ask(self, written: bytes, limit: int, over: Callable[[Answered], None]) -> None:
        """Send a request; `over` gets the answer, with `limit` bytes of its body at the most, or aiohttp's errors.

        It is told nothing once the connection has been aborted.
        """
        self._requests += 1
        self._over, self._limit, self._whole = over, limit, True
        assert self.transport is not None
        self.transport.write(written)

    @property
    def is_at_its_end(self) -> bool:
        """True where both the answer and the request have come to their end, and another request may follow.

        A receiver that has answered before it had read everything may not read the rest, ever.
        """
        if not self._whole or self.transport is None or self.transport.get_write_buffer_size() or self.should_close:
            return False
        return self._outgoing is None or bool(self._outgoing.poll(0))

    def abort(self) -> None:
        """aiohttp's interface."""
        self._over = None
        if self._reading is not None:
            self._reading.cancel()
        super().abort()

    def takes_a_request(self) -> bool:
        """False when the receiver has closed the connection or spoken out of turn, also where asyncio has yet to see.

        A connection that was never used may have something to read: TLS 1.3 sends tickets.
        """
        if not self.is_connected() or self.exception() is not None:
            return False
        return self._requests <= 1 or self.is_silent()

    def takes_another(self) -> bool:
        """The same for one that was at its end when it was kept."""
        return not self._spoke and self.is_connected() and self.is_silent()

    def is_silent(self) -> bool:
        """Whether nothing has come, neither bytes nor the end; for a connection that waits for a request."""
        return self._poll is not None and not self._poll.poll(0)

    def set_response_params(self, **params: Any) -> None:
        """aiohttp's interface: its parser reads what comes."""
        if self._over is None:
            self._requests += 1
        self._interim = self._wire_bytes = 0
        self._in_head = True
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """asyncio's interface."""
        if self._over is None or self._reading is not None:
            self._spoke = self._over is None
            self._parse(data)
            return
        if self._got:
            data = self._got + data
            if len(data) < self._expected:
                self._got = data
                return
        answer = answering.read(data, self._limit)
        if isinstance(answer, int):
            self._got, self._expected = data, answer
            return
        self._got = b""
        if answer is None:
            self._read_otherwise(data)
            return
        if said := answer.headers.get("keep-alive"):
            self._note_idle(said)
        self._end(answer)

    def connection_lost(self, exc: BaseException | None) -> None:
        """asyncio's interface."""
        if self._got:
            data, self._got = self._got, b""
            self._read_otherwise(data)
        super().connection_lost(exc)
        if self._over is not None and self._reading is None:
            problem = self.exception()
            self._end(problem if isinstance(problem, Exception) else ConnectionResetError("the connection is lost"))

    def _end(self, answered: Answered) -> None:
        over, self._over = self._over, None
        if over is not None:
            over(answered)

    def _read_otherwise(self, data: bytes) -> None:
        """Have aiohttp's parser read what is no plain answer."""
        self._reading = asyncio.get_running_loop().create_task(self._read(self._limit))
        self.set_response_params(read_until_eof=True, auto_decompress=False)
        self._parse(data)

    async def _read(self, limit: int) -> None:
        answered: Answered
        try:
            message, content = await self.read()
            while 100 <= message.code < 200 and message.code != 101:
                message, content = await self.read()
            gathered = bytearray()
            while not content.at_eof() and len(gathered) < limit:
                gathered += await content.read(limit - len(gathered))
            self._whole = content.at_eof()
            answered = message.code, message.headers, bytes(gathered)
        except Exception as problem:
            answered = problem
        self._reading = None
        self._end(answered)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """aiohttp's interface: the head of an answer has come."""
        message = data[0]
        if message.code < 200 and message.code != 101:
            self._interim += 1
            if self._interim > MAX_INTERIM:
                self._give_up("no end of interim answers")
                return
        elif said := message.headers.get("keep-alive"):
            self._note_idle(said)
        super().feed_data(data, size)

    def _note_idle(self, said: str) -> None:
        if seconds := _TIMEOUT.search(said):
            self.idle_s = min(KEEP_ALIVE_S, int(seconds[1]) - KEEP_ALIVE_MARGIN_S)

    def _parse(self, data: bytes) -> None:
        """Give it to aiohttp's parser.

        The head goes there by itself: where rubbish follows an answer, the parser forgets an answer that it got in one
        piece with the rubbish (RFC 9112, 6.3: the answer stands, and the connection is closed).
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
