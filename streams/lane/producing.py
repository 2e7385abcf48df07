"""Transactions through aiokafka's producer, for clusters whose `transaction.version` is below 2."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced
from aiokafka.structs import TopicPartition

from schemas.settings import Settings
from streams.lane import connections, private
from streams.lane.bounded import within
from streams.lane.writer import GOODBYE_TIMEOUT_S, MAX_BATCH_BYTES, Appended, Fenced, Offsets, Places


class Producing:
    """The newest holder of one transactional id. After any error it must be opened again."""

    def __init__(self, settings: Settings, transactional_id: str, group: str) -> None:
        self._id = transactional_id
        self._group = group
        self._producer: AIOKafkaProducer = connections.transactional_producer(settings, transactional_id)
        self._connections: tuple[Any, ...] = ()

    async def open(self) -> None:
        """See `Writer.open`."""
        await self._producer.start()

    async def commit(self, places: Places, offsets: Offsets) -> dict[TopicPartition, list[Appended]]:
        """See `Writer.commit`."""
        try:
            await self._producer.begin_transaction()
            sent = {place: await self._send(place, outputs) for place, outputs in places.items()}
            appended = {place: [await _answered(*one) for one in batches] for place, batches in sent.items()}
            if offsets:
                await self._producer.send_offsets_to_transaction(dict(offsets), self._group)
            await self._producer.commit_transaction()
        except (ProducerFenced, InvalidProducerEpoch) as problem:
            raise Fenced(self._id) from problem
        self._connections = private.connections_of(self._producer.client)
        return appended

    def is_connected(self) -> bool:
        """See `Writer.is_connected`."""
        return private.are_open(self._connections)

    async def complete(self, places: set[TopicPartition], offsets: Offsets) -> None:
        """Commit a transaction without a record over these partitions."""
        await self._producer.begin_transaction()
        for place in places:
            private.add_to_transaction(self._producer, place)
        await self._producer.send_offsets_to_transaction(dict(offsets), self._group)
        await self._producer.commit_transaction()

    async def close(self) -> None:
        """See `Writer.close`."""
        with contextlib.suppress(Exception):
            await within(GOODBYE_TIMEOUT_S, self._producer.stop())
            return
        # A producer that cannot say goodbye still holds sockets and a task.
        with contextlib.suppress(Exception):
            await within(GOODBYE_TIMEOUT_S, private.abandon(self._producer))
        with contextlib.suppress(Exception):
            await within(GOODBYE_TIMEOUT_S, self._producer.client.close())

    async def _send(self, place: TopicPartition, outputs: Any) -> list[tuple[asyncio.Future[Any], int]]:
        sent = []
        record: dict[str, Any]
        batch, count = self._producer.create_batch(), 0
        for output in outputs:
            if count and batch.size() + output.size > MAX_BATCH_BYTES:
                sent.append((await self._producer.send_batch(batch, place.topic, partition=place.partition), count))
                batch, count = self._producer.create_batch(), 0
            record = {"key": output.key, "value": output.value, "headers": list(output.headers), "timestamp": None}
            batch.append(**record)
            count += 1
        sent.append((await self._producer.send_batch(batch, place.topic, partition=place.partition), count))
        return sent


async def _answered(future: asyncio.Future[Any], count: int) -> Appended:
    answer = await future
    return Appended(answer.offset, count, answer.timestamp if answer.timestamp_type == 1 else -1)
