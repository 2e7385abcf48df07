"""What would have become of an event, had its endpoint been set up in another way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from handlers.wire import payload
from schemas import deliveries
from schemas.changes import Payload, Subscription
from schemas.endpoints import EndpointRecord, EndpointVersion
from schemas.events import Event
from streams.core import explaining, fields, judging, registering
from streams.core.explaining import Decision, Explained
from streams.core.outputs import Source


@dataclass(frozen=True, slots=True)
class Change:
    """Subscriptions or a payload to be tried; None leaves them as they were."""

    subscriptions: tuple[Subscription, ...] | None = None
    payload: Payload | None = None


class Difference(StrEnum):
    """What the change would make of an event."""

    MORE = "more"
    FEWER = "fewer"
    BODY = "body"


@dataclass(frozen=True, slots=True)
class Compared:
    """An event that the change makes a difference to, why, and the bodies before and after where there are any."""

    difference: Difference
    event: Event
    at_ms: int
    reason: str
    before: bytes | None = None
    after: bytes | None = None


def refuse(change: Change) -> str | None:
    """Why it cannot be tried; None where it can."""
    for subscription in change.subscriptions or ():
        if (refused := registering.refuse_subscription(subscription)) is not None:
            return refused
    wanted = change.payload.fields if change.payload is not None else None
    return fields.refuse(wanted) if wanted is not None else None


def compare(event: Event, source: Source, record: EndpointRecord, change: Change) -> Compared | None:
    """The difference; None where there is none. The endpoint's state at the event is what it was."""
    other = record.model_copy(
        update={
            "current": _changed(record.current, change),
            "history": tuple(_changed(version, change) for version in record.history),
        }
    )
    was, would = explaining.explain(event, source, record), explaining.explain(event, source, other)
    owed, would_be_owed = (one.decision is Decision.OWED for one in (was, would))
    before = _body(event, source, record, was) if owed else None
    after = _body(event, source, other, would) if would_be_owed else None
    if owed and would_be_owed:
        same = before == after
        return None if same else Compared(Difference.BODY, event, source.at_ms, "another body", before, after)
    if owed == would_be_owed:
        return None
    difference = Difference.MORE if would_be_owed else Difference.FEWER
    return Compared(difference, event, source.at_ms, would.reason, before, after)


def _changed(version: EndpointVersion, change: Change) -> EndpointVersion:
    if version.settings is None:
        return version
    given = {"subscriptions": change.subscriptions, "payload": change.payload}
    settings = version.settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    return version.model_copy(update={"settings": settings})


def _body(event: Event, source: Source, record: EndpointRecord, explained: Explained) -> bytes:
    settings = explained.version.settings
    assert settings is not None
    owed = judging.deliver(replace(event, sealed=None), source, record, record.settings_version, "")
    delivery = deliveries.decode(owed.value, owed.headers)
    assert not isinstance(delivery, str)
    form = settings.payload
    body = payload.render(form.format, delivery, payload.time_of(delivery), form.fields)
    named = "".join(f"{name}: {value}\n" for name, value in body.headers)
    return named.encode() + body.body
