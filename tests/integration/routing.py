"""A router's lane against a real Kafka, without Faust's hints: it looks for what there is by itself."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord, TopicPartition

from schemas import topics
from schemas.settings import RouterSettings
from streams.erasure.view import DataKeys
from streams.lane.follower import Follower
from streams.lane.health import Health
from streams.lane.log import Log
from streams.router.lanes import Lanes
from streams.router.work import RouterWork

TENANT = b"t"


@contextlib.asynccontextmanager
async def running(settings: RouterSettings, log: Log) -> AsyncIterator[Lanes]:
    """The one lane of a router, from its opening on."""
    follower, keys = Follower(settings), DataKeys(settings, log, seals=settings.seal_payloads)
    await follower.start()
    lanes = Lanes(settings, Health(), log, follower, keys)

    async def tick() -> None:
        while True:
            lanes.tick(asyncio.get_running_loop().time())
            await asyncio.sleep(0.05)

    ticking = asyncio.create_task(tick())
    try:
        await lanes.own([0])
        yield lanes
    finally:
        await lanes.close([0])
        ticking.cancel()
        await keys.stop()
        await follower.stop()


@contextlib.asynccontextmanager
async def router(settings: RouterSettings, log: Log) -> AsyncIterator[RouterWork]:
    """What its lane does."""
    async with running(settings, log) as lanes:
        yield lanes.open[0][1]


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
    """What is in a topic by now, once no transaction on it is open."""
    end = await ended(log, settings, name)
    place = TopicPartition(settings.topic(name), 0)
    return [record async for records in log.read(place, 0, end) for record in records]


def owed(records: list[ConsumerRecord[bytes, bytes]], event_id: str) -> Counter[str]:
    """How many deliveries of an event each endpoint has."""
    told = [dict(record.headers) for record in records]
    return Counter(one["endpoint-id"].decode() for one in told if one["event-id"] == event_id.encode())


async def settle(lane: RouterWork, log: Log, settings: RouterSettings) -> None:
    """Return when the router has committed all there is."""
    places = [TopicPartition(settings.topic(name), 0) for name in (topics.EVENTS, topics.SUBSCRIPTIONS)]
    async with asyncio.timeout(60):
        while True:
            ends = await log.stable_ends(places)
            if [lane.committed_events, lane.committed_changes] == [ends[place] for place in places]:
                return
            await asyncio.sleep(0.05)


async def ended(log: Log, settings: RouterSettings, name: str) -> int:
    """The end of a topic, once no transaction on it is open: its end is written a moment after it is told."""
    place = TopicPartition(settings.topic(name), 0)
    async with asyncio.timeout(10):
        while (end := (await log.stable_ends([place]))[place]) < await log.high_watermark(place):
            await asyncio.sleep(0.02)
    return end
