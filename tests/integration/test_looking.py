"""A range of the log that is looked at in part, against a real Kafka."""

import contextlib
import gc
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.consumer import fetcher
from aiokafka.structs import TopicPartition

from schemas import topics
from schemas.settings import Settings
from streams import provisioning
from streams.lane.log import Log


@contextlib.contextmanager
def without_looking_for_cycles() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("aside", [False, True])
async def test_what_was_fetched_and_not_looked_at_is_freed_at_once(kafka: str, prefix: str, *, aside: bool) -> None:
    settings = Settings(kafka=kafka, prefix=prefix, partitions=1)
    await provisioning.provision(settings)
    place = TopicPartition(settings.topic(topics.EVENTS), 0)
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for _ in range(400):
            await producer.send(place.topic, bytes(1_000), partition=0)
    log = Log(settings)
    await log.start()
    try:
        with without_looking_for_cycles():
            for start in range(0, 300, 10):
                async with contextlib.aclosing(log.read(place, start, 400, at_most=5, aside=aside)) as lists:
                    assert [record.offset for record in await anext(lists)] == list(range(start, start + 5))
            left = sum(isinstance(one, fetcher.PartitionRecords) for one in gc.get_objects())
        assert left <= 2
    finally:
        await log.stop()
