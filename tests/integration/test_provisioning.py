"""Topics are made as the map says, and what differs is told, not changed."""

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.protocol.metadata import MetadataRequest, MetadataRequest_v4

from schemas import topics
from schemas.settings import Settings
from schemas.topics import topic_map
from streams import provisioning


async def test_topics_are_created_once_and_then_found(kafka: str, prefix: str) -> None:
    settings = Settings(kafka=kafka, prefix=prefix, partitions=2)
    first = await provisioning.provision(settings)
    assert len(first.created) == 17
    assert first.differences == ()
    second = await provisioning.provision(settings)
    assert second.created == ()
    assert len(second.existing) == 17
    assert second.differences == ()


async def test_an_installation_from_before_gets_the_topic_that_it_lacks(kafka: str, prefix: str) -> None:
    settings = Settings(kafka=kafka, prefix=prefix, partitions=2)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    rows = [row for row in topic_map(settings.tiers_ms) if row.name != topics.KEYS]
    await admin.create_topics([NewTopic(prefix + row.name, 2, 1, topic_configs=row.config()) for row in rows])
    await admin.close()
    found = await provisioning.provision(settings)
    assert (found.created, found.differences) == ((prefix + topics.KEYS,), ())
    await provisioning.wait_for_topics(settings, asyncio.Event())


async def test_what_differs_is_told_and_wrong_partitions_stop_a_process(kafka: str, prefix: str) -> None:
    settings = Settings(kafka=kafka, prefix=prefix, partitions=2)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(prefix + "events", 3, 1)])
    await admin.close()
    found = await provisioning.provision(settings)
    told = {(difference.topic.removeprefix(prefix), difference.setting) for difference in found.differences}
    assert ("events", "partitions") in told
    assert ("events", "message.timestamp.type") in told
    assert all("should be" in str(difference) for difference in found.differences)
    with pytest.raises(provisioning.WrongTopics, match="3 partitions"):
        await provisioning.wait_for_topics(settings, asyncio.Event())


async def test_a_topic_that_is_told_without_partitions_is_waited_for(kafka: str, prefix: str) -> None:
    settings = Settings(kafka=kafka, prefix=prefix, partitions=2)
    await provisioning.provision(settings)

    class Admin:
        """What Kafka tells in the moment in which a topic is made."""

        async def _send_request(self, asked: MetadataRequest) -> SimpleNamespace:
            names = asked.build(MetadataRequest_v4).topics
            return SimpleNamespace(
                topics=[(0, name, False, [] if name.endswith(".events") else [1, 2]) for name in names]
            )

    assert await provisioning.missing_topics(Admin(), settings) == f"topics have no partitions yet: {prefix}events"
