"""The ends of partitions: those who ask at a time share a request."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from streams.lane.bounded import within

REQUEST_TIMEOUT_S = 15.0


class Ends:
    """Of what a consumer sees: all there is, or with `read_committed` what is stable."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._asked: dict[TopicPartition, asyncio.Future[int]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def of(self, partition: TopicPartition) -> int:
        """The end as of now or later. Who asks while a request is under way shares the next one."""
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
                ends = await within(REQUEST_TIMEOUT_S, self._consumer.end_offsets(list(asked)))
            except Exception as problem:
                for future in asked.values():
                    if not future.done():
                        future.set_exception(problem)
                        future.exception()  # a caller that has gone must not turn this into a warning
                continue
            for partition, future in asked.items():
                if not future.done():
                    future.set_result(ends[partition])
