"""What a lane writes: records bound for topics, packed into batches that Kafka takes in one request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.core import partitioning

#: Kafka's own share of a record besides key, value and headers, with room to spare.
_RECORD_OVERHEAD = 128


@dataclass(frozen=True, slots=True)
class Output:
    """A record to write. `topic` is the full name; `partition` None means: where the key belongs."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int | None = None

    @property
    def size(self) -> int:
        """Upper bound of the record's bytes on the wire, uncompressed."""
        headers = sum(len(name.encode()) + len(value or b"") + 10 for name, value in self.headers)
        return _RECORD_OVERHEAD + len(self.key or b"") + len(self.value or b"") + headers

    def place(self, partitions: int) -> TopicPartition:
        """Where it goes, with `partitions` partitions a topic."""
        if self.partition is not None:
            return TopicPartition(self.topic, self.partition)
        return TopicPartition(self.topic, partitioning.partition_of(self.key or b"", partitions))


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction writes: outputs, and for each input how far it has been read.

    `token` is the work's own: what it needs to know again when the transaction has ended.
    """

    outputs: Sequence[Output]
    offsets: dict[TopicPartition, OffsetAndMetadata]
    token: object = None
    #: Offsets the outputs got, in their order; filled in by the commit.
    written: list[int] = field(default_factory=list)
