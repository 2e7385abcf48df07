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
from streams.lane import connections
from streams.lane.log import Log

logger = logging.getLogger(__name__)

MAX_PARSED = 10_000


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
        self._consumer: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when everything that is stable now has been read."""
        self._consumer = connections.reader(self._settings)
        await self._consumer.start()
        self._consumer.assign(self._partitions)
        await self._consumer.seek_to_beginning(*self._partitions)
        ends = await self._log.stable_ends(self._partitions)
        self._task = asyncio.get_running_loop().create_task(self._follow(self._consumer))
        async with self._moved:
            await self._moved.wait_for(lambda: all(self._positions[place] >= end for place, end in ends.items()))
        logger.info("view.ready endpoints=%d", len(self._values))

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await connections.disconnect(self._consumer)

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
        counts: the router's transaction may be visible in `deliveries` a moment before it is in `endpoints`.
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
        return self.peek(key)

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            try:
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
