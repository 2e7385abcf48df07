"""A process's membership of a service's consumer group: partitions come and go, and with them lanes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import TopicPartition

from schemas.settings import Settings
from streams.lane import connections
from streams.lane.health import Health
from streams.lane.lane import Lane
from streams.lane.log import Log
from streams.lane.work import Work

logger = logging.getLogger(__name__)

POLL_MS = 100
POSITION_INTERVAL_S = 1.0
PING_INTERVAL_S = 3.0


class Stalled(Exception):
    """Work waits and nothing moves; a new process may do better."""


class LaneGroup(ConsumerRebalanceListener):
    """Runs one lane for each partition this process owns. `topics` are without prefix, all with equal partitions."""

    def __init__(
        self,
        settings: Settings,
        service: str,
        topics: Sequence[str],
        make_work: Callable[[int], Work],
        health: Health,
        *,
        fetch_bytes: int = 1_048_576,
        poll_records: int = 500,
    ) -> None:
        self.lanes: dict[int, Lane] = {}
        self._settings = settings
        self._service = service
        self._topics = [settings.topic(name) for name in topics]
        self._make_work = make_work
        self._health = health
        self._fetch_bytes = fetch_bytes
        self._poll_records = poll_records
        self._log = Log(settings)
        self._consumer: AIOKafkaConsumer | None = None
        self._awake_at = time.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        """Take part until `stop` is set, then drain, commit and leave. Raises `Stalled`."""
        await self._log.start()
        self._consumer = consumer = connections.member(self._settings, self._service, fetch_bytes=self._fetch_bytes)
        consumer.subscribe(self._topics, listener=self)
        listening = asyncio.get_running_loop().create_task(self._listen())
        try:
            await consumer.start()
            self._health.ready("start")
            await self._poll(consumer, stop)
        finally:
            listening.cancel()
            await self._close_lanes(self._settings.drain_ms / 1000)
            await connections.disconnect(consumer)
            await self._log.stop()

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        """Close the lanes before somebody else may open them."""
        self._health.unready("rebalance", "partitions are being shared out")
        await self._close_lanes(self._settings.drain_ms / 1000)

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        """Hold the feed and open a lane for each partition; each lane starts its own feed when it is open."""
        assert self._consumer is not None
        if assigned:
            self._consumer.pause(*assigned)
        for number in sorted({tp.partition for tp in assigned}):
            inputs = [TopicPartition(topic, number) for topic in self._topics]
            self.lanes[number] = Lane(
                self._settings,
                self._service,
                number,
                [tp for tp in inputs if tp in assigned],
                self._make_work(number),
                self._log,
                self._health,
                self._seek,
                self._is_awake,
            )
        self._health.ready("rebalance")
        logger.info("group.assigned group=%s partitions=%s", self._settings.group(self._service), sorted(self.lanes))

    def _is_awake(self) -> bool:
        """False after a sleep (SIGSTOP, a frozen machine) in which the session has ended."""
        return (time.monotonic() - self._awake_at) * 1000 < self._settings.session_timeout_ms

    def _seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        assert self._consumer is not None
        for tp, offset in offsets.items():
            self._consumer.seek(tp, offset)

    async def _close_lanes(self, drain_s: float) -> None:
        lanes, self.lanes = self.lanes, {}
        await asyncio.gather(*(lane.close(drain_s) for lane in lanes.values()))

    async def _poll(self, consumer: AIOKafkaConsumer, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        looked = loop.time()
        while not stop.is_set():
            if not self._is_awake():
                for lane in self.lanes.values():
                    lane.doubt()
            self._awake_at = time.monotonic()
            self._balance(consumer)
            try:
                fetched = await consumer.getmany(timeout_ms=POLL_MS, max_records=self._poll_records)
            except KafkaError as problem:
                logger.warning("group.poll group=%s reason=%r", self._settings.group(self._service), problem)
                await asyncio.sleep(1.0)
                continue
            for tp, records in fetched.items():
                self._health.kafka_answered()
                if fed := self.lanes.get(tp.partition):
                    fed.feed(tp, records)
            if loop.time() - looked >= POSITION_INTERVAL_S:
                looked = loop.time()
                await self._look(consumer, looked)

    async def _listen(self) -> None:
        """Ask Kafka for something small now and then: an idle feed cannot tell silence from absence."""
        while True:
            with contextlib.suppress(Exception):
                await self._log.high_watermark(TopicPartition(self._topics[0], 0))
                self._health.kafka_answered()
            await asyncio.sleep(PING_INTERVAL_S)

    def _balance(self, consumer: AIOKafkaConsumer) -> None:
        """Pause the inputs whose lane wants no more, resume the others."""
        paused = consumer.paused()
        for tp in consumer.assignment():
            lane = self.lanes.get(tp.partition)
            wanted = lane is not None and lane.wants(tp)
            try:
                if wanted and tp in paused:
                    consumer.resume(tp)
                elif not wanted and tp not in paused:
                    consumer.pause(tp)
            except IllegalStateError:  # taken away between the two calls
                continue

    async def _look(self, consumer: AIOKafkaConsumer, now_s: float) -> None:
        """Tell the lanes how far the feed is past control records, and find what stands still."""
        if (apart_s := self._health.apart_s()) * 1000 > self._settings.stall_exit_ms:
            raise Stalled(f"no part in the group for {apart_s:.0f} s although Kafka answers")
        for number, lane in list(self.lanes.items()):
            for tp in lane.inputs:
                try:
                    async with asyncio.timeout(0.5):
                        position = await consumer.position(tp)
                except (TimeoutError, KafkaError):
                    continue
                if self.lanes.get(number) is lane:
                    lane.passed(tp, position)
            stalled_s = lane.stalled_s(now_s)
            if stalled_s * 1000 > self._settings.stall_exit_ms:
                raise Stalled(f"partition {number} has had work and moved nothing for {stalled_s:.0f} s")
