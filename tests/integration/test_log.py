"""Looking things up in a real Kafka: a partition that nobody can say anything of holds up nobody else."""

import asyncio
import base64
import time
from collections.abc import Sequence

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord, TopicPartition
from pydantic import SecretStr

from schemas import topics
from schemas.events import Event
from schemas.settings import RouterSettings
from streams.core import partitioning
from streams.erasure.view import DataKeys, NotReady
from streams.lane import ends
from streams.lane import log as logs
from streams.lane.follower import Follower
from streams.lane.log import Log


def places(settings: RouterSettings) -> tuple[TopicPartition, TopicPartition]:
    """A partition, and one that is looked for as if it had no leader: with one broker, none can be without."""
    return TopicPartition(settings.topic(topics.EVENTS), 0), TopicPartition(settings.topic(topics.EVENTS), 99)


async def test_a_partition_without_a_leader_keeps_no_other_from_its_end(
    settings: RouterSettings, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ends, "REQUEST_TIMEOUT_S", 4.0)
    here, nowhere = places(settings)

    async def lost() -> None:
        with pytest.raises(TimeoutError):
            await log.high_watermark(nowhere)

    asking = [asyncio.create_task(lost())]
    await asyncio.sleep(0)
    began = time.monotonic()
    assert await log.high_watermark(here) == 0
    assert time.monotonic() - began < ends.TOGETHER_S + 1
    for _ in range(3):
        asking.append(asyncio.create_task(lost()))
        await asyncio.sleep(0.01)
        began = time.monotonic()
        assert await log.high_watermark(here) == 0
        assert time.monotonic() - began < ends.TOGETHER_S * 0.7
    await asyncio.gather(*asking)


async def test_what_is_read_of_a_partition_without_a_leader_holds_up_others_once_and_not_for_long(
    settings: RouterSettings, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "READY_S", 3.0)
    monkeypatch.setattr(logs, "REQUEST_TIMEOUT_S", 6.0)
    here, nowhere = places(settings)

    async def read(place: TopicPartition) -> None:
        async for _ in log.read(place, 0, 1 if place == nowhere else 0):
            pass

    for longest_s in (5.0, 2.0):
        lost = asyncio.create_task(read(nowhere))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await read(here)
        assert time.monotonic() - began < longest_s
        with pytest.raises(TimeoutError):
            await lost


class Careless:
    """One that fails at what it is fed."""

    def fed(self, place: TopicPartition, records: Sequence[ConsumerRecord[bytes, bytes]], position: int) -> None:
        raise ArithmeticError(f"{len(records)} records are too many")

    def wants(self, place: TopicPartition) -> bool:
        return True

    def out_of_range(self, place: TopicPartition) -> None: ...


async def test_a_follower_that_has_ended_says_what_ended_it(
    settings: RouterSettings, producer: AIOKafkaProducer
) -> None:
    here, _ = places(settings)
    follower = Follower(settings)
    await follower.start()
    follower.follow({here: 0}, Careless())
    await asyncio.sleep(0.3)
    follower.check()
    await producer.send_and_wait(here.topic, b"1", partition=0)

    async def ended() -> None:
        while True:
            follower.check()
            await asyncio.sleep(0.02)

    with pytest.raises(ArithmeticError, match="1 records are too many"):
        await asyncio.wait_for(ended(), 10)
    await follower.stop()


async def test_keys_of_a_partition_without_a_leader_keep_no_other_tenant_from_theirs(
    settings: RouterSettings, log: Log
) -> None:
    """As above: a partition that is not there stands for one that nobody leads."""
    ring = SecretStr(f"k:{base64.b64encode(bytes(range(32))).decode()}")
    keys = DataKeys(settings.model_copy(update={"partitions": 2, "seal_keys": ring}), log, seals=True)
    led, not_led = (
        next(name for name in map(str, range(99)) if partitioning.partition_of(name.encode(), 2) == number)
        for number in range(2)
    )
    lost = asyncio.create_task(keys.ready([not_led]))
    await asyncio.wait_for(keys.ready([led]), 10)
    assert keys.sealed(Event(led, "e", "a.b", b"1")).sealed is not None
    assert not lost.done()
    with pytest.raises(NotReady):
        keys.sealed(Event(not_led, "e", "a.b", b"1"))
    lost.cancel()
    await asyncio.wait([lost])
    await keys.stop()
