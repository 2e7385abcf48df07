"""Whether an event passes a subscription's filter."""

from collections.abc import Mapping

from schemas.events import Event, cloud_attributes
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


def attributes_of(event: Event) -> dict[str, str]:
    """The event's CloudEvents attributes, as text."""
    attributes = cloud_attributes(event.tenant, event.event_id, event.event_type, event.time, event.attributes)
    if event.data_content_type is not None:
        attributes["datacontenttype"] = event.data_content_type
    return attributes


def passes(expression: str, attributes: Mapping[str, str]) -> bool:
    """Whether the attributes match; an error while that is found out is a no."""
    try:
        return cesql.compile_filter(expression).matches(attributes)
    except (cesql.Failed, cesql.BadExpression):
        return False
