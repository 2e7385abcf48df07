"""Reads the changes of every partition this process owns, each from where its lane says, and says how far it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord, TopicPartition

from schemas import topics
from schemas.settings import Settings
from streams.lane import connections

logger = logging.getLogger(__name__)

POLL_MS = 100


class Subscriber(Protocol):
    """A lane that wants the changes of its partition."""

    def changed(self, records: Sequence[ConsumerRecord[bytes, bytes]], position: int) -> None:
        """The next changes, and the offset up to which everything has been handed over.

        The position also moves over control records and aborted changes, so that nobody waits for what never comes.
        """


@dataclass(eq=False)
class _Followed:
    """One time that a partition is followed; `position` is what has been handed over."""

    subscriber: Subscriber
    position: int


class Follower:
    """One plain `read_committed` consumer. A partition followed again gets nothing that was fetched before."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.topic(topics.SUBSCRIPTIONS)
        self._followed: dict[TopicPartition, _Followed] = {}
        self._assigned: dict[TopicPartition, _Followed] = {}
        self._stale = False
        self._consumer: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect. Raises aiokafka's errors where Kafka does not answer."""
        self._consumer = connections.reader(self._settings)
        await self._consumer.start()
        self._task = asyncio.get_running_loop().create_task(self._run(self._consumer))

    async def stop(self) -> None:
        """Disconnect."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await connections.disconnect(self._consumer)

    def follow(self, partition: int, start: int, subscriber: Subscriber) -> None:
        """Hand over the changes of `partition` from offset `start` on."""
        self._followed[TopicPartition(self._topic, partition)] = _Followed(subscriber, start)
        self._stale = True

    def leave(self, partition: int, subscriber: Subscriber) -> None:
        """No more for this one."""
        place = TopicPartition(self._topic, partition)
        if place in self._followed and self._followed[place].subscriber is subscriber:
            del self._followed[place]
            self._stale = True

    async def _run(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            try:
                if self._stale:
                    self._assign(consumer)
                if not self._assigned:
                    await asyncio.sleep(0.02)
                    continue
                fetched = await consumer.getmany(timeout_ms=POLL_MS)
                if not self._stale:
                    await self._hand_over(consumer, fetched)
            except KafkaError as problem:
                logger.warning("changes.reading reason=%r", problem)
                await asyncio.sleep(1.0)

    def _assign(self, consumer: AIOKafkaConsumer) -> None:
        self._stale = False
        consumer.assign(list(self._followed))
        for place, followed in self._followed.items():
            consumer.seek(place, followed.position)
        self._assigned = dict(self._followed)

    async def _hand_over(
        self, consumer: AIOKafkaConsumer, fetched: dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]
    ) -> None:
        for place, followed in self._assigned.items():
            position = await consumer.position(place)
            if self._followed.get(place) is not followed:
                continue  # followed anew since this fetch: it starts from an offset of its own
            records = fetched.get(place, [])
            if records or position > followed.position:
                followed.position = position
                followed.subscriber.changed(records, position)
