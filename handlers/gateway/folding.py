"""Records of `endpoints` and `results` as rows of the views."""

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
from streams.core.outputs import Source

logger = logging.getLogger(__name__)


class EndpointRow(NamedTuple):
    """An endpoint as it is now; `record` is the value in `endpoints` without its history."""

    tenant: str
    endpoint_id: str
    gone: bool
    record: bytes
    partition: int
    version: tuple[int, int]


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

    Of an endpoint only the last counts; None: it is not there any more.
    """

    endpoints: dict[tuple[str, str], EndpointRow | None] = field(default_factory=dict)
    deliveries: list[DeliveryRow] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    positions: dict[tuple[str, int], int] = field(default_factory=dict)


def fold(topic: str, records: Iterable[Source], into: Fold) -> None:
    """Add the records of one partition of `endpoints` or `results`. What cannot be read is said and passed over."""
    for record in records:
        try:
            if topic == topics.ENDPOINTS:
                _endpoint(record, into)
            elif record.value is not None:
                _result(record, record.value, into)
        except (ValueError, ValidationError, msgspec.DecodeError) as problem:
            logger.warning("view.unreadable origin=%s reason=%s", record.origin, type(problem).__name__)


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
        known.encode(),
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
