"""The events of one partition in order and without a gap, from hints that may come late, twice, or not at all."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from aiokafka.structs import TopicPartition

from streams import metrics
from streams.core.outputs import Source
from streams.lane.log import Log, Truncated
from streams.lane.sources import source_of

MAX_HINTS = 5_000
MAX_HINT_BYTES = 16 * 1_048_576
#: Who can wait with more waits from here on: about what one transaction takes, twice over.
FULL_HINTS = 4_000
FULL_BYTES = 4 * 1_048_576
#: After so much quiet of the whole process, or of this partition, a tail that was left out would have come.
QUIET_S = 2.0
PARTITION_QUIET_S = 10.0
#: While no hints can come, the lane looks for itself this often.
APART_S = 0.1


@dataclass(frozen=True, slots=True)
class Span:
    """All records from offset `start` to before `end`, in order: what is missing between them was never a record."""

    start: int
    end: int
    records: Sequence[Source]

    @property
    def size(self) -> int:
        """Bytes of its records' values."""
        return sum(len(record.value or b"") for record in self.records)


class EventFeed:
    """Decides by offset alone: what is before `next` is dropped, what is missing is read again from the log.

    `heard` gives the loop's time at which the process last got any hint; `is_apart` is true while it cannot get any.
    """

    def __init__(
        self, log: Log, place: TopicPartition, heard: Callable[[], float], is_apart: Callable[[], bool] = lambda: False
    ) -> None:
        self._log = log
        self._place = place
        self._heard = heard
        self._is_apart = is_apart
        #: What has been hinted at, each with its size.
        self._spans: deque[tuple[Span, int]] = deque()
        self._count = self._bytes = 0
        self._last_hint = 0.0
        self._last_look = 0.0
        self._dropped = False
        self.next = 0

    def reset(self, start: int) -> None:
        """Begin at `start`; hints before it are worthless."""
        self.next = start
        self._spans.clear()
        self._count = self._bytes = 0
        self._last_look = 0.0

    def hint(self, span: Span) -> None:
        """Records that have come. Over the bound they are dropped, and read again when their turn comes."""
        if span.end <= self.next:
            return  # no news, and not to be taken for any: a topic made anew begins from low offsets
        self._last_hint = asyncio.get_running_loop().time()
        if self._count < MAX_HINTS and self._bytes < MAX_HINT_BYTES:
            self._spans.append(self._counted(span))
        else:
            self._dropped = True

    @property
    def has_room(self) -> bool:
        """False while more would only wait here."""
        return self._count < FULL_HINTS and self._bytes < FULL_BYTES

    @property
    def waiting(self) -> bool:
        """True while a record is known that has not been taken."""
        return any(span.end > self.next for span, _ in self._spans)

    async def take(self, at_most: int, max_bytes: int) -> list[Source]:
        """The next records, all of them from `next` on; `next` moves behind them, and over what was never a record."""
        self._drop_old()
        if not self._spans:
            return await self._look(at_most, max_bytes)
        if self._spans[0][0].start > self.next:
            # After a seek the last may be an old one; up to the first there is something missing in any case.
            return await self._read(max(self._spans[0][0].start, self._spans[-1][0].end), at_most, max_bytes)
        taken: list[Source] = []
        size = 0
        while self._spans and len(taken) < at_most and size < max_bytes and self._spans[0][0].start <= self.next:
            span = self._pop()
            for place, record in enumerate(span.records):
                if record.offset < self.next:
                    continue
                if len(taken) >= at_most or size >= max_bytes:
                    self._put_back(Span(self.next, span.end, span.records[place:]))
                    return taken
                taken.append(record)
                size += len(record.value or b"")
                self.next = record.offset + 1
            self.next = max(self.next, span.end)
        return taken

    def give_back(self, records: list[Source]) -> None:
        """Put the end of what was taken back in front."""
        if records:
            self._put_back(Span(records[0].offset, self.next, records))
            self.next = records[0].offset

    async def _look(self, at_most: int, max_bytes: int) -> list[Source]:
        """Read what was dropped, or what the feed may have left out: once it is quiet, that would have come."""
        now = asyncio.get_running_loop().time()
        quiet = now - self._heard() >= QUIET_S or now - self._last_hint >= PARTITION_QUIET_S
        since_s = now - self._last_look
        due = (quiet and since_s >= QUIET_S) or (self._is_apart() and since_s >= APART_S)
        if not self._dropped and not due:
            return []
        self._last_look, self._dropped = now, False
        end = (await self._log.stable_ends([self._place]))[self._place]
        if end < self.next and await self._log.high_watermark(self._place) < self.next:
            raise Truncated(f"events-{self._place.partition} ends at {end}, and was read up to {self.next}")
        return await self._read(end, at_most, max_bytes) if end > self.next else []

    async def _read(self, end: int, at_most: int, max_bytes: int) -> list[Source]:
        end = min(end, (await self._log.stable_ends([self._place]))[self._place])
        taken: list[Source] = []
        size = 0
        async with aclosing(self._log.read(self._place, self.next, end, at_most=at_most)) as lists:
            async for records in lists:
                taken += [source_of(record) for record in records]
                size += sum(len(record.value or b"") for record in records)
                if len(taken) >= at_most or size >= max_bytes:
                    end, self._dropped = taken[-1].offset + 1, True
                    break
        self.next = max(self.next, end)
        metrics.REREAD.inc(len(taken))
        self._drop_old()
        return taken

    def _drop_old(self) -> None:
        while self._spans and self._spans[0][0].end <= self.next:
            self._pop()

    def _put_back(self, span: Span) -> None:
        self._spans.appendleft(self._counted(span))

    def _counted(self, span: Span) -> tuple[Span, int]:
        size = span.size
        self._count += len(span.records)
        self._bytes += size
        return span, size

    def _pop(self) -> Span:
        span, size = self._spans.popleft()
        self._count -= len(span.records)
        self._bytes -= size
        return span
