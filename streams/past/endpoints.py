"""A tenant's endpoints with all their versions, folded from the changes in the log."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from aiokafka.structs import ConsumerRecord, TopicPartition

from schemas import topics
from schemas.endpoints import EndpointRecord
from schemas.settings import Settings
from schemas.sources import SourceRegistered, SourceUnregistered
from streams.core import lifecycle, partitioning, reading
from streams.core.reading import Unreadable
from streams.core.registering import Limits
from streams.lane.log import Log

#: Tenants whose endpoints are kept for the next question.
MAX_TENANTS = 16


@dataclass(slots=True)
class _Folded:
    position: int = 0
    known: dict[str, EndpointRecord] = field(default_factory=dict)


class PastEndpoints:
    """Endpoints as the router has folded them, with all of their `history`. `limits`: what the router goes by."""

    def __init__(self, settings: Settings, log: Log, limits: Limits) -> None:
        self._settings = settings
        self._log = log
        self._limits = limits
        self._tenants: OrderedDict[str, _Folded] = OrderedDict()

    async def of(self, tenant: str) -> list[EndpointRecord]:
        """Every endpoint that the tenant ever had, by id. Reads what has come since it was last asked."""
        number = partitioning.partition_of(tenant.encode(), self._settings.partitions)
        place = TopicPartition(self._settings.topic(topics.SUBSCRIPTIONS), number)
        end = (await self._log.stable_ends([place]))[place]
        folded = self._tenants.pop(tenant, _Folded())
        if folded.position > end:
            folded = _Folded()
        async for records in self._log.read(place, folded.position, end, aside=True):
            for record in records:
                if record.key == tenant.encode() and record.offset >= folded.position:
                    self._fold(tenant, record, folded.known)
        folded.position = max(folded.position, end)
        self._tenants[tenant] = folded
        if len(self._tenants) > MAX_TENANTS:
            self._tenants.popitem(last=False)
        return [folded.known[endpoint_id] for endpoint_id in sorted(folded.known)]

    def _fold(self, tenant: str, record: ConsumerRecord[bytes, bytes], known: dict[str, EndpointRecord]) -> None:
        change = reading.read_change(record.value)
        if isinstance(change, Unreadable | SourceRegistered | SourceUnregistered):
            return
        after = lifecycle.apply(
            known.get(change.endpoint_id),
            change,
            tenant=tenant,
            partition=record.partition,
            offset=record.offset,
            at_ms=record.timestamp,
            limits=self._limits,
        )
        if isinstance(after, EndpointRecord):
            known[change.endpoint_id] = after
