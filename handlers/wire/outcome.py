"""What an attempt ended with: an answer, or the kind of its failure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import lru_cache

from schemas.results import ErrorKind
from streams.core.breaking import Ending, Report
from streams.core.retrying import MAX_RETRY_AFTER_MS

MAX_EXCERPT_BYTES = 1_024

_LINES = {
    ErrorKind.TIMEOUT: "the receiver did not answer in time",
    ErrorKind.DNS: "the receiver's name could not be resolved",
    ErrorKind.REFUSED: "the receiver refused the connection",
    ErrorKind.RESET: "the receiver closed the connection before it had answered",
    ErrorKind.TLS: "no secure connection to the receiver could be made",
    ErrorKind.BLOCKED: "the receiver's address is not one that deliveries may reach",
    ErrorKind.PROTOCOL: "the receiver's answer is not HTTP",
}

#: What has no place in a text for people, but for line breaks and tabs.
_CONTROLS = dict.fromkeys((*(code for code in range(32) if chr(code) not in "\n\t"), *range(127, 160)), " ")

SLOW_MS = 1_000
#: Not the delivery's fault: the receiver, or what stands before it, cannot take anything just now.
_BUSY = frozenset({429, 502, 503, 504})
_UNREACHED = frozenset(
    {ErrorKind.TIMEOUT, ErrorKind.DNS, ErrorKind.REFUSED, ErrorKind.RESET, ErrorKind.TLS, ErrorKind.PROTOCOL}
)
#: A 4xx that says nothing about the next attempt: 408 and 425 are about time, 429 about many.
_PASSING = frozenset({408, 425, 429})

_TAKEN = Report(Ending.ACCEPTED)


class Wish(StrEnum):
    """What a receiver may ask for in a header `webhook-delivery`."""

    ABORT = "abort"
    DISABLE = "disable"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`error_kind` None means that the receiver has accepted. `error` is one line fit for the tenant."""

    latency_ms: int
    status_code: int | None = None
    error_kind: ErrorKind | None = None
    error: str | None = None
    response_excerpt: str | None = None
    retry_after_ms: int | None = None
    wish: Wish | None = None

    @property
    def accepted(self) -> bool:
        """True for a 2xx."""
        return self.error_kind is None

    @property
    def is_permanent(self) -> bool:
        """True for a 4xx by which the receiver says that the request is at fault."""
        status = self.status_code or 0
        return self.error_kind is ErrorKind.STATUS and 400 <= status < 500 and status not in _PASSING

    @property
    def report(self) -> Report:
        """What it says about the receiver."""
        if self.accepted:
            return _TAKEN
        if self.status_code in _BUSY:
            # Whoever says so after a second has held one of our places for nothing, as one does that says nothing.
            slow = self.latency_ms >= SLOW_MS and not self.retry_after_ms
            return Report(Ending.UNAVAILABLE if slow else Ending.BUSY, self.retry_after_ms)
        return Report(Ending.UNAVAILABLE if self.error_kind in _UNREACHED else Ending.FAILED)


def classify_response(status: int, headers: Mapping[str, str], body: bytes, *, latency_ms: int, now_ms: int) -> Outcome:
    """The outcome of an answer. `headers` look names up without regard to case."""
    if 200 <= status < 300 and not body and "webhook-delivery" not in headers:
        return _accepted(status, latency_ms)
    excerpt = _excerpt(body)
    wish = _wish(headers.get("webhook-delivery"))
    if 200 <= status < 300:
        return Outcome(latency_ms, status, response_excerpt=excerpt, wish=wish)
    if 300 <= status < 400:
        kind, line = ErrorKind.REDIRECT, f"the receiver redirects ({status}); redirects are not followed"
    elif status == 410:
        kind, line = ErrorKind.GONE, "the receiver says that it is gone (410)"
    else:
        kind, line = ErrorKind.STATUS, f"the receiver answered {status}"
    after_ms = _retry_after(headers.get("retry-after"), now_ms)
    return Outcome(latency_ms, status, kind, line, excerpt, after_ms, wish)


@lru_cache(maxsize=4_096)
def _accepted(status: int, latency_ms: int) -> Outcome:
    return Outcome(latency_ms, status)


def classify_failure(kind: ErrorKind, *, latency_ms: int) -> Outcome:
    """The outcome of an attempt that got no answer."""
    return Outcome(latency_ms, None, kind, _LINES[kind])


def _excerpt(body: bytes) -> str | None:
    if not body:
        return None
    text = body[:MAX_EXCERPT_BYTES].decode("utf-8", "ignore" if len(body) > MAX_EXCERPT_BYTES else "replace")
    text = text.translate(_CONTROLS)
    while len(text.encode()) > MAX_EXCERPT_BYTES:  # a replacement character is longer than what it replaces
        text = text[: -max(1, (len(text.encode()) - MAX_EXCERPT_BYTES) // 4)]
    return text


def _wish(value: str | None) -> Wish | None:
    text = (value or "").strip().lower()
    return next((wish for wish in Wish if wish.value == text), None)


def _retry_after(value: str | None, now_ms: int) -> int | None:
    """RFC 9110, 10.2.3: seconds, or a date in any of its three forms. Garbage and what has passed is no wish."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(int(text.lstrip("0")[:12] or "0") * 1_000, MAX_RETRY_AFTER_MS)
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        wait_ms = int((date - datetime.fromtimestamp(0, UTC)).total_seconds() * 1_000) - now_ms
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(wait_ms, MAX_RETRY_AFTER_MS) if wait_ms > 0 else None
