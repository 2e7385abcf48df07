"""Delivered again on purpose: one delivery, what an endpoint got, or what was there before it was."""

import asyncio
import time
from collections import Counter
from typing import Any

from plain import SECRET, Api, Client, Post, Receiver, deliveries, registration, until

NEVER = {"schedule": [], "jitter": 0}


def results(client: Client, api: Api, endpoint_id: str = "ep") -> list[dict[str, Any]]:
    return [one for one in client.results(api.tenant) if one["endpoint_id"] == endpoint_id]


async def register(api: Api, receiver: Receiver, **more: Any) -> dict[str, Any]:
    given = {"endpoint_id": "ep", "secrets": [SECRET], "retry": NEVER, **more}
    made: dict[str, Any] = await api.ok("POST", "/endpoints", registration(receiver, **given), 201)
    return made


async def test_a_dead_delivery_is_retried_as_the_same(client: Client, api: Api, receiver: Receiver) -> None:
    await client.follow("results")
    broken = [True]
    receiver.answers["/in"] = lambda post: 500 if broken[0] else 204
    await register(api, receiver)
    await client.event(api.tenant, {"price": 1}, id="e-1")
    (dead,) = await deliveries(api, 1, "?verdict=dead")
    path = f"/deliveries/{dead['delivery_id']}/retry"
    begun = await api.ok("POST", path, status=202)
    assert begun["attempt"] == 2
    await until(lambda: len(results(client, api)) == 2, 20, "the second failure")
    broken[0] = False
    receiver.hold["/in"] = asyncio.Event()
    await until(lambda: len(receiver.at("/in")) == 2, 20, "two posts")
    again = await api.call("POST", path)
    while again.status == 409:  # the view has yet to see how the first has ended
        again = await api.call("POST", path)
    assert (again.status, again.json["attempt"]) == (202, 3)
    assert (await api.call("POST", path)).status == 409
    receiver.hold.pop("/in").set()
    await until(lambda: len(results(client, api)) == 3, 20, "the success")
    posts: list[Post] = receiver.at("/in")
    assert {post.headers["webhook-id"] for post in posts} == {dead["delivery_id"]}
    assert [post.headers["webhook-attempt"] for post in posts] == ["1", "2", "3"]
    assert [post.headers.get("webhook-replay") for post in posts] == [None, begun["replay_id"], again.json["replay_id"]]
    assert [(r["verdict"], r.get("replay_id")) for r in results(client, api)] == [
        ("dead", None),
        ("dead", begun["replay_id"]),
        ("delivered", again.json["replay_id"]),
    ]


async def test_what_cannot_be_retried_says_why(client: Client, api: Api, receiver: Receiver) -> None:
    await register(api, receiver, retry={"schedule": ["1h"], "jitter": 0})
    receiver.answers["/in"] = 500
    assert (await api.call("POST", "/deliveries/nothing/retry")).status == 404
    await client.event(api.tenant, 1)
    (waiting,) = await deliveries(api, 1, "?verdict=retrying")
    refused = await api.call("POST", f"/deliveries/{waiting['delivery_id']}/retry")
    assert (refused.status, "still being retried" in refused.json["detail"]) == (409, True)
    assert (await api.call("POST", "/endpoints/ep/replay", {"since_ms": 2, "until_ms": 1})).status == 422
    assert (await api.call("POST", "/endpoints/ep/replay", {"since_ms": 0, "event_types": ["**.a"]})).status == 422
    assert (await api.call("POST", "/endpoints/nobody/replay", {"since_ms": 0})).status == 404
    assert (await api.call("DELETE", "/endpoints/ep/replays/3-3")).status == 404
    await api.ok("POST", "/endpoints/ep/pause")
    refused = await api.call("POST", "/endpoints/ep/replay", {"since_ms": 0})
    assert (refused.status, "paused" in refused.json["detail"]) == (409, True)


async def test_a_range_is_replayed_as_was_asked_for(client: Client, api: Api, receiver: Receiver) -> None:
    await client.follow("results")
    await register(api, receiver, subscriptions=[{"event_types": ["*"]}])
    await register(api, receiver, endpoint_id="other", url=receiver.url + "/other")
    receiver.answers["/in"] = lambda post: 500 if post.verify()["data"] % 2 and len(results(client, api)) < 20 else 204
    for number in range(20):
        await client.event(api.tenant, number, "invoice.paid" if number < 10 else "user.joined", id=f"e-{number}")
    await until(lambda: len(results(client, api)) == 20, 20, "results")
    await deliveries(api, 20, "?endpoint_id=ep")
    asked = {"since_ms": 0, "event_types": ["invoice.*"], "verdicts": ["dead"]}
    begun = await api.ok("POST", "/endpoints/ep/replay", asked, 202)
    await until(lambda: len(results(client, api)) == 25, 20, "the replayed")
    again = [one for one in results(client, api) if one.get("replay_id") == begun["replay_id"]]
    assert Counter((one["event_id"], one["verdict"], one["attempt"]) for one in again) == Counter(
        (f"e-{number}", "delivered", 2) for number in (1, 3, 5, 7, 9)
    )
    began = time.monotonic()
    everything = await api.ok("POST", "/endpoints/ep/replay", {"since_ms": 0, "rate_per_s": 8}, 202)
    await until(lambda: len(results(client, api)) == 45, 20, "all of them once more")
    assert time.monotonic() - began >= 1.3
    again = [one for one in results(client, api) if one.get("replay_id") == everything["replay_id"]]
    assert {one["event_id"] for one in again} == {f"e-{number}" for number in range(20)}
    assert {post.headers.get("webhook-replay") for post in receiver.at("/other")} == {None}
    end = time.monotonic() + 10
    while (await api.ok("GET", "/endpoints/ep"))["replays"]:  # it looks through to the end of the log
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def test_a_replay_shows_how_far_it_is_and_can_be_cancelled(client: Client, api: Api, receiver: Receiver) -> None:
    await client.follow("results")
    await register(api, receiver)
    for number in range(30):
        await client.event(api.tenant, number)
    await until(lambda: len(results(client, api)) == 30, 20, "results")
    begun = await api.ok("POST", "/endpoints/ep/replay", {"since_ms": 0, "rate_per_s": 5}, 202)
    await until(lambda: len(results(client, api)) > 31, 20, "some of the replay")
    (shown,) = (await api.ok("GET", "/endpoints/ep"))["replays"]
    assert (shown["replay_id"], shown["kind"]) == (begun["replay_id"], "replay")
    assert shown["next_offset"] < shown["end_offset"]
    await api.ok("DELETE", f"/endpoints/ep/replays/{begun['replay_id']}", status=204)
    await asyncio.sleep(0.5)
    made = len(results(client, api))
    await asyncio.sleep(2.0)
    assert len(results(client, api)) == made < 60
    assert (await api.ok("GET", "/endpoints/ep"))["replays"] == []


async def test_a_subscription_may_begin_in_the_past(client: Client, api: Api, receiver: Receiver) -> None:
    await client.follow("results")
    since_ms = int(time.time() * 1000) - 60_000
    await register(api, receiver)
    for number in range(10):
        await client.event(api.tenant, number, "invoice.paid" if number < 6 else "user.joined", id=f"e-{number}")
    await until(lambda: len(results(client, api)) == 6, 20, "results")
    await deliveries(api, 6)
    added = {"event_types": ["user.*"], "filter": {"data": {"$gte": 8}}, "deliver_since_ms": since_ms}
    await api.ok("POST", "/endpoints/ep/subscriptions", added)
    await until(lambda: len(results(client, api)) == 8, 20, "what was there before")
    await register(api, receiver, endpoint_id="late", deliver_since_ms=since_ms)
    await until(lambda: len(results(client, api, "late")) == 6, 20, "all that a new endpoint would have got")
    await client.event(api.tenant, 10, "invoice.paid", id="e-10")
    await until(lambda: len(results(client, api, "late")) == 7, 20, "and what comes")
    await asyncio.sleep(0.5)
    assert Counter(one["event_id"] for one in results(client, api)) == Counter(
        f"e-{number}" for number in (*range(6), 8, 9, 10)
    )
    assert {one["attempt"] for one in client.results(api.tenant)} == {1}
    assert {one["verdict"] for one in client.results(api.tenant)} == {"delivered"}
