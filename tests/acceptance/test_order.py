"""`ordered_by`: deliveries with the same value keep their order over retries and restarts, and only they wait."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from plain import Client, Post, Receiver, tenant_name, until
from stack import Stack


async def register(client: Client, tenant: str, url: str, ordered_by: str = "data.account", **fields: Any) -> None:
    retry = {"schedule": ["1s", "2s"], "jitter": 0}
    await client.register(tenant, "ep", url, **{"ordered_by": ordered_by, "retry": retry, **fields})


def seen(receiver: Receiver) -> dict[str, list[int]]:
    """The numbers of each account as they came."""
    found = defaultdict(list)
    for post in receiver.at("/in"):
        data = json.loads(post.body)["data"]
        found[data["account"]].append(data["n"])
    return found


async def test_only_the_account_whose_delivery_fails_waits_for_it(client: Client, receiver: Receiver) -> None:
    await client.follow("results")
    tenant = tenant_name()

    def fail_first_of_a_twice(post: Post) -> int:
        data = json.loads(post.body)["data"]
        return 500 if data == {"account": "a", "n": 0} and post.headers["webhook-attempt"] != "3" else 204

    receiver.answers["/in"] = fail_first_of_a_twice
    await register(client, tenant, receiver.url + "/in")
    for number in range(5):
        for account in ("a", "b"):
            await client.event(tenant, {"account": account, "n": number})
    await until(lambda: sum(r["verdict"] == "delivered" for r in client.results(tenant)) == 10, 30, "delivered")
    assert seen(receiver) == {"a": [0, 0, 0, 1, 2, 3, 4], "b": [0, 1, 2, 3, 4]}
    ended = {(post.path, json.loads(post.body)["data"]["account"]): post.at_s for post in receiver.at("/in")}
    assert ended["/in", "b"] + 2 < ended["/in", "a"]
    assert {r["attempt"] for r in client.results(tenant) if r["verdict"] == "delivered"} == {1, 3}


async def test_what_is_given_up_lets_the_next_one_go(client: Client, receiver: Receiver) -> None:
    await client.follow("results", "dead-letters")
    tenant = tenant_name()
    receiver.answers["/in"] = lambda post: 400 if json.loads(post.body)["data"]["n"] == 1 else 204
    await register(client, tenant, receiver.url + "/in")
    for number in range(4):
        await client.event(tenant, {"account": 7, "n": number})
    await until(lambda: len(client.results(tenant)) == 6, 30, "results")
    assert [r["verdict"] for r in client.results(tenant)] == [
        *("delivered", "retrying", "retrying", "dead"),
        *("delivered", "delivered"),
    ]
    assert seen(receiver) == {7: [0, 1, 1, 1, 2, 3]}


@pytest.mark.parametrize(
    ("ordered_by", "event"),
    [
        ("subject", {"ce_subject": b"s"}),
        ("type", {}),
        ("partitionkey", {"ce_partitionkey": b"p"}),
        ("data.a\\.b.0x", {}),
    ],
)
async def test_an_attribute_or_a_path_may_give_the_order(
    client: Client, receiver: Receiver, ordered_by: str, event: dict[str, bytes]
) -> None:
    await client.follow("results")
    tenant = tenant_name()
    receiver.answers["/in"] = lambda post: (
        500 if (post.headers["webhook-attempt"], post.body[-4:]) == ("1", b"0}}}") else 204
    )
    await register(client, tenant, receiver.url + "/in", ordered_by, payload={"format": "standard"})
    for number in range(3):
        headers = {"ce_id": f"{tenant}-{number}".encode(), "ce_type": b"a.b", "ce_source": b"/t", **event}
        data = json.dumps({"a.b": {"0x": True, "n": number}}).encode()
        await client.producer.send_and_wait(
            client.prefix + "events", data, key=tenant.encode(), headers=list(headers.items())
        )
    await until(lambda: sum(r["verdict"] == "delivered" for r in client.results(tenant)) == 3, 30, "delivered")
    got = [json.loads(post.body)["data"]["a.b"]["n"] for post in receiver.at("/in")]
    assert got == [0, 0, 1, 2]


async def test_an_event_without_the_value_waits_for_nobody(client: Client, receiver: Receiver) -> None:
    await client.follow("results")
    tenant = tenant_name()
    receiver.answers["/in"] = lambda post: 500 if b'"n": 0' in post.body else 204
    await register(client, tenant, receiver.url + "/in")
    for number in range(3):
        await client.event(tenant, {"n": number})
        await client.event(tenant, {"n": number, "account": None})
        await client.event(tenant, {"n": number, "account": ["a"]})
    await until(lambda: sum(r["verdict"] == "delivered" for r in client.results(tenant)) == 6, 10, "delivered")


async def test_order_survives_the_death_of_the_egress_while_a_delivery_waits(
    started: Callable[..., Awaitable[Stack]], receiver: Receiver
) -> None:
    stack = await started()
    async with Client(stack.kafka, stack.prefix) as client:
        await client.follow("results", "ordering")
        tenant = tenant_name()
        receiver.answers["/in"] = lambda post: (
            500 if post.headers["webhook-attempt"] == "1" and b'"n":0' in post.body.replace(b" ", b"") else 204
        )
        await register(client, tenant, receiver.url + "/in", retry={"schedule": ["8s"], "jitter": 0})
        for number in range(3):
            await client.event(tenant, {"account": "a", "n": number})
        await until(lambda: len(client.results(tenant)) == 1, 20, "the first failure")
        await asyncio.to_thread(stack.kill, "egress")
        for number in range(3, 6):
            await client.event(tenant, {"account": "a", "n": number})
        stack.start("egress")
        await until(lambda: sum(r["verdict"] == "delivered" for r in client.results(tenant)) == 6, 40, "delivered")
        assert seen(receiver)["a"] == [0, 0, 1, 2, 3, 4, 5]
        await until(lambda: client.records["ordering"][-1].value is None, 10, "the line's end")


async def test_an_ordered_delivery_that_is_too_old_is_not_tried_again(
    started: Callable[..., Awaitable[Stack]], receiver: Receiver
) -> None:
    stack = await started(HOOKFOLD_ORDER_WAIT="3s")
    async with Client(stack.kafka, stack.prefix) as client:
        await client.follow("results")
        tenant = tenant_name()
        receiver.answers["/in"] = 503
        schedule = ["1s", "1s", "1h"]
        await register(client, tenant, receiver.url + "/in", retry={"schedule": schedule, "jitter": 0})
        for number in range(3):
            await client.event(tenant, {"account": "a", "n": number}, id=f"{number}")
        await until(lambda: sum(r["verdict"] == "dead" for r in client.results(tenant)) == 3, 30, "dead")
        told = [(r["event_id"], r["attempt"], r["verdict"]) for r in client.results(tenant)]
        assert told[:3] == [("0", 1, "retrying"), ("0", 2, "retrying"), ("0", 3, "dead")]
        assert [event for event, _, verdict in told if verdict == "dead"] == ["0", "1", "2"]


@pytest.mark.parametrize("ordered_by", ["", "Data.x", "data.", "data..x", "subject.x", "a b", "data.x\n"])
async def test_what_is_no_path_is_refused(client: Client, receiver: Receiver, ordered_by: str) -> None:
    await client.follow("rejected")
    tenant = tenant_name()
    await register(client, tenant, receiver.url, ordered_by)
    await until(lambda: any(r.key == tenant.encode() for r in client.records["rejected"]), 20, "rejected")
    (record,) = [r for r in client.records["rejected"] if r.key == tenant.encode()]
    assert b"ordered_by" in dict(record.headers)["rejected-reason"]
