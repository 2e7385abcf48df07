"""Records that belong together are one batch of Kafka's: in the log whole, and nothing between them, or not at all."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import TopicPartition

from handlers.gateway.context import Context
from handlers.gateway.problems import Kind, Refusal
from handlers.gateway.views import Views
from schemas import topics
from schemas.settings import GatewaySettings, load
from streams.lane import connections
from streams.lane.health import Health

LIMIT = 4_000


@pytest.fixture
async def context(kafka: str, prefix: str, tmp_path: Path) -> AsyncIterator[Context]:
    """A gateway's way into a topic that takes 4,000 bytes at once."""
    settings = load(GatewaySettings, kafka=kafka, prefix=prefix, partitions=1)
    assert isinstance(settings, GatewaySettings)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    config = {"max.message.bytes": str(LIMIT)}
    await admin.create_topics([NewTopic(settings.topic(topics.EVENTS), 1, 1, topic_configs=config)])
    await admin.close()
    views = Views(tmp_path / "views.sqlite", prefix)
    made = Context(settings, views, Health())
    made.producer = AIOKafkaProducer(bootstrap_servers=kafka, enable_idempotence=False, acks="all")
    await made.producer.start()
    yield made
    await connections.disconnect(made.producer)
    views.close()


async def written(context: Context) -> list[Any]:
    place = TopicPartition(context.settings.topic(topics.EVENTS), 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=context.settings.kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        found: list[Any] = []
        while len(found) < end:
            found += (await consumer.getmany(place, timeout_ms=500)).get(place, [])
        return found
    finally:
        await consumer.stop()


async def test_what_is_together_larger_than_its_topic_takes_leaves_nothing(context: Context) -> None:
    records = [(b"x" * 1_500, [("n", b"%d" % number)]) for number in range(3)]
    with pytest.raises(Refusal) as refused:
        await context.send_together(topics.EVENTS, "t", records)
    assert refused.value.kind is Kind.TOO_LARGE
    assert await written(context) == []
    # Each alone would have been taken: what one after the other would have left is two of three.
    assert await context.send_together(topics.EVENTS, "t", records[:2]) == [(0, 0), (0, 1)]
    assert [(one.key, one.headers) for one in await written(context)] == [
        (b"t", (("n", b"0"),)),
        (b"t", (("n", b"1"),)),
    ]


async def test_what_no_topic_takes_is_not_even_sent(context: Context) -> None:
    records = [(b"x" * 5_000_000, [])] * 2
    with pytest.raises(Refusal) as refused:
        await context.send_together(topics.EVENTS, "t", records)
    assert refused.value.kind is Kind.TOO_LARGE
    assert await written(context) == []


async def test_nothing_comes_between_them(context: Context) -> None:
    async def together(name: int) -> list[tuple[int, int]]:
        return await context.send_together(topics.EVENTS, "t", [(b"%d" % name, [])] * 5)

    async def alone() -> None:
        await context.send(topics.EVENTS, "t", b"alone")

    placed, *_ = await asyncio.gather(
        asyncio.gather(*(together(name) for name in range(20))), *(alone() for _ in range(50))
    )
    found = await written(context)
    assert len(found) == 150
    for name, places in enumerate(placed):
        first = places[0][1]
        assert places == [(0, first + number) for number in range(5)]
        assert {found[offset].value for _, offset in places} == {b"%d" % name}
