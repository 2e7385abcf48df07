"""Endpoints made ready for many events, and an event for many endpoints: what they share is worked out once."""

from typing import Any, NamedTuple

from schemas import deliveries, topics
from schemas.endpoints import EndpointRecord, EndpointVersion
from schemas.events import SEALED_HEADER, Event
from streams.core import delivery_ids, filtering, matching, outputs
from streams.core.filtering import Filterable
from streams.core.outputs import Output, Source

#: Event types whose subscriptions a plan remembers.
MAX_TYPES = 16
#: Plans that are kept in any case; twice as many at the most.
MAX_PLANS = 20_000

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
_ANY_ID = ("delivery-id", bytes(36))
_ID, _ENDPOINT, _VERSION = 0, 4, 5


class Pattern(NamedTuple):
    """A pattern that matches, with the filter of its subscription, as it was given and compiled."""

    header: tuple[str, bytes]
    size: int
    filter: str | dict[str, Any] | None
    compiled: filtering.Compiled | None


class Plan:
    """An endpoint in one version: what matches, and what each of its deliveries says of it."""

    __slots__ = (
        "_by_type",
        "_compiled",
        "endpoint_header",
        "id_front",
        "key",
        "record",
        "size",
        "version",
        "version_header",
    )

    def __init__(self, record: EndpointRecord, version: EndpointVersion) -> None:
        self.record = record
        self.version = version
        self.key = f"{record.tenant}/{record.endpoint_id}".encode()
        self.id_front = delivery_ids.front(record.tenant, record.endpoint_id)
        self.endpoint_header = ("endpoint-id", record.endpoint_id.encode())
        self.version_header = ("endpoint-version", f"{record.partition}-{version.offset}".encode())
        self.size = sum(map(outputs.bytes_of, (_ANY_ID, self.endpoint_header, self.version_header)))
        subscriptions = version.settings.subscriptions if version.settings is not None else ()
        self._compiled = [(subscription, filtering.compiled(subscription.filter)) for subscription in subscriptions]
        self._by_type: dict[str, tuple[Pattern, ...]] = {}

    def matching(self, event_type: str, event: Filterable) -> Pattern | None:
        """The pattern of the first subscription that the event matches; None where there is none."""
        patterns = self._by_type.get(event_type)
        if patterns is None:
            patterns = self._patterns(event_type)
        for pattern in patterns:
            if pattern.filter is None or event.passes(pattern.filter, pattern.compiled):
                return pattern
        return None

    def _patterns(self, event_type: str) -> tuple[Pattern, ...]:
        found: list[Pattern] = []
        for subscription, compiled in self._compiled:
            for one in subscription.event_types:
                if matching.matches(one, event_type):
                    header = ("matched", one.encode())
                    found.append(Pattern(header, outputs.bytes_of(header), subscription.filter, compiled))
                    break  # another pattern of this subscription has the same filter
        if len(self._by_type) >= MAX_TYPES:
            self._by_type.clear()
        patterns = self._by_type[event_type] = tuple(found)
        return patterns


class Plans:
    """Plans by what they were made of, made when they are asked for.

    A version that changes is another object, and has another plan. What is not asked for is forgotten.
    """

    def __init__(self, max_plans: int = MAX_PLANS) -> None:
        self._max_plans = max_plans
        #: By the version's identity; each plan holds its version, so that no other can take that on.
        self._young: dict[int, Plan] = {}
        self._old: dict[int, Plan] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def of(self, record: EndpointRecord, version: EndpointVersion) -> Plan:
        """The plan for an endpoint in one of its versions."""
        found = self._young.get(id(version))
        if found is not None and found.record is record:
            return found
        found = self._old.pop(id(version), None)
        if found is None or found.record is not record:
            found = Plan(record, version)
        if len(self._young) >= self._max_plans:
            self._young, self._old = {}, self._young
        self._young[id(version)] = found
        return found


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
            headers.append(header := ("data-content-type", event.data_content_type.encode()))
            size += outputs.bytes_of(header)
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

    def to(self, plan: Plan, pattern: Pattern, order_key: str | None) -> Output:
        """The delivery to an endpoint that it matches by `pattern`."""
        headers = self._headers.copy()
        size = self._size + plan.size + pattern.size
        headers[_ID] = ("delivery-id", delivery_ids.of(plan.id_front, self._event_id).encode())
        headers[_ENDPOINT] = plan.endpoint_header
        headers[_VERSION] = plan.version_header
        headers[self._matched] = pattern.header
        if order_key is not None:
            header = ("order-key", order_key.encode())
            headers.insert(self._order, header)
            size += outputs.bytes_of(header)
        return outputs.sized(topics.DELIVERIES, plan.key, self._data, headers, self._origin, size)
