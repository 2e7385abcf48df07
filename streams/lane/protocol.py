"""Requests of transactions as of KIP-890 (transaction.version 2), which aiokafka does not speak.

The broker takes a partition or a group into the transaction with the first record or offset that comes for it, and
every transaction ends with a new epoch. Field names are those of the Kafka protocol guide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response, ResponseHeader_v0, ResponseHeader_v1
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactBytes,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)
from aiokafka.structs import OffsetAndMetadata

_NAME = CompactString("utf-8")
_TAGS = ("tags", TaggedFields)

#: Offsets, or batches, by topic: its name, and of each of its partitions what belongs to it.
Topics = Sequence[tuple[str, Sequence[tuple[int, bytes]]]]


class ApiVersionsResponse3(Response):
    """See the Kafka protocol guide."""

    API_KEY = 18
    API_VERSION = 3
    SCHEMA = Schema(
        ("error_code", Int16),
        ("api_keys", CompactArray(("api_key", Int16), ("min_version", Int16), ("max_version", Int16), _TAGS)),
        ("throttle_time_ms", Int32),
        _TAGS,
    )


class ApiVersionsRequest3(RequestStruct):
    """See the Kafka protocol guide."""

    API_KEY = 18
    API_VERSION = 3
    RESPONSE_TYPE = ApiVersionsResponse3
    FLEXIBLE_VERSION = True
    SCHEMA = Schema(("client_software_name", _NAME), ("client_software_version", _NAME), _TAGS)

    def parse_response_header(self, read_buffer: BytesIO | bytes) -> ResponseHeader_v0 | ResponseHeader_v1:
        """The answer to this one has the oldest header, whatever its version."""
        return ResponseHeader_v0.decode(read_buffer)


class ApiVersions(Request[ApiVersionsRequest3]):
    """What the broker can do."""

    API_KEY = 18

    def build(self, request_struct_class: type[ApiVersionsRequest3]) -> ApiVersionsRequest3:
        """The request."""
        return request_struct_class("hookfold", "1", {})


_FINALIZED_FEATURES_TAG = 2
_FEATURES = CompactArray(("name", _NAME), ("max_version_level", Int16), ("min_version_level", Int16), _TAGS)


def features(response: ApiVersionsResponse3) -> Mapping[str, int]:
    """The level of each feature that the cluster has been brought to; empty where it does not say."""
    tagged = response.to_object()["tags"].get(_FINALIZED_FEATURES_TAG)
    if tagged is None:
        return {}
    return {str(name): level for name, level, *_ in _FEATURES.decode(BytesIO(tagged)) or ()}


class ProduceResponse12(Response):
    """See the Kafka protocol guide."""

    API_KEY = 0
    API_VERSION = 12
    SCHEMA = Schema(
        (
            "responses",
            CompactArray(
                ("name", _NAME),
                (
                    "partition_responses",
                    CompactArray(
                        ("index", Int32),
                        ("error_code", Int16),
                        ("base_offset", Int64),
                        ("log_append_time_ms", Int64),
                        ("log_start_offset", Int64),
                        (
                            "record_errors",
                            CompactArray(("batch_index", Int32), ("batch_index_error_message", _NAME), _TAGS),
                        ),
                        ("error_message", _NAME),
                        _TAGS,
                    ),
                ),
                _TAGS,
            ),
        ),
        ("throttle_time_ms", Int32),
        _TAGS,
    )


class ProduceRequest12(RequestStruct):
    """See the Kafka protocol guide."""

    API_KEY = 0
    API_VERSION = 12
    RESPONSE_TYPE = ProduceResponse12
    FLEXIBLE_VERSION = True
    SCHEMA = Schema(
        ("transactional_id", _NAME),
        ("acks", Int16),
        ("timeout_ms", Int32),
        (
            "topic_data",
            CompactArray(
                ("name", _NAME),
                ("partition_data", CompactArray(("index", Int32), ("records", CompactBytes), _TAGS)),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class Produce(Request[ProduceRequest12]):
    """Batches of one transaction, one a partition."""

    API_KEY = 0

    def __init__(self, transactional_id: str, timeout_ms: int, batches: Topics) -> None:
        self._transactional_id = transactional_id
        self._timeout_ms = timeout_ms
        self._batches = batches

    def build(self, request_struct_class: type[ProduceRequest12]) -> ProduceRequest12:
        """The request."""
        topics: list[Any]
        topics = [(name, [(*one, {}) for one in of], {}) for name, of in self._batches]
        return request_struct_class(self._transactional_id, -1, self._timeout_ms, topics, {})


class TxnOffsetCommitResponse5(Response):
    """See the Kafka protocol guide."""

    API_KEY = 28
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", _NAME),
                ("partitions", CompactArray(("partition_index", Int32), ("error_code", Int16), _TAGS)),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class TxnOffsetCommitRequest5(RequestStruct):
    """See the Kafka protocol guide."""

    API_KEY = 28
    API_VERSION = 5
    RESPONSE_TYPE = TxnOffsetCommitResponse5
    FLEXIBLE_VERSION = True
    SCHEMA = Schema(
        ("transactional_id", _NAME),
        ("group_id", _NAME),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation_id", Int32),
        ("member_id", _NAME),
        ("group_instance_id", _NAME),
        (
            "topics",
            CompactArray(
                ("name", _NAME),
                (
                    "partitions",
                    CompactArray(
                        ("partition_index", Int32),
                        ("committed_offset", Int64),
                        ("committed_leader_epoch", Int32),
                        ("committed_metadata", _NAME),
                        _TAGS,
                    ),
                ),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class TxnOffsetCommit(Request[TxnOffsetCommitRequest5]):
    """Offsets of a transaction, by topic and partition. The transactional id is the fence, not the membership."""

    API_KEY = 28

    def __init__(
        self,
        transactional_id: str,
        producer: tuple[int, int],
        group: str,
        offsets: Sequence[tuple[str, Sequence[tuple[int, OffsetAndMetadata]]]],
    ) -> None:
        self._transactional_id = transactional_id
        self._producer = producer
        self._group = group
        self._offsets = offsets

    def build(self, request_struct_class: type[TxnOffsetCommitRequest5]) -> TxnOffsetCommitRequest5:
        """The request."""
        topics: list[Any]
        topics = [
            (name, [(number, commit.offset, -1, commit.metadata, {}) for number, commit in of], {})
            for name, of in self._offsets
        ]
        return request_struct_class(self._transactional_id, self._group, *self._producer, -1, "", None, topics, {})


class EndTxnResponse5(Response):
    """See the Kafka protocol guide."""

    API_KEY = 26
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        _TAGS,
    )


class EndTxnRequest5(RequestStruct):
    """See the Kafka protocol guide."""

    API_KEY = 26
    API_VERSION = 5
    RESPONSE_TYPE = EndTxnResponse5
    FLEXIBLE_VERSION = True
    SCHEMA = Schema(
        ("transactional_id", _NAME),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("committed", Boolean),
        _TAGS,
    )


class EndTxn(Request[EndTxnRequest5]):
    """The end of a transaction: a commit."""

    API_KEY = 26

    def __init__(self, transactional_id: str, producer: tuple[int, int]) -> None:
        self._transactional_id = transactional_id
        self._producer = producer

    def build(self, request_struct_class: type[EndTxnRequest5]) -> EndTxnRequest5:
        """The request."""
        return request_struct_class(self._transactional_id, *self._producer, True, {})
