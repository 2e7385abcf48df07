"""A delivery on the wire: the data's bytes are the value, all else is in headers, so that the data is never touched."""

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson
from pydantic import Field, ValidationError

from schemas.events import SEALED_HEADER
from schemas.model import Identifier, Record, first_line, is_identifier, trusted

Headers = Sequence[tuple[str, bytes]]

#: Event types of what Hookfold itself sends: the handshake, and a trial that somebody asks for.
VERIFICATION = "hookfold.verification"
TEST = "hookfold.test"

#: Header name of each field that is written as plain text, in the order they are written.
TEXT_HEADERS: tuple[tuple[str, str], ...] = (
    ("delivery-id", "delivery_id"),
    ("event-id", "event_id"),
    ("event-type", "event_type"),
    ("tenant", "tenant"),
    ("endpoint-id", "endpoint_id"),
    ("endpoint-version", "endpoint_version"),
    ("event-time-ms", "event_time_ms"),
    ("attempt", "attempt"),
    ("due-at-ms", "due_at_ms"),
    ("event-time", "event_time"),
    ("data-content-type", "data_content_type"),
    ("traceparent", "traceparent"),
    ("matched", "matched"),
    ("replay-id", "replay_id"),
    (SEALED_HEADER, "sealed_with"),
    ("order-key", "order_key"),
    ("order-place", "order_place"),
    ("order-after", "order_after"),
    ("order-since-ms", "order_since_ms"),
)
INTEGERS = frozenset({"event_time_ms", "attempt", "due_at_ms", "order_place", "order_after", "order_since_ms"})
#: Of each header its field, and how that is read.
_READ: dict[str, tuple[str, Callable[[bytes], Any]]] = {
    header: (field, int if field in INTEGERS else bytes.decode) for header, field in TEXT_HEADERS
}


_USUAL = frozenset(
    {
        "delivery-id",
        "event-id",
        "event-type",
        "tenant",
        "endpoint-id",
        "endpoint-version",
        "event-time-ms",
        "attempt",
        "event-time",
        "data-content-type",
        "traceparent",
        "matched",
    }
)
_VERSION = re.compile("[0-9]+-[0-9]+")


class Delivery(Record):
    """One event owed to one endpoint; with the event type `hookfold.verification`, a handshake.

    `attempt` is the number of the next attempt, from 1. `event_time_ms` is the event's time in the log;
    `event_time` the provider's own (RFC 3339), if it gave one. `endpoint_version` is the state version
    (`<partition>-<offset>`) it was matched under, `matched` the pattern. `attributes` are CloudEvents attributes
    besides id, type, time and datacontenttype. `due_at_ms` is set while the delivery waits. `order_key` names the line
    that it stands in; the egress adds its place there, the place that must be over before, and since when.
    `sealed_with` is the id of its tenant's key that the data is sealed with; absent, it is in the clear.
    """

    delivery_id: str
    event_id: str
    event_type: str
    tenant: Identifier
    endpoint_id: Identifier
    endpoint_version: str = Field(pattern=r"^\d+-\d+$")
    event_time_ms: int
    attempt: int = Field(default=1, ge=1)
    due_at_ms: int | None = None
    event_time: str | None = None
    data_content_type: str | None = None
    traceparent: str | None = None
    matched: str | None = None
    replay_id: str | None = None
    sealed_with: str | None = None
    order_key: str | None = Field(default=None, max_length=64)
    order_place: int | None = None
    order_after: int | None = None
    order_since_ms: int | None = None
    attributes: Mapping[str, str] = Field(default_factory=dict)
    data: bytes = b""

    @property
    def is_verification(self) -> bool:
        """True for a handshake; events of that type are refused."""
        return self.event_type == VERIFICATION

    @property
    def key(self) -> bytes:
        """The record key: `tenant/endpoint_id`."""
        return f"{self.tenant}/{self.endpoint_id}".encode()

    def headers(self) -> list[tuple[str, bytes]]:
        """The record headers, UTF-8; `decode` is the inverse."""
        fields = vars(self)
        written = [
            (header, str(value).encode()) for header, field in TEXT_HEADERS if (value := fields[field]) is not None
        ]
        if self.attributes:
            written.append(attributes_header(self.attributes))
        return written


#: Of the fields that have a default what it is.
_UNSAID: dict[str, Any] = {
    name: field.get_default(call_default_factory=True)
    for name, field in Delivery.model_fields.items()
    if not field.is_required()
}


def attributes_header(attributes: Mapping[str, str]) -> tuple[str, bytes]:
    """The header that has all attributes."""
    return ("event-attributes", orjson.dumps(dict(attributes)))


def decode(value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> Delivery | str:
    """The delivery in a record, or why it cannot be read, in one line."""
    headers = tuple(headers)
    return _usual(value, headers) or _any(value, headers)


def _usual(value: bytes | None, headers: Headers) -> Delivery | None:
    """What `_any` makes of a delivery that has what nearly all have, sooner; else None."""
    try:
        named = dict(headers)
        if not named.keys() <= _USUAL:
            return None
        tenant, endpoint_id, version = _names(named["tenant"], named["endpoint-id"], named["endpoint-version"])
        fields = {
            **_UNSAID,
            "delivery_id": named["delivery-id"].decode(),
            "event_id": named["event-id"].decode(),
            "event_type": named["event-type"].decode(),
            "tenant": tenant,
            "endpoint_id": endpoint_id,
            "endpoint_version": version,
            "event_time_ms": int(named["event-time-ms"]),
            "attempt": int(named["attempt"]),
            "data": value or b"",
        }
        if fields["attempt"] < 1:
            return None
        if "event-time" in named:
            fields["event_time"] = named["event-time"].decode()
        if "data-content-type" in named:
            fields["data_content_type"] = named["data-content-type"].decode()
        if "traceparent" in named:
            fields["traceparent"] = named["traceparent"].decode()
        if "matched" in named:
            fields["matched"] = named["matched"].decode()
    except (ValueError, TypeError, AttributeError, KeyError):
        return None
    return trusted(Delivery, fields)


@functools.lru_cache(maxsize=65_536)
def _names(tenant: bytes, endpoint_id: bytes, version: bytes) -> tuple[str, str, str]:
    """Checked. Raises ValueError where they are not what nearly all are."""
    names = tenant.decode(), endpoint_id.decode(), version.decode()
    if not (is_identifier(names[0]) and is_identifier(names[1]) and _VERSION.fullmatch(names[2])):
        raise ValueError(names)
    return names


def _any(value: bytes | None, headers: Headers) -> Delivery | str:
    fields: dict[str, Any] = {"data": value or b""}
    try:
        for name, raw in headers:
            if known := _READ.get(name):
                field, read = known
                fields[field] = read(raw)
            elif name == "event-attributes":
                fields["attributes"] = orjson.loads(raw)
        return Delivery.model_validate(fields)
    except UnicodeDecodeError:
        return "a header of the delivery is not UTF-8"
    except ValidationError as problem:
        return f"the delivery's {first_line(problem)}"
    except (ValueError, TypeError, AttributeError) as problem:
        return " ".join(f"a header of the delivery: {problem}".split())
