"""Which offsets of one partition are done, when they are done out of order; and how a commit says so."""

import base64
import binascii
from collections import deque

#: How far above the floor offsets may be taken: its bitmap in base64 has to fit the 3,000 characters of a commit.
WINDOW = 18_000


class OffsetWindow:
    """The offsets of one partition from the floor on.

    Records come in order of their offsets; an offset that is passed over was never a record (a transaction's marker,
    or compacted away) and counts as done.
    """

    def __init__(self, floor: int = 0, done: frozenset[int] = frozenset()) -> None:
        """`floor`: the first offset not known to be done; `done`: offsets above it that are."""
        self._floor = floor
        self._next = floor
        self._pending: deque[int] = deque()
        self._open: set[int] = set()
        self._known = set(done)
        self._last_known = max(done, default=-1)

    @classmethod
    def resume(cls, offset: int | None, metadata: str) -> "OffsetWindow":
        """The window as it was committed: `offset` is the floor, None where nothing was committed yet."""
        floor = offset or 0
        return cls(floor, decode_metadata(floor, metadata))

    @property
    def floor(self) -> int:
        """The first offset that is not done: the offset to commit."""
        return self._floor

    @property
    def position(self) -> int:
        """The next offset that can be taken."""
        return self._next

    @property
    def span(self) -> int:
        """How many offsets lie between the floor and the position."""
        return self._next - self._floor

    def take(self, offset: int) -> bool:
        """True when the record is to be worked on; False when it is below the position or already done."""
        if offset < self._next:
            return False
        self._next = offset + 1
        if offset in self._known:
            self._move()
            return False
        self._pending.append(offset)
        self._open.add(offset)
        self._move()
        return True

    def complete(self, offset: int) -> None:
        """The record at `offset`, once taken, is done."""
        self._open.discard(offset)
        self._move()

    def skip_to(self, position: int) -> None:
        """Nothing is left to take before `position`."""
        if position > self._next:
            self._next = position
            self._move()

    def holds(self, offset: int) -> bool:
        """True while `offset` is taken and not done."""
        return offset in self._open

    def metadata(self) -> str:
        """What is done above the floor, as base64 of a bitmap whose first bit is the floor's."""
        if not self._pending and not self._known:
            return ""
        # What an earlier commit called done and has not been read again yet stays done.
        span = max(self._next, max(self._known, default=-1) + 1) - self._floor
        bits = bytearray(-(-span // 8))
        for distance in range(span):
            offset = self._floor + distance
            if offset in self._known or (offset < self._next and offset not in self._open):
                bits[distance // 8] |= 1 << distance % 8
        return base64.b64encode(bytes(bits).rstrip(b"\0")).decode()

    def _move(self) -> None:
        while self._pending and self._pending[0] not in self._open:
            self._pending.popleft()
        self._floor = self._pending[0] if self._pending else self._next
        if self._known and self._next > self._last_known:
            self._known.clear()


def decode_metadata(floor: int, metadata: str) -> frozenset[int]:
    """The offsets that a commit at `floor` says are done. What is no bitmap of ours says nothing."""
    try:
        bits = base64.b64decode(metadata, validate=True)
    except (binascii.Error, ValueError):
        return frozenset()
    return frozenset(floor + place * 8 + bit for place, byte in enumerate(bits) for bit in range(8) if byte & 1 << bit)
