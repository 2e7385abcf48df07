"""What the delayer does in a lane: it holds the first records of each tier until their time, and moves them on.

All records of a tier wait about the same time, so that what is behind the first ones can stay in Kafka. In memory is a
fetched chunk a tier, however many wait; within it each leaves at its own time.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, TopicPartition

from schemas import topics
from schemas.settings import DelayerSettings
from streams import metrics
from streams.core import delays, outputs
from streams.core.offsets import OffsetWindow
from streams.core.outputs import Output, Source
from streams.lane import clock
from streams.lane.log import Committed
from streams.lane.outputs import Batch
from streams.lane.sources import source_of

#: Outputs of one transaction at the most.
MAX_BATCH = 1_000
#: More is fetched when a tier holds less than this.
LOW_WATER = 250
LOW_WATER_BYTES = 262_144
DUE_HEADER = "due-at-ms"


@dataclass(frozen=True, slots=True, order=True)
class Waiting:
    """A record in memory, the first to leave first. `due_at_ms` None: it does not say when it is due."""

    release_at_ms: int
    offset: int
    due_at_ms: int | None = field(compare=False)
    source: Source = field(compare=False)


class DelayerWork:
    """One partition of every tier."""

    def __init__(self, settings: DelayerSettings) -> None:
        self.notify: Callable[[], None] = lambda: None
        self.hurry: Callable[[], None] = lambda: None
        self.is_sure: Callable[[], bool] = lambda: False
        self._tiers_ms = settings.tiers_ms
        self._lengths_ms = {settings.topic(topics.RETRIES + name): ms for name, ms in settings.tiers_ms.items()}
        self._shortest_ms = min(self._tiers_ms.values())
        self._chunks: dict[TopicPartition, list[Waiting]] = {}
        self._bytes: dict[TopicPartition, int] = {}
        self._windows: dict[TopicPartition, OffsetWindow] = {}
        self._committed: dict[TopicPartition, int | None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self._moved = 0

    async def opened(self, committed: Mapping[TopicPartition, Committed], *, fresh: bool) -> dict[TopicPartition, int]:
        """See `Work.opened`. Nothing is worth keeping: what is not committed is read again."""
        self._committed = {place: known.offset for place, known in committed.items()}
        self._windows = {place: OffsetWindow.resume(known.offset, known.metadata) for place, known in committed.items()}
        self._chunks = {place: [] for place in committed}
        self._bytes = dict.fromkeys(committed, 0)
        return {place: window.position for place, window in self._windows.items()}

    def feed(self, partition: TopicPartition, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """See `Work.feed`."""
        length_ms, window = self._lengths_ms[partition.topic], self._windows[partition]
        for record in records:
            if not window.take(record.offset):
                continue
            due_at_ms = _due_at_ms(record.headers)
            release_at_ms = 0
            if due_at_ms is not None:
                shortest = length_ms == self._shortest_ms
                release_at_ms = delays.release_at_ms(record.timestamp, length_ms, due_at_ms, shortest=shortest)
            waiting = Waiting(release_at_ms, record.offset, due_at_ms, source_of(record))
            heapq.heappush(self._chunks[partition], waiting)
            self._bytes[partition] += len(record.value or b"")
        self._moved += 1
        self._set_timer()

    def passed(self, partition: TopicPartition, position: int) -> None:
        """See `Work.passed`."""
        window = self._windows[partition]
        window.skip_to(position)
        if window.floor > (self._committed[partition] or 0):
            self.notify()

    def wants(self, partition: TopicPartition) -> bool:
        """See `Work.wants`: a chunk at a time."""
        return len(self._chunks[partition]) < LOW_WATER and self._bytes[partition] < LOW_WATER_BYTES

    async def collect(self) -> Batch | None:
        """See `Work.collect`."""
        if self._stopping:
            return None
        now_ms = clock.now_ms()
        made: list[Output] = []
        touched = set()
        for place, chunk in self._chunks.items():
            while chunk and chunk[0].release_at_ms <= now_ms and len(made) < MAX_BATCH:
                waiting = heapq.heappop(chunk)
                made.append(self._move(waiting, now_ms))
                self._windows[place].complete(waiting.offset)
                self._bytes[place] -= len(waiting.source.value or b"")
                touched.add(place)
        commits = {
            place: OffsetAndMetadata(window.floor, window.metadata())
            for place, window in self._windows.items()
            if place in touched or window.floor > (self._committed[place] or 0)
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
        now_ms = clock.now_ms()
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
            wait_s = max(0.0, (min(releases) - clock.now_ms()) / 1000)
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
