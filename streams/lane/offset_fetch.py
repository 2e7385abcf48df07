"""OffsetFetch version 7 (KIP-447), which aiokafka does not speak: it tells of offsets in open transactions, too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)
from aiokafka.structs import TopicPartition

#: The error of a partition for which a transaction has been written whose end has not.
UNSTABLE_OFFSET_COMMIT = 88


class NotTold(Exception):
    """Kafka has answered without an answer, for instance because the coordinator is loading; asking again helps."""


class Unstable(Exception):
    """A transaction that should be over still holds offsets."""


class Response7(Response):
    """See the Kafka protocol guide."""

    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", CompactString("utf-8")),
                        ("error_code", Int16),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("error_code", Int16),
        ("tags", TaggedFields),
    )


class Request7(RequestStruct):
    """See the Kafka protocol guide."""

    API_KEY = 9
    API_VERSION = 7
    RESPONSE_TYPE = Response7
    FLEXIBLE_VERSION = True
    SCHEMA = Schema(
        ("group", CompactString("utf-8")),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("partitions", CompactArray(Int32)),
                ("tags", TaggedFields),
            ),
        ),
        ("require_stable", Boolean),
        ("tags", TaggedFields),
    )


class OffsetFetch(Request[Request7]):
    """What `group` has committed for `partitions`; `stable`: an error for those that an open transaction holds."""

    API_KEY = 9

    def __init__(self, group: str, partitions: Iterable[TopicPartition], *, stable: bool) -> None:
        self._group = group
        self._stable = stable
        self._topics: dict[str, list[int]] = defaultdict(list)
        for place in partitions:
            self._topics[place.topic].append(place.partition)

    def build(self, request_struct_class: type[Request7]) -> Request7:
        """The request."""
        topics: list[tuple[str, list[int], dict[int, bytes]]]
        topics = [(name, numbers, {}) for name, numbers in self._topics.items()]
        return request_struct_class(self._group, topics, self._stable, {})


def read(response: Response7) -> dict[TopicPartition, tuple[int, str]]:
    """Offset (-1: none) and metadata by partition. Raises `Unstable` or `NotTold`."""
    answer = response.to_object()
    if answer["error_code"]:
        raise NotTold(for_code(answer["error_code"]).__name__)
    found = {}
    for topic in answer["topics"]:
        for row in topic["partitions"]:
            if row["error_code"] == UNSTABLE_OFFSET_COMMIT:
                raise Unstable(f"{topic['name']}-{row['partition']}")
            if row["error_code"]:
                raise NotTold(f"{topic['name']}-{row['partition']}: {for_code(row['error_code']).__name__}")
            found[TopicPartition(topic["name"], row["partition"])] = (row["offset"], row["metadata"] or "")
    return found
