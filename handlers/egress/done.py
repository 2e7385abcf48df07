"""What a lane's work has dealt with, and how much of it goes into one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from aiokafka.structs import TopicPartition

from streams.core.ordering import Line, Step
from streams.core.outputs import Output

MAX_BATCH_OUTPUTS = 2_000
MAX_BATCH_BYTES = 8 * 1_048_576


class Done(NamedTuple):
    """A record that has been dealt with, and what is to be written for it.

    `step`: of a delivery in a line; `joined`: in the transaction of the one before, whatever its size; `posted`: an
    attempt was made, which is made again where this is lost.
    """

    place: TopicPartition
    offset: int
    outputs: Sequence[Output]
    step: Step | None = None
    joined: bool = False
    posted: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """What a batch was made of: how many of what was done, and the lines that its last `line_count` outputs tell of."""

    count: int
    lines: dict[bytes, Line | None]
    line_count: int


def first(waiting: Sequence[Done]) -> list[Done]:
    """Those that the next transaction takes, in their order."""
    taken: list[Done] = []
    count = size = 0
    for done in waiting:
        for output in done.outputs:
            count += 1
            size += output.size
        if taken and not done.joined and (count > MAX_BATCH_OUTPUTS or size > MAX_BATCH_BYTES):
            break
        taken.append(done)
    return taken
