"""Why an event did, or did not, lead to a delivery to an endpoint: by what the router judges by."""

from dataclasses import dataclass
from enum import StrEnum

from schemas.endpoints import EndpointRecord, EndpointVersion, State
from schemas.events import Event
from streams.core import judging, matching, ordering, versions
from streams.core.filtering import Filterable
from streams.core.outputs import Source


class Decision(StrEnum):
    """What was decided at the event; `owed` is a delivery, whatever has become of it."""

    OWED = "owed"
    SKIPPED = "skipped"
    FILTERED = "filtered"
    NOT_SUBSCRIBED = "not_subscribed"
    NOT_REGISTERED = "not_registered"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Explained:
    """The decision, why in one line, and the version of the endpoint that it was made by.

    Where the endpoint was not there, `version` is the one that says so: the later registration, or the end.
    """

    decision: Decision
    reason: str
    version: EndpointVersion


def explain(event: Event, source: Source, record: EndpointRecord, asking: int = 1) -> Explained:
    """How the event was judged for the endpoint. `record` has every version that the event may need.

    `asking`: see `judging.asking`; what the endpoint's filters might cost depends on it.
    """
    version = versions.as_of(record, source.at_ms)
    if version is None:
        first = record.history[0] if record.history else record.current
        return Explained(Decision.NOT_REGISTERED, "the endpoint was registered after the event", first)
    if version.settings is None:
        return Explained(Decision.NOT_REGISTERED, "the endpoint had been unregistered before the event", version)
    filterable = Filterable(event, lambda: asking)
    refusals: list[str] = []
    for subscription in version.settings.subscriptions:
        pattern = next((one for one in subscription.event_types if matching.matches(one, event.event_type)), None)
        if pattern is None:
            continue
        why = filterable.why_not(subscription.filter) if subscription.filter is not None else None
        if why is None:
            return _matched(event, source, record, version, pattern, filterable)
        refusals.append(f"{pattern}: {why}")
    if refusals:
        return Explained(Decision.FILTERED, "; ".join(refusals), version)
    return Explained(Decision.NOT_SUBSCRIBED, f"no subscription covers {event.event_type}", version)


def _matched(
    event: Event,
    source: Source,
    record: EndpointRecord,
    version: EndpointVersion,
    pattern: str,
    filterable: Filterable,
) -> Explained:
    if version.state is not State.ACTIVE:
        because = f" ({version.reason})" if version.reason else ""
        return Explained(
            Decision.SKIPPED, f"the endpoint was {version.state.value}{because} when the event came", version
        )
    key = ordering.key_of(version.settings, filterable)
    at_least = f"{record.partition}-{version.offset}"
    if not judging.deliver(event, source, record, at_least, pattern, order_key=key).fits:
        return Explained(Decision.REJECTED, "its delivery would be larger than its topic takes", version)
    return Explained(Decision.OWED, f"the subscription to {pattern} covers {event.event_type}", version)
