"""Each row of the table of changes, through Kafka: what `endpoints` and the HTTP API show of it, and what it does."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from plain import SECRET, Api, Client, Receiver, tenant_name, until
from stack import Stack

OTHER = "whsec_b3RoZXItb3RoZXItb3RoZXItb3RoZXI="
SECOND = {"event_types": ["order.*"], "filter": "type LIKE '%'"}

#: Changes in their order, and what is seen after the last.
ROWS: dict[str, tuple[list[tuple[str, dict[str, Any]]], dict[str, Any], str | None]] = {
    "endpoint.registered": ([], {"state": "active", "verified": True, "description": None}, "delivered"),
    "endpoint.registered again": (
        [("endpoint.changed", {"description": "x"}), ("endpoint.registered", {"verification": "okta"})],
        {"state": "pending", "verifying": True, "description": None},
        "skipped",
    ),
    "endpoint.changed": (
        [("endpoint.changed", {"description": "x", "max_in_flight": 3, "rate_per_s": 5.5})],
        {"state": "active", "description": "x", "max_in_flight": 3, "rate_per_s": 5.5},
        "delivered",
    ),
    "endpoint.verified": (
        [("endpoint.registered", {"verification": "okta"}), ("endpoint.verified", {"method": "operator"})],
        {"state": "active", "verified": True, "verifying": False},
        "delivered",
    ),
    "endpoint.paused": ([("endpoint.paused", {"reason": "x"})], {"state": "paused", "reason": "x"}, "skipped"),
    "endpoint.resumed": (
        [("endpoint.paused", {"reason": "x"}), ("endpoint.resumed", {})],
        {"state": "active", "reason": None},
        "delivered",
    ),
    "endpoint.disabled": (
        [("endpoint.disabled", {"reason": "failing"})],
        {"state": "disabled", "reason": "failing"},
        "skipped",
    ),
    "endpoint.disabled, resumed": (
        [("endpoint.disabled", {"reason": "operator"}), ("endpoint.resumed", {})],
        {"state": "active", "reason": None},
        "delivered",
    ),
    "endpoint.failing": (
        [("endpoint.failing", {"since_ms": 7})],
        {"state": "active", "failing_since_ms": 7},
        "delivered",
    ),
    "endpoint.recovered": (
        [("endpoint.failing", {"since_ms": 7}), ("endpoint.recovered", {"since_ms": 8})],
        {"state": "active", "failing_since_ms": None},
        "delivered",
    ),
    "subscription.added": (
        [("subscription.added", SECOND)],
        {"subscriptions": [{"event_types": ["*"]}, SECOND]},
        "delivered",
    ),
    "subscription.removed": ([("subscription.removed", {"event_types": ["*"]})], {"subscriptions": []}, None),
    "secret.rotated": ([("secret.rotated", {"secret": OTHER})], {"state": "active"}, "delivered"),
    "endpoint.unregistered": ([("endpoint.unregistered", {})], {"state": "gone"}, None),
}


@pytest.mark.parametrize("row", ROWS)
async def test_a_change_does_what_its_row_says(
    client: Client, receiver: Receiver, make_api: Callable[..., Api], row: str
) -> None:
    changes, expected, verdict = ROWS[row]
    tenant = tenant_name()
    receiver.answers["/okta"] = 500
    await client.follow("endpoints", "results")
    last = await client.register(tenant, "ep", receiver.url + "/in")
    for kind, fields in changes:
        if kind == "endpoint.registered":
            fields = {**fields, "retry": {"schedule": ["1d"]}}
            last = await client.register(tenant, "ep", receiver.url + "/okta", **fields)
        else:
            last = await client.change(tenant, kind, "ep", **fields)

    def states() -> list[dict[str, Any]]:
        return [json.loads(r.value) for r in client.records["endpoints"] if r.key == f"{tenant}/ep".encode()]

    version = f"{last.partition}-{last.offset}"
    await until(lambda: bool(states()) and states()[-1]["version"] == version, 20, f"version {version}")
    state = states()[-1]
    async with make_api(tenant, "read") as api:
        end = time.monotonic() + 20
        gone = expected.get("state") == "gone"
        while (said := await api.call("GET", "/endpoints/ep")).json.get("version") != version:
            if gone and said.status == 404:
                break
            assert time.monotonic() < end, said
            await asyncio.sleep(0.05)
    if gone:
        assert (said.status, state["state"]) == (404, "gone")
    else:
        assert {name: said.json.get(name) for name in expected} == expected
        shown = {name: value for name, value in expected.items() if name != "verifying"}
        assert {name: state.get(name) for name in shown} == shown
    await client.event(tenant, 1, kind="order.made")
    if verdict is None:
        await client.register(tenant, "after", receiver.url + "/after")
        await client.event(tenant, 2, kind="order.made")
        await until(lambda: bool(receiver.at("/after")), 20, "a later event")

    def verdicts() -> list[str]:
        mine = [r for r in client.results(tenant) if r["event_type"] == "order.made" and r["endpoint_id"] == "ep"]
        return [r["verdict"] for r in mine if r["verdict"] != "retrying"]

    if verdict is not None:
        path = "/okta" if any(kind == "endpoint.registered" for kind, _ in changes) else "/in"
        receiver.answers["/okta"] = 204
        await until(lambda: bool(verdicts()), 20, f"a result: {client.results(tenant)}")
        if verdict == "delivered":
            post = receiver.at(path)[-1]
            post.verify(SECRET)
            if row == "secret.rotated":
                post.verify(OTHER)
    assert verdicts() == ([verdict] if verdict is not None else [])


async def test_an_event_behind_more_changes_than_a_transaction_has_is_judged_by_all_of_them(
    stack: Stack, client: Client, receiver: Receiver
) -> None:
    tenant, changes = tenant_name(), 11_000
    await client.follow("results")
    sent = [
        await client.producer.send(
            client.prefix + "subscriptions",
            json.dumps(
                {
                    "type": "endpoint.registered",
                    "endpoint_id": f"ep-{number}",
                    "url": f"{receiver.url}/{number}",
                    "subscriptions": [{"event_types": ["invoice.*" if number == changes - 1 else "other"]}],
                    "secrets": [],
                    "verification": "none",
                }
            ).encode(),
            key=tenant.encode(),
        )
        for number in range(changes)
    ]
    await asyncio.gather(*sent)
    await client.event(tenant, 1)
    await until(lambda: len(client.results(tenant)) == 1, 90, "its delivery")
    assert client.results(tenant)[0]["endpoint_id"] == f"ep-{changes - 1}"
