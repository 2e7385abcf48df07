"""Endpoints made ready for many events, and an event for many endpoints: what they share is worked out once."""

from typing import Any

from schemas import deliveries, topics
from schemas.endpoints import EndpointRecord, EndpointVersion
from schemas.events import Event
from streams.core import delivery_ids, filtering, matching
from streams.core.filtering import Filterable
from streams.core.outputs import Output, Source

#: Event types whose subscriptions a plan remembers.
MAX_TYPES = 16
#: Plans that are kept in any case; twice as many at the most.
MAX_PLANS = 20_000

_FIRST_ATTEMPT = ("attempt", b"1")
#: Stands where each endpoint has a header of its own.
_LATER = ("", b"")
_ID, _ENDPOINT, _VERSION = 0, 4, 5

#: A pattern that matches, as a header; the filter beside it, and the same compiled.
Way = tuple[tuple[str, bytes], str | dict[str, Any] | None, filtering.Compiled | None]


class Plan:
    """An endpoint in one version: what matches, and what each of its deliveries says of it."""

    __slots__ = ("_by_type", "_compiled", "endpoint_header", "id_front", "key", "record", "version", "version_header")

    def __init__(self, record: EndpointRecord, version: EndpointVersion) -> None:
        self.record = record
        self.version = version
        self.key = f"{record.tenant}/{record.endpoint_id}".encode()
        self.id_front = delivery_ids.front(record.tenant, record.endpoint_id)
        self.endpoint_header = ("endpoint-id", record.endpoint_id.encode())
        self.version_header = ("endpoint-version", f"{record.partition}-{version.offset}".encode())
        subscriptions = version.settings.subscriptions if version.settings is not None else ()
        self._compiled = [(subscription, filtering.compiled(subscription.filter)) for subscription in subscriptions]
        self._by_type: dict[str, tuple[Way, ...]] = {}

    def matching(self, event_type: str, event: Filterable) -> tuple[str, bytes] | None:
        """The pattern of the first subscription that the event matches, as a header; None where there is none."""
        ways = self._by_type.get(event_type)
        if ways is None:
            ways = self._ways(event_type)
        for pattern, given, compiled in ways:
            if given is None or event.passes(given, compiled):
                return pattern
        return None

    def _ways(self, event_type: str) -> tuple[Way, ...]:
        found: list[Way] = []
        for subscription, compiled in self._compiled:
            for pattern in subscription.event_types:
                if matching.matches(pattern, event_type):
                    found.append((("matched", pattern.encode()), subscription.filter, compiled))
                    break  # another pattern of this subscription has the same filter
        if len(self._by_type) >= MAX_TYPES:
            self._by_type.clear()
        ways = self._by_type[event_type] = tuple(found)
        return ways


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
        self._event_id = event.event_id.encode()
        self._data = event.data
        self._origin = source.origin
        headers = [
            _LATER,
            ("event-id", self._event_id),
            ("event-type", event.event_type.encode()),
            ("tenant", event.tenant.encode()),
            _LATER,
            _LATER,
            ("event-time-ms", str(source.at_ms).encode()),
            _FIRST_ATTEMPT,
        ]
        if event.time is not None:
            headers.append(("event-time", event.time.encode()))
        if event.data_content_type is not None:
            headers.append(("data-content-type", event.data_content_type.encode()))
        if event.traceparent is not None:
            headers.append(("traceparent", event.traceparent.encode()))
        self._matched = len(headers)
        headers.append(_LATER)
        self._order = len(headers)
        if event.attributes:
            headers.append(deliveries.attributes_header(event.attributes))
        self._headers = headers

    def to(self, plan: Plan, pattern: tuple[str, bytes], order_key: str | None) -> Output:
        """The delivery to an endpoint that it matches by `pattern`."""
        headers = self._headers.copy()
        headers[_ID] = ("delivery-id", delivery_ids.of(plan.id_front, self._event_id).encode())
        headers[_ENDPOINT] = plan.endpoint_header
        headers[_VERSION] = plan.version_header
        headers[self._matched] = pattern
        if order_key is not None:
            headers.insert(self._order, ("order-key", order_key.encode()))
        return Output(topics.DELIVERIES, plan.key, self._data, headers, origin=self._origin)
