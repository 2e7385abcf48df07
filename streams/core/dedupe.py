"""Event ids seen of late, so that an event sent twice is one event."""

import hashlib
from collections import OrderedDict


class SeenIds:
    """The ids of one partition's events within a window of time and number.

    What it answers depends only on the records it has seen, in their order, so that the log rebuilds it.
    """

    def __init__(self, window_ms: int, max_events: int) -> None:
        self._window_ms = window_ms
        self._max_events = max_events
        self._seen: OrderedDict[bytes, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def seen(self, tenant: str, event_id: str, at_ms: int) -> bool:
        """True when the tenant's id was seen within the window before `at_ms`; otherwise it is remembered.

        A repetition does not prolong the window: it reaches from the first record of the id.
        """
        oldest_ms = at_ms - self._window_ms
        while self._seen and next(iter(self._seen.values())) < oldest_ms:
            self._seen.popitem(last=False)
        # The tenant has no NUL, so that the pair cannot be read in two ways; 16 bytes bound the memory.
        digest = hashlib.blake2b(f"{tenant}\0{event_id}".encode(), digest_size=16).digest()
        if digest in self._seen:
            return True
        if self._max_events > 0:
            self._seen[digest] = at_ms
        if len(self._seen) > self._max_events:
            self._seen.popitem(last=False)
        return False
