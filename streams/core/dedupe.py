"""Event ids seen of late, so that an event sent twice is one event."""

import hashlib
from collections import OrderedDict


class SeenIds:
    """The ids of one partition's events within a window of time and of offsets.

    What it answers depends only on the records within the window, so that reading these again rebuilds it.
    """

    def __init__(self, window_ms: int, max_events: int) -> None:
        self._window_ms = window_ms
        self._max_events = max_events
        #: Digest of tenant and id -> time and offset of its last record, the oldest first.
        self._seen: OrderedDict[bytes, tuple[int, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def seen(self, tenant: str, event_id: str, at_ms: int, offset: int) -> bool:
        """True when an earlier record of the tenant's id lies within the window; either way it is remembered.

        The window reaches back from each record, `window_ms` and `max_events` offsets, so that every repetition
        prolongs it.
        """
        while self._seen:
            last_ms, last_offset = next(iter(self._seen.values()))
            if last_ms >= at_ms - self._window_ms and last_offset >= offset - self._max_events:
                break
            self._seen.popitem(last=False)
        # The tenant has no NUL, so that the pair cannot be read in two ways; 16 bytes bound the memory.
        digest = hashlib.blake2b(f"{tenant}\0{event_id}".encode(), digest_size=16).digest()
        before = self._seen.pop(digest, None)
        self._seen[digest] = (at_ms, offset)
        return before is not None
