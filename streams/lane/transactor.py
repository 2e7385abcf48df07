"""The writing side of a lane: one transactional id, which only its newest holder may use."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from schemas import topics
from schemas.settings import Settings
from schemas.topics import topic_map
from streams.core.outputs import Output, fitted
from streams.lane import clock, connections, private
from streams.lane.bounded import within
from streams.lane.outputs import Batch

log = logging.getLogger(__name__)

#: One transaction may take this long before it counts as failed: shorter than Kafka's own limit for it.
COMMIT_TIMEOUT_S = 15.0
OPEN_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 2.0
#: Less than the producer's own bound for a batch, so that a batch is never refused half-way.
MAX_BATCH_BYTES = 800_000


class Fenced(Exception):
    """A newer holder of the transactional id exists: what this one holds is no longer its to write."""


class Broken(Exception):
    """The transaction failed or its end is unknown; only opening again tells what Kafka has."""


class Disconnected(Exception):
    """A connection has closed since the last transaction: whether that has an end in the log must be asked first."""


class Transactor:
    """Writes batches in transactions. After any error it must be opened again."""

    def __init__(self, settings: Settings, transactional_id: str, group: str) -> None:
        self._settings = settings
        self._transactional_id = transactional_id
        self._group = group
        self._producer: AIOKafkaProducer | None = None
        self._limits: Mapping[str, int] = {}
        self._connections: tuple[Any, ...] = ()

    async def open(self, limits: Mapping[str, int] | None = None) -> None:
        """Fence every earlier holder; when this returns, their last transaction is over. Raises `Broken`.

        `limits`: the largest record of each topic without prefix; what is larger is written to `rejected` instead.
        """
        self._limits, self._connections = limits or {}, ()
        await self.close()
        self._producer = connections.transactional_producer(self._settings, self._transactional_id)
        try:
            await within(OPEN_TIMEOUT_S, self._producer.start())
        except Exception as problem:
            raise Broken(f"cannot open {self._transactional_id}: {problem!r}") from problem

    async def commit(self, batch: Batch) -> None:
        """Write the outputs and the offsets, all or nothing, and note the outputs' offsets in `batch.written`.

        Raises `Fenced`, `Disconnected` before anything is written, or `Broken` where the end is not known.
        """
        assert self._producer is not None, "open first"
        if not private.are_open(self._connections):
            raise Disconnected(self._transactional_id)
        try:
            written = await within(COMMIT_TIMEOUT_S, self._transact(self._producer, batch))
            self._connections = private.connections_of(self._producer)
        except (ProducerFenced, InvalidProducerEpoch) as problem:
            raise Fenced(self._transactional_id) from problem
        except Exception as problem:
            raise Broken(f"a transaction of {self._transactional_id} failed: {problem!r}") from problem
        batch.written[:] = written

    async def complete_hanging(self, number: int) -> None:
        """Write the end of an earlier transaction of this id that was committed, but whose end is nowhere in the log.

        It has written records and offsets, and this id is the only one that can end them. `number`: the lane's
        partition. Raises `Broken`.
        """
        assert self._producer is not None, "open first"
        try:
            await within(COMMIT_TIMEOUT_S, self._complete(self._producer, number))
        except Exception as problem:
            raise Broken(f"a hanging transaction of {self._transactional_id} cannot be ended: {problem!r}") from problem

    async def _complete(self, producer: AIOKafkaProducer, number: int) -> None:
        await producer.begin_transaction()
        service = self._group.removeprefix(self._settings.prefix)
        for topic in topic_map(self._settings.tiers_ms):
            if service in topic.writers:
                for partition in range(self._settings.partitions):
                    place = TopicPartition(self._settings.topic(topic.name), partition)
                    private.add_to_transaction(producer, place)
        # Nobody reads `rejected` in a group: a commit for it says nothing, and takes the group into the transaction.
        nothing = {TopicPartition(self._settings.topic(topics.REJECTED), number): OffsetAndMetadata(0, "")}
        await producer.send_offsets_to_transaction(nothing, self._group)
        await producer.commit_transaction()

    async def close(self) -> None:
        """Let go of the producer; an open transaction is left to the next opening, which ends it."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        with contextlib.suppress(Exception):
            await within(CLOSE_TIMEOUT_S, producer.stop())
            return
        # A producer that cannot say goodbye still holds sockets and a task.
        with contextlib.suppress(Exception):
            await within(CLOSE_TIMEOUT_S, private.abandon(producer))
        with contextlib.suppress(Exception):
            await within(CLOSE_TIMEOUT_S, producer.client.close())

    async def _transact(self, producer: AIOKafkaProducer, batch: Batch) -> list[int]:
        await producer.begin_transaction()
        written = await self._write(producer, batch.outputs)
        if batch.offsets:
            await producer.send_offsets_to_transaction(dict(batch.offsets), self._group)
        await producer.commit_transaction()
        return written

    async def _write(self, producer: AIOKafkaProducer, outputs: Sequence[Output]) -> list[int]:
        written = [-1] * len(outputs)
        began_ms = clock.steady_ms()
        places: dict[TopicPartition, list[int]] = defaultdict(list)
        outputs = [fitted(output, self._limits) for output in outputs]
        for index, output in enumerate(outputs):
            topic = self._settings.topic(output.topic)
            places[TopicPartition(topic, output.place(self._settings.partitions))].append(index)
        sent = [
            await self._send(producer, place, [(index, outputs[index]) for index in indexes])
            for place, indexes in places.items()
        ]
        for futures in sent:
            for future, indexes in futures:
                answer = await future
                clock.appended(answer.timestamp, answer.timestamp_type, began_ms)
                first = answer.offset
                for distance, index in enumerate(indexes):
                    written[index] = first + distance
        return written

    async def _send(
        self, producer: AIOKafkaProducer, place: TopicPartition, outputs: list[tuple[int, Output]]
    ) -> list[tuple[asyncio.Future[Any], list[int]]]:
        futures = []
        record: dict[str, Any]
        limit = self._limits.get(place.topic.removeprefix(self._settings.prefix), MAX_BATCH_BYTES)
        batch, indexes = producer.create_batch(), list[int]()
        for index, output in outputs:
            if indexes and batch.size() + output.size > min(limit, MAX_BATCH_BYTES):
                futures.append((await producer.send_batch(batch, place.topic, partition=place.partition), indexes))
                batch, indexes = producer.create_batch(), []
            record = {"key": output.key, "value": output.value, "headers": list(output.headers), "timestamp": None}
            batch.append(**record)
            indexes.append(index)
        futures.append((await producer.send_batch(batch, place.topic, partition=place.partition), indexes))
        return futures
