"""What the egress knows of endpoints: the whole `endpoints` topic in memory, as bytes, parsed when it is asked for."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from schemas import topics
from schemas.endpoints import EndpointRecord
from schemas.settings import Settings
from streams.core import marks
from streams.core.marks import Mark
from streams.lane import connections
from streams.lane.log import Log
from streams.lane.offset_fetch import NotTold
from streams.router.lanes import SERVICE as ROUTER

logger = logging.getLogger(__name__)

MAX_PARSED = 10_000
#: How often the router's commits are looked at: they say when `endpoints` was made anew.
WATCH_INTERVAL_S = 5.0
COMMITS_AGE_S = 1.0


class Unknown(Exception):
    """Whether the endpoint exists is not known: the topic that should tell is not whole just now."""


class EndpointView:
    """Follows `endpoints`. An endpoint's partition there is its tenant's, so that every partition is read."""

    def __init__(self, settings: Settings, log: Log) -> None:
        topic = settings.topic(topics.ENDPOINTS)
        self._partitions = [TopicPartition(topic, number) for number in range(settings.partitions)]
        self._settings = settings
        self._log = log
        self._values: dict[bytes, bytes] = {}
        self._parsed: OrderedDict[bytes, EndpointRecord] = OrderedDict()
        self._positions: dict[TopicPartition, int] = dict.fromkeys(self._partitions, 0)
        self._moved = asyncio.Condition()
        self._marks: dict[int, Mark] = {}
        self._committed: dict[int, tuple[int | None, Mark]] = {}
        self._committed_at = 0.0
        self._again: set[TopicPartition] = set()
        self._watching: asyncio.Task[None] | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._values)

    async def start(self) -> None:
        """Return when everything that is stable now has been read."""
        self._consumer = connections.reader(self._settings)
        await self._consumer.start()
        self._consumer.assign(self._partitions)
        await self._consumer.seek_to_beginning(*self._partitions)
        self._marks = await self._first_marks()
        ends = await self._log.stable_ends(self._partitions)
        self._watching = asyncio.get_running_loop().create_task(self._watch())
        self._task = asyncio.get_running_loop().create_task(self._follow(self._consumer))
        async with self._moved:
            await self._moved.wait_for(lambda: all(self._positions[place] >= end for place, end in ends.items()))
        logger.info("view.ready endpoints=%d", len(self._values))

    async def stop(self) -> None:
        """Stop following."""
        for task in filter(None, (self._task, self._watching)):
            task.cancel()
            await asyncio.wait([task])
        await connections.disconnect(self._consumer)

    def knows(self, key: bytes) -> bool:
        """True where this process has something about the endpoint."""
        return key in self._values

    def peek(self, key: bytes) -> EndpointRecord | None:
        """The endpoint as this process knows it now, or None. Raises ValueError on a record that it cannot read."""
        parsed = self._parsed.get(key)
        if parsed is not None:
            self._parsed.move_to_end(key)
            return parsed
        value = self._values.get(key)
        if value is None:
            return None
        parsed = self._parsed[key] = EndpointRecord.decode(value)
        if len(self._parsed) > MAX_PARSED:
            self._parsed.popitem(last=False)
        return parsed

    async def current(self, key: bytes, at_least: str) -> EndpointRecord | None:
        """The endpoint of now, at least as new as version `at_least` (`<partition>-<offset>`); None: it is gone.

        Where this process knows an older one, it reads to the end of the endpoint's partition first. The high watermark
        counts: the router's transaction may be visible in `deliveries` a moment before it is in `endpoints`. Raises
        `Unknown` where the topic has lost what it should have.
        """
        partition, offset = (int(part) for part in at_least.split("-"))

        def is_new_enough() -> bool:
            known = self.peek(key)
            return known is not None and (known.partition != partition or known.current.offset >= offset)

        if not is_new_enough() and partition < len(self._partitions):
            place = self._partitions[partition]
            end = await self._log.high_watermark(place)
            async with self._moved:
                await self._moved.wait_for(lambda: is_new_enough() or self._positions[place] >= end)
            if not is_new_enough():
                await self._make_sure(place, offset)
        return self.peek(key)

    async def _make_sure(self, place: TopicPartition, offset: int) -> None:
        """Return where everything that the change at `offset` led to has been read, so that what is not there is gone.

        Raises `Unknown` otherwise.
        """
        try:
            committed, mark = (await self._commits())[place.partition]
        except (TimeoutError, KafkaError, NotTold) as problem:
            raise Unknown(repr(problem)) from problem
        self._compare(place, mark)
        first = (await self._log.earliest([place]))[place]
        read = place not in self._again and not mark.is_lost(first, self._positions[place])
        if committed is None or committed <= offset or not read:
            position = self._positions[place]
            raise Unknown(f"{place.topic}-{place.partition} was read to {position}, and should have {mark}")

    async def _commits(self) -> dict[int, tuple[int | None, Mark]]:
        """How far the router has applied changes, and what it says of `endpoints`, by partition; at most 1 s old."""
        now = asyncio.get_running_loop().time()
        if not self._committed or now - self._committed_at > COMMITS_AGE_S:
            topic = self._settings.topic(topics.SUBSCRIPTIONS)
            changes = [TopicPartition(topic, place.partition) for place in self._partitions]
            found = await self._log.committed(self._settings.group(ROUTER), changes)
            self._committed = {
                place.partition: (known.offset, marks.read(known.metadata)) for place, known in found.items()
            }
            self._committed_at = now
        return self._committed

    async def _first_marks(self) -> dict[int, Mark]:
        while True:
            try:
                return {number: mark for number, (_, mark) in (await self._commits()).items()}
            except (TimeoutError, KafkaError, NotTold) as problem:
                logger.warning("view.waiting reason=%r", problem)
                await asyncio.sleep(1.0)

    async def _watch(self) -> None:
        """See when a partition has been made anew: its offsets mean something else then."""
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            try:
                commits = await self._commits()
            except (TimeoutError, KafkaError, NotTold):
                continue
            for place in self._partitions:
                self._compare(place, commits[place.partition][1])

    def _compare(self, place: TopicPartition, mark: Mark) -> None:
        if mark.generation != self._marks.get(place.partition, Mark()).generation:
            logger.warning("view.again partition=%s-%d reason=it was made anew", place.topic, place.partition)
            self._again.add(place)
        self._marks[place.partition] = mark

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            try:
                for place in self._again:
                    consumer.seek(place, 0)
                    self._positions[place] = 0
                self._again.clear()
                fetched = await consumer.getmany(timeout_ms=100)
                for records in fetched.values():
                    for record in records:
                        self._put(record.key or b"", record.value)
                async with self._moved:
                    for partition in self._partitions:
                        self._positions[partition] = await consumer.position(partition)
                    self._moved.notify_all()
            except KafkaError as problem:
                logger.warning("view.reading reason=%r", problem)
                await asyncio.sleep(1.0)

    def _put(self, key: bytes, value: bytes | None) -> None:
        self._parsed.pop(key, None)
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value
