"""Topics are made as the map says, and what differs is told, not changed."""

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.protocol.metadata import MetadataRequest, MetadataRequest_v4

from schemas.settings import Settings
from streams import provisioning


async def test_topics_are_created_once_and_then_found(kafka: str, prefix: str) -> None:
    settings = Settings(kafka=kafka, prefix=prefix, partitions=2)
    first = await provisioning.provision(settings)
    assert len(first.created) == 16
    assert first.differences == ()
    second = await provisioning.provision(settings)
    assert second.created == ()
    assert len(second.existing) == 16
    assert second.differences == ()


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
