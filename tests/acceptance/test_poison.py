"""What goes wrong around Hookfold ends in a clear line, a rejected record or a wait; in no loop and in no silence."""

import asyncio
import contextlib
import itertools
import os
import resource
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest
from plain import Client, Receiver, tenant_name, until
from stack import SERVICES, Stack, free_port

from compose.kafka import LocalKafka

HOUR = "3600"
TOPIC, LITERAL, ALL, WRITE, DENY, ALLOW = 2, 3, 2, 4, 2, 3
AUTHORIZED = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Callable[..., tuple[LocalKafka, Stack]]]:
    """Makes a stack on a Kafka of its own."""
    made: list[tuple[LocalKafka, Stack]] = []

    def make(**settings: str) -> tuple[LocalKafka, Stack]:
        broker = LocalKafka(tmp_path / "kafka", free_port(), settings)
        broker.start()
        stack = Stack(broker.bootstrap, f"x{os.getpid()}.", tmp_path)
        made.append((broker, stack))
        assert stack.command("topics").returncode == 0
        stack.start(*SERVICES)
        stack.wait_ready(*SERVICES)
        return broker, stack

    yield make
    for broker, stack in made:
        await asyncio.to_thread(stack.close)
        await asyncio.to_thread(broker.stop)


async def test_a_topic_that_may_not_be_written_to_is_named_and_nothing_is_lost_or_sent_twice(
    own: Callable[..., tuple[LocalKafka, Stack]], receiver: Receiver
) -> None:
    broker, stack = await asyncio.to_thread(lambda: own(**AUTHORIZED))
    tenant, topic, everyone = tenant_name(), stack.prefix + "results", "User:ANONYMOUS"
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    async with Client(stack.kafka, stack.prefix) as client:
        await client.follow("results")
        await client.register(tenant, "ep-1", receiver.url + "/in")
        for operation, permission in ((ALL, ALLOW), (WRITE, DENY)):
            rule = (TOPIC, topic, LITERAL, everyone, "*", operation, permission)
            await admin._send_request(CreateAclsRequest(*rule))
        await asyncio.sleep(1)
        await client.event(tenant, 1, id="denied")
        await until(lambda: "TopicAuthorizationFailed" in stack.log("egress"), 40, "a line that says so")
        assert topic in next(line for line in stack.log("egress").splitlines() if "TopicAuthorizationFailed" in line)
        await until(lambda: not stack.ready("egress"), 20, "unready")
        await asyncio.sleep(5)
        assert len(receiver.at("/in")) == 1
        assert client.results(tenant) == []
        await admin._send_request(DeleteAclsRequest(TOPIC, topic, LITERAL, everyone, "*", WRITE, DENY))
        await until(lambda: len(client.results(tenant)) == 1, 30, "the result, once it may be written")
        await client.event(tenant, 2, id="allowed")
        await until(lambda: len(client.results(tenant)) == 2, 30, "what comes after it")
        assert {(r["verdict"], r["attempt"]) for r in client.results(tenant)} == {("delivered", 1)}
        assert len(receiver.at("/in")) == 2
    await admin.close()


async def test_a_full_disk_at_kafka_loses_nothing(
    own: Callable[..., tuple[LocalKafka, Stack]], receiver: Receiver
) -> None:
    broker, stack = await asyncio.to_thread(own)
    tenant = tenant_name()
    taken: list[str] = []
    async with Client(stack.kafka, stack.prefix, 5_000, gives_up=True) as client:
        await client.register(tenant, "ep-1", receiver.url + "/in")
        await client.event(tenant, "x", id="first")
        await until(lambda: len(receiver.at("/in")) == 1, 20, "a delivery before it")
        # No file of the broker's can grow any further: it ends, as a broker does whose disk is full.
        resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (11_000_000, 11_000_000))
        with contextlib.suppress(KafkaError, TimeoutError):
            for number in range(60):
                await client.event(tenant, os.urandom(300_000).hex(), id=f"large-{number}")
                taken.append(f"large-{number}")
        await until(lambda: not broker.running, 60, "Kafka's end")
    assert 0 < len(taken) < 60
    await asyncio.to_thread(broker.stop)
    await asyncio.to_thread(broker.start)
    async with Client(stack.kafka, stack.prefix) as client:
        await client.follow("results")
        await client.event(tenant, "x", id="last")
        wanted = {"first", *taken, "last"}
        await until(lambda: wanted <= {r["event_id"] for r in client.results(tenant)}, 60, "everything that was taken")
        await asyncio.sleep(1)
        results = client.results(tenant)
        assert max(Counter(r["event_id"] for r in results).values()) == 1
        assert {(r["verdict"], r["attempt"]) for r in results} == {("delivered", 1)}
    assert all(stack.alive(name) for name in SERVICES)


@pytest.mark.parametrize("name", ["events", "subscriptions", "deliveries"])
async def test_a_topic_that_is_deleted_and_made_anew_is_worked_on_again(
    alone: Stack, receiver: Receiver, name: str
) -> None:
    tenant = tenant_name()
    receiver.answers["/in"] = lambda post: 500 if post.headers["webhook-attempt"] == "1" else 204
    async with Client(alone.kafka, alone.prefix) as client:
        for number in range(3):
            await client.register(tenant, "ep-1", receiver.url + "/old", retry={"schedule": ["6s"], "jitter": 0})
            await client.event(tenant, number)
        await until(lambda: len(receiver.at("/old")) == 3, 20, "deliveries before it")
    admin = AIOKafkaAdminClient(bootstrap_servers=alone.kafka)
    await admin.start()
    await admin.delete_topics([alone.prefix + name])
    line = f"topics are missing (run `hookfold topics`): {alone.prefix}{name}"
    await until(lambda: all(line in alone.page(each, "/readyz")[1].decode() for each in SERVICES), 30, "a line of it")
    assert (await asyncio.to_thread(alone.command, "topics")).returncode == 0
    await admin.close()
    async with Client(alone.kafka, alone.prefix) as client:
        await client.register(tenant, "ep-1", receiver.url + "/in", retry={"schedule": ["6s"], "jitter": 0})
        await client.event(tenant, "after", id="after")
        await until(lambda: len(receiver.at("/in")) == 2, 60, "a first try and a retry after it")
        await client.follow("results")
        await until(
            lambda: [r["verdict"] for r in client.results(tenant)][-2:] == ["retrying", "delivered"], 20, "results"
        )


@pytest.mark.parametrize(("wrong", "jump"), [("0", HOUR), ("0", "-" + HOUR), ("-" + HOUR, HOUR)])
async def test_hosts_whose_clocks_are_wrong_or_jump_retry_at_the_right_time(
    make_stack: Callable[..., Stack], receiver: Receiver, wrong: str, jump: str
) -> None:
    stack = make_stack()
    stack.skew = ["-m", "tests.acceptance.skewed", wrong, jump, "12"]
    stack.start(*SERVICES)
    await asyncio.to_thread(stack.wait_ready, *SERVICES)
    tenant = tenant_name()
    receiver.answers["/in"] = 500
    async with Client(stack.kafka, stack.prefix) as client:
        await client.follow("results", "retries.5s", "retries.1s")
        await client.register(tenant, "ep-1", receiver.url + "/in", retry={"schedule": ["6s", "6s", "6s"], "jitter": 0})
        await client.event(tenant, 1)
        await until(lambda: len(receiver.at("/in")) == 4, 60, "all attempts")
        await until(lambda: len(client.results(tenant)) == 4, 10, "their results")
        times = [post.at_s for post in receiver.at("/in")]
        # Where its host was wrong from the start, an egress knows Kafka's time by the first record until it commits.
        waits = [after - before for before, after in itertools.pairwise(times)]
        earliest = [5.9 if wrong == "0" else 5.4, 5.9, 5.9]
        assert all(least <= waited <= 8.0 for least, waited in zip(earliest, waits, strict=True)), times
        stamped = [int(post.headers["webhook-timestamp"]) for post in receiver.at("/in")]
        assert all(abs(said - came) < 3 for said, came in zip(stamped, times, strict=True))
        assert [r["verdict"] for r in client.results(tenant)] == ["retrying"] * 3 + ["dead"]
        hops = len(client.records["retries.5s"]) + len(client.records["retries.1s"])
        assert hops <= 12, "round and round"
    if wrong != "0":
        assert "clock.corrected" in stack.log("egress")
    await asyncio.to_thread(stack.close)
