"""Records of `endpoints` and `results`, and the changes about sources in `subscriptions`, as rows of the views."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
from pydantic import ValidationError

from schemas import topics
from schemas.endpoints import EndpointRecord, State
from schemas.results import Result
from schemas.sources import SourceRegistered, SourceUnregistered
from streams.core import partitioning, reading, sources
from streams.core.outputs import Source
from streams.core.reading import Unreadable
from streams.core.sealing import Keyring

logger = logging.getLogger(__name__)

#: Quotes within a JSON string are escaped, so that this is the field itself.
_NO_HISTORY = b'"history":[]'
_SOURCE_CHANGES = ("source.registered", "source.unregistered")


class _Kind(msgspec.Struct):
    type: object = None


_KIND = msgspec.json.Decoder(_Kind)


class EndpointRow(NamedTuple):
    """An endpoint as it is now; `record` is the value in `endpoints` without its history."""

    tenant: str
    endpoint_id: str
    gone: bool
    record: bytes
    partition: int
    version: tuple[int, int]


class SourceRow(NamedTuple):
    """A source as it is now: its change, the secrets sealed where there is a key; `at_ms` is its time in the log."""

    tenant: str
    source_id: str
    record: bytes
    at_ms: int
    partition: int


class DeliveryRow(NamedTuple):
    """What one result says of its delivery; `at_ms` is the result's time in the log."""

    tenant: str
    delivery_id: str
    endpoint_id: str
    event_id: str
    event_type: str
    event_time_ms: int
    verdict: str
    attempt: int
    at_ms: int


class Place(NamedTuple):
    """A result, and where it is in the log."""

    tenant: str
    delivery_id: str
    partition: int
    offset: int
    at_ms: int
    result: bytes


@dataclass(slots=True)
class Fold:
    """Rows to be laid over the views, in the order of the log, and how far they reach.

    Of an endpoint, or a source, only the last counts; None: it is not there any more.
    """

    endpoints: dict[tuple[str, str], EndpointRow | None] = field(default_factory=dict)
    sources: dict[tuple[str, str], SourceRow | None] = field(default_factory=dict)
    deliveries: list[DeliveryRow] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    positions: dict[tuple[str, int], int] = field(default_factory=dict)


class Folding:
    """Lays records over rows as the router would: with the same keys, and the same number of partitions."""

    def __init__(self, ring: Keyring, partitions: int) -> None:
        self._ring = ring
        self._partitions = partitions

    def change(self, record: Source, into: Fold) -> None:
        """Add a change where it is about a source. What the router rejects or moves is passed over."""
        if record.value is None or _kind(record.value) not in _SOURCE_CHANGES:
            return
        tenant, change = reading.read_tenant(record.key), reading.read_change(record.value)
        if isinstance(tenant, Unreadable) or not isinstance(change, SourceRegistered | SourceUnregistered):
            return
        if partitioning.partition_of(tenant.encode(), self._partitions) != record.partition:
            return
        place = (tenant, change.source_id)
        if isinstance(change, SourceUnregistered):
            into.sources[place] = None
        elif (kept := sources.kept(change, tenant, self._ring)) is not None:
            value = kept.model_dump_json(exclude_none=True).encode()
            into.sources[place] = SourceRow(*place, value, record.at_ms, record.partition)


def fold(topic: str, records: Iterable[Source], into: Fold, folding: Folding | None = None) -> None:
    """Add the records of one partition of a topic. What cannot be read is said and passed over.

    `folding` is for `subscriptions`.
    """
    for record in records:
        try:
            if topic == topics.ENDPOINTS:
                _endpoint(record, into)
            elif folding is not None:
                folding.change(record, into)
            elif record.value is not None:
                _result(record, record.value, into)
        except (ValueError, ValidationError, msgspec.DecodeError) as problem:
            logger.warning("view.unreadable origin=%s reason=%s", record.origin, type(problem).__name__)


def _kind(value: bytes) -> object:
    """The type of a change. Most are about endpoints, and need not be read any further."""
    try:
        return _KIND.decode(value).type
    except msgspec.DecodeError:
        return None


def _endpoint(record: Source, into: Fold) -> None:
    tenant, _, endpoint_id = (record.key or b"").decode().partition("/")
    if record.value is None:
        into.endpoints[(tenant, endpoint_id)] = None
        return
    known = EndpointRecord.decode(record.value, history=False)
    into.endpoints[(tenant, endpoint_id)] = EndpointRow(
        tenant,
        endpoint_id,
        known.current.state is State.GONE,
        record.value if _NO_HISTORY in record.value else known.encode(),
        record.partition,
        (known.partition, known.last_offset),
    )


def _result(record: Source, value: bytes, into: Fold) -> None:
    result = Result.model_validate(msgspec.json.decode(value), strict=False)
    into.deliveries.append(
        DeliveryRow(
            result.tenant,
            result.delivery_id,
            result.endpoint_id,
            result.event_id,
            result.event_type,
            result.event_time_ms if result.event_time_ms is not None else record.at_ms,
            result.verdict.value,
            result.attempt,
            record.at_ms,
        )
    )
    into.places.append(Place(result.tenant, result.delivery_id, record.partition, record.offset, record.at_ms, value))
