"""Endpoints made ready for many events, and an event for many endpoints: what they share is worked out once."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from schemas import deliveries, subscribed, topics
from schemas.endpoints import EndpointRecord
from schemas.events import SEALED_HEADER, Event
from schemas.subscribed import Subscribed, SubscribedVersion
from streams.core import delivery_ids, filtering, matching, outputs
from streams.core.filtering import Filterable
from streams.core.outputs import Output, Source

#: Event types for which it is remembered which subscriptions cover them.
MAX_TYPES = 16
#: Of so many different patterns in a subscription it is remembered once for all, and of more of each endpoint.
MAX_SHARED, MAX_SHARED_PATTERNS = 16_384, 16
#: About how many bytes of memory a plan takes: by itself, for each older version, for each byte of its subscriptions.
PLAN_BYTES, VERSION_BYTES, BYTES_FOR_EACH = 1_500, 500, 16

_FIRST_ATTEMPT = ("attempt", b"1")
#: What the headers of each event add to a record's size, without their values but for the attempt's.
_ALWAYS = sum(
    map(
        outputs.bytes_of,
        (("event-id", b""), ("event-type", b""), ("tenant", b""), ("event-time-ms", b""), _FIRST_ATTEMPT),
    )
)
#: Stands where each endpoint has a header of its own.
_LATER = ("", b"")
_ANY_ID_SIZE = outputs.bytes_of(("delivery-id", bytes(36)))
_ID, _ENDPOINT, _VERSION = 0, 4, 5


class Pattern(NamedTuple):
    """A pattern that covers an event type, and the place of its subscription among those of the endpoint."""

    header: tuple[str, bytes]
    size: int
    place: int


class Types:
    """The patterns of a version's subscriptions. Versions that have the same share them."""

    __slots__ = ("_by_type", "_subscriptions")

    def __init__(self, subscriptions: tuple[tuple[str, ...], ...]) -> None:
        self._subscriptions = subscriptions
        self._by_type: dict[str, tuple[Pattern, ...]] = {}

    def covering(self, event_type: str) -> tuple[Pattern, ...]:
        """The first pattern of each subscription that covers it, in their order."""
        known = self._by_type.get(event_type)
        if known is None:
            if len(self._by_type) >= MAX_TYPES:
                self._by_type.clear()
            known = self._by_type[event_type] = tuple(self._covering(event_type))
        return known

    def _covering(self, event_type: str) -> Iterator[Pattern]:
        for place, patterns in enumerate(self._subscriptions):
            for one in patterns:
                if matching.matches(one, event_type):
                    header = ("matched", one.encode())
                    yield Pattern(header, outputs.bytes_of(header), place)
                    break  # another pattern of this subscription has the same filter


_shared = lru_cache(maxsize=MAX_SHARED)(Types)


class PlannedVersion:
    """An endpoint from `valid_from_ms` on. `size`: what the headers that all its deliveries share add to each."""

    __slots__ = ("_filters", "_types", "header", "ordered_by", "size", "state", "valid_from_ms")

    def __init__(self, version: SubscribedVersion, partition: int, size: int) -> None:
        self.valid_from_ms = version.valid_from_ms
        self.state = version.state
        self.ordered_by = version.ordered_by
        self.header = ("endpoint-version", f"{partition}-{version.offset}".encode())
        self.size = size + outputs.bytes_of(self.header)
        types = tuple([one.event_types for one in version.subscriptions])
        few = len(types) == 1 and len(types[0]) <= MAX_SHARED_PATTERNS
        self._types = _shared(types) if few else Types(types)
        filters = tuple([Filter(bytes(one.filter)) if one.filter else None for one in version.subscriptions])
        self._filters = filters if any(filters) else ()

    def matching(self, event_type: str, event: Filterable) -> Pattern | None:
        """The pattern of the first subscription that the event matches; None where there is none."""
        if self._filters:
            event.turn()
        for pattern in self._types.covering(event_type):
            wanted = self._filters[pattern.place] if self._filters else None
            if wanted is None or event.passes(*wanted.ready()):
                return pattern
        return None

    def asks(self, event_type: str) -> bool:
        """Whether one of its filters on events of the type is on the data."""
        return bool(self._filters) and any(
            (wanted := self._filters[pattern.place]) is not None and wanted.is_on_data
            for pattern in self._types.covering(event_type)
        )


class Filter:
    """A subscription's filter, read and compiled when the first event asks."""

    __slots__ = ("_raw", "_read")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._read: tuple[Any, filtering.Compiled | None] | None = None

    @property
    def is_on_data(self) -> bool:
        """False for an expression."""
        return isinstance(self.ready()[0], dict)

    def ready(self) -> tuple[str | dict[str, Any] | None, filtering.Compiled | None]:
        """As it was given, and as it is for many events."""
        if self._read is None:
            given = orjson.loads(self._raw)
            self._read = given, filtering.compiled(given)
        return self._read


class Plan:
    """An endpoint made ready for many events: what matches, and what each of its deliveries says of it."""

    __slots__ = ("_older", "_version", "endpoint_header", "endpoint_id", "id_front", "key", "size")

    def __init__(self, known: Subscribed) -> None:
        self.endpoint_id = known.endpoint_id
        self.key = f"{known.tenant}/{known.endpoint_id}".encode()
        self.id_front = delivery_ids.front(known.tenant, known.endpoint_id)
        self.endpoint_header = ("endpoint-id", known.endpoint_id.encode())
        partition, own = known.partition, _ANY_ID_SIZE + outputs.bytes_of(self.endpoint_header)
        self._version = PlannedVersion(known, partition, own)
        self._older = tuple([PlannedVersion(one, partition, own) for one in reversed(known.history)])
        self.size = PLAN_BYTES + VERSION_BYTES * len(self._older)
        for version in (known, *known.history):
            for one in version.subscriptions:
                self.size += BYTES_FOR_EACH * (sum(map(len, one.event_types)) + len(bytes(one.filter)))

    def as_of(self, event_time_ms: int) -> PlannedVersion | None:
        """See `versions.as_of`."""
        if self._version.valid_from_ms <= event_time_ms:
            return self._version
        for version in self._older:
            if version.valid_from_ms <= event_time_ms:
                return version
        return None


def of(record: EndpointRecord) -> Plan:
    """The plan for an endpoint."""
    return read(record.encode())


def read(value: bytes) -> Plan:
    """The plan for an endpoint, from its value in `endpoints`. Raises ValueError on anything else."""
    return Plan(subscribed.read(value))


@lru_cache(maxsize=256)
def _content_type(text: str) -> tuple[tuple[str, bytes], int]:
    header = ("data-content-type", text.encode())
    return header, outputs.bytes_of(header)


class Envelope:
    """The deliveries of one event, as first attempts, with the headers that `Delivery` gives them, in their order."""

    def __init__(self, event: Event, source: Source) -> None:
        self._event_id = event_id = event.event_id.encode()
        self._data = event.data if event.sealed is None else event.sealed.data
        self._origin = source.origin
        event_type, tenant, at_ms = event.event_type.encode(), event.tenant.encode(), str(source.at_ms).encode()
        headers = [
            _LATER,
            ("event-id", event_id),
            ("event-type", event_type),
            ("tenant", tenant),
            _LATER,
            _LATER,
            ("event-time-ms", at_ms),
            _FIRST_ATTEMPT,
        ]
        size = _ALWAYS + len(event_id) + len(event_type) + len(tenant) + len(at_ms)
        if event.time is not None:
            headers.append(header := ("event-time", event.time.encode()))
            size += outputs.bytes_of(header)
        if event.data_content_type is not None:
            header, more = _content_type(event.data_content_type)
            headers.append(header)
            size += more
        if event.traceparent is not None:
            headers.append(header := ("traceparent", event.traceparent.encode()))
            size += outputs.bytes_of(header)
        self._matched = len(headers)
        headers.append(_LATER)
        if event.sealed is not None:
            headers.append(header := (SEALED_HEADER, event.sealed.key_id.encode()))
            size += outputs.bytes_of(header)
        self._order = len(headers)
        if event.attributes:
            headers.append(header := deliveries.attributes_header(event.attributes))
            size += outputs.bytes_of(header)
        self._headers, self._size = headers, size

    def to(self, plan: Plan, version: PlannedVersion, pattern: Pattern, order_key: str | None) -> Output:
        """The delivery to an endpoint that in this version it matches by `pattern`."""
        headers = self._headers.copy()
        size = self._size + version.size + pattern.size
        headers[_ID] = ("delivery-id", delivery_ids.of(plan.id_front, self._event_id).encode())
        headers[_ENDPOINT] = plan.endpoint_header
        headers[_VERSION] = version.header
        headers[self._matched] = pattern.header
        if order_key is not None:
            header = ("order-key", order_key.encode())
            headers.insert(self._order, header)
            size += outputs.bytes_of(header)
        return outputs.sized(topics.DELIVERIES, plan.key, self._data, headers, self._origin, size)
