"""What the delayer does in a lane: it holds the head of each tier until its time, and moves it on.

All records of a tier wait the same time, so that the head is the next whose wait ends; what is behind it stays in
Kafka. In memory is one fetched chunk a tier, however many wait.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, TopicPartition

from schemas import topics
from schemas.settings import DelayerSettings
from streams import metrics
from streams.core import delays, outputs
from streams.core.outputs import Output, Source
from streams.lane.log import Committed
from streams.lane.outputs import Batch
from streams.lane.sources import source_of

#: Outputs of one transaction at the most.
MAX_BATCH = 1_000
DUE_HEADER = "due-at-ms"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A record in memory. `due_at_ms` None: it does not say when it is due."""

    source: Source
    due_at_ms: int | None
    release_at_ms: int


class DelayerWork:
    """One partition of every tier."""

    def __init__(self, settings: DelayerSettings) -> None:
        self.notify: Callable[[], None] = lambda: None
        self._tiers_ms = settings.tiers_ms
        self._lengths_ms = {settings.topic(topics.RETRIES + name): ms for name, ms in settings.tiers_ms.items()}
        self._chunks: dict[TopicPartition, deque[Waiting]] = {}
        #: The next offset to commit, and to be fed, of each tier; and what is committed.
        self._next: dict[TopicPartition, int] = {}
        self._fed: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int | None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self._moved = 0

    async def opened(self, committed: Mapping[TopicPartition, Committed], *, fresh: bool) -> dict[TopicPartition, int]:
        """See `Work.opened`. Nothing is worth keeping: what is not committed is read again."""
        self._committed = {place: known.offset for place, known in committed.items()}
        self._next = {place: known.offset or 0 for place, known in committed.items()}
        self._fed = dict(self._next)
        self._chunks = {place: deque() for place in committed}
        return dict(self._next)

    def feed(self, partition: TopicPartition, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """See `Work.feed`."""
        length_ms = self._lengths_ms[partition.topic]
        for record in records:
            if record.offset < self._fed[partition]:
                continue
            due_at_ms = _due_at_ms(record.headers)
            source = source_of(record)
            release = delays.release_at_ms(record.timestamp, length_ms, due_at_ms) if due_at_ms is not None else 0
            self._chunks[partition].append(Waiting(source, due_at_ms, release))
            self._fed[partition] = record.offset + 1
        self._moved += 1
        self._set_timer()

    def passed(self, partition: TopicPartition, position: int) -> None:
        """See `Work.passed`."""
        if not self._chunks[partition]:
            self._fed[partition] = max(self._fed[partition], position)
            self._next[partition] = self._fed[partition]
            if self._next[partition] > (self._committed[partition] or 0):
                self.notify()

    def wants(self, partition: TopicPartition) -> bool:
        """See `Work.wants`: one chunk at a time."""
        return not self._chunks[partition]

    async def collect(self) -> Batch | None:
        """See `Work.collect`."""
        if self._stopping:
            return None
        now_ms = int(time.time() * 1000)
        made: list[Output] = []
        for place, chunk in self._chunks.items():
            while chunk and chunk[0].release_at_ms <= now_ms and len(made) < MAX_BATCH:
                waiting = chunk.popleft()
                made.append(self._move(waiting, now_ms))
                self._next[place] = waiting.source.offset + 1
        commits = {
            place: OffsetAndMetadata(offset, "")
            for place, offset in self._next.items()
            if offset > (self._committed[place] or 0)
        }
        return Batch(made, commits) if commits else None

    def settled(self, batch: Batch) -> None:
        """See `Work.settled`."""
        for place, commit in batch.offsets.items():
            self._committed[place] = commit.offset
        self._moved += 1
        self._set_timer()

    async def drain(self, timeout_s: float) -> None:
        """See `Work.drain`: what waits stays in Kafka."""
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()

    def waiting(self) -> bool:
        """See `Work.waiting`: true when something ought to have moved by now."""
        now_ms = int(time.time() * 1000)
        return any(chunk and chunk[0].release_at_ms <= now_ms for chunk in self._chunks.values())

    def progress(self) -> int:
        """See `Work.progress`."""
        return self._moved

    def held(self) -> int:
        """Records in memory."""
        return sum(len(chunk) for chunk in self._chunks.values())

    def _move(self, waiting: Waiting, now_ms: int) -> Output:
        source = waiting.source
        if waiting.due_at_ms is None:
            return outputs.rejected(source, f"the header {DUE_HEADER} is missing or is not a number")
        tier = delays.choose_tier(now_ms, waiting.due_at_ms, self._tiers_ms)
        topic = topics.DELIVERIES_DUE if tier is None else topics.RETRIES + tier
        metrics.HOPS.labels(topic).inc()
        if tier is None:
            metrics.LATENESS_S.observe((now_ms - waiting.due_at_ms) / 1000)
        return Output(topic, source.key, source.value, source.headers)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        releases = [chunk[0].release_at_ms for chunk in self._chunks.values() if chunk]
        if releases and not self._stopping:
            wait_s = max(0.0, min(releases) / 1000 - time.time())
            # A clock that jumps must not leave the lane asleep for the length of the jump.
            self._timer = asyncio.get_running_loop().call_later(min(wait_s, 1.0), self._look)

    def _look(self) -> None:
        self._timer = None
        if self.waiting():
            self.notify()
        else:
            self._set_timer()


def _due_at_ms(headers: Sequence[tuple[str, bytes]]) -> int | None:
    for name, value in headers:
        if name == DUE_HEADER:
            try:
                return int(value)
            except ValueError:
                return None
    return None
