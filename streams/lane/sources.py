"""A fetched record as decisions take it."""

from __future__ import annotations

from aiokafka.structs import ConsumerRecord

from streams.core.outputs import Source


def source_of(record: ConsumerRecord[bytes, bytes]) -> Source:
    """The record, without aiokafka."""
    return Source(
        record.topic, record.partition, record.offset, record.timestamp, record.key, record.value, record.headers
    )
