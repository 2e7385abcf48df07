"""What cannot be read is kept with its reason, and everything after it flows on."""

import json
import os
from collections.abc import Callable

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from plain import SECRET, Client, Receiver, tenant_name, until
from stack import SERVICES, Stack

BAD_EVENTS = {
    "malformed JSON": (b"{nope", []),
    "not an object": (b"[1,2]", []),
    "no type": (b'{"data":1}', []),
    "null value": (None, []),
    "unknown encoding": (b"{}", [("content-type", b"application/cloudevents-batch+json")]),
    "header that is not UTF-8": (b"1", [("ce_id", b"\xff\xfe"), ("ce_type", b"a.b"), ("ce_source", b"s")]),
    "id with control characters": (b'{"type":"a.b","id":"a\\u0000b","data":1}', []),
    "id too long": (json.dumps({"type": "a.b", "id": "x" * 300, "data": 1}).encode(), []),
    "3 MB": (b'{"type":"a.b","data":"' + b"x" * 3_000_000 + b'"}', []),
}
REGISTRATION = {"type": "endpoint.registered", "endpoint_id": "ep-1", "url": "https://example.com/",
                "subscriptions": [{"event_types": ["*"]}], "secrets": []}  # fmt: skip
BAD_CHANGES = {
    "malformed JSON": b"{nope",
    "null value": None,
    "unknown type": b'{"type":"endpoint.exploded","endpoint_id":"ep-1"}',
    "no endpoint id": b'{"type":"endpoint.paused"}',
    "forbidden characters": json.dumps({**REGISTRATION, "endpoint_id": "a b/c"}).encode(),
    "no url": json.dumps({k: v for k, v in REGISTRATION.items() if k != "url"}).encode(),
    "secrets absent": json.dumps({k: v for k, v in REGISTRATION.items() if k != "secrets"}).encode(),
    "out of reach": json.dumps({**REGISTRATION, "url": "https://10.0.0.1/"}).encode(),
    "metadata address": json.dumps({**REGISTRATION, "url": "http://169.254.169.254/latest"}).encode(),
    "header of our own": json.dumps({**REGISTRATION, "headers": {"webhook-id": "x"}}).encode(),
    "header of framing": json.dumps({**REGISTRATION, "headers": {"Transfer-Encoding": "chunked"}}).encode(),
    "line feed in a header": json.dumps({**REGISTRATION, "headers": {"x-a": "b\r\nc: d"}}).encode(),
    "bad pattern": json.dumps({**REGISTRATION, "subscriptions": [{"event_types": ["a..b"]}]}).encode(),
    "bad secret": json.dumps({**REGISTRATION, "secrets": ["hunter2"]}).encode(),
    "does not exist": b'{"type":"endpoint.paused","endpoint_id":"nobody"}',
}


async def rejected(client: Client, topic: str, record: object) -> dict[str, bytes]:
    origin = f"{client.prefix}{topic}/{record.partition}/{record.offset}".encode()  # type: ignore[attr-defined]
    found: list[object] = []

    def there() -> bool:
        found[:] = [r for r in client.records["rejected"] if dict(r.headers).get("rejected-origin") == origin]
        return bool(found)

    await until(there, 20, f"a rejected record for {origin!r}")
    return found[0]  # type: ignore[return-value]


@pytest.mark.parametrize("name", BAD_EVENTS)
async def test_an_unreadable_event_is_rejected_and_the_next_is_delivered(
    client: Client, receiver: Receiver, name: str
) -> None:
    tenant = tenant_name()
    value, headers = BAD_EVENTS[name]
    await client.follow("rejected")
    await client.register(tenant, "ep-1", receiver.url + "/in")
    record = await client.producer.send_and_wait(client.prefix + "events", value, key=tenant.encode(), headers=headers)
    await client.event(tenant, "next")
    letter = await rejected(client, "events", record)
    assert letter.value == value  # type: ignore[attr-defined]
    assert letter.key == tenant.encode()  # type: ignore[attr-defined]
    kept = list(letter.headers)  # type: ignore[attr-defined]
    assert kept[: len(headers)] == headers
    assert dict(kept)["rejected-reason"]
    await until(lambda: len(receiver.at("/in")) == 1, 20, "the next event")


@pytest.mark.parametrize("key", [None, b"", b"with space", b"\xff\xfe", b"x" * 200])
async def test_an_event_with_a_bad_key_is_rejected(client: Client, key: bytes | None) -> None:
    await client.follow("rejected")
    record = await client.producer.send_and_wait(client.prefix + "events", b'{"type":"a.b","data":1}', key=key)
    letter = await rejected(client, "events", record)
    assert letter.key == key  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", BAD_CHANGES)
async def test_a_bad_change_is_rejected_and_the_next_is_applied(client: Client, receiver: Receiver, name: str) -> None:
    tenant = tenant_name()
    value = BAD_CHANGES[name]
    await client.follow("rejected")
    record = await client.producer.send_and_wait(client.prefix + "subscriptions", value, key=tenant.encode())
    await client.register(tenant, "ep-2", receiver.url + "/in")
    letter = await rejected(client, "subscriptions", record)
    assert letter.value == value  # type: ignore[attr-defined]
    reason = dict(letter.headers)["rejected-reason"].decode()  # type: ignore[attr-defined]
    assert reason
    assert "\n" not in reason
    assert SECRET not in reason
    await client.event(tenant, "next")
    await until(lambda: len(receiver.at("/in")) == 1, 20, "the event after the next change")


async def test_a_record_placed_by_another_hash_is_moved_and_delivered(client: Client, receiver: Receiver) -> None:
    tenant = tenant_name()
    await client.register(tenant, "ep-1", receiver.url + "/in")
    place = (await client.event(tenant, 0)).partition
    for partition in range(4):
        await client.producer.send_and_wait(
            client.prefix + "events",
            json.dumps({"type": "a.b", "id": f"m-{partition}", "data": partition}).encode(),
            key=tenant.encode(),
            partition=partition,
        )
    await until(lambda: len(receiver.at("/in")) == 5, 20, "five posts")
    assert place in range(4)
    assert sorted(post.verify()["data"] for post in receiver.at("/in")) == [0, 0, 1, 2, 3]


async def test_an_event_id_seen_again_is_delivered_once(client: Client, receiver: Receiver) -> None:
    tenant = tenant_name()
    await client.follow("results")
    await client.register(tenant, "ep-1", receiver.url + "/in")
    for _ in range(3):
        await client.event(tenant, 1, id="same")
    await client.event(tenant, 2, id="other")
    await until(lambda: any(r["event_id"] == "other" for r in client.results(tenant)), 20, "the last event")
    assert sorted(r["event_id"] for r in client.results(tenant)) == ["other", "same"]


async def test_an_event_id_is_known_after_the_router_was_killed(
    make_stack: Callable[..., Stack], receiver: Receiver
) -> None:
    stack = make_stack()
    stack.start(*SERVICES)
    stack.wait_ready(*SERVICES)
    tenant = tenant_name()
    async with Client(stack.kafka, stack.prefix) as client:
        await client.follow("results")
        await client.register(tenant, "ep-1", receiver.url + "/in")
        await client.event(tenant, 1, id="same")
        await until(lambda: len(client.results(tenant)) == 1, 20, "the first result")
        stack.kill("router")
        stack.start("router")
        await client.event(tenant, 2, id="same")
        await client.event(tenant, 3, id="other")
        await until(lambda: any(r["event_id"] == "other" for r in client.results(tenant)), 30, "the last event")
        assert sorted(r["event_id"] for r in client.results(tenant)) == ["other", "same"]


async def test_an_output_larger_than_its_topic_allows_is_rejected_and_the_next_is_delivered(
    make_stack: Callable[..., Stack], receiver: Receiver
) -> None:
    stack = make_stack()
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka)
    await admin.start()
    small = ConfigResource(ConfigResourceType.TOPIC, stack.prefix + "deliveries", {"max.message.bytes": "20000"})
    await admin.alter_configs([small])
    await admin.close()
    stack.start(*SERVICES)
    stack.wait_ready(*SERVICES)
    tenant = tenant_name()
    async with Client(stack.kafka, stack.prefix) as client:
        await client.follow("rejected", "results")
        await client.register(tenant, "ep-1", receiver.url + "/in")
        record = await client.event(tenant, os.urandom(30_000).hex())
        await client.event(tenant, "next")
        letter = await rejected(client, "events", record)
        assert b"deliveries" in dict(letter.headers)["rejected-reason"]  # type: ignore[attr-defined]
        await until(lambda: len(receiver.at("/in")) == 1, 20, "the next event")
