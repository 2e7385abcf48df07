"""Which offsets of one partition are done, when they are done out of order; and how a commit says so."""

import base64
import binascii
from collections.abc import Collection

#: How far above the floor offsets may be taken: its bitmap in base64 has to fit the 3,000 characters of a commit.
WINDOW = 18_000


class OffsetWindow:
    """The offsets of one partition from the floor on.

    Records come in order of their offsets; an offset that is passed over was never a record (a transaction's marker,
    or compacted away) and counts as done.
    """

    def __init__(self, floor: int = 0, done: Collection[int] = ()) -> None:
        """`floor`: the first offset not known to be done; `done`: offsets above it that are."""
        self._floor = floor
        self._next = floor
        #: Bit n: the offset `floor` + n is done, whether it has been taken or not.
        self._done = sum(1 << offset - floor for offset in done)

    @classmethod
    def resume(cls, offset: int | None, metadata: str) -> "OffsetWindow":
        """The window as it was committed: `offset` is the floor, None where nothing was committed yet."""
        window = cls(offset or 0)
        window._done = _bits(metadata)
        return window

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
        self.skip_to(offset)
        self._next = offset + 1
        if self._done >> offset - self._floor & 1:
            self._move()
            return False
        return True

    def complete(self, offset: int) -> None:
        """The record at `offset`, once taken, is done."""
        if self._floor <= offset < self._next:
            self._done |= 1 << offset - self._floor
            self._move()

    def skip_to(self, position: int) -> None:
        """Nothing is left to take before `position`."""
        if position > self._next:
            self._done |= ((1 << position - self._next) - 1) << self._next - self._floor
            self._next = position
            self._move()

    def holds(self, offset: int) -> bool:
        """True while `offset` is taken and not done."""
        return self._floor <= offset < self._next and not self._done >> offset - self._floor & 1

    def metadata(self) -> str:
        """What is done above the floor, as base64 of a bitmap whose first bit is the floor's.

        What an earlier commit called done and has not been read again yet stays done.
        """
        return base64.b64encode(self._done.to_bytes((self._done.bit_length() + 7) // 8, "little")).decode()

    def _move(self) -> None:
        """Bring the floor to the first offset that is not done, but not above the position."""
        if self._done & 1:
            lowest_open = (~self._done & self._done + 1).bit_length() - 1
            distance = min(lowest_open, self._next - self._floor)
            self._done >>= distance
            self._floor += distance


def decode_metadata(floor: int, metadata: str) -> frozenset[int]:
    """The offsets that a commit at `floor` says are done. What is no bitmap of ours says nothing."""
    bits = _bits(metadata)
    return frozenset(floor + place for place in range(bits.bit_length()) if bits >> place & 1)


def _bits(metadata: str) -> int:
    try:
        return int.from_bytes(base64.b64decode(metadata, validate=True), "little")
    except (binascii.Error, ValueError):
        return 0
