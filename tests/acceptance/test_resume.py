"""What was skipped while an endpoint took nothing is delivered when it is resumed so, once each."""

import asyncio
import time
from collections import Counter
from typing import Any

from plain import Client, Receiver, tenant_name, until
from stack import Stack


def finals(client: Client, tenant: str) -> list[tuple[str, bool, int]]:
    return [(r["verdict"], "replay_id" in r, r["attempt"]) for r in client.results(tenant)]


async def test_what_was_skipped_is_delivered_once_each(client: Client, receiver: Receiver) -> None:
    await client.follow("results")
    tenant = tenant_name()
    await client.register(tenant, "ep", receiver.url + "/in")
    await client.event(tenant, "before", id="before")
    await until(lambda: len(client.results(tenant)) == 1, 20, "a first result")
    await client.change(tenant, "endpoint.paused", "ep")
    first = await client.event(tenant, "early", id="early")
    await asyncio.sleep(0.01)  # another millisecond
    second = await client.event(tenant, 1.10, id="a")
    assert second.timestamp > first.timestamp
    for name in "bcb":
        await client.event(tenant, name, id=name)
    await client.event(tenant, "x", kind="other.kind", id="other")
    await until(lambda: len(client.results(tenant)) == 6, 20, "skipped")
    await client.change(tenant, "endpoint.resumed", "ep", deliver_since_ms=second.timestamp)
    await until(lambda: len(client.results(tenant)) == 10, 20, "delivered")
    await client.event(tenant, "after", id="after")
    await until(lambda: len(client.results(tenant)) == 11, 20, "a live one")
    replayed = [result for result in client.results(tenant) if "replay_id" in result]
    assert sorted(result["event_id"] for result in replayed) == ["a", "b", "c", "other"]
    assert {(r["verdict"], r["attempt"]) for r in replayed} == {("delivered", 1)}
    posts = [post for post in receiver.at("/in") if "webhook-replay" in post.headers]
    assert {post.headers["webhook-replay"] for post in posts} == {replayed[0]["replay_id"]}
    assert len(posts) == 4
    assert b'"data":1.1' in next(p.body for p in posts if p.headers["webhook-id"] == replayed[0]["delivery_id"])
    # Again: nothing is skipped any more but what lies before that time.
    await client.change(tenant, "endpoint.resumed", "ep", deliver_since_ms=second.timestamp)
    await client.change(tenant, "endpoint.resumed", "ep", deliver_since_ms=0)
    await until(lambda: len(client.results(tenant)) == 12, 20, "the early one")
    await asyncio.sleep(1.0)
    assert len(client.results(tenant)) == 12
    assert client.results(tenant)[-1]["event_id"] == "early"


async def test_a_resume_that_is_said_twice_delivers_once_and_skipped_again_is_owed_again(
    client: Client, receiver: Receiver
) -> None:
    await client.follow("results")
    tenant, count = tenant_name(), 300
    await client.register(tenant, "ep", receiver.url + "/in", max_in_flight=2)
    await client.change(tenant, "endpoint.paused", "ep")
    await asyncio.gather(*(client.event(tenant, n, id=str(n)) for n in range(count)))
    await until(lambda: len(client.results(tenant)) == count, 20, "skipped")
    receiver.delay_s = 0.02
    for _ in range(3):
        await client.change(tenant, "endpoint.resumed", "ep", deliver_since_ms=0)
    await until(lambda: len(client.results(tenant)) >= count + 50, 20, "some are delivered")
    await client.change(tenant, "endpoint.paused", "ep")
    await until(lambda: len(client.results(tenant)) >= 2 * count, 30, "the rest is skipped again")
    receiver.delay_s = 0.0
    again = [r["event_id"] for r in client.results(tenant) if "replay_id" in r and r["verdict"] == "skipped"]
    assert 0 < len(again) < count
    await client.change(tenant, "endpoint.resumed", "ep", deliver_since_ms=0)
    await until(lambda: len(client.results(tenant)) >= 2 * count + len(again), 30, "the rest")
    await asyncio.sleep(1.0)
    delivered = Counter(r["event_id"] for r in client.results(tenant) if r["verdict"] == "delivered")
    assert delivered == Counter(str(n) for n in range(count))


async def test_what_was_skipped_at_its_retry_goes_on_counting(client: Client, receiver: Receiver) -> None:
    await client.follow("results")
    tenant = tenant_name()
    receiver.answers["/in"] = 500
    await client.register(tenant, "ep", receiver.url + "/in", retry={"schedule": ["1s", "1s"], "jitter": 0})
    event = await client.event(tenant, 1)
    await until(lambda: len(client.results(tenant)) == 1, 20, "a first attempt")
    await client.change(tenant, "endpoint.paused", "ep")
    await until(lambda: len(client.results(tenant)) == 2, 20, "skipped")
    receiver.answers["/in"] = 204
    await client.change(tenant, "endpoint.resumed", "ep", deliver_since_ms=event.timestamp)
    await until(lambda: len(client.results(tenant)) == 3, 20, "delivered")
    assert finals(client, tenant) == [("retrying", False, 1), ("skipped", False, 0), ("delivered", True, 2)]


async def test_what_was_skipped_before_the_verification_comes_after_it(client: Client, receiver: Receiver) -> None:
    await client.follow("results")
    tenant, started_ms = tenant_name(), int(time.time() * 1000) - 1_000
    receiver.hold["/in"] = asyncio.Event()
    await client.register(tenant, "ep", receiver.url + "/in", verification="okta")
    await client.event(tenant, 1)
    await client.change(tenant, "endpoint.resumed", "ep", deliver_since_ms=started_ms)
    await client.event(tenant, 2)
    await until(lambda: len(client.results(tenant)) == 2, 20, "skipped")
    await client.change(tenant, "endpoint.verified", "ep", method="operator")
    receiver.hold.pop("/in").set()
    of_events: list[dict[str, Any]] = []

    def delivered() -> bool:
        of_events[:] = [r for r in client.results(tenant) if r["event_type"] == "invoice.paid"]
        return len(of_events) == 4

    await until(delivered, 20, "delivered")
    assert Counter((r["verdict"], "replay_id" in r) for r in of_events) == {
        ("skipped", False): 2,
        ("delivered", True): 2,
    }


async def test_each_is_delivered_once_although_the_router_is_killed(alone: Stack, receiver: Receiver) -> None:
    count = 3_000
    async with Client(alone.kafka, alone.prefix) as client:
        await client.follow("results")
        tenant, began_ms = tenant_name(), int(time.time() * 1000) - 1_000
        await client.register(tenant, "ep", receiver.url + "/in")
        await client.change(tenant, "endpoint.paused", "ep")
        await asyncio.gather(*(client.event(tenant, n, id=str(n)) for n in range(count)))
        await until(lambda: len(client.results(tenant)) == count, 30, "all are skipped")
        await client.change(tenant, "endpoint.resumed", "ep", deliver_since_ms=began_ms)
        await until(lambda: len(client.results(tenant)) > count, 20, "a first one")
        alone.kill("router")
        alone.start("router")
        await until(lambda: len(client.results(tenant)) >= 2 * count, 60, "all are delivered")
        await asyncio.sleep(1.0)
        seen = Counter((r["event_id"], r["verdict"]) for r in client.results(tenant))
        assert set(seen.values()) == {1}
        assert len(seen) == 2 * count
