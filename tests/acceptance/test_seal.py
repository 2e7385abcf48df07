"""With sealed payloads no data of an event stands in the log in the clear, and receivers get what they got before."""

import asyncio
import base64
import json
import os
import time
from collections.abc import Callable
from typing import Any

import jwt
from described import Described
from plain import Answer, Api, Client, Post, Receiver, registration, tenant_name, until
from sealed import RING, WAITS, ends, everything, holding
from stack import API_SECRET, SERVICES, Stack


async def test_no_data_stands_in_the_clear_but_what_a_producer_wrote_so(
    sealing: Stack, plain: Client, apis: Callable[[], Any], receiver: Receiver
) -> None:
    api = await apis()
    marker, clear = "m" + os.urandom(8).hex(), "c" + os.urandom(8).hex()

    def echo(status: int) -> Callable[[Post], Answer]:
        return lambda post: Answer(status, post.body)

    receiver.answers |= {"/in": echo(200), "/down": echo(503), "/dead": echo(400), "/items": _fail_all}
    every = {"subscriptions": [{"event_types": ["**"]}]}
    for name, more in (
        ("in", {"subscriptions": [{"event_types": ["**"], "filter": {"data": {"n": {"$exist": True}}}}]}),
        ("down", {"retry": {"schedule": ["1h"]}}),
        ("dead", {"retry": {"schedule": []}}),
        ("items", {"batch": {"max_items": 9, "max_wait_ms": 0}, "retry": {"schedule": ["1h"]}}),
    ):
        given = {**registration(receiver, **every), "endpoint_id": name, "url": f"{receiver.url}/{name}", **more}
        await api.ok("POST", "/endpoints", given, 201)
    data = b'{"n": 1.10, "big":123456789012345678901234567890, "m":"%b"}' % marker.encode()
    await api.ok(
        "POST", "/events", b'{"type":"a.b","id":"plain","data":%b}' % data, 202, content_type="application/json"
    )
    cloud = (
        b'{"specversion":"1.0","type":"a.b","source":"/s","id":"cloud","time":"2026-01-02T03:04:05Z","data":%b}' % data
    )
    await api.ok("POST", "/events", cloud, 202, content_type="application/cloudevents+json")
    named = {"ce-id": "binary", "ce-type": "a.b", "ce-source": "/s", "ce-specversion": "1.0"}
    await api.ok("POST", "/events", data, 202, content_type="application/json", **named)
    secret = (await api.ok("PUT", "/sources/shop", {"scheme": "api_key"}, 201))["secret"]
    headers = {"x-api-key": secret, "webhook-id": "third", "content-type": "application/json", "authorization": ""}
    said = await api.call("POST", f"//in/{api.tenant}/shop", data, **headers)
    assert said.status == 202, said
    third = said.json["items"][0]["id"]
    await plain.event(api.tenant, {"n": 1, "m": clear}, "a.b", id="clear")
    ids = ("plain", "cloud", "binary", "clear", third)
    await until(
        lambda: len(ends(plain, api.tenant)) == 4 * len(ids), 40, "a result of each at each endpoint"
    )  # fmt: skip
    assert {post.body.count(data) for post in receiver.at("/in") if marker.encode() in post.body} == {1}
    assert len(receiver.at("/in")) == len(ids)
    found = await everything(sealing)
    letters = [record for record in found["dead-letters"] if record.key == f"{api.tenant}/dead".encode()]
    assert len(letters) == len(ids)
    assert all(b"sealed-with" in str(record.headers).encode() for record in letters)
    assert sum(len(records) for name, records in found.items() if name.startswith("retries.")) >= 2 * len(ids)
    assert holding(found, marker) == []
    assert holding(found, clear) == ["events"]
    assert all("response_excerpt" not in one for one in plain.results(api.tenant))
    told = Described(json.loads(sealing.command("asyncapi").stdout))
    for record in [one for records in found.values() for one in records if api.tenant.encode() in one.key]:
        kinds = told.kinds(record.topic, record.key, record.value, record.headers)
        assert len(kinds) == 1, (record, kinds)
        assert told.untold(record.topic, kinds[0], record.value, record.headers) == set(), record


def _fail_all(post: Post) -> Answer:
    items = json.loads(post.body)
    return Answer(200, json.dumps({"failed": [{"id": one["id"], "error": json.dumps(one)} for one in items]}).encode())


async def test_what_was_sealed_is_delivered_when_sealing_is_switched_off_again(
    make_stack: Callable[..., Stack], receiver: Receiver
) -> None:
    stack = make_stack(HOOKFOLD_SEAL_KEYS=RING, HOOKFOLD_SEAL_PAYLOADS="1")
    stack.start(*SERVICES)
    await asyncio.to_thread(stack.wait_ready, *SERVICES)
    tenant = tenant_name()
    receiver.answers["/down"] = 503
    async with Client(stack.kafka, stack.prefix) as client:
        await client.follow("results", "deliveries")
        await client.register(tenant, "ep", receiver.url + "/down", **WAITS)
        await client.event(tenant, {"n": 1}, id="sealed")
        await until(lambda: len(client.results(tenant)) == 1, 20, "a first attempt")
        for name in SERVICES:
            stack.stop(name)
        stack.env["HOOKFOLD_SEAL_PAYLOADS"] = "0"
        receiver.answers["/down"] = 204
        stack.start(*SERVICES)
        await asyncio.to_thread(stack.wait_ready, *SERVICES)
        await client.event(tenant, {"n": 2}, id="clear")
        # And where one process still seals, those that do not open it.
        stack.env["HOOKFOLD_SEAL_PAYLOADS"] = "1"
        stack.start("gateway")
        await asyncio.to_thread(stack.wait_ready, "gateway")
        claims = {"scope": "admin", "exp": int(time.time()) + 600}
        token = jwt.encode(claims, API_SECRET, "HS256")
        async with Api(f"http://127.0.0.1:{stack.ports['gateway']}", token, tenant) as api:
            await api.ok("POST", "/events", {"type": "a.b", "id": "late", "data": {"n": 3}}, 202)
        await until(lambda: len(ends(client, tenant)) == 3, 40, "all three")
        await until(lambda: all(end[0] == "delivered" for end in ends(client, tenant).values()), 30, "delivered")
        assert {name: end[2] for (name, _), end in ends(client, tenant).items()} == {"sealed": 2, "clear": 1, "late": 1}
        written = {dict(one.headers)["event-id"]: one.value for one in client.records["deliveries"]}
        assert b'"n"' not in written[b"sealed"] + written[b"late"]
        assert written[b"clear"] == b'{"n": 2}'
    sent = sorted(json.loads(post.body)["data"]["n"] for post in receiver.at("/down"))
    assert sent == [1, 1, 2, 3]


async def test_without_the_key_of_the_ring_everything_waits_and_nothing_is_rejected(
    make_stack: Callable[..., Stack], receiver: Receiver
) -> None:
    other = f"k2:{base64.b64encode(os.urandom(32)).decode()}"
    stack = make_stack(HOOKFOLD_SEAL_KEYS=RING, HOOKFOLD_SEAL_PAYLOADS="1")
    stack.start(*SERVICES, "gateway")
    await asyncio.to_thread(stack.wait_ready, *SERVICES, "gateway")
    claims = {"scope": "admin", "exp": int(time.time()) + 600}
    async with (
        Client(stack.kafka, stack.prefix) as client,
        Api(f"http://127.0.0.1:{stack.ports['gateway']}", jwt.encode(claims, API_SECRET, "HS256"), "acme") as api,
    ):
        await client.follow("results", "rejected")
        await api.ok("POST", "/endpoints", {**registration(receiver, secrets=[]), "endpoint_id": "ep"}, 201)
        for name in ("router", "egress"):
            stack.stop(name)
        await api.ok("POST", "/events", {"type": "invoice.paid", "id": "e", "data": {"n": 1}}, 202)
        stack.env["HOOKFOLD_SEAL_KEYS"] = other
        stack.start("router", "egress")
        await until(lambda: "event.waits" in stack.log("router"), 40, "a router that lacks a key")
        assert "the key k1, which is not in HOOKFOLD_SEAL_KEYS" in stack.log("router")
        stack.stop("router")
        stack.env["HOOKFOLD_SEAL_KEYS"] = f"{other},{RING}"
        stack.start("router")
        await until(lambda: "delivery.waits" in stack.log("egress"), 40, "an egress that lacks a key")
        stack.stop("egress")
        stack.start("egress")
        await until(lambda: ("e", "ep") in ends(client, "acme"), 40, "a result")
        assert ends(client, "acme") == {("e", "ep"): ("delivered", None, 1)}
        assert client.records["rejected"] == []


def test_sealing_without_a_key_is_one_clear_line(sealing: Stack) -> None:
    for name in ("router", "gateway"):
        done = sealing.command(name, HOOKFOLD_SEAL_KEYS="")
        assert done.returncode == 2
        assert done.stderr.startswith("hookfold: ")
        assert "HOOKFOLD_SEAL_PAYLOADS needs HOOKFOLD_SEAL_KEYS" in done.stderr
        assert done.stderr.count("\n") == 1
