"""What can be made again, kept while there is room for it."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

#: While there is no room, so many are made before one of them takes the place of others.
TAKEN_IN = 8


class Sized(Protocol):
    """Has a size, which may change."""

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""


Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value", bound=Sized)


class Remembered(Generic[Key, Value]):
    """Values by key, of `max_bytes` together or of one alone; who was not asked for the longest goes first.

    A round of more than there is room for would find nobody of the round before, if each came in for another. So most
    that come while there is no room are guests, each until the next comes, and the others are found again.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._bytes = 0
        self._guest: tuple[Key, Value] | None = None
        self._guests = 0

    def __len__(self) -> int:
        return len(self._values) + (self._guest is not None)

    @property
    def bytes(self) -> int:
        """What they take, without the guest."""
        return self._bytes

    @property
    def full(self) -> bool:
        """True when there was no room for the last that came."""
        return self._guest is not None

    def get(self, key: Key) -> Value | None:
        """The value; None where it has to be made."""
        found = self._values.get(key)
        if found is not None:
            self._values.move_to_end(key)
            return found
        return self._guest[1] if self._guest is not None and self._guest[0] == key else None

    def put(self, key: Key, value: Value) -> None:
        """Remember a value whose key is not known."""
        size = value.size
        if self._bytes + size > self._max_bytes:
            self._guests += 1
            if self._guests % TAKEN_IN:
                self._guest = key, value
                return
        self._guest = None
        self._values[key] = value
        self._bytes += size
        self._shrink()

    def forget(self, key: Key) -> None:
        """It is not so any more."""
        value = self._values.pop(key, None)
        if value is not None:
            self._bytes -= value.size
        elif self._guest is not None and self._guest[0] == key:
            self._guest = None

    def grown(self, key: Key, by: int) -> None:
        """The value's size is larger by so much, or smaller."""
        if key in self._values:
            self._bytes += by
            self._shrink()

    def clear(self) -> None:
        """Know nothing."""
        self._values.clear()
        self._bytes = 0
        self._guest = None

    def _shrink(self) -> None:
        while self._bytes > self._max_bytes and len(self._values) > 1:
            self._bytes -= self._values.popitem(last=False)[1].size
