"""Which endpoints of a tenant an event type leads to.

A pattern is a dotted name; `*` stands for one segment, a final `**` for one or more, and alone either for everything
but Hookfold's own events: those go to patterns that begin with their name.
"""

import re
from collections.abc import Iterable, Sequence

from schemas.events import OWN_TYPES

MAX_PATTERN = 256
#: Event types whose endpoints a tenant's index remembers.
MAX_FOUND = 64
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


class _Node:
    """Most nodes have one of the three, and there are a million of them."""

    __slots__ = ("below", "children", "here")

    def __init__(self) -> None:
        self.children: dict[str, _Node] | None = None
        #: Endpoints whose pattern ends here / ends here with `**`, each with its pattern.
        self.here: dict[str, str] | None = None
        self.below: dict[str, str] | None = None


class TenantIndex:
    """One tenant's patterns as a tree of segments, so that a look-up costs what it finds, not what there is."""

    def __init__(self) -> None:
        self._root = _Node()
        #: What was found for the event types of late.
        self._found: dict[str, list[str]] = {}
        self._everything: dict[str, str] = {}
        self._patterns: dict[str, tuple[str, ...]] = {}

    def __len__(self) -> int:
        """How many endpoints have a pattern."""
        return len(self._patterns)

    def put(self, endpoint_id: str, patterns: Iterable[str]) -> None:
        """The endpoint has just these patterns from now on; with none it is forgotten."""
        wanted = frozenset(patterns)
        had = frozenset(self._patterns.get(endpoint_id, ()))
        if wanted != had:
            self._found.clear()
        for pattern in had - wanted:
            self._slot(pattern).pop(endpoint_id, None)
        for pattern in wanted - had:
            self._slot(pattern)[endpoint_id] = pattern
        if wanted:
            self._patterns[endpoint_id] = tuple(wanted)  # a set of one takes three times as much
        else:
            self._patterns.pop(endpoint_id, None)
        # Two patterns can share a slot only as `*` and `**` alone; keep the one that is left.
        for pattern in sorted(wanted & {"*", "**"}):
            self._everything.setdefault(endpoint_id, pattern)

    def find(self, event_type: str) -> Sequence[str]:
        """The endpoints that any pattern leads to, sorted."""
        known = self._found.get(event_type)
        if known is None:
            if len(self._found) >= MAX_FOUND:
                self._found.clear()
            known = self._found[event_type] = self._find(event_type)
        return known

    def _find(self, event_type: str) -> list[str]:
        found = set(self._everything)
        nodes = [self._root]
        segments = event_type.split(".")
        for place, segment in enumerate(segments):
            following: list[_Node] = []
            for node in nodes:
                if node.below:
                    found.update(node.below)
                if node.children:
                    following += [child for name in {segment, "*"} if (child := node.children.get(name))]
            nodes = following
            if not nodes:
                break
            if place == len(segments) - 1:
                for node in nodes:
                    found.update(node.here or ())
        return sorted(found)

    def _slot(self, pattern: str) -> dict[str, str]:
        if pattern in ("*", "**"):
            return self._everything
        segments = pattern.split(".")
        deep = segments[-1] == "**"
        node = self._root
        for segment in segments[:-1] if deep else segments:
            if node.children is None:
                node.children = {}
            child = node.children.get(segment)
            if child is None:
                child = node.children[segment] = _Node()
            node = child
        if deep:
            node.below = {} if node.below is None else node.below
            return node.below
        node.here = {} if node.here is None else node.here
        return node.here
