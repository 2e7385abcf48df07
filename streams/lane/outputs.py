"""What a lane writes in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.core.outputs import Output


@dataclass(frozen=True, slots=True)
class Batch:
    """Outputs, and for each input how far it has been read.

    `token` is the work's own: what it needs to know again when the transaction has ended. `written` are the offsets
    that the outputs got, in their order; the commit fills it in.
    """

    outputs: Sequence[Output]
    offsets: dict[TopicPartition, OffsetAndMetadata]
    token: object = None
    written: list[int] = field(default_factory=list)
