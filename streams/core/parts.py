"""How far an event is judged whose outputs are too many for one transaction: what the router notes in its commit."""

import re
from dataclasses import dataclass

from streams.core.outputs import Source

_FORM = re.compile(r"^judged=(\d{1,18});to=([A-Za-z0-9_-]{1,128})$")


@dataclass(frozen=True, slots=True)
class Part:
    """The event at `offset`, appended at `at_ms`, is judged for the tenant's endpoints up to the id `to`.

    Endpoints are taken in the order of their ids, and each as it stood when the event was appended: so whatever has
    changed since, the others are those that follow, and who is new is owed nothing.
    """

    offset: int
    at_ms: int
    to: str

    def __str__(self) -> str:
        return f"judged={self.at_ms};to={self.to}"

    def is_of(self, source: Source) -> bool:
        """False for another event that has taken the offset, in a topic that was made anew."""
        return (self.offset, self.at_ms) == (source.offset, source.at_ms)


def read(offset: int, metadata: str) -> Part | None:
    """The part of a commit of `events`; None where the event at its offset is not begun."""
    found = _FORM.fullmatch(metadata)
    return None if found is None else Part(offset, int(found[1]), found[2])
