"""A receiver that takes nothing is left alone, told of, given up in the end, and found again when it is back."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from plain import SECRET, Answer, Api, Client, Receiver, registration, tenant_name, until
from stack import Stack, free_port

ONCE = {"schedule": ["1s"], "jitter": 0}


def verdicts(client: Client, tenant: str, endpoint_id: str = "ep") -> list[str]:
    return [r["verdict"] for r in client.results(tenant) if r["endpoint_id"] == endpoint_id]


def changes(client: Client, tenant: str) -> list[dict[str, Any]]:
    """What the egress has said of the tenant's endpoints."""
    told = [json.loads(r.value) for r in client.records["subscriptions"] if r.key == tenant.encode()]
    return [one for one in told if one["type"] in ("endpoint.failing", "endpoint.recovered", "endpoint.disabled")]


async def test_who_is_away_is_asked_now_and_then_and_gets_all_when_it_is_back(client: Client) -> None:
    tenant, port = tenant_name(), free_port()
    await client.follow("results")
    schedule = {"schedule": ["1s"] * 20, "jitter": 0}
    await client.register(tenant, "ep", f"http://127.0.0.1:{port}/in", retry=schedule)
    for number in range(100):
        await client.event(tenant, number)
    await until(lambda: len(client.results(tenant)) >= 5, 20, "failures")
    await asyncio.sleep(7.0)
    # Five open the breaker, those under way at that moment end, and from then on one at a time decides.
    assert 5 <= len(client.results(tenant)) <= 5 + 2 + 2
    assert {r["error_kind"] for r in client.results(tenant)} == {"refused"}
    async with Receiver(port) as receiver:
        await until(lambda: verdicts(client, tenant).count("delivered") == 100, 60, "all of them")
        assert len({post.headers["webhook-id"] for post in receiver.posts}) == 100


async def test_one_that_asks_for_a_pause_gets_nothing_meanwhile(client: Client, receiver: Receiver) -> None:
    tenant = tenant_name()
    await client.follow("results")
    receiver.answers["/in"] = lambda post: (
        Answer(429, headers={"retry-after": "4"}) if len(receiver.at("/in")) == 1 else 204
    )
    await client.register(tenant, "ep", receiver.url + "/in", retry=ONCE, max_in_flight=1)
    await client.event(tenant, 0)
    await until(lambda: len(client.results(tenant)) == 1, 20, "the first answer")
    for number in range(1, 20):
        await client.event(tenant, number)
    await until(lambda: verdicts(client, tenant).count("delivered") == 20, 30, "all of them")
    first, second, *_ = receiver.at("/in")
    assert second.at_s - first.at_s >= 4.0
    again = client.results(tenant)[0]["event_id"]
    assert {r["attempt"] for r in client.results(tenant) if r["event_id"] != again} == {1}


async def test_a_fault_of_the_receivers_code_stops_nothing_else(client: Client, receiver: Receiver) -> None:
    tenant = tenant_name()
    await client.follow("results")
    receiver.answers["/in"] = lambda post: 500 if post.verify()["data"] < 20 else 204
    await client.register(tenant, "ep", receiver.url + "/in", retry=ONCE)
    for number in range(21):
        await client.event(tenant, number)
    began = time.monotonic()
    await until(lambda: "delivered" in verdicts(client, tenant), 10, "the event that the receiver can take")
    assert time.monotonic() - began < 4.5


async def test_an_endpoint_that_is_changed_gets_a_new_chance_at_once(client: Client, receiver: Receiver) -> None:
    tenant = tenant_name()
    await client.follow("results")
    await client.register(tenant, "ep", f"http://127.0.0.1:{free_port()}/", retry={"schedule": ["1h"], "jitter": 0})
    for number in range(8):
        await client.event(tenant, number)
    await until(lambda: len(client.results(tenant)) >= 5, 20, "failures")
    await client.change(tenant, "endpoint.changed", "ep", url=receiver.url + "/in")
    await asyncio.sleep(1.0)
    await client.event(tenant, "new")
    await until(lambda: any(post.verify()["data"] == "new" for post in receiver.at("/in")), 3.0, "the new event")


async def test_failing_and_recovered_are_changes_state_and_events(api: Api, client: Client, receiver: Receiver) -> None:
    tenant = api.tenant
    await client.follow("results", "subscriptions")
    kinds = {"ops": "hookfold.endpoint.*", "all": "**", "ep": "invoice.*"}
    for endpoint_id, kind in kinds.items():
        given = {"endpoint_id": endpoint_id, "url": f"{receiver.url}/{endpoint_id}", "secrets": [SECRET]}
        given |= {"subscriptions": [{"event_types": [kind]}], "retry": ONCE}
        made = await api.ok("POST", "/endpoints", registration(receiver, **given), 201)
    receiver.answers["/ep"] = lambda post: 500 if post.verify()["data"] == "bad" else 204
    began_ms = time.time() * 1_000 - 1_000
    await client.event(tenant, "bad")
    await until(lambda: verdicts(client, tenant).count("dead") == 1, 20, "dead")
    (failing,) = changes(client, tenant)
    assert failing["type"] == "endpoint.failing"
    assert began_ms <= failing["since_ms"] <= time.time() * 1_000
    await until(lambda: len(receiver.at("/ops")) == 1, 20, "the event that tells of it")
    shown = await api.ok("GET", "/endpoints/ep")
    assert (shown["state"], shown["failing_since_ms"]) == ("active", failing["since_ms"])
    # A change of health is no change of the settings that were read.
    await api.ok("PATCH", "/endpoints/ep", {"description": "x"}, if_match=f'"{made["version"]}"')
    await client.event(tenant, "good")
    await until(lambda: len(receiver.at("/ops")) == 2, 20, "and of its end")
    told = [post.verify() for post in receiver.at("/ops")]
    assert [(one["type"], one["data"]["endpoint_id"]) for one in told] == [
        ("hookfold.endpoint.failing", "ep"),
        ("hookfold.endpoint.recovered", "ep"),
    ]
    assert told[0]["data"]["since_ms"] == told[1]["data"]["failing_since_ms"] == failing["since_ms"]
    assert [one["type"] for one in changes(client, tenant)] == ["endpoint.failing", "endpoint.recovered"]
    assert (await api.ok("GET", "/endpoints/ep")).get("failing_since_ms") is None
    assert {post.verify()["type"] for post in receiver.at("/all")} == {"invoice.paid"}


async def test_one_that_accepts_nothing_for_long_is_disabled(
    started: Callable[..., Awaitable[Stack]], receiver: Receiver
) -> None:
    stack = await started(HOOKFOLD_DISABLE_AFTER="3s")
    async with Client(stack.kafka, stack.prefix) as client:
        await client.follow("results", "subscriptions", "endpoints")
        tenant = tenant_name()
        receiver.answers["/in"] = 500
        ops = [{"event_types": ["hookfold.endpoint.disabled"]}]
        await client.register(tenant, "ops", receiver.url + "/ops", subscriptions=ops)
        await client.register(tenant, "ep", receiver.url + "/in", retry={"schedule": ["1s"] * 9, "jitter": 0})
        await client.event(tenant, 1, id="e-1")
        await until(lambda: len(receiver.at("/ops")) == 1, 30, "the event that tells of it")
        told = receiver.at("/ops")[0].verify()
        assert told["data"]["endpoint_id"] == "ep"
        assert told["data"]["reason"] == "failing"
        await until(lambda: verdicts(client, tenant)[-1:] == ["skipped"], 20, "the rest is skipped")
        record = json.loads([r for r in client.records["endpoints"] if r.key.endswith(b"/ep")][-1].value)
        assert (record["state"], record["reason"]) == ("disabled", "failing")
        assert [one["type"] for one in changes(client, tenant)][:2] == ["endpoint.failing", "endpoint.disabled"]
        first = next(r for r in client.results(tenant) if r["attempt"] == 1)
        last = max(r["attempted_at_ms"] for r in client.results(tenant) if r["attempt"] and r["endpoint_id"] == "ep")
        assert 2_900 <= last - first["attempted_at_ms"] <= 8_000


@pytest.mark.parametrize(
    ("status", "header", "verdict", "state"),
    [
        (500, "abort", "dead", "active"),
        (400, " Abort ", "dead", "active"),
        (503, "disable", "dead", "disabled"),
        (204, "disable", "delivered", "disabled"),
        (204, "abort", "delivered", "active"),
        (500, "later", "retrying", "active"),
    ],
)
async def test_a_receiver_may_end_a_delivery_or_all(
    client: Client, receiver: Receiver, status: int, header: str, verdict: str, state: str
) -> None:
    tenant = tenant_name()
    await client.follow("results", "endpoints")
    receiver.answers["/in"] = lambda post: Answer(status, headers={"webhook-delivery": header})
    await client.register(tenant, "ep", receiver.url + "/in", retry={"schedule": ["1h"], "jitter": 0})
    await client.event(tenant, 1)
    await until(lambda: verdicts(client, tenant) == [verdict], 20, verdict)

    def record() -> dict[str, Any]:
        mine = [r.value for r in client.records["endpoints"] if r.key == f"{tenant}/ep".encode()]
        found: dict[str, Any] = json.loads(mine[-1]) if mine else {}
        return found

    await until(lambda: record().get("state") == state, 10, state)
    assert record().get("reason") == ("gone" if state == "disabled" else None)


async def test_a_4xx_is_given_up_where_that_was_asked_for(client: Client, receiver: Receiver) -> None:
    tenant = tenant_name()
    await client.follow("results")
    statuses = [400, 401, 404, 422, 499, 408, 425, 429, 500]
    receiver.answers["/in"] = lambda post: post.verify()["data"]
    retry = {"schedule": ["1h"], "jitter": 0, "client_errors": "dead"}
    await client.register(tenant, "ep", receiver.url + "/in", retry=retry)
    for status in statuses:
        await client.event(tenant, status)
    await until(lambda: len(client.results(tenant)) == len(statuses), 20, "results")
    by_status = {r["status_code"]: r["verdict"] for r in client.results(tenant)}
    assert by_status == {s: "dead" if s in (400, 401, 404, 422, 499) else "retrying" for s in statuses}


async def test_nobody_else_may_speak_as_hookfold(client: Client) -> None:
    tenant = tenant_name()
    await client.follow("rejected")
    await client.event(tenant, 1, "hookfold.endpoint.disabled")
    await until(lambda: any(r.key == tenant.encode() for r in client.records["rejected"]), 20, "rejected")
