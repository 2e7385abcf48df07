"""Reads partitions of the log for those who follow them, each from where it says, and says how far it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.structs import ConsumerRecord, TopicPartition

from schemas.settings import Settings
from streams.lane import connections, private

logger = logging.getLogger(__name__)

POLL_MS = 100
#: A fetch is answered as soon as there is anything, but it does not look for what is wanted again meanwhile.
IDLE_FETCH_MS = 1_000
PAUSED_FETCH_MS = 100
#: A reader's own changes must not wait for its next poll to be seen.
SOON_MS = 20


class Subscriber(Protocol):
    """Somebody who follows partitions."""

    def fed(self, place: TopicPartition, records: Sequence[ConsumerRecord[bytes, bytes]], position: int) -> None:
        """The next records, and the offset up to which everything has been handed over.

        The position also moves over control records and aborted records, so that nobody waits for what never comes.
        """

    def wants(self, place: TopicPartition) -> bool:
        """False while no more records should come."""

    def out_of_range(self, place: TopicPartition) -> None:
        """The log no longer has the next offset, or does not have it yet; the partition is followed no more."""


@dataclass(eq=False)
class _Followed:
    """One time that a partition is followed; `position`: up to it all has been handed over."""

    subscriber: Subscriber
    position: int
    state: Any = None
    paused: bool = False


class Follower:
    """One plain `read_committed` consumer outside of any group, so that no rebalance interrupts it.

    A partition followed again gets nothing that was fetched before.
    """

    def __init__(self, settings: Settings, *, fetch_bytes: int = 1_048_576, poll_records: int = 500) -> None:
        self._settings = settings
        self._fetch_bytes = fetch_bytes
        self._poll_records = poll_records
        self._followed: dict[TopicPartition, _Followed] = {}
        self._assigned: dict[TopicPartition, _Followed] = {}
        self._stale = False
        self._consumer: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect. Raises aiokafka's errors where Kafka does not answer."""
        self._consumer = connections.reader(self._settings, reset="none", fetch_bytes=self._fetch_bytes)
        await self._consumer.start()
        self._task = asyncio.get_running_loop().create_task(self._run(self._consumer))

    async def stop(self) -> None:
        """Disconnect."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await connections.disconnect(self._consumer)

    def check(self) -> None:
        """Raise what has ended the reading, where it has ended: without it nothing would move, and nobody say so."""
        if self._task is not None and self._task.done():
            self._task.result()

    def follow(self, offsets: Mapping[TopicPartition, int], subscriber: Subscriber) -> None:
        """Hand over what each partition has from its offset on."""
        for place, offset in offsets.items():
            self._followed[place] = _Followed(subscriber, offset)
        self._stale = True

    def leave(self, subscriber: Subscriber) -> None:
        """No more for this one."""
        mine = [place for place, followed in self._followed.items() if followed.subscriber is subscriber]
        for place in mine:
            del self._followed[place]
        self._stale = self._stale or bool(mine)

    async def _run(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            try:
                if self._stale:
                    self._assign(consumer)
                if not self._assigned:
                    await asyncio.sleep(SOON_MS / 1000)
                    continue
                self._balance(consumer)
                fetched = await consumer.getmany(timeout_ms=POLL_MS, max_records=self._poll_records)
                if not self._stale:
                    self._hand_over(fetched)
            except OffsetOutOfRangeError as problem:
                self._lose(problem.args[0] if problem.args else {})
            except KafkaError as problem:
                logger.warning("log.reading reason=%r", problem)
                await asyncio.sleep(1.0)

    def _assign(self, consumer: AIOKafkaConsumer) -> None:
        self._stale = False
        consumer.assign(list(self._followed))
        for place, followed in self._followed.items():
            consumer.seek(place, followed.position)
            followed.state, followed.paused = private.state_of(consumer, place), False
        self._assigned = dict(self._followed)

    def _balance(self, consumer: AIOKafkaConsumer) -> None:
        """Pause what nobody wants more of, resume the others."""
        any_paused = False
        for place, followed in self._assigned.items():
            wanted = followed.subscriber.wants(place)
            if wanted is followed.paused:
                followed.paused = not wanted
                if wanted:
                    consumer.resume(place)
                else:
                    consumer.pause(place)
            any_paused = any_paused or not wanted
        private.fetch_for(consumer, PAUSED_FETCH_MS if any_paused else IDLE_FETCH_MS)

    def _hand_over(self, fetched: dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]) -> None:
        for place, followed in self._assigned.items():
            position = private.position_of(followed.state)
            if position is None or position <= followed.position:
                continue
            if self._followed.get(place) is not followed:
                continue  # followed anew since this fetch: it starts from an offset of its own
            followed.position = position
            followed.subscriber.fed(place, fetched.get(place, ()), position)

    def _lose(self, offsets: Mapping[TopicPartition, int]) -> None:
        for place, offset in offsets.items():
            followed = self._followed.get(place)
            if followed is not None and followed is self._assigned.get(place):
                logger.error("log.out_of_range partition=%s-%d offset=%d", place.topic, place.partition, offset)
                del self._followed[place]
                followed.subscriber.out_of_range(place)
        self._stale = True
