"""An endpoint as it stood when an event was appended to the log."""

from itertools import pairwise

from schemas.endpoints import EndpointRecord, EndpointVersion

#: Versions kept of one endpoint at the most, besides the current one.
MAX_HISTORY = 100


def as_of(record: EndpointRecord, event_time_ms: int) -> EndpointVersion | None:
    """The last version that began by `event_time_ms`; None where the endpoint did not exist yet.

    A change of the event's own millisecond counts: whoever awaits the change and then produces the event must find it
    in force, however fast Kafka is. Within one millisecond there is no other order.
    """
    if record.current.valid_from_ms <= event_time_ms:
        return record.current
    for version in reversed(record.history):
        if version.valid_from_ms <= event_time_ms:
            return version
    return None


def prune(record: EndpointRecord, floor_ms: int, needed_ms: int) -> EndpointRecord:
    """Without the versions that no event of `floor_ms` or later can need.

    At most `MAX_HISTORY` older ones, unless events of `needed_ms` or later, which wait to be judged, need more.
    """
    versions = [*record.history, record.current]
    kept = [(version, following) for version, following in pairwise(versions) if following.valid_from_ms > floor_ms]
    over = len(kept) - MAX_HISTORY
    dropped = sum(1 for _, following in kept[: max(0, over)] if following.valid_from_ms <= needed_ms)
    history = tuple(version for version, _ in kept[dropped:])
    return record if len(history) == len(record.history) else record.model_copy(update={"history": history})
