"""How a transaction is written to Kafka, whatever its brokers understand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.core.outputs import Output

#: Batches of more are split. A single record may be larger.
MAX_BATCH_BYTES = 800_000
REQUEST_TIMEOUT_MS = 10_000
#: How long it may take to let go, whatever state Kafka is in.
GOODBYE_TIMEOUT_S = 2.0

Places = Mapping[TopicPartition, Sequence[Output]]
Offsets = Mapping[TopicPartition, OffsetAndMetadata]


class Fenced(Exception):
    """A newer holder of the transactional id exists: what this one holds is no longer its to write."""


class Broken(Exception):
    """The transaction failed or its end is unknown; only opening again tells what Kafka has."""


@dataclass(frozen=True, slots=True)
class Appended:
    """`count` records that stand in a partition from the offset `first` on; their time is -1 where Kafka gave none."""

    first: int
    count: int
    at_ms: int


class Writer(Protocol):
    """One transactional id."""

    async def open(self) -> None:
        """Fence every earlier holder; when this returns, their last transaction is over."""

    async def commit(self, places: Places, offsets: Offsets) -> dict[TopicPartition, list[Appended]]:
        """Write these records and offsets, all or nothing.

        Raises `Fenced`, or anything else where the end is not known.
        """

    def is_connected(self) -> bool:
        """False when a connection has closed since the last transaction."""

    async def close(self) -> None:
        """Let go; an open transaction is left to the next opening, which ends it."""
