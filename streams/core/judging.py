"""What an event leads to: a delivery or a skipped result for each endpoint that was subscribed when it was appended."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from schemas import topics
from schemas.deliveries import Delivery
from schemas.endpoints import EndpointRecord, EndpointVersion, State
from schemas.events import MOVED_HEADER, Event
from schemas.results import ErrorKind, Result, Verdict
from streams.core import matching, ordering, outputs, partitioning, reading, versions
from streams.core.filtering import Filterable
from streams.core.outputs import Output, Source
from streams.core.plans import Envelope, Plan

#: What a result says of an endpoint in a state that takes no deliveries.
KIND_OF_STATE = {
    State.PENDING: ErrorKind.PENDING,
    State.PAUSED: ErrorKind.PAUSED,
    State.DISABLED: ErrorKind.DISABLED,
    State.GONE: ErrorKind.GONE,
}
#: What a result says of an event whose data cannot be opened any more.
ERASED = "the event was erased"
_MAX_DELIVERY_BYTES = outputs.MAX_BYTES[topics.DELIVERIES]


@dataclass(slots=True)
class Judged:
    """What is written for one event, and how many of it are deliveries and skipped results.

    `to`: the endpoint up to which it is judged, where there was no room for more.
    """

    outputs: Sequence[Output]
    deliveries: int = 0
    skipped: int = 0
    to: str | None = None


def misplaced(source: Source, topic: str, partitions: int) -> Output | None:
    """Where a record has to go whose key does not belong in its partition; None where it does.

    It goes with all that it came with and a mark of its origin. A marked one that is misplaced again is rejected:
    somebody's partition counts differ, and it would be moved for ever.
    """
    if source.key is None or partitioning.partition_of(source.key, partitions) == source.partition:
        return None
    if any(name == MOVED_HEADER for name, _ in source.headers):
        return outputs.rejected(source, "the record was moved once and is misplaced again")
    mark = (MOVED_HEADER, f"{source.partition}-{source.offset}".encode())
    moved = Output(topic, source.key, source.value, [*source.headers, mark])
    return moved if moved.fits else outputs.rejected(source, "the record is misplaced and too large to be moved")


def judge(
    event: Event,
    source: Source,
    candidates: Iterable[Plan],
    left: Iterable[Plan] | None = None,
    room: int | None = None,
) -> Judged:
    """The outputs for an event; `candidates` are at least all endpoints of its tenant that could match.

    `left`: those of them that it is not judged for yet. `room`: with outputs of so many bytes it ends.
    """
    made: list[Output] = []
    deliveries = skipped = counted = size = 0
    to = ""
    filterable = Filterable(event, lambda: _asking(event.event_type, source.at_ms, candidates))
    envelope: Envelope | None = None
    for plan in candidates if left is None else left:
        if counted < len(made):
            counted, size = len(made), size + made[-1].size
            if room is not None and size >= room:
                return Judged(made, deliveries, skipped, to)
        to = plan.endpoint_id
        version = plan.as_of(source.at_ms)
        if version is None or (pattern := version.matching(event.event_type, filterable)) is None:
            continue
        if version.state is not State.ACTIVE:
            identity = reading.delivery_id(event.tenant, event.event_id, plan.endpoint_id)
            made.append(outputs.result(skip(event, source.at_ms, plan.endpoint_id, identity, version.state)))
            skipped += 1
            continue
        if event.erased:
            made.append(outputs.result(erase(event, source.at_ms, plan.endpoint_id)))
            skipped += 1
            continue
        envelope = envelope or Envelope(event, source)
        delivery = envelope.to(plan, version, pattern, ordering.key_at(version.ordered_by, filterable))
        if delivery.size <= _MAX_DELIVERY_BYTES:
            made.append(delivery)
            deliveries += 1
        else:
            reason = f"its delivery to {plan.endpoint_id} would have {delivery.size} bytes, more than the topic takes"
            made.append(outputs.rejected(source, reason))
    return Judged(made, deliveries, skipped)


def _asking(event_type: str, at_ms: int, candidates: Iterable[Plan]) -> int:
    found = (plan.as_of(at_ms) for plan in candidates)
    return sum(version is not None and version.asks(event_type) for version in found)


def asking(event: Event, source: Source, records: Iterable[EndpointRecord]) -> int:
    """How many endpoints of all of the event's tenant asked for its data, each by its version then."""
    count = 0
    for record in records:
        version = versions.as_of(record, source.at_ms)
        if version is not None and version.settings is not None:
            count += any(
                isinstance(one.filter, dict)
                and any(matching.matches(each, event.event_type) for each in one.event_types)
                for one in version.settings.subscriptions
            )
    return count


def skip(event: Event, at_ms: int, endpoint_id: str, delivery_id: str, state: State) -> Result:
    """The result of a delivery that is not attempted because of the endpoint's state."""
    error = f"the endpoint was {state.value} when the event came"
    return _skipped(event, at_ms, endpoint_id, delivery_id, KIND_OF_STATE[state], error)


def erase(event: Event, at_ms: int, endpoint_id: str, replay_id: str | None = None) -> Result:
    """The result of a delivery whose event was erased before it was made."""
    identity = reading.delivery_id(event.tenant, event.event_id, endpoint_id)
    return _skipped(event, at_ms, endpoint_id, identity, ErrorKind.ERASED, ERASED, replay_id)


def _skipped(
    event: Event,
    at_ms: int,
    endpoint_id: str,
    delivery_id: str,
    kind: ErrorKind,
    error: str,
    replay_id: str | None = None,
) -> Result:
    return Result(
        delivery_id=delivery_id,
        event_id=event.event_id,
        event_type=event.event_type,
        tenant=event.tenant,
        endpoint_id=endpoint_id,
        attempt=0,
        verdict=Verdict.SKIPPED,
        error_kind=kind,
        error=error,
        event_time_ms=at_ms,
        replay_id=replay_id,
    )


def matching_pattern(version: EndpointVersion, event: Event, filterable: Filterable) -> str | None:
    """The pattern of the first subscription that the event matches; None where there is none."""
    if version.settings is None:
        return None
    filterable.turn()
    for subscription in version.settings.subscriptions:
        for pattern in subscription.event_types:
            if matching.matches(pattern, event.event_type):
                if filterable.passes(subscription.filter):
                    return pattern
                break  # another pattern of this subscription has the same filter
    return None


def deliver(
    event: Event,
    source: Source,
    record: EndpointRecord,
    endpoint_version: str,
    pattern: str,
    attempt: int = 1,
    replay_id: str | None = None,
    order_key: str | None = None,
) -> Output:
    """The delivery of an event. `endpoint_version`: what an attempt has to know of the endpoint at the least."""
    delivery = Delivery(
        delivery_id=reading.delivery_id(event.tenant, event.event_id, record.endpoint_id),
        event_id=event.event_id,
        event_type=event.event_type,
        tenant=event.tenant,
        endpoint_id=record.endpoint_id,
        endpoint_version=endpoint_version,
        event_time_ms=source.at_ms,
        attempt=attempt,
        event_time=event.time,
        data_content_type=event.data_content_type,
        traceparent=event.traceparent,
        matched=pattern,
        replay_id=replay_id,
        sealed_with=event.sealed.key_id if event.sealed is not None else None,
        order_key=order_key,
        attributes=event.attributes,
        data=event.sealed.data if event.sealed is not None else event.data,
    )
    return Output(topics.DELIVERIES, delivery.key, delivery.data, delivery.headers(), origin=source.origin)
