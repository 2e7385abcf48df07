"""The delayer against a real Kafka: nothing early, little late, nothing twice, and memory that does not grow."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import ConsumerRecord

from schemas import topics
from schemas.settings import DelayerSettings
from streams import provisioning
from streams.delayer import service
from streams.delayer.work import LOW_WATER, DelayerWork
from streams.lane.group import LaneGroup
from streams.lane.health import Health

PENDING = 5_000


@pytest.fixture
async def settings(kafka: str, prefix: str) -> DelayerSettings:
    made = DelayerSettings(kafka=kafka, prefix=prefix, partitions=2)
    await provisioning.provision(made)
    return made


@contextlib.asynccontextmanager
async def delaying(settings: DelayerSettings) -> AsyncIterator[list[DelayerWork]]:
    works: list[DelayerWork] = []

    def make(_: int) -> DelayerWork:
        works.append(DelayerWork(settings))
        return works[-1]

    health = Health()
    names = [topics.RETRIES + name for name in settings.tiers_ms]
    group = LaneGroup(
        settings,
        service.SERVICE,
        names,
        make,
        health,
        fetch_bytes=service.FETCH_BYTES,
        poll_records=service.POLL_RECORDS,
    )
    stop = asyncio.Event()
    running = asyncio.create_task(group.run(stop))
    try:
        while health.reasons() and not running.done():
            await asyncio.sleep(0.01)
        yield works
    finally:
        stop.set()
        await running


async def put(settings: DelayerSettings, tier: str, *waits_ms: int) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka, acks="all") as producer:
        now_ms = int(time.time() * 1000)
        sent = [
            await producer.send(
                settings.topic(topics.RETRIES + tier),
                str(number).encode(),
                key=f"t/{number}".encode(),
                headers=[("due-at-ms", str(now_ms + wait_ms).encode()), ("x", b"kept")],
            )
            for number, wait_ms in enumerate(waits_ms)
        ]
        await asyncio.gather(*sent)


async def collect(settings: DelayerSettings, name: str, count: int, extra_s: float = 1.0) -> list[ConsumerRecord]:  # type: ignore[type-arg]
    """The records of a topic: waits for `count`, and then for what should not come."""
    consumer = AIOKafkaConsumer(
        settings.topic(name),
        bootstrap_servers=settings.kafka,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )
    await consumer.start()
    got: list[ConsumerRecord] = []  # type: ignore[type-arg]
    until = time.monotonic() + 40
    while time.monotonic() < until:
        for records in (await consumer.getmany(timeout_ms=100)).values():
            got += records
        if len(got) >= count:
            until = min(until, time.monotonic() + extra_s)
    await consumer.stop()
    return got


async def test_nothing_is_early_and_little_is_late(settings: DelayerSettings) -> None:
    waits = [1_000 + number * 13 for number in range(200)]
    async with delaying(settings):
        await put(settings, "1s", *waits)
        due = await collect(settings, topics.DELIVERIES_DUE, len(waits))
    assert sorted(int(record.value) for record in due) == list(range(len(waits)))
    for record in due:
        headers = dict(record.headers)
        late_ms = record.timestamp - int(headers["due-at-ms"])
        assert headers["x"] == b"kept"
        assert 0 <= late_ms <= 1_000 + waits[int(record.value)] // 50, late_ms


async def test_what_waits_long_is_not_held_in_memory(settings: DelayerSettings) -> None:
    await put(settings, "1h", *[3_600_000] * PENDING)
    async with delaying(settings) as works:
        await put(settings, "1s", 1_000)
        assert len(await collect(settings, topics.DELIVERIES_DUE, 1, 3.0)) == 1
        held = max(work.held() for work in works)
        assert LOW_WATER <= held <= LOW_WATER + service.POLL_RECORDS


async def test_a_lane_that_is_opened_again_moves_each_record_once(settings: DelayerSettings) -> None:
    waits = [1_500 + number * 20 for number in range(150)]
    await put(settings, "1s", *waits)
    for _ in range(3):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.7), delaying(settings):
                await asyncio.Event().wait()
    async with delaying(settings):
        due = await collect(settings, topics.DELIVERIES_DUE, len(waits), 2.0)
    assert sorted(int(record.value) for record in due) == list(range(len(waits)))


async def test_a_record_that_does_not_say_when_it_is_due_is_rejected(settings: DelayerSettings) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka) as producer:
        await producer.send_and_wait(settings.topic("retries.5s"), b"v", key=b"t/e", headers=[("due-at-ms", b"soon")])
    async with delaying(settings):
        got = await collect(settings, topics.REJECTED, 1, 0.2)
    assert [record.value for record in got] == [b"v"]
    assert b"due-at-ms" in dict(got[0].headers)["rejected-reason"]
