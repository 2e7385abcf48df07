"""What a service puts into a lane: the interface between the shell and the decisions of egress and delayer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from aiokafka.structs import ConsumerRecord, TopicPartition

from streams.lane.log import Committed
from streams.lane.outputs import Batch


class Work(Protocol):
    """One partition's work.

    The order of calls: `opened` (fresh), then any of `feed`, `passed`, `collect`; each collected batch is answered
    by `settled`, or by `opened` again: not fresh after a failure whose end is unknown, fresh after a fence.
    """

    #: Set by the lane: call it when there is something to commit.
    notify: Callable[[], None]
    #: Set by the lane: call it when there is so much to commit that it should not wait for its turn.
    hurry: Callable[[], None]
    #: Set by the lane: False while it does not know that the partition is still its own.
    is_sure: Callable[[], bool]

    async def opened(self, committed: Mapping[TopicPartition, Committed], *, fresh: bool) -> dict[TopicPartition, int]:
        """The lane owns the partition and `committed` is the truth.

        `fresh`: forget everything held. Otherwise keep what is held, except what `committed` shows as done.
        Every offset in `committed` is set, and in the log. Returns the offset to read next for each input; an input
        that is left out is not followed.
        """

    def feed(self, partition: TopicPartition, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """The next records; a gap between offsets is control records or compaction, and nothing is missing."""

    def passed(self, partition: TopicPartition, position: int) -> None:
        """Everything before `position` has been fed: what is missing was control records."""

    def wants(self, partition: TopicPartition) -> bool:
        """False while no more records should be fed."""

    async def collect(self) -> Batch | None:
        """What can be committed now, or None. Called again only after `settled` or `opened`.

        Between reading what is held and returning there must be no await, or a record could slip in between.
        """

    def settled(self, batch: Batch) -> None:
        """The batch is in the log."""

    async def drain(self, timeout_s: float) -> None:
        """Begin nothing new; return when nothing is under way or the time is over."""

    def waiting(self) -> bool:
        """True while something is held that ought to move on by itself soon."""

    def progress(self) -> int:
        """A number that rises whenever something moves."""
