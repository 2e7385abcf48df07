"""A process's membership of a service's consumer group: partitions come and go, and with them lanes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from schemas.settings import Settings
from streams import metrics
from streams.core.pacing import Pacer, Patience
from streams.lane import connections, private
from streams.lane.follower import Follower
from streams.lane.health import Health
from streams.lane.lane import Lane
from streams.lane.log import Log
from streams.lane.membership import LaneAssignor
from streams.lane.work import Work

logger = logging.getLogger(__name__)

POLL_MS = 100
LOOK_INTERVAL_S = 1.0
#: How often a consumer looks whether one of its paused partitions is to be fetched: none ever is.
LOOK_ROUND_MS = 5_000


class Stalled(Exception):
    """Work waits and nothing moves; a new process may do better."""


class LaneGroup(ConsumerRebalanceListener):
    """Runs one lane for each partition this process owns. `topics` are without prefix, all with equal partitions.

    The group's consumer only says whose the partitions are: all of them are paused. Lanes read through a follower of
    their own, so that a rebalance does not touch those that stay.
    """

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
        linger_ms: int = 0,
    ) -> None:
        """`linger_ms`: see `Patience`."""
        self.lanes: dict[int, Lane] = {}
        self._settings = settings
        self._service = service
        self._topics = [settings.topic(name) for name in topics]
        self._make_work = make_work
        self._health = health
        self._log = Log(settings)
        self._follower = Follower(settings, fetch_bytes=fetch_bytes, poll_records=poll_records)
        self._pacer = Pacer(Patience(settings.commit_interval_ms, linger_ms))
        self._consumer: AIOKafkaConsumer | None = None
        self._owned: frozenset[int] = frozenset()
        self._closing: set[int] = set()
        self._shared_out = asyncio.Event()
        self._awake_at = time.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        """Take part until `stop` is set, then drain, commit and leave. Raises `Stalled` or `WrongTopics`."""
        metrics.LANES.set_function(lambda: sum(lane.open for lane in self.lanes.values()))
        await self._log.start()
        await self._follower.start()
        assignor = LaneAssignor(self._topics, self._settings.partitions, lambda: {*self.lanes, *self._closing})
        self._consumer = consumer = connections.member(self._settings, self._service, assignor)
        consumer.subscribe(self._topics, listener=self)
        loop = asyncio.get_running_loop()
        # To start is to join, which may never end where the group's coordinator dies.
        starting = loop.create_task(consumer.start())
        endless = [loop.create_task(each) for each in (self._log.listen(self._health), self._shift(consumer))]
        try:
            await self._poll(consumer, starting, endless, stop)
        finally:
            while self._closing:  # what moves away is not left half-way
                await asyncio.sleep(POLL_MS / 1000)
            for task in (starting, *endless):
                task.cancel()
            await asyncio.wait([starting, *endless])
            await self._close(set(self.lanes))
            # Others take over now, not when this one has been silent for long enough.
            private.leave_when_stopped(consumer)
            await connections.disconnect(consumer)
            await self._follower.stop()
            await self._log.stop()

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        """Lanes go on: what is still ours afterwards must not stop, and what is not is given to nobody before we let
        it go."""
        self._health.unready("rebalance", "partitions are being shared out")

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        """These are ours now."""
        assert self._consumer is not None
        if assigned:
            self._consumer.pause(*assigned)
            private.fetch_for(self._consumer, LOOK_ROUND_MS)
        self._owned = frozenset(tp.partition for tp in assigned)
        self._shared_out.set()
        self._health.ready("rebalance")

    async def _shift(self, consumer: AIOKafkaConsumer) -> None:
        """Open lanes for what is new, close those of what is gone, and say so when they are closed."""
        while True:
            await self._shared_out.wait()
            self._shared_out.clear()
            owned = self._owned
            gone = set(self.lanes) - owned
            for number in sorted(owned - set(self.lanes)):
                self.lanes[number] = self._make(number)
            group = self._settings.group(self._service)
            logger.info("group.assigned group=%s partitions=%s closing=%s", group, sorted(owned), sorted(gone))
            if gone:
                await self._close(gone)
                private.rejoin(consumer)

    def _make(self, number: int) -> Lane:
        return Lane(
            self._settings,
            self._service,
            number,
            [TopicPartition(topic, number) for topic in self._topics],
            self._make_work(number),
            self._log,
            self._health,
            self._follower,
            self._pacer,
            self._is_awake,
        )

    def _is_awake(self) -> bool:
        """False after a sleep (SIGSTOP, a frozen machine) in which the session has ended."""
        return (time.monotonic() - self._awake_at) * 1000 < self._settings.session_timeout_ms

    async def _close(self, numbers: set[int]) -> None:
        lanes = [self.lanes.pop(number) for number in numbers]
        self._closing |= numbers
        await asyncio.gather(*(lane.close(self._settings.drain_ms / 1000) for lane in lanes))
        self._closing -= numbers

    async def _poll(
        self,
        consumer: AIOKafkaConsumer,
        starting: asyncio.Task[None],
        endless: Sequence[asyncio.Task[None]],
        stop: asyncio.Event,
    ) -> None:
        loop = asyncio.get_running_loop()
        looked = loop.time()
        while not stop.is_set():
            if not self._is_awake():
                for lane in self.lanes.values():
                    lane.doubt()
            self._awake_at = time.monotonic()
            try:
                if starting.done():
                    starting.result()
                    self._health.ready("start")
                    await consumer.getmany(timeout_ms=POLL_MS)  # nothing comes: it raises what has gone wrong
                else:
                    await asyncio.wait([starting], timeout=POLL_MS / 1000)
            except KafkaError as problem:
                logger.warning("group.poll group=%s reason=%r", self._settings.group(self._service), problem)
                if starting.done() and starting.exception() is not None:
                    raise
                await asyncio.sleep(1.0)
            if loop.time() - looked >= LOOK_INTERVAL_S:
                looked = loop.time()
                self._look(looked)
                for task in endless:
                    if task.done():
                        task.result()

    def _look(self, now_s: float) -> None:
        """Find what stands still."""
        self._follower.check()
        if (apart_s := self._health.apart_s()) * 1000 > self._settings.stall_exit_ms:
            raise Stalled(f"no part in the group for {apart_s:.0f} s although Kafka answers")
        for number, lane in self.lanes.items():
            stalled_s = lane.stalled_s(now_s)
            if stalled_s * 1000 > self._settings.stall_exit_ms:
                raise Stalled(f"partition {number} has had work and moved nothing for {stalled_s:.0f} s")
