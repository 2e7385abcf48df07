"""A request and its answer over one connection: what both ways of doing that have in common."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from yarl import URL

MAX_ANSWER_BYTES = 65_536
#: Sent again at most so often, where the connection was closed before a byte of the request had been sent.
MAX_UNSENT = 3


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `timeout_ms` spans connect, TLS, headers and body; `context` has a client certificate."""

    url: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    timeout_ms: int
    verb: str = "POST"
    context: ssl.SSLContext | None = None
    max_answer_bytes: int = MAX_ANSWER_BYTES


class Exchange(Protocol):
    """Sends one request and reads the answer, without a deadline: whoever calls cancels it."""

    async def exchange(self, url: URL, request: Request) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and as much of the body as is wanted. Raises aiohttp's errors and OSError."""

    async def close(self) -> None:
        """Close every connection."""
