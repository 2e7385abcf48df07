"""The endpoints of one partition: what `endpoints` holds, and over it what is changed but not committed yet."""

from __future__ import annotations

import bisect
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

from aiokafka.structs import TopicPartition

from schemas import subscribed
from schemas.endpoints import EndpointRecord, State
from streams.core import plans
from streams.core.matching import TenantIndex
from streams.core.plans import Plan
from streams.core.remembering import Remembered
from streams.lane.log import Log
from streams.router.shelf import Shelf

#: Memory for tenants' indexes and endpoints' plans, in all partitions of a process that has all of them: enough for the
#: indexes of a million endpoints. And in one partition at the least: enough for a tenant of 10,000.
MAX_INDEX_BYTES, MIN_INDEX_BYTES = 192 * 1_048_576, 8 * 1_048_576
MAX_PLAN_BYTES, MIN_PLAN_BYTES = 160 * 1_048_576, 20 * 1_048_576
#: Endpoints that are parsed as a whole.
MAX_PARSED = 500
#: So many endpoints are indexed at a time before any event asks, and so long after them the next.
WARMED = 500
WARM_S = 0.02
#: What waits for its commit: with more no further changes are taken, so that a transaction stays one that can be made.
MAX_CHANGED = 5_000
MAX_CHANGED_BYTES = 8 * 1_048_576
_GONE = b'"state":"gone"'
_CATCHING = b'"catch_ups":'


class Candidates:
    """Endpoints of a tenant, sorted by id. Each is looked up when it is asked for: all of them may be too many."""

    def __init__(self, tenant: bytes, ids: Sequence[bytes], find: Callable[[bytes], Plan | None]) -> None:
        self._tenant = tenant
        self._ids = ids
        self._find = find

    def __iter__(self) -> Iterator[Plan]:
        return self._from(0)

    def after(self, endpoint_id: str) -> Iterator[Plan]:
        """Those that follow it."""
        return self._from(bisect.bisect_right(self._ids, endpoint_id.encode()))

    def _from(self, place: int) -> Iterator[Plan]:
        for number in range(place, len(self._ids)):
            if (plan := self._find(b"%b/%b" % (self._tenant, self._ids[number]))) is not None:
                yield plan


class Keeper:
    """Raw values by key. A tenant is indexed when an event of it comes, and an endpoint read when one leads to it."""

    def __init__(self, place: TopicPartition, partitions: int = 1) -> None:
        """`partitions`: how many share the memory for what is indexed and read."""
        self._place = place
        self._values = Shelf()
        #: Changed since the last commit, and of these, in their order, what no snapshot has taken yet.
        self._overlay = Shelf()
        self._dirty: dict[bytes, None] = {}
        self._dirty_bytes = 0
        self._gone: dict[bytes, int] = {}
        self._catching: dict[bytes, None] = {}
        self._parsed: OrderedDict[bytes, EndpointRecord] = OrderedDict()
        self._plans: Remembered[bytes, Plan] = Remembered(max(MIN_PLAN_BYTES, MAX_PLAN_BYTES // partitions))
        self._indexes: Remembered[bytes, TenantIndex[bytes]] = Remembered(
            max(MIN_INDEX_BYTES, MAX_INDEX_BYTES // partitions)
        )
        #: Tenants that may have no index.
        self._unasked: dict[bytes, None] = {}
        self._warm_at_s = 0.0
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
    def cold(self) -> bool:
        """True while `warm` has something to do."""
        return bool(self._unasked) and not self._indexes.full

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
        self._unasked = dict.fromkeys(self._values.tenants)

    def warm(self, now_s: float) -> bool:
        """Index some of the tenants that no event has asked for yet; False when there are none left, or no room.

        Also where it is too soon: who was told to come again comes in any case.

        Not while they are loaded or registered, one endpoint of a tenant after one of another: what a tenant has is
        then never in the processor's caches, and it takes five times as long.
        """
        if now_s < self._warm_at_s:
            return False
        self._warm_at_s = now_s + WARM_S / 2  # timers may be early
        count = 0
        while self._unasked and count < WARMED and not self._indexes.full:
            tenant, _ = self._unasked.popitem()
            if self._indexes.get(tenant) is None:
                self._index(tenant)
                count += len(self._values.of(tenant)) + len(self._overlay.of(tenant))
        return self.cold

    def reset(self) -> None:
        """Know nothing: the topic is not the one that was read."""
        self._values.clear()
        self._unasked.clear()
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

    def candidates(self, tenant: str, event_type: str) -> Candidates:
        """The tenant's endpoints that some version of has a pattern for the event type, sorted by id."""
        name = tenant.encode()
        return Candidates(name, self._index(name).find(event_type), self._plan)

    def change(self, record: EndpointRecord, value: bytes | None = None) -> None:
        """The endpoint from now on; `snapshot` has it for the next commit. `value`: the same, where it is encoded."""
        key = f"{record.tenant}/{record.endpoint_id}".encode()
        # A copy: what orjson hands out keeps the buffer that it was written into, 8 kB each.
        value = bytes(memoryview(record.encode() if value is None else value))
        self._reindex(key, self._now(key), value)
        self._overlay.put(key, value)
        self._dirty[key] = None
        self._dirty_bytes += len(value)
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
        known = self._parsed.get(key)
        if known is None and (value := self._now(key)) is not None:
            known = self._parsed[key] = EndpointRecord.decode(value)
            if len(self._parsed) > MAX_PARSED:
                self._parsed.popitem(last=False)
        return known

    def _plan(self, key: bytes) -> Plan | None:
        known = self._plans.get(key)
        if known is None and (value := self._now(key)) is not None:
            known = plans.read(value)
            self._plans.put(key, known)
        return known

    def _now(self, key: bytes) -> bytes | None:
        return self._overlay.get(key) or self._values.get(key)

    def _index(self, tenant: bytes) -> TenantIndex[bytes]:
        index = self._indexes.get(tenant)
        if index is None:
            index, changed = TenantIndex(), self._overlay.of(tenant)
            for endpoint_id, value in self._values.of(tenant).items():
                if endpoint_id not in changed:
                    index.put(endpoint_id, subscribed.patterns(value))
            for endpoint_id, value in changed.items():
                index.put(endpoint_id, subscribed.patterns(value))
            self._indexes.put(tenant, index)
        return index

    def _reindex(self, key: bytes, before: bytes | None, value: bytes | None) -> None:
        """What is remembered of an endpoint is to be as in `value`, which is not there yet."""
        self._parsed.pop(key, None)
        self._plans.forget(key)
        tenant, _, endpoint_id = key.partition(b"/")
        index = self._indexes.get(tenant)
        if index is None:
            self._unasked[tenant] = None
            return
        size = index.size
        had = subscribed.patterns(before) if before is not None else ()
        index.put(endpoint_id, subscribed.patterns(value) if value is not None else (), had)
        if index.size != size:
            self._indexes.grown(tenant, index.size - size)

    def _forget_changes(self) -> None:
        self._overlay.clear()
        self._dirty.clear()
        self._dirty_bytes = 0
        self._parsed.clear()
        self._plans.clear()
        self._indexes.clear()

    def _put(self, key: bytes, value: bytes | None) -> None:
        """Keep what is in the topic. What is parsed and indexed is of the overlay, where that has the endpoint."""
        self._gone.pop(key, None)
        if value is None:
            if key not in self._overlay:
                self._reindex(key, self._values.get(key), None)
            self._values.pop(key)
            self._catching.pop(key, None)
            return
        self._values.put(key, value)
        if _CATCHING in value:
            self._catching[key] = None
        elif self._catching and key not in self._overlay:
            self._catching.pop(key, None)
        if _GONE in value and (record := EndpointRecord.decode(value)).current.state is State.GONE:
            self._gone[key] = record.current.since_ms
