"""The log is the source: judged again from its beginning it gives the same deliveries, byte for byte."""

import asyncio
import random
from collections import defaultdict
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import DeleteGroupsRequest
from plain import Client, Receiver, tenant_name, until
from stack import Stack

EVENTS = 10_000
TENANTS = [tenant_name() for _ in range(5)]


async def produce(client: Client) -> None:
    """Events with changes in between: pauses, filters, patterns, new URLs, registrations and their ends."""
    rng = random.Random(6)
    endpoints = [(tenant, f"ep-{number}") for tenant in TENANTS for number in range(4)]
    for tenant, endpoint_id in endpoints:
        await client.register(tenant, endpoint_id, "http://127.0.0.1:9/")
    for start in range(0, EVENTS, 50):
        await asyncio.gather(
            *(
                client.event(
                    rng.choice(TENANTS), {"n": n}, kind=rng.choice(["a.b", "a.c", "b"]), id=f"e-{n - n % 7 % 2}"
                )
                for n in range(start, start + 50)
            )
        )
        tenant, endpoint_id = rng.choice(endpoints)
        kind, fields = rng.choice(CHANGES)
        await client.change(tenant, kind, endpoint_id, **fields)


ANEW = {"url": "http://127.0.0.1:9/", "subscriptions": [{"event_types": ["*"]}], "secrets": [], "verification": "none"}
CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("endpoint.paused", {}),
    ("endpoint.resumed", {}),
    ("endpoint.resumed", {}),
    ("endpoint.changed", {"url": "http://127.0.0.1:10/"}),
    ("endpoint.changed", {"subscriptions": [{"event_types": ["a.*"], "filter": {"data": {"n": {"$gt": 5_000}}}}]}),
    ("endpoint.changed", {"subscriptions": [{"event_types": ["**"], "filter": "type LIKE 'a%'"}]}),
    ("subscription.added", {"event_types": ["b"]}),
    ("endpoint.unregistered", {}),
    ("endpoint.registered", ANEW),
]


async def judged(client: Client) -> dict[bytes, list[tuple[bytes, tuple[tuple[str, bytes], ...]]]]:
    """Every delivery and skipped result by its endpoint, once nothing more comes."""
    count = -1
    while count != (count := len(client.records["deliveries"]) + len(client.records["results"])) or not count:
        await asyncio.sleep(2.0)
    found = defaultdict(list)
    for topic in ("deliveries", "results"):
        for record in client.records[topic]:
            found[topic.encode() + b" " + record.key].append((record.value, tuple(record.headers)))
    return found


async def forget(stack: Stack) -> None:
    """Leave of the router nothing but what it reads."""
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka)
    await admin.start()
    group = stack.prefix + "router"
    try:
        await admin._send_request(DeleteGroupsRequest([group]), await admin.find_coordinator(group))
        topics = [stack.prefix + name for name in ("endpoints", "deliveries", "results")]
        await admin.delete_topics(topics)
        until_gone = asyncio.get_running_loop().time() + 20
        while set(topics) & set(await admin.list_topics()) and asyncio.get_running_loop().time() < until_gone:
            await asyncio.sleep(0.2)
    finally:
        await admin.close()
    made = await asyncio.to_thread(stack.command, "topics")
    assert made.stdout.count("created") == 3, made.stdout + made.stderr


async def test_an_empty_router_makes_the_same_deliveries_again(make_stack: Any) -> None:
    stack: Stack = make_stack()
    stack.start("router")
    await asyncio.to_thread(stack.wait_ready, "router")
    async with Client(stack.kafka, stack.prefix) as client:
        await client.follow("deliveries", "results")
        await produce(client)
        before = await judged(client)
    await asyncio.to_thread(stack.stop, "router")
    await forget(stack)
    stack.start("router")
    async with Client(stack.kafka, stack.prefix) as client:
        await client.follow("deliveries", "results")
        await until(lambda: bool(client.records["deliveries"]), 40, "a first delivery")
        after = await judged(client)
    await asyncio.to_thread(stack.close)
    assert sum(map(len, before.values())) > EVENTS
    assert {key: len(records) for key, records in after.items()} == {
        key: len(records) for key, records in before.items()
    }
    assert after == before


async def test_of_1000_waiting_retries_none_is_sent_to_an_endpoint_that_is_gone(
    alone: Stack, receiver: Receiver
) -> None:
    count = 1_000
    receiver.answers["/in"] = 503
    async with Client(alone.kafka, alone.prefix) as client:
        await client.follow("results", "retries.1s", "retries.5s", "deliveries.due")
        tenant = tenant_name()

        def waiting() -> set[bytes]:
            """Deliveries in a retry topic that are not due yet."""
            held = {dict(r.headers)["delivery-id"] for name in ("1s", "5s") for r in client.records["retries." + name]}
            return held - {dict(record.headers)["delivery-id"] for record in client.records["deliveries.due"]}

        await client.register(
            tenant, "ep", receiver.url + "/in", retry={"schedule": ["10s"], "jitter": 0}, max_in_flight=100
        )
        await asyncio.gather(*(client.event(tenant, n, id=str(n)) for n in range(count)))
        await until(lambda: len(waiting()) == count, 60, "all wait")
        await client.change(tenant, "endpoint.unregistered", "ep")

        def final() -> list[dict[str, Any]]:
            return [result for result in client.results(tenant) if result["verdict"] != "retrying"]

        await until(lambda: len(final()) >= count, 60, "all have ended")
        sent = len(receiver.at("/in"))
        await asyncio.sleep(1.0)
        assert len(receiver.at("/in")) == sent == len(client.results(tenant)) - count
        assert {(r["verdict"], r["error_kind"]) for r in final()} == {("skipped", "gone")}
        assert len({r["event_id"] for r in final()}) == len(final()) == count
