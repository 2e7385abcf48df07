"""A request and its answer over one connection: what both ways of doing that have in common."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from yarl import URL

from handlers.egress.connection import Answered

MAX_ANSWER_BYTES = 65_536
#: Sent again at most so often, where the connection was closed before a byte of the request had been sent.
MAX_UNSENT = 3


class Request(NamedTuple):
    """One request. `timeout_ms` spans connect, TLS, headers and body; `context` has a client certificate.

    `lines`: headers as they are written, each `name: value` with its end, checked by whoever made them.
    """

    url: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    timeout_ms: int
    verb: str = "POST"
    context: ssl.SSLContext | None = None
    max_answer_bytes: int = MAX_ANSWER_BYTES
    lines: str = ""


#: Told once what came: the answer, aiohttp's errors, OSError, or TimeoutError where nothing came in time.
Over = Callable[[Answered], None]


class Running(Protocol):
    """A request under way."""

    def cancel(self) -> object:
        """Give it up; nobody is told any more."""


class Exchange(Protocol):
    """Sends one request and reads the answer."""

    def begin(self, url: URL, request: Request, over: Over) -> Running:
        """Send it, by the next `flush` at the latest. Raises ValueError: it cannot be written.

        `over` is called later, never before this or `flush` has returned.
        """

    def flush(self) -> None:
        """Send all that has been begun."""

    async def close(self) -> None:
        """Close every connection."""
