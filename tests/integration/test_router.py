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
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import ConsumerRecord, TopicPartition

from schemas import topics
from schemas.settings import RouterSettings
from streams import provisioning
from streams.core import versions
from streams.erasure.view import DataKeys
from streams.lane import connections
from streams.lane import lane as lane_module
from streams.lane.follower import Follower
from streams.lane.health import Health
from streams.lane.log import Log
from streams.lane.outputs import Batch
from streams.lane.transactor import Transactor
from streams.lane.writer import Broken
from streams.router import judge, pending, work
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
async def running(settings: RouterSettings, log: Log) -> AsyncIterator[Lanes]:
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
    """What can be read in a topic by now."""
    place = TopicPartition(settings.topic(name), 0)
    end = (await log.stable_ends([place]))[place]
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


async def ended(log: Log, settings: RouterSettings) -> None:
    """Return when no transaction on events is open: its end is written a moment after it is told."""
    place = TopicPartition(settings.topic(topics.EVENTS), 0)
    async with asyncio.timeout(10):
        while (await log.stable_ends([place]))[place] < await log.high_watermark(place):
            await asyncio.sleep(0.02)


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
    async with router(settings, log) as lane:
        await settle(lane, log, settings)
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
    async with router(settings, log) as lane:
        await settle(lane, log, settings)
    deliveries = await written(log, settings, topics.DELIVERIES)
    assert owed(deliveries, "large") == dict.fromkeys(endpoints, 1)
    assert owed(deliveries, "later") == dict.fromkeys(endpoints, 1)
    assert max(sizes) < 300_000 + 2 * 101_000
    order = [(dict(record.headers)["event-id"]) for record in deliveries]
    assert order == sorted(order)


async def toggle(producer: AIOKafkaProducer, settings: RouterSettings, times: int) -> None:
    """Pause and resume `e` so often; it is active at the end."""
    sending = []
    for number in range(2 * times):
        kind = "resumed" if number % 2 else "paused"
        value = json.dumps({"type": f"endpoint.{kind}", "endpoint_id": "e"}).encode()
        sending.append(await producer.send(settings.topic(topics.SUBSCRIPTIONS), value, key=TENANT, partition=0))
        if number % 20 == 0:
            await asyncio.sleep(0.002)  # not all in one millisecond
    await asyncio.gather(*sending)


async def history(log: Log, settings: RouterSettings) -> int:
    """How many older versions of `e` are kept."""
    found = [record.value for record in await written(log, settings, topics.ENDPOINTS) if record.key == b"t/e"]
    return len(json.loads(found[-1] or b"")["history"])


@pytest.fixture
def one_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """One broker has one clock."""
    monkeypatch.setattr(pending, "SKEW_MS", 0)


@pytest.mark.usefixtures("one_clock")
@pytest.mark.parametrize("events", [0, 1])
async def test_where_no_events_come_changes_pile_up_no_history(
    settings: RouterSettings, log: Log, producer: AIOKafkaProducer, events: int
) -> None:
    async with router(settings, log) as lane:
        await register(producer, settings, "e")
        for number in range(events):
            await publish(producer, settings, f"before {number}", b"1")
        await settle(lane, log, settings)
        await toggle(producer, settings, 150)
        await settle(lane, log, settings)
        await toggle(producer, settings, 1)
        await settle(lane, log, settings)
    assert await history(log, settings) <= versions.MAX_HISTORY


@pytest.mark.usefixtures("one_clock")
@pytest.mark.parametrize("again", [False, True])
async def test_an_event_that_cannot_be_read_yet_is_judged_by_what_was_when_it_came_however_much_changes_before_it_can(
    settings: RouterSettings, log: Log, again: bool, producer: AIOKafkaProducer
) -> None:
    transactional = connections.transactional_producer(settings, "a provider")
    await transactional.start()
    await register(producer, settings, "e")
    await publish(producer, settings, "before", b"1")
    async with router(settings, log) as lane:
        await settle(lane, log, settings)
        await asyncio.sleep(0.01)
        await transactional.begin_transaction()
        await publish(transactional, settings, "waits", b"2")
        await asyncio.sleep(0.01)
        if not again:
            await toggle(producer, settings, 150)
            await change(producer, settings, "paused", "e")
            await settle(lane, log, settings)
    async with router(settings, log) as lane:
        await settle(lane, log, settings)
        if again:
            await toggle(producer, settings, 150)
            await change(producer, settings, "paused", "e")
            await settle(lane, log, settings)
        await transactional.commit_transaction()
        await ended(log, settings)
        await settle(lane, log, settings)
    await transactional.stop()
    deliveries = await written(log, settings, topics.DELIVERIES)
    assert [owed(deliveries, name) for name in ("before", "waits")] == [{"e": 1}, {"e": 1}]


async def test_who_is_gone_is_not_swept_before_the_events_that_came_earlier_are_judged(
    settings: RouterSettings, log: Log, producer: AIOKafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "SWEEP_INTERVAL_S", 0.1)
    settings = settings.model_copy(update={"history_ms": 0})
    transactional = connections.transactional_producer(settings, "a provider")
    await transactional.start()
    await register(producer, settings, "e")
    await publish(producer, settings, "before", b"1")
    async with router(settings, log) as lane:
        await settle(lane, log, settings)
        await asyncio.sleep(0.01)
        await transactional.begin_transaction()
        await publish(transactional, settings, "waits", b"2")
        await asyncio.sleep(0.01)
        await change(producer, settings, "unregistered", "e")
        await settle(lane, log, settings)
        await asyncio.sleep(0.5)  # a few sweeps
        assert [one.value for one in await written(log, settings, topics.ENDPOINTS)][-1] is not None
        await transactional.commit_transaction()
        async with asyncio.timeout(20):
            while (await written(log, settings, topics.ENDPOINTS))[-1].value is not None:
                await asyncio.sleep(0.05)
        await settle(lane, log, settings)
    await transactional.stop()
    assert owed(await written(log, settings, topics.DELIVERIES), "waits") == {"e": 1}


@pytest.mark.parametrize("cause", ["out of range", "asleep"])
async def test_a_lane_that_waits_for_a_change_that_will_not_come_is_opened_again(
    settings: RouterSettings, log: Log, producer: AIOKafkaProducer, monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    opened = 0
    open_work, wants = RouterWork.opened, RouterWork.wants

    async def opening(self: RouterWork, *told: Any, fresh: bool) -> Any:
        nonlocal opened
        opened += 1
        return await open_work(self, *told, fresh=fresh)

    monkeypatch.setattr(RouterWork, "opened", opening)
    monkeypatch.setattr(lane_module, "FENCE_PAUSE_S", 0.1)
    async with running(settings, log) as lanes:
        lane, router_work = lanes.open[0]
        await register(producer, settings, "e")
        await settle(router_work, log, settings)
        monkeypatch.setattr(RouterWork, "wants", lambda *_: False)
        await asyncio.sleep(0.3)  # the follower looks whether it is wanted
        await register(producer, settings, "f")
        await publish(producer, settings, "waits", b"1")
        async with asyncio.timeout(20):
            while not router_work._applied_moved._waiters:
                await asyncio.sleep(0.02)
        assert opened == 1
        if cause == "asleep":
            lane.doubt()
        else:
            place = TopicPartition(settings.topic(topics.SUBSCRIPTIONS), 0)
            admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
            await admin.start()
            await admin.delete_records({place: RecordsToDelete(await log.high_watermark(place))})
            await admin.close()
        monkeypatch.setattr(RouterWork, "wants", wants)
        await settle(router_work, log, settings)
    assert opened == 2
    owing = {"e": 1} if cause == "out of range" else {"e": 1, "f": 1}
    assert owed(await written(log, settings, topics.DELIVERIES), "waits") == owing
