"""The endpoints of one partition: what `endpoints` holds, and over it what is changed but not committed yet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from aiokafka.structs import TopicPartition

from schemas.endpoints import EndpointRecord, State
from streams.core.matching import TenantIndex
from streams.lane.log import Log

#: Tenants whose endpoints are parsed and indexed at a time, in one partition.
MAX_TENANTS = 1_000
_GONE = b'"state":"gone"'
_CATCHING = b'"catch_ups":'


@dataclass(slots=True)
class _Tenant:
    records: dict[str, EndpointRecord] = field(default_factory=dict)
    index: TenantIndex = field(default_factory=TenantIndex)

    def put(self, record: EndpointRecord) -> None:
        self.records[record.endpoint_id] = record
        versions = (record.current, *record.history)
        self.index.put(
            record.endpoint_id,
            [
                pattern
                for version in versions
                if version.settings is not None
                for subscription in version.settings.subscriptions
                for pattern in subscription.event_types
            ],
        )


class Keeper:
    """Raw values by key; parsed a tenant at a time, when it is asked for."""

    def __init__(self, place: TopicPartition) -> None:
        self._place = place
        self._values: dict[bytes, bytes] = {}
        self._by_tenant: dict[str, set[str]] = {}
        self._overlay: dict[bytes, EndpointRecord] = {}
        self._dirty: set[bytes] = set()
        self._gone: dict[bytes, int] = {}
        self._catching: dict[bytes, None] = {}
        self._tenants: OrderedDict[str, _Tenant] = OrderedDict()
        self._position = 0

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: bytes) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[bytes]:
        return iter(list(self._values))

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
    def catching(self) -> list[bytes]:
        """Keys of endpoints with replays under way, and perhaps of some whose last has just ended."""
        return list(self._catching)

    async def load(self, log: Log) -> None:
        """Forget what was not committed and read what is new in the topic. Only after the fence is it final."""
        for key in self._overlay:
            if _CATCHING in self._values.get(key, b""):
                self._catching[key] = None
            else:
                self._catching.pop(key, None)
        self._overlay.clear()
        self._dirty.clear()
        self._tenants.clear()
        end = (await log.stable_ends([self._place]))[self._place]
        async for records in log.read(self._place, self._position, end):
            for record in records:
                self._put(record.key or b"", record.value)
        self._position = max(self._position, end)

    def reset(self) -> None:
        """Know nothing: the topic is not the one that was read."""
        self._values.clear()
        self._by_tenant.clear()
        self._gone.clear()
        self._catching.clear()
        self._overlay.clear()
        self._dirty.clear()
        self._tenants.clear()
        self._position = 0

    def value(self, key: bytes) -> bytes | None:
        """The committed value."""
        return self._values.get(key)

    def get(self, tenant: str, endpoint_id: str) -> EndpointRecord | None:
        """The endpoint, changes that are not committed included."""
        if (known := self._tenants.get(tenant)) is not None:
            return known.records.get(endpoint_id)
        key = f"{tenant}/{endpoint_id}".encode()
        if (changed := self._overlay.get(key)) is not None:
            return changed
        value = self._values.get(key)
        return EndpointRecord.decode(value) if value is not None else None

    def candidates(self, tenant: str, event_type: str) -> list[EndpointRecord]:
        """The tenant's endpoints that some version of has a pattern for the event type, sorted by id."""
        known = self._tenant(tenant)
        return [known.records[endpoint_id] for endpoint_id in known.index.find(event_type)]

    def change(self, record: EndpointRecord) -> None:
        """The endpoint from now on; `snapshot` has it for the next commit."""
        key = f"{record.tenant}/{record.endpoint_id}".encode()
        if (known := self._tenants.get(record.tenant)) is not None:
            known.put(record)
        self._overlay[key] = record
        self._dirty.add(key)
        if record.catch_ups:
            self._catching[key] = None
        else:
            self._catching.pop(key, None)

    def snapshot(self, at_most: int | None = None) -> dict[bytes, bytes]:
        """Key and value of what has changed since the last snapshot; with `at_most`, the rest is the next one's."""
        taken = sorted(self._dirty)[:at_most]
        self._dirty.difference_update(taken)
        return {key: self._overlay[key].encode() for key in taken}

    def committed(self, written: dict[bytes, bytes | None], position: int) -> None:
        """`written` is in the topic, the last of it before `position`."""
        for key, value in written.items():
            self._put(key, value)
            if key not in self._dirty:
                self._overlay.pop(key, None)
        self._position = max(self._position, position)

    def gone_before(self, time_ms: int, at_most: int = 1_000) -> list[bytes]:
        """Keys of endpoints that have been gone since before `time_ms`."""
        return [key for key, since_ms in self._gone.items() if since_ms < time_ms and key not in self._overlay][
            :at_most
        ]

    def _tenant(self, tenant: str) -> _Tenant:
        known = self._tenants.get(tenant)
        if known is None:
            known = self._tenants[tenant] = _Tenant()
            for endpoint_id in self._by_tenant.get(tenant, ()):
                key = f"{tenant}/{endpoint_id}".encode()
                known.put(self._overlay.get(key) or EndpointRecord.decode(self._values[key]))
            for record in self._overlay.values():
                if record.tenant == tenant:
                    known.put(record)
            if len(self._tenants) > MAX_TENANTS:
                self._tenants.popitem(last=False)
        self._tenants.move_to_end(tenant)
        return known

    def _put(self, key: bytes, value: bytes | None) -> None:
        tenant, _, endpoint_id = key.decode().partition("/")
        if value is None:
            self._values.pop(key, None)
            self._gone.pop(key, None)
            self._catching.pop(key, None)
            endpoints = self._by_tenant.get(tenant, set())
            endpoints.discard(endpoint_id)
            if not endpoints:
                self._by_tenant.pop(tenant, None)
            if (known := self._tenants.get(tenant)) is not None and key not in self._overlay:
                known.records.pop(endpoint_id, None)
                known.index.put(endpoint_id, ())
            return
        self._values[key] = value
        self._by_tenant.setdefault(tenant, set()).add(endpoint_id)
        self._gone.pop(key, None)
        if _CATCHING in value:
            self._catching[key] = None
        elif key not in self._overlay:
            self._catching.pop(key, None)
        if _GONE in value and (record := EndpointRecord.decode(value)).current.state is State.GONE:
            self._gone[key] = record.current.since_ms
