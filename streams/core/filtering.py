"""Whether an event passes a subscription's filter."""

from collections.abc import Mapping

from schemas.events import Event
from streams.core import cesql


def refuse(given: object) -> str | None:
    """Why it cannot be a filter, with the place of the error; None where it can."""
    if given is None:
        return None
    if not isinstance(given, str):
        return "filters on the data are not served yet"
    try:
        cesql.compile_filter(given)
    except cesql.BadExpression as problem:
        return f"filter: {problem}"
    return None


def attributes_of(event: Event) -> Mapping[str, str]:
    """The event's CloudEvents attributes, as text. A plain event's source is its tenant, as receivers see it."""
    attributes = {
        "specversion": "1.0",
        "source": f"/{event.tenant}",
        **event.attributes,
        "id": event.event_id,
        "type": event.event_type,
    }
    for name, text in (("time", event.time), ("datacontenttype", event.data_content_type)):
        if text is not None:
            attributes[name] = text
    return attributes


def passes(expression: str, attributes: Mapping[str, str]) -> bool:
    """Whether the attributes match; an error while that is found out is a no."""
    try:
        return cesql.compile_filter(expression).matches(attributes)
    except (cesql.Failed, cesql.BadExpression):
        return False
