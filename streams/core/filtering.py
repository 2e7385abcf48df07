"""Whether an event passes a subscription's filter: a CESQL expression on its attributes, or an object on its data."""

from collections.abc import Callable, Mapping
from typing import Any

from schemas.events import Event, cloud_attributes
from streams.core import cesql, content, fields


def refuse(given: object) -> str | None:
    """Why it cannot be a filter, with the place of the error; None where it can."""
    try:
        match given:
            case None:
                return None
            case str():
                cesql.compile_filter(given)
            case {"data": data, **others} if not others:
                content.compile_filter(data)
            case _:
                return 'filter: is a CESQL expression or {"data": {…}}'
    except (cesql.BadExpression, content.BadFilter) as problem:
        return f"filter: {problem}"
    except RecursionError:
        return "filter: is nested too deep"
    return None


Compiled = cesql.Filter | content.Test


def compile_filter(given: str | dict[str, Any]) -> Compiled:
    """The filter, made ready for many events. Raises what `refuse` tells, and KeyError where it has no `data`."""
    return cesql.compile_filter(given) if isinstance(given, str) else content.compile_filter(given["data"])


def compiled(given: str | dict[str, Any] | None) -> Compiled | None:
    """The same; None where there is none, or nothing that can be compiled."""
    try:
        return compile_filter(given) if given is not None else None
    except Exception:  # what is wrong with it is said where it is asked
        return None


class Filterable:
    """An event as filters see it; what they need of it is made when the first one asks.

    `asking`: how many endpoints ask for its data, itself asked for when the first one does.
    """

    def __init__(self, event: Event, asking: Callable[[], int] = lambda: 1) -> None:
        self._event = event
        self._asking = asking
        self._share: int | None = None
        self._attributes: Mapping[str, str] | None = None
        self._data: Any = None
        self._budget: content.Budget | None = None
        self._parsed = False

    def turn(self) -> None:
        """The filters that come are another endpoint's."""
        self._budget = None

    def passes(self, given: str | dict[str, Any] | None, ready: Compiled | None = None) -> bool:
        """Whether the event passes; an error while that is found out is a no. `ready`: the same filter, compiled.

        One that was erased passes where its data is asked for: what it would have been is not known any more.
        """
        if self._event.erased and isinstance(given, dict):
            return True
        return given is None or self.why_not(given, ready) is None

    def why_not(self, given: str | dict[str, Any], ready: Compiled | None = None) -> str | None:
        """Why the event does not pass, in one line; None where it does."""
        if self._event.erased and isinstance(given, dict):
            return "its data was erased, and the filter asks for it"
        try:
            test = ready or compile_filter(given)
            if isinstance(test, cesql.Filter):
                matched = test.matches(self._attributes_of())
            else:
                matched = content.evaluate(test, self._data_of(), self._budget_of())
        except Exception as problem:  # whatever it is, it must not keep the event from other endpoints
            return f"the filter failed: {problem}"
        return None if matched else "the filter does not match"

    def value_at(self, path: str) -> Any:
        """What the event has at a path into its data, or as an attribute; None where there is nothing to be found."""
        names = fields.split(path)
        if names[0] != "data":
            return self._attributes_of().get(path)
        try:
            found = self._data_of()
        except content.NotJson:
            return None
        for name in names[1:]:
            found = found.get(name) if isinstance(found, dict) else None
        return found

    def _attributes_of(self) -> Mapping[str, str]:
        if self._attributes is None:
            self._attributes = attributes_of(self._event)
        return self._attributes

    def _budget_of(self) -> content.Budget:
        if self._share is None:
            self._share = content.share(self._asking())
        if self._budget is None:
            self._budget = content.Budget(self._share)
        return self._budget

    def _data_of(self) -> Any:
        if not self._parsed:
            self._data = content.parse(self._event.data)
            self._parsed = True
        return self._data


def attributes_of(event: Event) -> dict[str, str]:
    """The event's CloudEvents attributes, as text."""
    attributes = cloud_attributes(event.tenant, event.event_id, event.event_type, event.time, event.attributes)
    if event.data_content_type is not None:
        attributes["datacontenttype"] = event.data_content_type
    return attributes
