"""The router's lanes against a real Kafka, without Faust's hints: they look for what there is by themselves."""

import asyncio
import contextlib
import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord, TopicPartition

from schemas import topics
from schemas.settings import RouterSettings
from streams import provisioning
from streams.erasure.view import DataKeys
from streams.lane.follower import Follower
from streams.lane.health import Health
from streams.lane.log import Log
from streams.lane.outputs import Batch
from streams.lane.transactor import Transactor
from streams.lane.writer import Broken
from streams.router import judge
from streams.router.lanes import Lanes
from streams.router.work import RouterWork

TENANT = b"t"


@pytest.fixture
async def settings(kafka: str, prefix: str) -> RouterSettings:
    made = RouterSettings(kafka=kafka, prefix=prefix, partitions=1, allow_http=True, allow_networks="127.0.0.0/8")
    await provisioning.provision(made)
    return made


@pytest.fixture
async def log(settings: RouterSettings) -> AsyncIterator[Log]:
    reader = Log(settings)
    await reader.start()
    yield reader
    await reader.stop()


@pytest.fixture
async def producer(settings: RouterSettings) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka, max_request_size=9 * topics.MIB) as made:
        yield made


@contextlib.asynccontextmanager
async def router(settings: RouterSettings, log: Log) -> AsyncIterator[RouterWork]:
    """The one lane of a router, from its opening on."""
    follower, keys = Follower(settings), DataKeys(settings, log)
    await follower.start()
    lanes = Lanes(settings, Health(), log, follower, keys)

    async def tick() -> None:
        while True:
            lanes.tick(asyncio.get_running_loop().time())
            await asyncio.sleep(0.05)

    ticking = asyncio.create_task(tick())
    try:
        await lanes.own([0])
        yield lanes.open[0][1]
    finally:
        await lanes.close([0])
        ticking.cancel()
        await keys.stop()
        await follower.stop()


async def change(producer: AIOKafkaProducer, settings: RouterSettings, kind: str, endpoint: str, **fields: Any) -> int:
    """Produce a change; its time in the log."""
    value = json.dumps({"type": f"endpoint.{kind}", "endpoint_id": endpoint, **fields}).encode()
    sent = await producer.send_and_wait(settings.topic(topics.SUBSCRIPTIONS), value, key=TENANT, partition=0)
    return int(sent.timestamp)


async def register(producer: AIOKafkaProducer, settings: RouterSettings, *endpoints: str) -> None:
    """Register endpoints for all events, active at once."""
    given = {"url": "http://127.0.0.1:9/", "subscriptions": [{"event_types": ["**"]}], "secrets": []}
    for endpoint in endpoints:
        await change(producer, settings, "registered", endpoint, verification="none", **given)


async def publish(producer: AIOKafkaProducer, settings: RouterSettings, event_id: str, data: bytes) -> None:
    """Produce an event."""
    headers = [("ce_id", event_id.encode()), ("ce_type", b"a.b"), ("ce_source", b"/s"), ("ce_specversion", b"1.0")]
    await producer.send_and_wait(settings.topic(topics.EVENTS), data, key=TENANT, partition=0, headers=headers)


async def written(log: Log, settings: RouterSettings, name: str) -> list[ConsumerRecord[bytes, bytes]]:
    """What can be read in a topic by now."""
    place = TopicPartition(settings.topic(name), 0)
    end = (await log.stable_ends([place]))[place]
    return [record async for records in log.read(place, 0, end) for record in records]


def owed(records: list[ConsumerRecord[bytes, bytes]], event_id: str) -> Counter[str]:
    """How many deliveries of an event each endpoint has."""
    told = [dict(record.headers) for record in records]
    return Counter(one["endpoint-id"].decode() for one in told if one["event-id"] == event_id.encode())


async def settle(work: RouterWork, log: Log, settings: RouterSettings) -> None:
    """Return when the router has committed all there is."""
    places = [TopicPartition(settings.topic(name), 0) for name in (topics.EVENTS, topics.SUBSCRIPTIONS)]
    async with asyncio.timeout(60):
        while True:
            ends = await log.stable_ends(places)
            if [work.committed_events, work.committed_changes] == [ends[place] for place in places]:
                return
            await asyncio.sleep(0.05)


async def test_a_fan_out_larger_than_a_transaction_is_made_in_parts_and_whatever_breaks_each_delivery_is_there_once(
    settings: RouterSettings, log: Log, producer: AIOKafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "MAX_OUTPUT_BYTES", 300_000)
    endpoints = [f"e{number:02}" for number in range(20)]
    commit, sizes = Transactor.commit, list[int]()
    broken = asyncio.Event()

    async def breaking(self: Transactor, batch: Batch) -> None:
        """Every other part is not written, or written and not known to be; in the middle all is given up."""
        large = sum(output.size for output in batch.outputs if output.topic == topics.DELIVERIES)
        sizes.append(large)
        if large and len(sizes) % 4 == 1:
            raise Broken("not written")
        await commit(self, batch)
        if large and len(sizes) % 4 == 3:
            raise Broken("written")
        if large and len(sizes) >= 6:
            broken.set()
            await asyncio.sleep(60)

    await register(producer, settings, *endpoints)
    async with router(settings, log) as work:
        await settle(work, log, settings)
        monkeypatch.setattr(Transactor, "commit", breaking)
        await publish(producer, settings, "large", os.urandom(100_000))
        await publish(producer, settings, "later", b"1")
        async with asyncio.timeout(30):
            await broken.wait()
    monkeypatch.setattr(Transactor, "commit", commit)
    so_far = owed(await written(log, settings, topics.DELIVERIES), "large")
    assert 0 < len(so_far) < len(endpoints)
    # Who comes, goes or changes meanwhile was what it was when the event came.
    await register(producer, settings, "e00a", "e19a")
    await change(producer, settings, "unregistered", "e18")
    await change(producer, settings, "paused", "e19")
    await register(producer, settings, "e01")
    async with router(settings, log) as work:
        await settle(work, log, settings)
    deliveries = await written(log, settings, topics.DELIVERIES)
    assert owed(deliveries, "large") == dict.fromkeys(endpoints, 1)
    assert owed(deliveries, "later") == dict.fromkeys(endpoints, 1)
    assert max(sizes) < 300_000 + 2 * 101_000
    order = [(dict(record.headers)["event-id"]) for record in deliveries]
    assert order == sorted(order)
