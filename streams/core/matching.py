"""Which endpoints of a tenant an event type leads to.

A pattern is a dotted name; `*` stands for one segment, a final `**` for one or more, and alone either for everything
but Hookfold's own events: those go to patterns that begin with their name.
"""

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

from schemas.events import OWN_TYPES

MAX_PATTERN = 256
_EVERYTHING = ("*", "**")
#: About what an index takes: by itself, for a pattern with its text, for its second endpoint, for each of the others.
_EMPTY_BYTES, _PATTERN_BYTES, _SET_BYTES, _MEMBER_BYTES = 600, 120, 250, 50
#: What was found may take as much again, and so much in any case: for an event type, and for each of its endpoints.
_MIN_FOUND_BYTES, _TYPE_BYTES, _FOUND_BYTES = 4_000, 200, 8
_SEGMENT = re.compile(r"^[A-Za-z0-9_-]+$")


def refuse_pattern(pattern: str) -> str | None:
    """Why `pattern` cannot be subscribed to, in one line; None when it can."""
    if not 0 < len(pattern) <= MAX_PATTERN:
        return f"an event-type pattern has 1 to {MAX_PATTERN} characters"
    segments = pattern.split(".")
    for place, segment in enumerate(segments):
        if segment == "**" and place != len(segments) - 1:
            return f"{pattern!r}: ** may only stand at the end"
        if segment not in ("*", "**") and not _SEGMENT.fullmatch(segment):
            return f"{pattern!r}: segments are made of A-Z a-z 0-9 _ -, or are * or a final **"
    return None


def matches(pattern: str, event_type: str) -> bool:
    """True when `pattern` covers `event_type`."""
    if event_type.startswith(OWN_TYPES) and not pattern.startswith(OWN_TYPES):
        return False
    if pattern in ("*", "**"):
        return True
    wanted, found = pattern.split("."), event_type.split(".")
    if wanted[-1] == "**":
        wanted = wanted[:-1]
        if len(found) <= len(wanted):
            return False
    elif len(found) != len(wanted):
        return False
    return all(segment in ("*", given) for segment, given in zip(wanted, found, strict=False))


class _Shape(NamedTuple):
    """Where the stars of a pattern are, and how many segments it has without a final `**`."""

    length: int
    deep: bool
    stars: tuple[int, ...]

    def of(self, segments: list[str]) -> str | None:
        """The one pattern of this shape that covers an event type of these segments; None where there can be none."""
        if len(segments) <= self.length if self.deep else len(segments) != self.length:
            return None
        named = segments[: self.length]
        for place in self.stars:
            named[place] = "*"
        if self.deep:
            named.append("**")
        return ".".join(named)


@lru_cache(maxsize=65_536)
def _shape(pattern: str) -> _Shape | None:
    """None for a name without stars, and for what covers everything."""
    if "*" not in pattern or pattern in _EVERYTHING:
        return None
    segments = pattern.split(".")
    deep = segments[-1] == "**"
    if deep:
        segments.pop()
    return _Shape(len(segments), deep, tuple(place for place, one in enumerate(segments) if one == "*"))


#: An endpoint, as its index is told of it.
Id = TypeVar("Id", str, bytes)


class TenantIndex(Generic[Id]):
    """One tenant's endpoints by their patterns, so that a look-up costs what it finds, not what there is.

    Of all patterns of a shape only one can cover an event type, and a tenant's have few shapes. It is made in a moment
    and kept for a million endpoints, so it does not hold what patterns an endpoint has: who calls it knows.
    """

    __slots__ = ("_by_pattern", "_found", "_found_bytes", "_shapes", "size")

    def __init__(self) -> None:
        #: The endpoint, or the endpoints where there are several.
        self._by_pattern: dict[str, Id | set[Id]] = {}
        #: How many patterns there are of each.
        self._shapes: dict[_Shape, int] = {}
        #: What was found for the event types of late.
        self._found: dict[str, list[Id]] = {}
        self._found_bytes = 0
        #: About how many bytes it takes.
        self.size = _EMPTY_BYTES

    def put(self, endpoint_id: Id, patterns: Collection[str], had: Collection[str] = ()) -> None:
        """The endpoint has just these patterns from now on; `had`: those that it had."""
        if had:
            if patterns == had:
                return
            for pattern in set(had).difference(patterns):
                self._take(pattern, endpoint_id)
            patterns = set(patterns).difference(had)
        if self._found:
            self._found.clear()
            self._found_bytes = 0
        by_pattern = self._by_pattern
        for pattern in patterns:
            known = by_pattern.get(pattern)
            if known is None:
                by_pattern[pattern] = endpoint_id
                self.size += _PATTERN_BYTES
                if "*" in pattern and (shape := _shape(pattern)) is not None:
                    self._shapes[shape] = self._shapes.get(shape, 0) + 1
            elif isinstance(known, set):
                before = len(known)
                known.add(endpoint_id)
                self.size += _MEMBER_BYTES * (len(known) - before)
            elif known != endpoint_id:
                by_pattern[pattern] = {known, endpoint_id}
                self.size += _SET_BYTES

    def find(self, event_type: str) -> Sequence[Id]:
        """The endpoints that any pattern leads to, sorted."""
        known = self._found.get(event_type)
        if known is None:
            known = self._find(event_type)
            size = _TYPE_BYTES + _FOUND_BYTES * len(known)
            if self._found_bytes + size > max(self.size, _MIN_FOUND_BYTES):
                self._found.clear()
                self._found_bytes = 0
            self._found[event_type] = known
            self._found_bytes += size
        return known

    def _find(self, event_type: str) -> list[Id]:
        segments = event_type.split(".")
        names = {event_type, *_EVERYTHING}
        for shape in self._shapes:
            if (name := shape.of(segments)) is not None:
                names.add(name)
        found: set[Id] = set()
        own = event_type.startswith(OWN_TYPES)
        for one in names:
            known = self._by_pattern.get(one)
            if known is None or (own and not one.startswith(OWN_TYPES)):
                continue
            if isinstance(known, set):
                found |= known
            else:
                found.add(known)
        return sorted(found)

    def _take(self, pattern: str, endpoint_id: Id) -> None:
        known = self._by_pattern.get(pattern)
        if isinstance(known, set) and len(known) > 1:
            known.discard(endpoint_id)
            self.size -= _MEMBER_BYTES
        elif known is not None:
            del self._by_pattern[pattern]
            self.size -= _PATTERN_BYTES + (_SET_BYTES - _MEMBER_BYTES if isinstance(known, set) else 0)
            if (shape := _shape(pattern)) is not None:
                self._shapes[shape] -= 1
                if not self._shapes[shape]:
                    del self._shapes[shape]
