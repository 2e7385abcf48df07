"""What the calls of a gateway share: its views, its way into the log, and its rules."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.structs import RecordMetadata
from pydantic import TypeAdapter

from handlers.gateway.follower import Follower
from handlers.gateway.problems import Kind, Refusal
from handlers.gateway.retries import Retries
from handlers.gateway.views import Views
from schemas import topics
from schemas.changes import Change
from schemas.endpoints import EndpointRecord, State
from schemas.events import Event
from schemas.settings import GatewaySettings
from streams.core import lifecycle, outputs, partitioning, sealing
from streams.core.bucket import Bucket
from streams.core.reading import Unreadable
from streams.core.registering import Limits
from streams.core.sealing import Keyring
from streams.erasure import erasing
from streams.erasure.view import DataKeys, NotReady
from streams.lane import clock, private
from streams.lane.bounded import within
from streams.lane.health import KAFKA_SILENCE_S, Health
from streams.lane.log import Log
from streams.past.endpoints import PastEndpoints
from streams.past.events import PastEvents

logger = logging.getLogger(__name__)

SEND_TIMEOUT_S = 6.0
RETRY_AFTER_S = 5
LOCKS = 4_096
MAX_BUCKETS = 100_000
#: Of an event that the log does not have yet: later than anything in it.
_NOT_YET_MS = 2**62

_CHANGES: TypeAdapter[Change] = TypeAdapter(Change)


_T = TypeVar("_T")
#: Values and headers of records.
Records = Sequence[tuple[bytes, Sequence[tuple[str, bytes]]]]
#: Partition and offset.
Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Past:
    """What can be asked of the log."""

    events: PastEvents
    endpoints: PastEndpoints


class Context:
    """One gateway. `follower` and `producer` are there once Kafka has answered."""

    def __init__(self, settings: GatewaySettings, views: Views, health: Health) -> None:
        self.settings = settings
        self.ring = Keyring(settings.keys, bound_only=True)
        self.follower: Follower | None = None
        self.producer: AIOKafkaProducer | None = None
        self.retries = Retries()
        self._past: Past | None = None
        self._keys: DataKeys | None = None
        self._log: Log | None = None
        self._later: set[asyncio.Task[None]] = set()
        self._erasing = asyncio.Lock()
        self._limits = Limits(settings.allow_http, settings.allowed_networks, settings.default_verification, self.ring)
        self._views = views
        self._health = health
        # One write of an endpoint at a time; that two endpoints now and then share a lock only makes one wait.
        self._writing = [asyncio.Lock() for _ in range(LOCKS)]

    def connect(self, producer: AIOKafkaProducer, follower: Follower, log: Log, keys: DataKeys) -> None:
        """Kafka has answered."""
        self.producer, self.follower, self._log, self._keys = producer, follower, log, keys
        self._past = Past(PastEvents(self.settings, log, keys), PastEndpoints(self.settings, log, self._limits))

    def disconnect(self) -> None:
        """Kafka is away."""
        self.producer = self._past = self._keys = self._log = None

    @property
    def past(self) -> Past:
        """What the log says of times gone by. Raises `Refusal` while Kafka is away."""
        if self._past is None:
            raise Refusal(Kind.UNAVAILABLE, "Kafka does not answer", retry_after_s=RETRY_AFTER_S)
        return self._past

    async def views(self, call: Any, *words: Any) -> Any:
        """What a method of `Views` returns. Raises `Refusal` while the views are being made for the first time."""

        def ask() -> Any:
            if not self._views.is_whole():
                raise Refusal(Kind.UNAVAILABLE, "the views are being made from the log", retry_after_s=RETRY_AFTER_S)
            return call(self._views, *words)

        return await asyncio.to_thread(ask)

    async def find(self, tenant: str, endpoint_id: str) -> EndpointRecord | None:
        """The endpoint's record, also where it is gone."""
        value = await self.views(Views.endpoint, tenant, endpoint_id)
        return EndpointRecord.decode(value) if value is not None else None

    async def get(self, tenant: str, endpoint_id: str) -> EndpointRecord:
        """The endpoint's record. Raises `Refusal` where there is none, or none any more."""
        record = await self.find(tenant, endpoint_id)
        if record is None or record.current.state is State.GONE:
            raise Refusal(Kind.NOT_FOUND, f"there is no endpoint {endpoint_id}")
        return record

    async def change(self, tenant: str, endpoint_id: str, fields: dict[str, Any]) -> tuple[EndpointRecord | None, str]:
        """Have a change made; the endpoint's record with it, or None where that takes long, and the change's place.

        That is `<partition>-<offset>`. Raises `Refusal`.

        It is judged before it is written, by what the router will judge it by, so that a wrong one is not written.
        """
        async with self.writing(tenant, endpoint_id):
            return await self._change(tenant, endpoint_id, fields)

    def writing(self, tenant: str, name: str) -> asyncio.Lock:
        """What is held while an endpoint, or a source by its name in `sealing`, is judged and written."""
        return self._writing[hash((tenant, name)) % LOCKS]

    async def send(
        self, topic: str, key: str, value: bytes, headers: Sequence[tuple[str, bytes]] = ()
    ) -> RecordMetadata:
        """Append a record; returns when all in-sync replicas have it. Raises `Refusal` where that is not known."""
        (sent,) = await self.send_all(topic, key, [(value, headers)])
        return sent

    async def send_all(self, topic: str, key: str, records: Records) -> list[RecordMetadata]:
        """Append records in their order; see `send`. Where it refuses, some may have been written."""
        return await self._appended(topic, lambda producer, name: self._send(producer, name, key.encode(), records))

    async def send_together(self, topic: str, key: str, records: Records) -> list[Place]:
        """Append records as one batch of Kafka's, which is in the log whole or not at all; see `send`.

        Returns partition and offset of each. Refuses what is too large for one batch.
        """
        batch = private.record_batch(outputs.MAX_BYTES[topic])
        for value, headers in records:
            record: dict[str, Any] = {"key": key.encode(), "value": value, "headers": list(headers), "timestamp": None}
            if batch.append(**record) is None:
                raise Refusal(Kind.TOO_LARGE, "together these are more than can be appended at once")
        batch.close()
        partition = partitioning.partition_of(key.encode(), self.settings.partitions)

        async def append(producer: AIOKafkaProducer, name: str) -> int:
            return int((await (await producer.send_batch(batch, name, partition=partition))).offset)

        first = await self._appended(topic, append)
        return [(partition, first + number) for number in range(len(records))]

    async def sealed(self, tenant: str, events: Sequence[Event]) -> list[Event]:
        """Events as they are to be written. Raises `Refusal`, also for one whose id was erased."""
        if not self.settings.seal_payloads:
            return list(events)
        if (keys := self._keys) is None:
            raise Refusal(Kind.UNAVAILABLE, "Kafka does not answer", retry_after_s=RETRY_AFTER_S)
        try:
            await keys.ready([tenant])
            made = [keys.resolved(event, _NOT_YET_MS, sure=True) for event in events]
        except (KafkaError, TimeoutError, OSError, NotReady) as problem:
            raise Refusal(Kind.UNAVAILABLE, "there is no key to seal with", retry_after_s=RETRY_AFTER_S) from problem
        for before, event in zip(events, made, strict=True):
            if isinstance(event, Unreadable):
                raise Refusal(Kind.CONFLICT, event.reason)
            if event.erased:
                raise Refusal(Kind.CONFLICT, f"the event {before.event_id} was erased; its id is not used again")
        return [event for event in made if isinstance(event, Event)]

    async def erase(self, tenant: str, event_id: str | None) -> int:
        """Erase an event, or all data of the tenant; how many keys that took. Raises `NotErased` and `Refusal`."""
        keys, log = self._keys, self._log
        if keys is None or log is None:
            raise Refusal(Kind.UNAVAILABLE, "Kafka does not answer", retry_after_s=RETRY_AFTER_S)
        async with self._erasing:  # two at a time would fence each other
            if event_id is None:
                done = await erasing.erase_tenant(self.settings, log, tenant)
            else:
                done = await erasing.erase_events(self.settings, log, tenant, [event_id])
        try:
            await keys.reach(tenant)
        except (KafkaError, TimeoutError, OSError) as problem:
            raise Refusal(Kind.UNAVAILABLE, "it is erased, but not seen here yet") from problem
        task = asyncio.get_running_loop().create_task(erasing.forget(self.settings, tenant))
        self._later.add(task)
        task.add_done_callback(self._later.discard)
        return done.keys

    async def _appended(self, topic: str, append: Callable[[AIOKafkaProducer, str], Coroutine[Any, Any, _T]]) -> _T:
        """What `append` returns, which is given the producer and the topic's full name. Raises `Refusal`."""
        away = Refusal(
            Kind.UNAVAILABLE, "Kafka does not answer; nothing is known to be written", retry_after_s=RETRY_AFTER_S
        )
        if self.producer is None or self._health.kafka_silent_s > KAFKA_SILENCE_S:
            raise away
        name = self.settings.topic(topic)
        try:
            sent = await within(SEND_TIMEOUT_S, append(self.producer, name))
        except (MessageSizeTooLargeError, RecordListTooLargeError):
            raise Refusal(Kind.TOO_LARGE, "this is more than its topic takes at once") from None
        except (TimeoutError, KafkaError, OSError) as problem:
            logger.warning("gateway.unsent topic=%s reason=%s", name, type(problem).__name__)
            raise away from problem
        self._health.kafka_answered()
        return sent

    async def _send(
        self,
        producer: AIOKafkaProducer,
        topic: str,
        key: bytes,
        records: Records,
    ) -> list[RecordMetadata]:
        sending = [await producer.send(topic, value, key=key, headers=list(headers)) for value, headers in records]
        return list(await asyncio.gather(*sending))

    async def _change(self, tenant: str, endpoint_id: str, fields: dict[str, Any]) -> tuple[EndpointRecord | None, str]:
        change = _CHANGES.validate_python({**fields, "endpoint_id": endpoint_id}, strict=False)
        before = await self.find(tenant, endpoint_id)
        self._judge(before, change, tenant)
        change = sealing.seal_secrets(change, self.ring, tenant, endpoint_id)
        value = change.model_dump_json(exclude_none=True).encode()
        if len(value) > MAX_CHANGE_BYTES:
            raise Refusal(Kind.TOO_LARGE, f"the change would have {len(value)} bytes, the topic takes less")
        sent = await self.send(topics.SUBSCRIPTIONS, tenant, value)
        place = f"{sent.partition}-{sent.offset}"
        assert self.follower is not None
        try:
            wait_s = self.settings.write_wait_ms / 1000
            reason = await self.follower.wait(tenant, endpoint_id, (sent.partition, sent.offset), wait_s)
        except TimeoutError:
            return None, place
        if reason is not None:
            self._judge(await self.find(tenant, endpoint_id), change, tenant)
            raise Refusal(Kind.CONFLICT, reason)
        return await self.find(tenant, endpoint_id), place

    def _judge(self, before: EndpointRecord | None, change: Change, tenant: str) -> None:
        after = lifecycle.apply(
            before,
            change,
            tenant=tenant,
            partition=before.partition if before is not None else 0,
            offset=before.last_offset + 1 if before is not None else 0,
            at_ms=clock.now_ms(),
            limits=self._limits,
        )
        if isinstance(after, lifecycle.Refused):
            raise Refusal(KINDS[after.kind], after.reason)


#: What a refused change is to its caller.
KINDS = {
    "invalid": Kind.INVALID,
    "missing": Kind.NOT_FOUND,
    "outdated": Kind.OUTDATED,
    "full": Kind.CONFLICT,
}
#: Well below what `subscriptions` takes, for Kafka's own share.
MAX_CHANGE_BYTES = 1_000_000


class Rate:
    """A token bucket for each tenant."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._buckets: dict[str, Bucket] = {}

    def take(self, tenant: str) -> None:
        """One request more. Raises `Refusal` where that is one too many."""
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.clear()
        bucket = self._buckets.setdefault(tenant, Bucket())
        if bucket.wait_s(self._per_s, time.monotonic()) > 0:
            raise Refusal(Kind.TOO_MANY, f"more than {self._per_s:g} requests a second", retry_after_s=1)
        bucket.spend()
