"""The router's lanes against a real Kafka: fan-outs larger than a transaction, and waits that end."""

import asyncio
import base64
import os
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition
from pydantic import SecretStr

from schemas import topics
from schemas.events import SEALED_HEADER
from schemas.settings import RouterSettings
from streams.lane import lane as lane_module
from streams.lane.log import Log
from streams.lane.outputs import Batch
from streams.lane.transactor import Transactor
from streams.lane.writer import Broken
from streams.router import judge, opening
from streams.router.work import RouterWork
from tests.integration.routing import TENANT, change, owed, publish, register, router, running, settle, written


async def test_a_fan_out_larger_than_a_transaction_is_made_in_parts_and_whatever_breaks_each_delivery_is_there_once(
    settings: RouterSettings, log: Log, producer: AIOKafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "MAX_OUTPUT_BYTES", 300_000)
    monkeypatch.setattr(judge, "MIN_OUTPUT_BYTES", 300_000)
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


async def test_a_kafka_that_takes_little_at_a_time_gets_little_at_a_time(
    settings: RouterSettings, log: Log, producer: AIOKafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_module, "REOPEN_PAUSE_S", 0.1)
    commit, slow = Transactor.commit, []

    async def hasty(self: Transactor, batch: Batch) -> None:
        if sum(output.size for output in batch.outputs) > 400_000:
            slow.append(batch)
            raise Broken("it took too long")
        await commit(self, batch)

    monkeypatch.setattr(Transactor, "commit", hasty)
    endpoints = [f"e{number:02}" for number in range(20)]
    await register(producer, settings, *endpoints)
    await publish(producer, settings, "large", os.urandom(100_000))
    async with router(settings, log) as lane:
        await settle(lane, log, settings)
    assert owed(await written(log, settings, topics.DELIVERIES), "large") == dict.fromkeys(endpoints, 1)
    assert 2 <= len(slow) < 12


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
        now = asyncio.get_running_loop().time()
        lane.stalled_s(now)
        assert lane.stalled_s(now + 100) >= 100  # though it has taken all that it knows of
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


async def test_a_router_without_its_key_stands_still_and_says_so_and_is_not_taken_for_one_that_hangs(
    settings: RouterSettings,
    log: Log,
    producer: AIOKafkaProducer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(opening, "LOCKED_S", 0.1)
    rings = [SecretStr(f"{name}:{base64.b64encode(bytes(range(32))).decode()}") for name in ("k", "other")]
    with_key, without = (settings.model_copy(update={"seal_keys": ring, "seal_payloads": True}) for ring in rings)
    await register(producer, settings, "e")
    await publish(producer, settings, "first", b"1")
    async with router(with_key, log) as lane:
        await settle(lane, log, settings)
    sealed = (await written(log, settings, topics.DELIVERIES))[0]
    headers = [("ce_id", b"sealed"), ("ce_type", b"a.b"), ("ce_source", b"/s"), ("ce_specversion", b"1.0")]
    key_id = [one for one in sealed.headers if one[0] == SEALED_HEADER]
    where = settings.topic(topics.EVENTS)
    await producer.send_and_wait(where, sealed.value, key=TENANT, partition=0, headers=[*headers, *key_id])
    async with running(without, log) as lanes:
        lane, still_s = lanes.open[0][0], 0.0
        until = asyncio.get_running_loop().time() + 6
        while (now := asyncio.get_running_loop().time()) < until:
            still_s = max(still_s, lane.stalled_s(now))
            await asyncio.sleep(0.05)
        assert lane.open
        assert 0 < still_s < 4
        assert "which is not in HOOKFOLD_SEAL_KEYS" in caplog.text
    assert len(await written(log, settings, topics.DELIVERIES)) == 1
    assert await written(log, settings, topics.REJECTED) == []
