"""Several deliveries in one request: closed by items or age, answered item by item, none lost or doubled."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from plain import SECRET, Answer, Client, Post, Receiver, tenant_name, until
from stack import Stack


async def register(client: Client, tenant: str, url: str, batch: dict[str, Any], **fields: Any) -> None:
    await client.register(tenant, "ep", url, batch=batch, retry={"schedule": ["1s", "1s"], "jitter": 0}, **fields)


def items_of(post: Post) -> list[dict[str, Any]]:
    items = post.verify(SECRET)
    assert isinstance(items, list)
    return items


async def test_a_batch_is_one_signed_request_with_a_result_for_each(client: Client, receiver: Receiver) -> None:
    await client.follow("results")
    tenant = tenant_name()
    await register(client, tenant, receiver.url + "/in", {"max_items": 3, "max_wait_ms": 60_000})
    for number in range(6):
        await client.event(tenant, number, id=f"e-{number}")
    await until(lambda: len(client.results(tenant)) == 6, 20, "results")
    first, second = receiver.at("/in")
    assert [len(items_of(post)) for post in (first, second)] == [3, 3]
    results = client.results(tenant)
    assert {(r["verdict"], r["attempt"]) for r in results} == {("delivered", 1)}
    assert Counter(r["batch_id"] for r in results) == {post.headers["webhook-id"]: 3 for post in (first, second)}
    sent = {item["id"]: item["data"] for post in (first, second) for item in items_of(post)}
    assert sent == {r["delivery_id"]: int(r["event_id"][2:]) for r in results}


async def test_a_lone_event_waits_as_long_as_was_said(client: Client, receiver: Receiver) -> None:
    await client.follow("results")
    tenant = tenant_name()
    await register(client, tenant, receiver.url + "/in", {"max_items": 100, "max_wait_ms": 1_500})
    began = time.time()
    await client.event(tenant, 1)
    await until(lambda: bool(client.results(tenant)), 20, "a result")
    (post,) = receiver.at("/in")
    assert 1.4 <= post.at_s - began <= 4
    assert len(items_of(post)) == 1


async def test_only_the_items_that_failed_are_sent_again(client: Client, receiver: Receiver) -> None:
    await client.follow("results", "dead-letters")
    tenant = tenant_name()

    def fail_odd(post: Post) -> Answer:
        odd = [{"id": item["id"], "error": "odd"} for item in items_of(post) if item["data"] % 2]
        always = [one for one in odd if post.headers["webhook-attempt"] in ("1", "2", "3")]
        return Answer(body=json.dumps({"failed": always}).encode())

    receiver.answers["/in"] = fail_odd
    await register(client, tenant, receiver.url + "/in", {"max_items": 4, "max_wait_ms": 300})
    for number in range(4):
        await client.event(tenant, number, id=f"e-{number}")
    await until(lambda: len(client.results(tenant)) == 8, 30, "results")
    assert [sorted(item["data"] for item in items_of(post)) for post in receiver.at("/in")] == [
        [0, 1, 2, 3],
        [1, 3],
        [1, 3],
    ]
    by_event = Counter((r["event_id"], r["verdict"], r["attempt"]) for r in client.results(tenant))
    assert by_event == Counter(
        [("e-0", "delivered", 1), ("e-2", "delivered", 1)]
        + [(event, verdict, n) for event in ("e-1", "e-3") for n, verdict in enumerate(["retrying"] * 2 + ["dead"], 1)]
    )
    assert {r["error"] for r in client.results(tenant) if r["verdict"] == "dead"} == {
        "the receiver failed this item: odd"
    }
    await until(lambda: len(client.records["dead-letters"]) >= 2, 20, "dead letters")


async def test_a_batch_that_is_too_large_for_its_receiver_is_halved(client: Client, receiver: Receiver) -> None:
    await client.follow("results")
    tenant = tenant_name()
    receiver.answers["/in"] = lambda post: 413 if len(items_of(post)) > 2 else 204
    await register(client, tenant, receiver.url + "/in", {"max_items": 7, "max_wait_ms": 60_000})
    for number in range(7):
        await client.event(tenant, number)
    await until(lambda: len(client.results(tenant)) == 7, 20, "results")
    assert {(r["verdict"], r["attempt"]) for r in client.results(tenant)} == {("delivered", 1)}
    assert [len(items_of(post)) for post in receiver.at("/in")] == [7, 3, 1, 2, 4, 2, 2]


async def test_cloudevents_go_as_their_own_batch(client: Client, receiver: Receiver) -> None:
    await client.follow("results")
    tenant = tenant_name()
    batch = {"max_items": 2, "max_wait_ms": 60_000}
    await register(client, tenant, receiver.url + "/in", batch, payload={"format": "cloudevents", "fields": ["data.n"]})
    for number in range(2):
        await client.event(tenant, {"n": number, "secret": 1}, id=f"e-{number}")
    await until(lambda: len(client.results(tenant)) == 2, 20, "results")
    (post,) = receiver.at("/in")
    assert post.headers["content-type"] == "application/cloudevents-batch+json"
    deliveries = {r["event_id"]: r["delivery_id"] for r in client.results(tenant)}
    assert {item["id"]: (item["deliveryid"], item["data"]) for item in items_of(post)} == {
        f"e-{n}": (deliveries[f"e-{n}"], {"n": n}) for n in range(2)
    }


async def test_what_waits_for_its_batch_survives_its_process_and_does_not_count_as_a_standstill(
    started: Callable[..., Awaitable[Stack]], receiver: Receiver
) -> None:
    stack = await started(HOOKFOLD_STALL_EXIT_MS="4000")
    async with Client(stack.kafka, stack.prefix) as client:
        await client.follow("results")
        tenant = tenant_name()
        await register(client, tenant, receiver.url + "/in", {"max_items": 100, "max_wait_ms": 9_000})
        for number in range(5):
            await client.event(tenant, number, id=f"e-{number}")
        await asyncio.sleep(2.0)
        await asyncio.to_thread(stack.kill, "egress")
        stack.start("egress")
        pid = stack.pid("egress")
        await until(lambda: len(client.results(tenant)) == 5, 40, "results")
        assert stack.alive("egress")
        assert stack.pid("egress") == pid
        assert "stood still" not in stack.log("egress")
        assert [len(items_of(post)) for post in receiver.at("/in")] == [5]
        assert {(r["verdict"], r["attempt"]) for r in client.results(tenant)} == {("delivered", 1)}
