"""The AsyncAPI document is true: every record of every topic is what it says, and nothing in one is left unsaid."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord
from described import Described
from plain import Api, Client, Post, Receiver, tenant_name, until
from stack import Stack

#: Tiers that no wait of this test is long enough for.
TOO_LONG = {"retries.5s", "retries.30s", "retries.2m", "retries.10m", "retries.1h", "retries.4h"}
#: Written to where payloads are sealed; `test_seal` looks at those.
OF_SEALING = {"keys"}
KINDS = {"plain_event", "structured_event", "binary_event", "change", "source_change", "endpoint", "delivery", "result",
         "dead_letter", "order_line", "order_line_tombstone", "rejected"}  # fmt: skip
BAD = {"malformed": b"{nope", "no type": b'{"data":1}', "no value": None}
Records = dict[str, list[ConsumerRecord[bytes, bytes]]]


@pytest.fixture
async def document(stack: Stack, make_api: Callable[..., Api]) -> Described:
    """The document, as the gateway gives it to anyone."""
    async with make_api("nobody") as api:
        said = await api.call("GET", "//asyncapi.json")
    assert (said.status, said.headers["content-type"]) == (200, "application/json")
    assert json.loads(stack.command("asyncapi").stdout) == said.json
    return Described(said.json)


@pytest.fixture
async def records(stack: Stack, document: Described) -> AsyncIterator[Records]:
    """What comes from now on in every channel, by its name."""
    addresses = {channel["address"]: name for name, channel in document.document["channels"].items()}
    found: Records = defaultdict(list)
    consumer = AIOKafkaConsumer(
        *addresses, bootstrap_servers=stack.kafka, isolation_level="read_committed", auto_offset_reset="latest"
    )
    await consumer.start()
    await consumer.seek_to_end()

    async def collect() -> None:
        async for record in consumer:
            found[addresses[record.topic]].append(record)

    task = asyncio.create_task(collect())
    yield found
    task.cancel()
    await asyncio.wait([task])
    await consumer.stop()


async def test_every_record_is_what_the_document_says(
    stack: Stack, client: Client, receiver: Receiver, document: Described, records: Records
) -> None:
    tenant = tenant_name()
    await _endpoints(client, receiver, tenant)
    await _events(client, tenant)
    mine = f"{tenant}/".encode()

    def verdicts() -> set[tuple[str, str]]:
        results = [json.loads(record.value) for record in records["results"] if record.key.startswith(mine)]
        return {(one["endpoint_id"], one["verdict"]) for one in results if one["event_id"] == "plain"}

    wanted = {("good", "delivered"), ("flaky", "retrying"), ("flaky", "delivered"), ("dead", "dead"),
              ("line", "retrying"), ("line", "delivered"), ("paused", "skipped")}  # fmt: skip
    await until(lambda: wanted <= verdicts(), 20, "every verdict")
    await _changes(client, tenant)
    reached = document.document["channels"].keys() - TOO_LONG - OF_SEALING
    await until(lambda: reached <= records.keys(), 20, "every topic")
    await until(lambda: len(_bad(records)) == len(BAD), 20, "what was rejected")
    await until(lambda: _gone(records, tenant), 20, "the last change")
    await until(lambda: any(record.value is None for record in records["ordering"]), 20, "the end of the line")
    seen = set()
    for some in records.values():
        for record in some:
            bad = record.topic == f"{stack.prefix}events" and record.value in BAD.values()
            if (record.key or b"").split(b"/")[0] != tenant.encode():
                continue
            kinds = document.kinds(record.topic, record.key, record.value, record.headers)
            assert len(kinds) == (0 if bad else 1), (record, kinds)
            for kind in kinds:
                assert document.untold(record.topic, kind, record.value, record.headers) == set(), record
            seen |= set(kinds)
    assert seen == KINDS


def _bad(records: Records) -> list[bytes | None]:
    return [record.value for record in records["rejected"] if record.value in BAD.values()]


def _gone(records: Records, tenant: str) -> bool:
    told = [json.loads(record.value) for record in records["endpoints"] if record.key == f"{tenant}/good".encode()]
    return bool(told) and told[-1]["state"] == "gone"


async def _endpoints(client: Client, receiver: Receiver, tenant: str) -> None:
    def challenge(post: Post) -> Any:
        return 204 if b"challenge" not in post.body else 500

    receiver.answers |= {"/dead": 400, "/verified": challenge}
    for path in ("/flaky", "/line"):
        receiver.answers[path] = lambda post: 503 if post.headers["webhook-attempt"] == "1" else 204
    soon = {"retry": {"schedule": ["1s"], "jitter": 0}}
    await client.register(
        tenant, "good", receiver.url + "/in", headers={"x-a": "b"}, auth={"kind": "bearer", "token": "t"},
        payload={"format": "cloudevents-binary"}, timeout_ms=5_000, rate_per_s=100, max_in_flight=5, description="d",
    )  # fmt: skip
    await client.register(tenant, "flaky", receiver.url + "/flaky", **soon)
    await client.register(tenant, "dead", receiver.url + "/dead", retry={"schedule": []})
    await client.register(tenant, "line", receiver.url + "/line", ordered_by="type", **soon)
    await client.register(tenant, "paused", receiver.url + "/in")
    await client.register(tenant, "verified", receiver.url + "/verified", verification="challenge", **soon)
    await client.change(tenant, "endpoint.paused", "paused", reason="holiday")


async def _events(client: Client, tenant: str) -> None:
    topic, key = client.prefix + "events", tenant.encode()
    sent = await client.event(tenant, {"n": 1}, id="plain", time="2026-01-02T03:04:05Z")
    attributes = {"specversion": "1.0", "type": "a.b", "source": "/s", "id": "structured", "extension": True}
    structured = [("content-type", b"application/cloudevents+json")]
    await client.producer.send_and_wait(topic, json.dumps(attributes).encode(), key=key, headers=structured)
    traceparent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    binary = [("ce_id", b"binary"), ("ce_type", b"a.b"), ("ce_source", b"/s"), ("ce_subject", b"x"),
              ("content-type", b"image/png"), ("traceparent", traceparent)]  # fmt: skip
    await client.producer.send_and_wait(topic, b"\x89PNG\xff", key=key, headers=binary)
    for value in BAD.values():
        await client.producer.send_and_wait(topic, value, key=key)
    elsewhere = (sent.partition + 1) % 4
    await client.producer.send_and_wait(topic, b'{"type":"a.b"}', key=key, partition=elsewhere)


async def _changes(client: Client, tenant: str) -> None:
    more = {"event_types": ["more.*"], "filter": {"data": {"n": {"$gte": 1}}}}
    await client.change(tenant, "subscription.added", "good", **more)
    await client.change(tenant, "subscription.removed", "good", **more)
    await client.change(tenant, "secret.rotated", "good", secret="whsec_" + "MDEy" * 8, overlap_ms=60_000)
    await client.change(tenant, "endpoint.changed", "good", description="changed")
    await client.change(tenant, "endpoint.resumed", "paused", deliver_since_ms=1_700_000_000_000)
    await client.change(tenant, "endpoint.replay_requested", "flaky", since_ms=1_700_000_000_000, event_types=["a.*"])
    await client.change(tenant, "endpoint.disabled", "dead", reason="operator")
    source = {"type": "source.registered", "source_id": "s", "scheme": "bearer", "secrets": ["x"]}
    for change in (source, {"type": "source.unregistered", "source_id": "s"}):
        value = json.dumps(change).encode()
        await client.producer.send_and_wait(client.prefix + "subscriptions", value, key=tenant.encode())
    await client.change(tenant, "endpoint.unregistered", "good")
