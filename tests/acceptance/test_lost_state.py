"""State that is lost is found again in the log; until then nobody is judged by less than all of it."""

import asyncio
import json
import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from plain import Client, Receiver, tenant_name, until
from stack import SERVICES, Stack

TENANTS = 6
QUICK_COMPACTION = {
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.01",
    "max.compaction.lag.ms": "100",
    "delete.retention.ms": "100",
}


@pytest.fixture
async def admin(kafka: str) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await client.start()
    yield client
    await client.close()


async def configure(admin: AIOKafkaAdminClient, topic: str, settings: dict[str, str]) -> None:
    """Set a topic's settings; Kafka forgets those that are not named."""
    named = {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime", "retention.ms": "-1", **settings}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, named)])


async def endpoints(client: Client) -> dict[bytes, bytes | None]:
    """What the topic says of each endpoint, last."""
    return {record.key: record.value for record in client.records["endpoints"]}


async def delivered(client: Client, tenants: list[str], count: int, timeout_s: float = 40) -> None:
    """Wait until each tenant has `count` results, and see that each is one first try that went well."""
    await until(lambda: all(len(client.results(tenant)) >= count for tenant in tenants), timeout_s, "all results")
    for tenant in tenants:
        results = client.results(tenant)
        assert [r["verdict"] for r in results] == ["delivered"] * count
        assert max(Counter(r["event_id"] for r in results).values()) == 1


async def test_every_data_directory_may_be_deleted_and_every_host_replaced(
    alone: Stack, receiver: Receiver, tmp_path: Path
) -> None:
    tenant = tenant_name()
    receiver.answers["/again"] = lambda post: 500 if len(receiver.at("/again")) == 1 else 204
    async with Client(alone.kafka, alone.prefix) as client:
        await client.follow("results")
        await client.register(tenant, "ep-1", receiver.url + "/in")
        await client.register(
            tenant, "ep-2", receiver.url + "/again", retry={"schedule": ["15s"], "jitter": 0},
            subscriptions=[{"event_types": ["a.retry"]}],
        )  # fmt: skip
        await client.event(tenant, 1, "a.retry", id="before")
        await until(lambda: len(client.results(tenant)) == 2, 20, "a delivery and a failure")
        for name in SERVICES:
            assert await asyncio.to_thread(alone.stop, name) == 0
        shutil.rmtree(tmp_path / "data")
        await client.event(tenant, 2, id="while away")
        alone.start(*SERVICES)
        await client.event(tenant, 3, id="after")
        await until(lambda: len(client.results(tenant)) == 5, 40, "both events and the retry")
        found = sorted((r["endpoint_id"], r["event_id"], r["attempt"], r["verdict"]) for r in client.results(tenant))
        assert found == [
            ("ep-1", "after", 1, "delivered"),
            ("ep-1", "before", 1, "delivered"),
            ("ep-1", "while away", 1, "delivered"),
            ("ep-2", "before", 1, "retrying"),
            ("ep-2", "before", 2, "delivered"),
        ]


@pytest.mark.parametrize("running", [True, False])
async def test_a_deleted_endpoints_topic_is_rebuilt_and_no_event_is_judged_without_it(
    alone: Stack, receiver: Receiver, admin: AIOKafkaAdminClient, running: bool
) -> None:
    tenants = [tenant_name() for _ in range(TENANTS)]
    async with Client(alone.kafka, alone.prefix) as client:
        await client.follow("results", "endpoints", "rejected")
        for tenant in tenants:
            await client.register(tenant, "ep-1", receiver.url + "/old")
            await client.register(tenant, "ep-2", receiver.url + "/never")
            await client.change(tenant, "endpoint.unregistered", "ep-2")
            await client.change(tenant, "endpoint.changed", "ep-1", url=receiver.url + "/in")
            await client.change(tenant, "endpoint.verified", "ep-1", method="challenge")
            await client.change(tenant, "endpoint.paused", "no-such-endpoint")
            await client.event(tenant, 1, id="before")
        await delivered(client, tenants, 1)
        before = await endpoints(client)
        await until(lambda: len(client.records["rejected"]) == TENANTS, 10, "changes of what is not there")
    if not running:
        for name in SERVICES:
            assert await asyncio.to_thread(alone.stop, name) == 0
    await admin.delete_topics([alone.prefix + "endpoints"])
    async with Client(alone.kafka, alone.prefix) as client:
        await client.follow("results")
        for tenant in tenants:
            await client.event(tenant, 2, id="without")
        await asyncio.sleep(3)
        made = await asyncio.to_thread(alone.command, "topics")
        assert made.returncode == 0, made.stderr
        if not running:
            alone.start(*SERVICES)
        for tenant in tenants:
            await client.event(tenant, 3, id="after")
        await delivered(client, tenants, 3, 90)
        await client.follow("endpoints", "rejected")
        await until(lambda: len(client.records["endpoints"]) >= len(before), 40, "every endpoint again")
        after = await endpoints(client)
        assert {key: json.loads(value or b"null") for key, value in after.items()} == {
            key: json.loads(value or b"null") for key, value in before.items()
        }
        await asyncio.sleep(1)
        assert len(client.records["rejected"]) == TENANTS
        assert len(receiver.at("/never")) == 0
        # A change goes on from what was rebuilt.
        await client.change(tenants[0], "endpoint.unregistered", "ep-1")
        await client.event(tenants[0], 4, id="last")
        await client.event(tenants[1], 4, id="last")
        await until(lambda: len(client.results(tenants[1])) == 4, 20, "an event after it all")
        assert len(client.results(tenants[0])) == 3


async def test_faust_has_no_changelog_whose_recovery_could_hang(alone: Stack, admin: AIOKafkaAdminClient) -> None:
    made = {topic for topic in await admin.list_topics() if topic.startswith(alone.prefix)}
    assert len(made) == 17
    assert not any("changelog" in topic or "leader" in topic for topic in made)


async def test_records_deleted_from_the_beginning_of_endpoints_are_missed(
    alone: Stack, receiver: Receiver, admin: AIOKafkaAdminClient
) -> None:
    tenants = [tenant_name() for _ in range(TENANTS)]
    async with Client(alone.kafka, alone.prefix) as client:
        await client.follow("results", "endpoints")
        for tenant in tenants:
            await client.register(tenant, "ep-1", receiver.url + "/in")
            await client.event(tenant, 1, id="before")
        await delivered(client, tenants, 1)
        for name in SERVICES:
            assert await asyncio.to_thread(alone.stop, name) == 0
        await configure(admin, alone.prefix + "endpoints", {"cleanup.policy": "delete"})
        places = {TopicPartition(alone.prefix + "endpoints", number) for number in range(4)}
        await admin.delete_records({place: RecordsToDelete(-1) for place in places})
        alone.start(*SERVICES)
        for tenant in tenants:
            await client.event(tenant, 2, id="after")
        await delivered(client, tenants, 2)


async def test_what_compaction_and_tombstones_leave_is_enough(
    make_stack: Callable[..., Stack], receiver: Receiver, admin: AIOKafkaAdminClient
) -> None:
    stack = make_stack(HOOKFOLD_HISTORY_MS="1000")
    topic = stack.prefix + "endpoints"
    await configure(admin, topic, QUICK_COMPACTION)
    stack.start(*SERVICES)
    await asyncio.to_thread(stack.wait_ready, *SERVICES)
    tenant = tenant_name()

    receiver.answers["/fails"] = 500
    async with Client(stack.kafka, stack.prefix) as client:
        await client.follow("results", "endpoints")
        await client.register(tenant, "stays", receiver.url + "/v0", subscriptions=[{"event_types": ["a.b"]}])
        await client.register(
            tenant, "goes", receiver.url + "/fails", subscriptions=[{"event_types": ["a.retry"]}],
            retry={"schedule": ["45s"], "jitter": 0},
        )  # fmt: skip
        await client.event(tenant, 1, "a.retry", id="held")
        await until(lambda: len(client.results(tenant)) == 1, 20, "a failure")
        await client.change(tenant, "endpoint.unregistered", "goes")
        for number in range(1, 60):
            url = f"{receiver.url}/v{number}"
            await client.register(tenant, "stays", url, subscriptions=[{"event_types": ["a.b"]}])
            await asyncio.sleep(0.12)  # a transaction each, and a segment
        await until(lambda: len(client.records["endpoints"]) >= 30, 20, "many records of one endpoint")
        await asyncio.to_thread(stack.stop, "router")
        stack.start("router")  # a start sweeps out what has been gone for longer than a second
        key = f"{tenant}/goes".encode()
        await until(lambda: (key, None) in [(r.key, r.value) for r in client.records["endpoints"]], 30, "a tombstone")
        await client.register(tenant, "stays", receiver.url + "/last", subscriptions=[{"event_types": ["a.b"]}])

        async def remaining() -> list[bytes]:
            """Keys of the records that compaction has left."""
            async with Client(stack.kafka, stack.prefix) as reader:
                await reader.follow("endpoints")
                await asyncio.sleep(1.5)
                return [record.key for record in reader.records["endpoints"]]

        async with asyncio.timeout(60):
            while len(await remaining()) > 8:
                await asyncio.sleep(1)
        for name in SERVICES:
            await asyncio.to_thread(stack.stop, name)
        stack.start(*SERVICES)
        await client.event(tenant, 2, "a.b", id="after")
        await until(lambda: len(client.results(tenant)) == 3, 60, "the event, and the end of the retry")
        found = {(r["event_id"], r["endpoint_id"], r["verdict"]) for r in client.results(tenant)}
        assert found == {("held", "goes", "retrying"), ("held", "goes", "skipped"), ("after", "stays", "delivered")}
        assert len(receiver.at("/last")) == 1
    await asyncio.to_thread(stack.close)


async def test_a_topic_that_comes_back_with_too_few_partitions_ends_the_processes_with_a_line(
    alone: Stack, admin: AIOKafkaAdminClient
) -> None:
    tenant = "t" + os.urandom(3).hex()
    await admin.delete_topics([alone.prefix + "endpoints"])
    await asyncio.sleep(1)
    await admin.create_topics([NewTopic(alone.prefix + "endpoints", 1, 1)])
    async with Client(alone.kafka, alone.prefix) as client:
        await client.register(tenant, "ep-1", "http://127.0.0.1:9/")
    assert await asyncio.to_thread(alone.wait, "router", 60) == 2
    assert "endpoints has 1 partitions, HOOKFOLD_PARTITIONS is 4" in alone.log("router")
