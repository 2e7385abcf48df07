"""What a process does with data keys: it follows them, makes those that are missing, and opens and seals with them.

Nothing is followed until something is asked for: where nothing was ever sealed, there is no cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import Collection, Coroutine, Sequence
from dataclasses import replace

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord, RecordMetadata, TopicPartition

from schemas import topics
from schemas.events import Event, Sealed
from schemas.settings import ReachSettings
from streams.core import data_keys, partitioning, puncturing
from streams.core.data_keys import Changed
from streams.core.outputs import Output, Source
from streams.core.reading import Unreadable
from streams.core.sealing import CannotOpen, Keyring
from streams.erasure.held import HeldKeys
from streams.lane import clock, connections
from streams.lane.bounded import within
from streams.lane.ends import TOGETHER_S
from streams.lane.follower import Follower
from streams.lane.log import Log
from streams.lane.sources import source_of

logger = logging.getLogger(__name__)

#: Kafka that has not answered by then is away.
REACH_S = 15.0
SEND_S = 10.0
AGAIN_S = 1.0
KEY_ID_BYTES = 9


class NotReady(Exception):
    """What is asked for needs a look into `keys` first: see `DataKeys.ready`."""


class Locked(NotReady):
    """The ring does not open a key that is needed, in one line; another ring may."""


class DataKeys:
    """Follows `keys`. `seals`: what is read in the clear is sealed before it is written."""

    def __init__(self, settings: ReachSettings, log: Log, *, seals: bool = False) -> None:
        self.seals = seals
        self._settings = settings
        self._log = log
        self._ring = Keyring(settings.keys)
        self._held = HeldKeys(self._ring)
        self._places = [TopicPartition(settings.topic(topics.KEYS), number) for number in range(settings.partitions)]
        self._positions: dict[TopicPartition, int] = {}
        self._moved = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting = asyncio.Lock()
        self._making = asyncio.Lock()
        self._follower: Follower | None = None
        self._producer: AIOKafkaProducer | None = None

    @property
    def following(self) -> bool:
        """True once something was asked for."""
        return self._follower is not None

    async def stop(self) -> None:
        """Disconnect, and forget."""
        follower, self._follower = self._follower, None
        if follower is not None:
            await follower.stop()
        producer, self._producer = self._producer, None
        await connections.disconnect(producer)
        self._held.forget()

    async def ready(self, tenants: Collection[str]) -> None:
        """Know everything about these tenants that is in `keys` by now, and have a key for each that is to be sealed.

        A key is on all in-sync replicas before anything is sealed with it. Raises TimeoutError or aiokafka's errors
        where Kafka does not answer.
        """
        partitions = {self._partition_of(tenant) for tenant in tenants}
        await asyncio.gather(*(self._reach(self._places[number]) for number in partitions))
        if self.seals and any(self._held.sealing(tenant) is None for tenant in tenants):
            async with self._making:
                await self._make([tenant for tenant in dict.fromkeys(tenants) if self._held.sealing(tenant) is None])

    async def reach(self, tenant: str) -> None:
        """Know everything about a tenant that is in `keys` by now. Raises as `ready`."""
        await self._reach(self._places[self._partition_of(tenant)])

    def opened(self, event: Event, at_ms: int, *, sure: bool = True) -> Event | Unreadable:
        """The event with its data, or as erased. `at_ms` is its time in the log.

        `sure`: `ready` has been awaited since the event was read. Raises `NotReady` where that has to be done, and
        `Locked`. Unreadable is what was not sealed for this event.
        """
        if event.sealed is None:
            erased = self.following and self._held.is_erased(event.tenant, event.event_id, at_ms)
            return replace(event, data=b"", erased=True) if erased else event
        try:
            data = self._unsealed(event.tenant, event.event_id, event.sealed, sure=sure)
        except Changed as problem:
            return Unreadable(str(problem))
        except CannotOpen as problem:
            raise Locked(str(problem)) from problem
        return replace(event, erased=True) if data is None else replace(event, data=data)

    def sealed(self, event: Event) -> Event:
        """The event as it is to be written; one that was erased is said to be. Raises `NotReady`."""
        if event.sealed is not None or event.erased or not self.seals:
            return event
        found = self._held.sealing(event.tenant)
        if found is None:
            raise NotReady(event.tenant)
        key_id, key = found
        data = data_keys.seal(key, event.tenant, key_id, event.event_id, event.data)
        if data is None:
            return replace(event, data=b"", erased=True)
        return replace(event, sealed=Sealed(key_id, data))

    def resolved(self, event: Event, at_ms: int, *, sure: bool) -> Event | Unreadable:
        """`opened`, then `sealed`: the event as the router judges and writes it."""
        event_or_not = self.opened(event, at_ms, sure=sure)
        return event_or_not if isinstance(event_or_not, Unreadable) else self.sealed(event_or_not)

    async def data_of(self, tenant: str, event_id: str, sealed: Sealed) -> bytes | None:
        """The data; None where it was erased. Raises `CannotOpen`, and what `ready` raises."""
        try:
            return self._unsealed(tenant, event_id, sealed, sure=False)
        except NotReady:
            await self.reach(tenant)
            return self._unsealed(tenant, event_id, sealed, sure=True)

    def _unsealed(self, tenant: str, event_id: str, sealed: Sealed, *, sure: bool) -> bytes | None:
        key = self._held.key(tenant, sealed.key_id)
        if key is None:
            if not sure or not self.following:
                raise NotReady(tenant)
            return None
        return data_keys.unseal(key, tenant, sealed.key_id, event_id, sealed.data)

    async def _reach(self, place: TopicPartition) -> None:
        """Return when everything that is in the partition by now is known, open transactions included."""
        await self._start()
        end = await self._log.high_watermark(place)
        if self._positions.get(place, 0) > end:
            self.out_of_range(place)
        async with self._moved, asyncio.timeout(REACH_S):
            await self._moved.wait_for(lambda: self._positions.get(place, -1) >= end)

    async def _start(self) -> None:
        async with self._starting:
            if self._follower is not None:
                return
            firsts: dict[TopicPartition, int] = {}
            with contextlib.suppress(TimeoutError, KafkaError):
                firsts = await within(TOGETHER_S, self._log.earliest(self._places))
            follower = Follower(self._settings)
            try:
                await follower.start()
            except BaseException:
                await follower.stop()
                raise
            self._positions = dict(firsts)
            follower.follow(firsts, self)
            self._follower = follower
            for place in self._places:
                if place not in firsts:  # one has no leader, and the others' tenants are not to wait for it
                    self._soon(self._again(place))

    def fed(self, place: TopicPartition, records: Sequence[ConsumerRecord[bytes, bytes]], position: int) -> None:
        """See `Subscriber.fed`."""
        for record in records:
            self._held.put(source_of(record))
        self._positions[place] = position
        self._soon(self._tell())

    def wants(self, place: TopicPartition) -> bool:
        """See `Subscriber.wants`."""
        return True

    def out_of_range(self, place: TopicPartition) -> None:
        """See `Subscriber.out_of_range`: the topic was made anew; what it does not have any more is dropped."""
        logger.warning("keys.again partition=%s-%d reason=it was made anew", place.topic, place.partition)
        self._held.forget(lambda tenant: self._partition_of(tenant) == place.partition)
        self._positions[place] = 0
        self._soon(self._again(place))

    async def _again(self, place: TopicPartition) -> None:
        while self._follower is not None:
            try:
                firsts = await self._log.earliest([place])
            except (KafkaError, TimeoutError):
                await asyncio.sleep(AGAIN_S)
                continue
            if self._follower is not None:
                self._positions[place] = firsts[place]
                self._follower.follow(firsts, self)
                await self._tell()
            return

    def _soon(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self) -> None:
        async with self._moved:
            self._moved.notify_all()

    async def _make(self, tenants: Sequence[str]) -> None:
        """A key for each; what is acknowledged counts at once, unless the log has said more of it since."""
        if not tenants:
            return
        producer = await self._connected()
        made: list[Output] = []
        for tenant in tenants:
            key_id = secrets.token_urlsafe(KEY_ID_BYTES)
            key = puncturing.whole(os.urandom(puncturing.NODE_BYTES))
            made.append(data_keys.record(self._ring, tenant, key_id, key, self._partition_of(tenant)))
        for output, sent in zip(made, await within(SEND_S, self._send(producer, made)), strict=True):
            place = self._places[sent.partition]
            if self._positions.get(place, 0) <= sent.offset:
                at_ms, headers = clock.now_ms(), list(output.headers)
                self._held.put(
                    Source(place.topic, sent.partition, sent.offset, at_ms, output.key, output.value, headers)
                )
        logger.info("keys.made count=%d", len(made))

    async def _send(self, producer: AIOKafkaProducer, outputs: Sequence[Output]) -> list[RecordMetadata]:
        topic = self._settings.topic(topics.KEYS)
        sending = [
            await producer.send(topic, one.value, key=one.key, partition=one.partition, headers=list(one.headers))
            for one in outputs
        ]
        return list(await asyncio.gather(*sending))

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                **connections.security(self._settings),
                # A key that was written twice, or is not known to be written, is one that nothing is sealed with.
                enable_idempotence=False,
                acks="all",
                request_timeout_ms=int(SEND_S * 1000) - 1_000,
                retry_backoff_ms=50,
            )
            try:
                await within(SEND_S, producer.start())
            except BaseException:
                await connections.disconnect(producer)
                raise
            self._producer = producer
        return self._producer

    def _partition_of(self, tenant: str) -> int:
        return partitioning.partition_of(tenant.encode(), self._settings.partitions)
