"""What the router notes in its commit of `subscriptions`: how far `endpoints` reached, so that a loss of it is seen."""

import re
from dataclasses import dataclass

_FORM = re.compile(r"^endpoints=(rebuilding|\d{1,18});first=(\d{1,18});generation=(\d{1,9})$")


@dataclass(frozen=True, slots=True)
class Mark:
    """`endpoints` had at least the offsets below `position`; None while it is being rebuilt from the changes.

    `first`: the topic's first offset when that began; compaction does not move it, a deletion of records does.
    `generation` rises with every rebuild: who has read an older one reads again from the beginning.
    """

    position: int | None = 0
    first: int = 0
    generation: int = 0

    def __str__(self) -> str:
        position = "rebuilding" if self.position is None else self.position
        return f"endpoints={position};first={self.first};generation={self.generation}"

    def is_lost(self, first: int, end: int) -> bool:
        """True when a topic that reaches from `first` to `end` is not the one that was written, or not all of it."""
        return self.position is None or end < self.position or first > self.first


def read(metadata: str) -> Mark:
    """The mark of a commit. A commit without one says nothing about `endpoints`."""
    found = _FORM.fullmatch(metadata)
    if found is None:
        return Mark()
    return Mark(None if found[1] == "rebuilding" else int(found[1]), int(found[2]), int(found[3]))
