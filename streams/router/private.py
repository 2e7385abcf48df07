"""Every private name of Faust that the router leans on, and those of aiokafka behind it; a test says when one is gone.

faust-streaming, mode-streaming and aiokafka are pinned to exact versions because of these.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import faust
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord, TopicPartition
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport

from streams.lane import private as lane_private

#: Module, class and attribute.
NAMES = (
    ("faust.transport.drivers.aiokafka", "AIOKafkaConsumerThread", "_create_worker_consumer"),
    ("faust.transport.drivers.aiokafka", "Consumer", "_new_consumer_thread"),
    ("faust.transport.drivers.aiokafka", "AIOKafkaConsumerThread", "_consumer"),
    ("faust.transport.drivers.aiokafka", "AIOKafkaConsumerThread", "_ensure_consumer"),
    ("faust.transport.drivers.aiokafka", "AIOKafkaConsumerThread", "_fetch_records"),
    ("faust.transport.drivers.aiokafka", "Consumer", "_getmany"),
    ("aiokafka.consumer.subscription_state", "SubscriptionState", "reassignment_in_progress"),
    ("aiokafka.consumer.subscription_state", "Assignment", "state_value"),
    ("faust.tables.base", "Collection", "_new_store"),
    ("faust.tables.manager", "TableManager", "_update_channels"),
)
#: Instance attributes, set in constructors.
ATTRIBUTES = (
    ("aiokafka", "AIOKafkaConsumer", "_isolation_level"),
    ("aiokafka", "AIOKafkaConsumer", "_subscription"),
    ("faust.tables.manager", "TableManager", "_tables_finalized"),
    ("faust.tables.manager", "TableManager", "_tables_registered"),
)


def leave_when_stopped(app: faust.App) -> None:
    """Let Faust's consumer take leave of the group at once when it stops, also as a static member."""
    thread = getattr(app.consumer, "_thread", None)
    if thread is not None and thread._consumer is not None:
        lane_private.leave_when_stopped(thread._consumer)


#: Records in one fetch.
MAX_FETCHED = 2_000
#: While somebody wants no more, it is asked again so soon whether that has changed.
FULL_S = 0.05


class Fetched(NamedTuple):
    """All records of a partition from offset `start` to before `end`, and where the partition ends (None: unknown)."""

    place: TopicPartition
    start: int
    end: int
    records: Sequence[ConsumerRecord[bytes, bytes]]
    highwater: int | None


class Taker(Protocol):
    """Takes fetched records of some topics as they are; those of all others go Faust's way."""

    #: Full names.
    topics: frozenset[str]

    def wants(self, place: TopicPartition) -> bool:
        """False while no more records of the partition should be fetched."""

    def take(self, fetched: Fetched) -> None:
        """The next records of a partition."""


class RouterThread(AIOKafkaConsumerThread):
    """The thread that fetches. Faust reads uncommitted records unless it is told "exactly once", which loses table
    updates."""

    logger = logging.getLogger("faust.consumer")

    def _create_worker_consumer(self, transport: Transport) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        return consumer

    async def fetch(
        self, active: set[Any], topics: frozenset[str], timeout_s: float
    ) -> tuple[dict[Any, Any], list[Fetched]]:
        """The next records of the active partitions: by partition, and those of `topics` apart from them."""
        found: tuple[dict[Any, Any], list[Fetched]] = await self.call_thread(self._fetch, active, topics, timeout_s)
        return found

    async def _fetch(
        self, active: set[Any], topics: frozenset[str], timeout_s: float
    ) -> tuple[dict[Any, Any], list[Fetched]]:
        consumer = self._ensure_consumer()
        places = [place for place in active if place.topic in topics]
        # While nobody waits nobody can seek, and all that lies between two positions has been looked at.
        starts = {} if consumer._subscription.reassignment_in_progress else _positions(consumer, places)
        records = dict(await self._fetch_records(consumer, active, 0, MAX_FETCHED))
        ends = _positions(consumer, places)
        if not records and all(ends.get(place) == start for place, start in starts.items()):
            starts = {}
            records = dict(await self._fetch_records(consumer, active, timeout_s, MAX_FETCHED))
            ends = _positions(consumer, places)
        fetched = []
        for place in places:
            of_place = records.pop(place, [])
            start = starts.get(place, of_place[0].offset if of_place else None)
            end = ends.get(place, of_place[-1].offset + 1 if of_place else None)
            if start is not None and end is not None and start < end:
                fetched.append(Fetched(place, start, end, of_place, consumer.highwater(place)))
        return records, fetched


def _positions(consumer: AIOKafkaConsumer, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    """How far each partition has been handed out, where that is known."""
    subscription = consumer._subscription.subscription
    if subscription is None or subscription.assignment is None:
        return {}
    states = {place: subscription.assignment.state_value(place) for place in places}
    return {place: state.position for place, state in states.items() if state is not None and state.has_valid_position}


class RouterConsumer(Consumer):
    """Runs that thread, and hands a taker what is for it."""

    logger = logging.getLogger("faust.consumer")

    def _new_consumer_thread(self) -> RouterThread:
        return RouterThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:
        transport, thread = self.transport, self._thread
        assert isinstance(transport, RouterTransport)
        assert isinstance(thread, RouterThread)
        taker = transport.taker
        if taker is None or active_partitions is None:
            return await super()._getmany(active_partitions, timeout)
        wanted = {place for place in active_partitions if place.topic not in taker.topics or taker.wants(place)}
        if len(wanted) < len(active_partitions):
            timeout = min(timeout, FULL_S)
        if not wanted:  # to Kafka's client, none would mean all
            await asyncio.sleep(timeout)
            return {}
        records, fetched = await thread.fetch(wanted, taker.topics, timeout)
        for each in fetched:
            taker.take(each)
        return records


class RouterTransport(Transport):
    """Makes that consumer. `taker`: None while all records go Faust's way."""

    Consumer = RouterConsumer
    taker: Taker | None = None
