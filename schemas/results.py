"""The result of one attempt, or why none was made."""

from enum import StrEnum

import orjson

from schemas.model import Record


class Verdict(StrEnum):
    """What became of an attempt; all but `retrying` are final for the delivery."""

    DELIVERED = "delivered"
    RETRYING = "retrying"
    DEAD = "dead"
    SKIPPED = "skipped"


class ErrorKind(StrEnum):
    """Why an attempt failed, or none was made."""

    TIMEOUT = "timeout"
    DNS = "dns"
    REFUSED = "refused"
    RESET = "reset"
    TLS = "tls"
    BLOCKED = "blocked"
    REDIRECT = "redirect"
    PROTOCOL = "protocol"
    STATUS = "status"
    GONE = "gone"
    PENDING = "pending"
    PAUSED = "paused"
    DISABLED = "disabled"
    EXPIRED = "expired"
    ERASED = "erased"


class Result(Record):
    """Contract, "Results". `attempt` counts from 1 and is 0 where none was made; times are ms since 1970.

    `event_time_ms` is the event's time in the log.
    """

    delivery_id: str
    event_id: str
    event_type: str
    tenant: str
    endpoint_id: str
    attempt: int
    verdict: Verdict
    status_code: int | None = None
    error_kind: ErrorKind | None = None
    error: str | None = None
    event_time_ms: int | None = None
    latency_ms: int | None = None
    attempted_at_ms: int | None = None
    next_attempt_at_ms: int | None = None
    response_excerpt: str | None = None
    batch_id: str | None = None
    replay_id: str | None = None

    def encode(self) -> bytes:
        """The value in `results`: what does not apply is absent."""
        try:
            return orjson.dumps({name: value for name, value in self.__dict__.items() if value is not None})
        except orjson.JSONEncodeError:  # a number of more than 64 bits, that somebody else has written
            return self.model_dump_json(exclude_none=True).encode()
