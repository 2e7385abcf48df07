"""Since when there may be events that are not judged yet: so far back the versions of endpoints have to reach."""

from __future__ import annotations

from aiokafka.structs import ConsumerRecord, TopicPartition

from streams.lane import clock
from streams.lane.log import Log

#: How far back a record is looked for where the last ones are no records.
LOOK_BACK = 1_000
#: Leaders on several brokers have several clocks.
SKEW_MS = 1_000


class Pending:
    """Of one lane. `since_ms`: no event still to be judged has an earlier time; `first_ms`: that of the first one that
    waited when the lane was opened, 0 where none did.

    Goes by what Kafka has stamped only: a host's clock may be ahead, and a producer's word may be any.
    """

    def __init__(self, log: Log, events: TopicPartition, changes: TopicPartition) -> None:
        self.since_ms = 1
        self.first_ms = 0
        self._log = log
        self._events = events
        self._changes = changes
        self._newest_ms = 0

    async def find(self, next_event: int, applied: int) -> None:
        """Begin anew with what the log says. All before `next_event` is judged, all before `applied` folded."""
        self.since_ms, self.first_ms = 1, 0
        self._newest_ms = await self._before(self._changes, applied) or 0
        if await self.look(next_event):
            return
        stable = (await self._log.stable_ends([self._events]))[self._events]
        if stable > next_event:
            self.first_ms = await self._log.time_of(self._events, next_event, stable) or 0
        # What is in a transaction that has not ended cannot be read, but it came after what was judged.
        self.since_ms = self.first_ms or await self._before(self._events, next_event) or 1

    async def look(self, next_event: int) -> bool:
        """True where all events there are, in open transactions too, come before `next_event`.

        Whatever comes then will be later than each change that was known when this was asked.
        """
        newest_ms = self._newest_ms
        if await self._log.high_watermark(self._events) != next_event:
            return False
        self.since_ms = max(self.since_ms, newest_ms - SKEW_MS)
        return True

    def changed(self, change: ConsumerRecord[bytes, bytes]) -> None:
        """This change has been read."""
        if change.timestamp_type == clock.LOG_APPEND_TIME:
            self._newest_ms = max(self._newest_ms, change.timestamp)

    def judged(self, at_ms: int) -> None:
        """The event of `at_ms` is being judged: those that follow are no older."""
        self.since_ms = at_ms

    async def _before(self, place: TopicPartition, offset: int) -> int | None:
        """The time of a record before `offset`; None where there is none, or where it is none of Kafka's."""
        return await self._log.time_of(place, max(0, offset - LOOK_BACK), offset) if offset else None
