"""The ends of partitions: those who ask at a time share a request."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.lane.bounded import within

REQUEST_TIMEOUT_S = 15.0
#: A partition without a leader keeps all that are asked for with it from an answer: after so long, each is asked alone.
TOGETHER_S = 2.0


class Ends:
    """Of what a consumer sees: all there is, or with `read_committed` what is stable."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._together = _Rounds(consumer, TOGETHER_S)
        #: Partitions that had no answer, until they have one.
        self._alone: dict[TopicPartition, _Rounds] = {}

    async def of(self, partition: TopicPartition) -> int:
        """The end as of now or later. Raises TimeoutError, or aiokafka's errors."""
        alone = self._alone.get(partition)
        if alone is None:
            try:
                return await self._together.of(partition)
            except (TimeoutError, KafkaError):
                alone = self._alone.setdefault(partition, _Rounds(self._consumer, REQUEST_TIMEOUT_S))
        end = await alone.of(partition)
        self._alone.pop(partition, None)
        return end


class _Rounds:
    """Requests one after the other, each for all that was asked for during the last."""

    def __init__(self, consumer: AIOKafkaConsumer, limit_s: float) -> None:
        self._consumer = consumer
        self._limit_s = limit_s
        self._asked: dict[TopicPartition, asyncio.Future[int]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def of(self, partition: TopicPartition) -> int:
        """Who asks while a request is under way shares the next one."""
        loop = asyncio.get_running_loop()
        if (future := self._asked.get(partition)) is None:
            future = self._asked[partition] = loop.create_future()
        if self._asking is None or self._asking.done():
            self._asking = loop.create_task(self._ask())
        return await asyncio.shield(future)

    async def _ask(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, {}
            try:
                ends = await within(self._limit_s, self._consumer.end_offsets(list(asked)))
            except Exception as problem:
                for future in asked.values():
                    if not future.done():
                        future.set_exception(problem)
                        future.exception()  # a caller that has gone must not turn this into a warning
                continue
            for partition, future in asked.items():
                if not future.done():
                    future.set_result(ends[partition])
