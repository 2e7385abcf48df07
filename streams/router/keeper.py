"""The endpoints of one partition: what `endpoints` holds, and over it what is changed but not committed yet."""

from __future__ import annotations

import bisect
import itertools
from collections import OrderedDict
from collections.abc import Iterator

from aiokafka.structs import TopicPartition

from schemas import endpoints
from schemas.endpoints import EndpointRecord, State
from streams.core.matching import TenantIndex
from streams.lane.log import Log
from streams.router.shelf import Shelf

#: Endpoints that are indexed and that are parsed, in all partitions of a process that has all of them.
MAX_INDEXED = 400_000
MAX_PARSED = 40_000
MIN_PARSED = 500
#: What waits for its commit: with more no further changes are taken, so that a transaction stays one that can be made.
MAX_CHANGED = 5_000
MAX_CHANGED_BYTES = 8 * 1_048_576
_GONE = b'"state":"gone"'
_CATCHING = b'"catch_ups":'


class Keeper:
    """Raw values by key. A tenant is indexed when it is asked for, and an endpoint parsed when an event leads to it."""

    def __init__(self, place: TopicPartition, partitions: int = 1) -> None:
        """`partitions`: how many share the memory for what is indexed and parsed."""
        self._place = place
        self._values = Shelf()
        #: Changed since the last commit, and of these, in their order, what no snapshot has taken yet.
        self._overlay = Shelf()
        self._dirty: dict[bytes, None] = {}
        self._dirty_bytes = 0
        self._gone: dict[bytes, int] = {}
        self._catching: dict[bytes, None] = {}
        self._parsed: OrderedDict[bytes, EndpointRecord] = OrderedDict()
        self._max_parsed = max(MIN_PARSED, MAX_PARSED // partitions)
        self._indexes: OrderedDict[str, TenantIndex] = OrderedDict()
        self._max_indexed = max(MIN_PARSED, MAX_INDEXED // partitions)
        self._indexed = 0
        self._position = 0

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: bytes) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._values)

    @property
    def place(self) -> TopicPartition:
        """The partition of `endpoints`."""
        return self._place

    @property
    def position(self) -> int:
        """Everything before it is known."""
        return self._position

    @property
    def dirty(self) -> bool:
        """True while there is something to be committed."""
        return bool(self._dirty)

    @property
    def full(self) -> bool:
        """True while there is as much to be committed as one transaction should have."""
        return len(self._dirty) >= MAX_CHANGED or self._dirty_bytes >= MAX_CHANGED_BYTES

    @property
    def catching(self) -> list[bytes]:
        """Keys of endpoints with replays under way, and perhaps of some whose last has just ended."""
        return list(self._catching)

    async def load(self, log: Log) -> None:
        """Forget what was not committed and read what is new in the topic. Only after the fence is it final."""
        for key in self._overlay:
            if _CATCHING in (self._values.get(key) or b""):
                self._catching[key] = None
            else:
                self._catching.pop(key, None)
        self._forget_changes()
        end = (await log.stable_ends([self._place]))[self._place]
        if end < self._position:
            self.reset()
        async for records in log.read(self._place, self._position, end):
            for record in records:
                self._put(record.key or b"", record.value)
        self._position = max(self._position, end)

    def reset(self) -> None:
        """Know nothing: the topic is not the one that was read."""
        self._values.clear()
        self._gone.clear()
        self._catching.clear()
        self._forget_changes()
        self._position = 0

    def value(self, key: bytes) -> bytes | None:
        """The committed value."""
        return self._values.get(key)

    def get(self, tenant: str, endpoint_id: str) -> EndpointRecord | None:
        """The endpoint, changes that are not committed included."""
        return self._record(f"{tenant}/{endpoint_id}".encode())

    def candidates(self, tenant: str, event_type: str, after: str = "") -> Iterator[EndpointRecord]:
        """The tenant's endpoints that some version of has a pattern for the event type, sorted by id.

        Only those that follow `after`; each is looked up when it is asked for.
        """
        ids = self._index(tenant).find(event_type)
        for place in range(bisect.bisect_right(ids, after), len(ids)):
            if (record := self._record(f"{tenant}/{ids[place]}".encode())) is not None:
                yield record

    def change(self, record: EndpointRecord, value: bytes | None = None) -> None:
        """The endpoint from now on; `snapshot` has it for the next commit. `value`: the same, where it is encoded."""
        key = f"{record.tenant}/{record.endpoint_id}".encode()
        # A copy: what orjson hands out keeps the buffer that it was written into, 8 kB each.
        value = bytes(memoryview(record.encode() if value is None else value))
        self._overlay.put(key, value)
        self._dirty[key] = None
        self._dirty_bytes += len(value)
        self._parsed.pop(key, None)
        self._reindex(key, value)
        if record.catch_ups:
            self._catching[key] = None
        else:
            self._catching.pop(key, None)

    def snapshot(self, at_most: int | None = None) -> dict[bytes, bytes]:
        """Key and value of what has changed since the last snapshot; with `at_most`, the rest is the next one's."""
        taken = list(itertools.islice(self._dirty, at_most))
        for key in taken:
            del self._dirty[key]
        if not self._dirty:
            self._dirty_bytes = 0
        return {key: value for key in taken if (value := self._overlay.get(key)) is not None}

    def committed(self, written: dict[bytes, bytes | None], position: int) -> None:
        """`written` is in the topic, the last of it before `position`."""
        for key, value in written.items():
            self._put(key, value)
            if key not in self._dirty:
                self._overlay.pop(key)
        self._position = max(self._position, position)

    def gone_before(self, time_ms: int, at_most: int = 1_000) -> list[bytes]:
        """Keys of endpoints that have been gone since before `time_ms`."""
        return [key for key, since_ms in self._gone.items() if since_ms < time_ms and key not in self._overlay][
            :at_most
        ]

    def _record(self, key: bytes) -> EndpointRecord | None:
        """The endpoint of now, as one object for as long as it does not change and is asked for."""
        known = self._parsed.get(key)
        if known is not None:
            self._parsed.move_to_end(key)
            return known
        value = self._overlay.get(key) or self._values.get(key)
        if value is None:
            return None
        known = self._parsed[key] = EndpointRecord.decode(value)
        if len(self._parsed) > self._max_parsed:
            self._parsed.popitem(last=False)
        return known

    def _index(self, tenant: str) -> TenantIndex:
        index = self._indexes.get(tenant)
        if index is None:
            index = self._indexes[tenant] = TenantIndex()
            for values in (self._values.of(tenant.encode()), self._overlay.of(tenant.encode())):
                for endpoint_id, value in values.items():
                    index.put(endpoint_id.decode(), endpoints.patterns(value))
            self._indexed += len(index)
            while self._indexed > self._max_indexed and len(self._indexes) > 1:
                self._indexed -= len(self._indexes.popitem(last=False)[1])
        self._indexes.move_to_end(tenant)
        return index

    def _reindex(self, key: bytes, value: bytes | None) -> None:
        tenant, _, endpoint_id = key.decode().partition("/")
        if (index := self._indexes.get(tenant)) is not None:
            before = len(index)
            index.put(endpoint_id, () if value is None else endpoints.patterns(value))
            self._indexed += len(index) - before

    def _forget_changes(self) -> None:
        self._overlay.clear()
        self._dirty.clear()
        self._dirty_bytes = 0
        self._parsed.clear()
        self._indexes.clear()
        self._indexed = 0

    def _put(self, key: bytes, value: bytes | None) -> None:
        """Keep what is in the topic. What is parsed and indexed is of the overlay, where that has the endpoint."""
        self._gone.pop(key, None)
        if value is None:
            self._values.pop(key)
            self._catching.pop(key, None)
            if key not in self._overlay:
                self._parsed.pop(key, None)
                self._reindex(key, None)
            return
        self._values.put(key, value)
        if _CATCHING in value:
            self._catching[key] = None
        elif self._catching and key not in self._overlay:
            self._catching.pop(key, None)
        if _GONE in value and (record := EndpointRecord.decode(value)).current.state is State.GONE:
            self._gone[key] = record.current.since_ms
