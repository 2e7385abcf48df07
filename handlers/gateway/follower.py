"""Follows `endpoints`, `results` and sources into the views, and tells who waits what became of a change."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.structs import ConsumerRecord, TopicPartition

from handlers.gateway.folding import Fold, Folding, fold
from handlers.gateway.views import Views
from schemas import topics
from schemas.endpoints import EndpointRecord
from schemas.settings import GatewaySettings
from streams.core.sealing import Keyring
from streams.lane import clock, connections
from streams.lane.health import Health
from streams.lane.log import Log
from streams.lane.sources import source_of

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

FORGET_INTERVAL_S = 60.0
DAY_MS = 86_400_000

#: A change's place: partition and offset in `subscriptions`.
ChangePlace = tuple[int, int]


class Follower:
    """Keeps the views up with the log."""

    def __init__(self, settings: GatewaySettings, views: Views, log: Log, health: Health) -> None:
        self._settings = settings
        self._views = views
        self._log = log
        self._health = health
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="views")
        self._folding = Folding(Keyring(settings.keys), settings.partitions)
        self._consumer: AIOKafkaConsumer | None = None
        #: Of `subscriptions`: how far each partition has been folded, and who waits for more.
        self._folded: dict[int, int] = {}
        self._reached: list[tuple[ChangePlace, asyncio.Future[None]]] = []
        self._applied: dict[tuple[str, str], list[tuple[ChangePlace, asyncio.Future[str | None]]]] = defaultdict(list)
        self._refused: dict[str, asyncio.Future[str | None]] = {}

    async def run(self) -> None:
        """Follow for ever. Raises aiokafka's errors where Kafka does not answer at the start."""
        settings = self._settings
        followed = [
            TopicPartition(settings.topic(name), number)
            for name in (topics.ENDPOINTS, topics.RESULTS, topics.SUBSCRIPTIONS)
            for number in range(settings.partitions)
        ]
        rejected = [TopicPartition(settings.topic(topics.REJECTED), n) for n in range(settings.partitions)]
        self._consumer = consumer = connections.reader(settings, reset="none")
        await consumer.start()
        try:
            consumer.assign([*followed, *rejected])
            ends = await self._log.stable_ends([*followed, *rejected])
            await self._in_writer(partial(self._views.belong_to, await self._log.cluster()))
            await self._seek(consumer, followed, rejected, ends)
            self._health.unready("view", "the log is being read")
            behind = {place for place in followed if await consumer.position(place) < ends[place]}
            forgotten = 0.0
            while True:
                if time.monotonic() - forgotten > FORGET_INTERVAL_S:
                    forgotten = time.monotonic()
                    await self._forget_old()
                await self._step(consumer, followed, rejected)
                if behind:
                    behind = {place for place in behind if await consumer.position(place) < ends[place]}
                if not behind and "view" in self._health.reasons():
                    await self._in_writer(self._views.set_whole)
                    self._health.ready("view")
        finally:
            await connections.disconnect(consumer)

    async def wait(self, tenant: str, endpoint_id: str, place: ChangePlace, timeout_s: float) -> str | None:
        """Return None when the views show the change, or why the router has refused it. Raises TimeoutError."""
        future: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        origin = f"{self._settings.topic(topics.SUBSCRIPTIONS)}/{place[0]}/{place[1]}"
        self._applied[(tenant, endpoint_id)].append((place, future))
        self._refused[origin] = future
        try:
            if await self._shows(tenant, endpoint_id, place):
                return None
            async with asyncio.timeout(timeout_s):
                return await future
        finally:
            self._refused.pop(origin, None)
            waiting = self._applied[(tenant, endpoint_id)]
            waiting.remove((place, future))
            if not waiting:
                del self._applied[(tenant, endpoint_id)]

    async def reach(self, place: ChangePlace, timeout_s: float) -> None:
        """Return when the views go by a change about a source. Raises TimeoutError."""
        if self._folded.get(place[0], 0) > place[1]:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = (place, future)
        self._reached.append(waiting)
        try:
            async with asyncio.timeout(timeout_s):
                await future
        finally:
            self._reached.remove(waiting)

    def close(self) -> None:
        """End the writing thread; what it was given is written."""
        self._writer.shutdown()

    async def _shows(self, tenant: str, endpoint_id: str, place: ChangePlace) -> bool:
        value = await asyncio.to_thread(self._views.endpoint, tenant, endpoint_id)
        if value is None:
            return False
        known = EndpointRecord.decode(value)
        return known.partition == place[0] and known.last_offset >= place[1]

    async def _seek(
        self,
        consumer: AIOKafkaConsumer,
        followed: list[TopicPartition],
        rejected: list[TopicPartition],
        ends: dict[TopicPartition, int],
    ) -> None:
        """To where the views are; a partition that is shorter was made anew, and is read from its beginning.

        Of what is rejected only what comes from now on can be an answer.
        """
        for place in rejected:
            consumer.seek(place, ends[place])
        known = await self._in_writer(self._views.positions)
        firsts = await self._log.earliest(followed)
        for place in followed:
            name = place.topic.removeprefix(self._settings.prefix)
            at = known.get((name, place.partition))
            if at is not None and (at > ends[place] or (name == topics.ENDPOINTS and at < firsts[place])):
                logger.warning("view.again partition=%s-%d reason=it was made anew", place.topic, place.partition)
                await self._in_writer(partial(self._views.forget, name, place.partition))
                at = None
            position = max(at or 0, firsts[place])
            consumer.seek(place, position)
            if name == topics.SUBSCRIPTIONS:
                self._folded[place.partition] = position

    async def _step(
        self, consumer: AIOKafkaConsumer, followed: list[TopicPartition], rejected: list[TopicPartition]
    ) -> None:
        try:
            fetched = await consumer.getmany(timeout_ms=100, max_records=5_000)
        except OffsetOutOfRangeError:
            # Retention, or a topic made anew under us: where the views are is asked again.
            ends = await self._log.stable_ends([*followed, *rejected])
            await self._seek(consumer, followed, rejected, ends)
            return
        except KafkaError as problem:
            logger.warning("view.waits reason=%r", problem)
            await asyncio.sleep(1.0)
            return
        made = Fold()
        for place, records in fetched.items():
            name = place.topic.removeprefix(self._settings.prefix)
            if name == topics.REJECTED:
                self._tell_refused(records)
                continue
            folding = self._folding if name == topics.SUBSCRIPTIONS else None
            await self._in_writer(partial(fold, name, [source_of(record) for record in records], made, folding))
            made.positions[(name, place.partition)] = records[-1].offset + 1
        if made.positions:
            await self._in_writer(lambda: self._views.fold(made))
            self._tell_reached(made)
        for row in filter(None, made.endpoints.values()):
            for change, future in self._applied.get((row.tenant, row.endpoint_id), ()):
                if row.version[0] == change[0] and row.version[1] >= change[1] and not future.done():
                    future.set_result(None)

    def _tell_reached(self, made: Fold) -> None:
        for (name, partition), following in made.positions.items():
            if name == topics.SUBSCRIPTIONS:
                self._folded[partition] = following
        for (partition, offset), future in self._reached:
            if self._folded.get(partition, 0) > offset and not future.done():
                future.set_result(None)

    def _tell_refused(self, records: list[ConsumerRecord[bytes, bytes]]) -> None:
        for record in records:
            named = dict(record.headers)
            future = self._refused.get(named.get("rejected-origin", b"").decode("utf-8", "replace"))
            if future is not None and not future.done():
                future.set_result(named.get("rejected-reason", b"").decode("utf-8", "replace"))

    async def _forget_old(self) -> None:
        horizon_ms = clock.now_ms() - self._settings.results_days * DAY_MS
        while await self._in_writer(lambda: self._views.forget_before(horizon_ms)):
            pass

    async def _in_writer(self, call: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, call)
