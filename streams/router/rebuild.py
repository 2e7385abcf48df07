"""When `endpoints` is lost: it is made anew from `subscriptions`, and nothing is judged before it is whole."""

from __future__ import annotations

import logging

from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.core import marks
from streams.core.marks import Mark
from streams.lane.log import Log, Truncated
from streams.lane.sources import source_of
from streams.router.folding import Folding
from streams.router.keeper import Keeper

logger = logging.getLogger(__name__)

#: Endpoints in one transaction.
MAX_WRITTEN = 5_000


class Rebuild:
    """Knows by the mark of each commit whether a partition of `endpoints` is what was written to it."""

    def __init__(self, log: Log, keeper: Keeper, folding: Folding, changes: TopicPartition) -> None:
        self.active = False
        self._log = log
        self._keeper = keeper
        self._folding = folding
        self._changes = changes
        self._mark = Mark()

    async def load(self, metadata: str, committed_changes: int, pending_since_ms: int) -> None:
        """Fill the keeper: from the topic where that is whole, else from all changes before the committed one.

        `metadata`: of that commit. `active` says which it was.
        """
        known, self._mark = self._mark, marks.read(metadata)
        if self._mark.generation != known.generation:
            self._keeper.reset()  # another has rebuilt it since
        first, end = await self._bounds()
        self.active = self._mark.is_lost(first, end)
        if not self.active:
            await self._keeper.load(self._log)
            return
        self._mark = Mark(None, first, self._mark.generation + 1)
        logger.error(
            "endpoints.lost partition=%d changes=%d reason=the topic is shorter than what was written; it is rebuilt",
            self._changes.partition,
            committed_changes,
        )
        self._keeper.reset()
        start = (await self._log.earliest([self._changes]))[self._changes]
        async for records in self._log.read(self._changes, start, committed_changes):
            for record in records:
                self._folding.apply(source_of(record), pending_since_ms)
            self._folding.take()  # what these changes led to is in the log already

    async def check(self) -> None:
        """Raise `Truncated` where the topic has been lost under an open lane."""
        first, end = await self._bounds()
        if first > self._mark.first or end < self._keeper.position:
            raise Truncated(
                f"endpoints-{self._changes.partition} reaches from {first} to {end}, "
                f"and was known from {self._mark.first} to {self._keeper.position}"
            )

    def part(self, committed_changes: int) -> tuple[dict[bytes, bytes], OffsetAndMetadata]:
        """The next endpoints to be written. Only the last of them carry the mark that says they are all there."""
        written = self._keeper.snapshot(MAX_WRITTEN)
        mark = self._mark if self._keeper.dirty else self._after(len(written))
        return written, OffsetAndMetadata(committed_changes, str(mark))

    def commit(self, applied: int, count: int) -> OffsetAndMetadata:
        """How far the changes are applied, with `count` endpoints written beside."""
        return OffsetAndMetadata(applied, str(self._after(count)))

    def settled(self) -> None:
        """What was handed out last is in the log."""
        if self.active and not self._keeper.dirty:
            self.active = False
            logger.warning("endpoints.rebuilt partition=%d endpoints=%d", self._changes.partition, len(self._keeper))

    async def _bounds(self) -> tuple[int, int]:
        place = self._keeper.place
        return (await self._log.bounds([place]))[place]

    def _after(self, count: int) -> Mark:
        return Mark(self._keeper.position + count, self._mark.first, self._mark.generation)
