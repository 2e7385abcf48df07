"""The gateway without Kafka: what it knows is read on, and no write is said to be done that is not."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import jwt
from plain import Api, Client, Receiver, tenant_name, until
from stack import API_SECRET, SERVICES, Stack, free_port
from tailing import tail

from compose.kafka import LocalKafka


async def test_reads_go_on_and_writes_are_refused_while_kafka_is_away(tmp_path: Path, receiver: Receiver) -> None:
    broker = LocalKafka(tmp_path / "kafka", free_port())
    await asyncio.to_thread(broker.start)
    data = tmp_path / "data"
    stack = Stack(broker.bootstrap, f"q{os.getpid()}.", tmp_path, HOOKFOLD_DATA_DIR=str(data))
    tenant = tenant_name()
    token = jwt.encode({"tenant": tenant, "scope": "write publish"}, API_SECRET, "HS256")
    try:
        assert stack.command("topics").returncode == 0
        stack.start(*SERVICES, "gateway")
        stack.wait_ready(*SERVICES, "gateway")
        async with (
            Api(f"http://127.0.0.1:{stack.ports['gateway']}", token, tenant) as api,
            tail(stack, tmp_path / "tail", "--tenant", tenant) as tailing,
        ):
            await _outage(broker, stack, api, receiver, data)
            # Whoever looks on from a terminal has been told, and has missed nothing.
            assert tailing.said.count("tail.waiting") == tailing.said.count("tail.answered") >= 1
            assert f"Kafka at {stack.kafka} does not answer" in tailing.said
            await until(lambda: len(tailing.lines) >= 2, 10, "every result")
            assert {"before", "after"} <= {line.split()[3] for line in tailing.lines}
    finally:
        stack.close()
        await asyncio.to_thread(broker.stop)


async def _outage(broker: LocalKafka, stack: Stack, api: Api, receiver: Receiver, data: Path) -> None:
    given = {"url": receiver.url, "subscriptions": [{"event_types": ["*"]}], "verification": "none"}
    await api.ok("POST", "/endpoints", {**given, "endpoint_id": "ep"}, 201)
    inbound, key = f"//in/{api.tenant}/src", {"x_api_key": "k"}
    await api.ok("PUT", "/sources/src", {"scheme": "api_key", "secrets": ["k"]}, 201)
    await api.ok("POST", inbound, {}, 202, **key)
    await api.ok("POST", "/events", {"type": "a", "id": "before", "data": 1}, 202)
    await _seen(api, 2)
    await asyncio.to_thread(broker.stop)
    refused = []
    for attempt in range(3):
        refused.append(await api.call("POST", "/events", {"type": "a", "id": f"away-{attempt}", "data": 1}))
        refused.append(await api.call("PATCH", "/endpoints/ep", {"description": f"away-{attempt}"}))
        began = time.monotonic()
        assert (await api.ok("GET", "/endpoints/ep"))["state"] == "active"
        assert len((await api.ok("GET", "/deliveries"))["items"]) == 2
        assert time.monotonic() - began < 2
    refused += [await api.call("POST", inbound, {}, **key), await api.call("DELETE", "/sources/src")]
    assert (await api.call("POST", inbound, {})).status == 401
    assert {said.status for said in refused} == {503}
    assert all(int(said.headers["retry-after"]) > 0 for said in refused)
    assert {said.json["type"] for said in refused} == {"urn:hookfold:problem:unavailable"}
    # Started without Kafka, it shows what it knew.
    await asyncio.to_thread(stack.kill, "gateway")
    stack.start("gateway")
    await until(lambda: stack.page("gateway", "/healthz")[0] == 200, 20, "it answers")
    assert stack.page("gateway", "/readyz")[0] == 503
    assert (await api.ok("GET", "/endpoints/ep"))["state"] == "active"
    assert (await api.call("POST", "/events", {"type": "a", "data": 1})).status == 503
    assert (await api.call("POST", inbound, {}, **key)).status == 503
    # Started without Kafka and without a file, it does not pass off nothing as all there is.
    await asyncio.to_thread(stack.kill, "gateway")
    _forget(data)
    stack.start("gateway")
    await until(lambda: stack.page("gateway", "/healthz")[0] == 200, 20, "it answers")
    unknown = ("/endpoints", "/endpoints/ep", "/deliveries", "/sources", "/sources/src")
    assert [(await api.call("GET", path)).status for path in unknown] == [503] * 5
    # A third party is not told that there is no such source, which it would take for an end.
    assert (await api.call("POST", inbound, {}, **key)).status == 503
    await asyncio.to_thread(broker.start)
    await asyncio.to_thread(stack.wait_ready, "router", "egress", "delayer", "gateway")
    await api.ok("POST", inbound, {}, 202, **key)
    await api.ok("POST", "/events", {"type": "a", "id": "after", "data": 1}, 202)
    await _settled(api, "after")
    # Without its file it knows nothing at first, and all of it again from the log.
    everything = (await api.ok("GET", "/deliveries"))["items"]
    assert {"before", "after"} <= {item["event_id"] for item in everything}
    await asyncio.to_thread(stack.stop, "gateway")
    _forget(data)
    stack.start("gateway")
    await asyncio.to_thread(stack.wait_ready, "gateway")
    assert (await api.ok("GET", "/deliveries"))["items"] == everything
    await api.ok("POST", inbound, {}, 202, **key)
    # A second one on the same file is told so.
    stack.ports["gateway"] = free_port()
    second = stack.command("gateway", HOOKFOLD_GATEWAY_PORT=str(stack.ports["gateway"]), HOOKFOLD_INSTANCE="gateway-0")
    assert (second.returncode, "belongs to another gateway" in second.stderr) == (2, True)


def _forget(data: Path) -> None:
    for path in data.glob("gateway-*"):
        path.unlink()


async def _seen(api: Api, count: int) -> None:
    found: list[Any] = []
    end = time.monotonic() + 30
    while len(found) < count:
        assert time.monotonic() < end, found
        found = (await api.ok("GET", "/deliveries"))["items"]
        await asyncio.sleep(0.05)


async def _settled(api: Api, event_id: str) -> None:
    end = time.monotonic() + 30
    while not (await api.ok("GET", f"/deliveries?event_id={event_id}&verdict=delivered"))["items"]:
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def test_a_write_that_the_router_has_not_seen_is_said_to_be_on_its_way(stack: Stack, receiver: Receiver) -> None:
    """With no router there is nobody to say what came of it: it is in the log, and 202 says just that."""
    own = Stack(
        stack.kafka, f"r{os.getpid()}.", Path(stack.env["HOOKFOLD_DATA_DIR"]), HOOKFOLD_WRITE_WAIT_MS="500",
        HOOKFOLD_GATEWAY_RATE_PER_S="5",
    )  # fmt: skip
    tenant = tenant_name()
    token = jwt.encode({"tenant": tenant, "scope": "write"}, API_SECRET, "HS256")
    try:
        assert own.command("topics").returncode == 0
        own.start("gateway")
        await asyncio.to_thread(own.wait_ready, "gateway")
        async with (
            Api(f"http://127.0.0.1:{own.ports['gateway']}", token, tenant) as api,
            Client(own.kafka, own.prefix) as client,
        ):
            given = {"url": receiver.url, "subscriptions": [], "endpoint_id": "ep"}
            said = await api.call("POST", "/endpoints", given)
            assert (said.status, said.json["endpoint_id"]) == (202, "ep")
            await client.follow("subscriptions")
            await until(lambda: len(client.records["subscriptions"]) == 1, 20, "the change")
            many = [await api.call("GET", "/endpoints") for _ in range(20)]
            assert {said.status for said in many} == {200, 429}
            limited = next(said for said in many if said.status == 429)
            assert (limited.headers["retry-after"], limited.json["status"]) == ("1", 429)
    finally:
        own.close()
