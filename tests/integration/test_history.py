"""What is kept of endpoints' history, against a real Kafka: what an event can still ask for, and not much more."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer

from schemas import topics
from schemas.settings import RouterSettings
from streams.core import versions
from streams.lane import connections
from streams.lane.log import Log
from streams.router import pending, work
from streams.router.work import RouterWork
from tests.integration.routing import TENANT, change, ended, owed, publish, register, router, settle, written


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
async def late(settings: RouterSettings, producer: AIOKafkaProducer) -> AsyncIterator[AIOKafkaProducer]:
    """A provider that produces in transactions; there is an endpoint `e`, and an event `before` for it."""
    made = connections.transactional_producer(settings, "a provider")
    await made.start()
    await register(producer, settings, "e")
    await publish(producer, settings, "before", b"1")
    yield made
    await made.stop()


async def hold_back(late: AIOKafkaProducer, lane: RouterWork, log: Log, settings: RouterSettings) -> None:
    """Produce an event, `waits`, that cannot be read before the transaction ends."""
    await settle(lane, log, settings)
    await asyncio.sleep(0.01)
    await late.begin_transaction()
    await publish(late, settings, "waits", b"2")
    await asyncio.sleep(0.01)


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
    settings: RouterSettings, log: Log, again: bool, producer: AIOKafkaProducer, late: AIOKafkaProducer
) -> None:
    async with router(settings, log) as lane:
        await hold_back(late, lane, log, settings)
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
        await late.commit_transaction()
        await ended(log, settings, topics.EVENTS)
        await settle(lane, log, settings)
    deliveries = await written(log, settings, topics.DELIVERIES)
    assert [owed(deliveries, name) for name in ("before", "waits")] == [{"e": 1}, {"e": 1}]


async def test_who_is_gone_is_not_swept_before_the_events_that_came_earlier_are_judged(
    settings: RouterSettings,
    log: Log,
    producer: AIOKafkaProducer,
    late: AIOKafkaProducer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work, "SWEEP_INTERVAL_S", 0.1)
    settings = settings.model_copy(update={"history_ms": 0})
    async with router(settings, log) as lane:
        await hold_back(late, lane, log, settings)
        await change(producer, settings, "unregistered", "e")
        await settle(lane, log, settings)
        await asyncio.sleep(0.5)  # a few sweeps
        assert [one.value for one in await written(log, settings, topics.ENDPOINTS)][-1] is not None
        await late.commit_transaction()
        async with asyncio.timeout(20):
            while (await written(log, settings, topics.ENDPOINTS))[-1].value is not None:
                await asyncio.sleep(0.05)
        await settle(lane, log, settings)
    assert owed(await written(log, settings, topics.DELIVERIES), "waits") == {"e": 1}
