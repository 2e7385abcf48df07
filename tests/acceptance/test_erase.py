"""With sealed payloads no data stands in the log in the clear, and what is erased is delivered to nobody any more."""

import asyncio
import base64
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import jwt
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from plain import Answer, Api, Client, Post, Receiver, registration, tenant_name, until
from stack import API_SECRET, SERVICES, Stack

RING = f"k1:{base64.b64encode(os.urandom(32)).decode()}"
WAITS = {"retry": {"schedule": ["6s"], "jitter": 0}}


@pytest.fixture(scope="module")
def sealing(make_stack: Callable[..., Stack]) -> Stack:
    """A stack that seals payloads."""
    stack = make_stack(HOOKFOLD_SEAL_KEYS=RING, HOOKFOLD_SEAL_PAYLOADS="1", HOOKFOLD_LOG_LEVEL="debug")
    stack.start(*SERVICES, "gateway")
    stack.wait_ready(*SERVICES, "gateway")
    return stack


@pytest.fixture
async def plain(sealing: Stack) -> AsyncIterator[Client]:
    async with Client(sealing.kafka, sealing.prefix) as client:
        await client.follow("results")
        yield client


@pytest.fixture
async def apis(sealing: Stack) -> AsyncIterator[Callable[[], Any]]:
    """Makes clients with a tenant of their own, of whose data they are the master."""
    made: list[Api] = []

    async def make() -> Api:
        claims = {"scope": "admin", "exp": int(time.time()) + 600}
        api = Api(
            f"http://127.0.0.1:{sealing.ports['gateway']}", jwt.encode(claims, API_SECRET, "HS256"), tenant_name()
        )
        made.append(await api.__aenter__())
        return api

    yield make
    for api in made:
        await api.__aexit__()


async def everything(stack: Stack) -> dict[str, list[Any]]:
    """Every record of every topic, committed or not."""
    async with AIOKafkaConsumer(bootstrap_servers=stack.kafka, group_id=None) as consumer:
        names = {name for name in await consumer.topics() if name.startswith(stack.prefix)}
        places = [TopicPartition(name, number) for name in names for number in range(4)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        found: dict[str, list[Any]] = {name.removeprefix(stack.prefix): [] for name in names}
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for place, records in (await consumer.getmany(timeout_ms=200)).items():
                found[place.topic.removeprefix(stack.prefix)] += records
    return found


def holding(found: dict[str, list[Any]], marker: str) -> list[str]:
    """The topics in which the marker stands, once for each record."""

    def parts(record: Any) -> list[bytes]:
        return [record.key or b"", record.value or b"", *(value for _, value in record.headers)]

    return [
        name
        for name, records in found.items()
        for record in records
        if any(marker.encode() in p for p in parts(record))
    ]


def ends(client: Client, tenant: str) -> dict[tuple[str, str], tuple[str, str | None, int]]:
    """The last result of each event at each endpoint: verdict, kind of error, attempt."""
    return {
        (one["event_id"], one["endpoint_id"]): (one["verdict"], one.get("error_kind"), one["attempt"])
        for one in client.results(tenant)
    }


ERASED = ("skipped", "erased", 0)


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


def _fail_all(post: Post) -> Answer:
    items = json.loads(post.body)
    return Answer(200, json.dumps({"failed": [{"id": one["id"], "error": json.dumps(one)} for one in items]}).encode())


async def test_an_erased_event_is_skipped_and_all_others_are_delivered(
    sealing: Stack, plain: Client, apis: Callable[[], Any], receiver: Receiver
) -> None:
    api = await apis()
    receiver.answers["/in"] = 503
    await api.ok("POST", "/endpoints", {**registration(receiver, **WAITS), "endpoint_id": "ep"}, 201)
    for name in ("a", "b", "c"):
        await api.ok("POST", "/events", {"type": "invoice.paid", "id": name, "data": {"of": name}}, 202)
    await until(lambda: len(ends(plain, api.tenant)) == 3, 20, "three first attempts")
    receiver.answers["/in"] = 204
    assert await api.ok("DELETE", "/events/b") == {"tenant": api.tenant, "event_id": "b", "keys": 1}
    done = sealing.command("erase", "event", "--tenant", api.tenant, "--yes", "b", "c")
    assert (done.returncode, done.stdout) == (0, f"erased   2 events of {api.tenant}: 1 key gave them up\n"), (
        done.stderr
    )
    assert await api.ok("DELETE", "/events/c") == {"tenant": api.tenant, "event_id": "c", "keys": 0}
    await until(lambda: not any(end[0] == "retrying" for end in ends(plain, api.tenant).values()), 20, "three ends")
    assert ends(plain, api.tenant) == {("a", "ep"): ("delivered", None, 2), ("b", "ep"): ERASED, ("c", "ep"): ERASED}
    said = await api.call("POST", "/events", {"type": "invoice.paid", "id": "b", "data": 1})
    assert (said.status, said.json["detail"]) == (409, "the event b was erased; its id is not used again")
    told = await api.ok("GET", "/events/b/explain")
    assert (told["erased"], told["endpoints"][0]["decision"]) == (True, "skipped")
    assert "erased" not in await api.ok("GET", "/events/a/explain")
    await plain.event(api.tenant, 1, id="b-2")
    await until(lambda: ("b-2", "ep") in ends(plain, api.tenant), 20, "an event after it")


async def test_an_erased_tenant_has_nothing_left_to_be_delivered_and_begins_anew(
    sealing: Stack, plain: Client, apis: Callable[[], Any], receiver: Receiver
) -> None:
    api, other = await apis(), await apis()
    receiver.answers["/in"] = 503
    for one in (api, other):
        await one.ok("POST", "/endpoints", {**registration(receiver, **WAITS), "endpoint_id": "ep"}, 201)
        receiver.answers["/ok"] = 204
        given = {**registration(receiver), "endpoint_id": "ok", "url": receiver.url + "/ok"}
        given["subscriptions"] = [{"event_types": ["invoice.*"], "filter": {"data": {"n": 1}}}]
        await one.ok("POST", "/endpoints", given, 201)
        await one.ok("POST", "/events", {"type": "invoice.paid", "id": "old", "data": {"n": 1}}, 202)
    await until(lambda: all(len(ends(plain, one.tenant)) == 2 for one in (api, other)), 20, "first attempts")
    listed = await api.ok("GET", "/deliveries?endpoint_id=ok")
    sealing.stop("router")
    for one in (api, other):
        await one.ok("POST", "/events", {"type": "invoice.paid", "id": "unrouted", "data": {"n": 1}}, 202)
        await plain.event(one.tenant, {"n": 1}, id="in-the-clear")
    receiver.answers["/in"] = 204
    done = await asyncio.to_thread(sealing.command, "erase", "tenant", api.tenant, "--yes")
    assert (done.returncode, done.stdout) == (0, f"erased   all data of {api.tenant}: 1 key dropped\n"), done.stderr
    assert "in the clear" in done.stderr
    await api.ok("POST", "/events", {"type": "invoice.paid", "id": "new", "data": {"n": 1}}, 202)
    sealing.start("router")
    await asyncio.to_thread(sealing.wait_ready, "router")

    def all_ended(tenant: str, count: int) -> bool:
        found = ends(plain, tenant)
        return len(found) == count and not any(end[0] == "retrying" for end in found.values())

    await until(lambda: all_ended(api.tenant, 8) and all_ended(other.tenant, 6), 40, "an end of everything")
    delivered = ("delivered", None, 1)
    assert ends(plain, api.tenant) == {
        ("old", "ok"): delivered,
        ("old", "ep"): ERASED,
        **{(name, endpoint): ERASED for name in ("unrouted", "in-the-clear") for endpoint in ("ok", "ep")},
        ("new", "ok"): delivered,
        ("new", "ep"): delivered,
    }
    assert {end[0] for end in ends(plain, other.tenant).values()} == {"delivered"}
    # Nothing of before comes back: not as a retry, not as a replay.
    posts = len(receiver.posts)
    said = await api.call("POST", f"/deliveries/{listed['items'][0]['delivery_id']}/retry")
    assert (said.status, said.json["detail"]) == (409, "the event was erased; there is nothing to be delivered")
    for name in ("old", "unrouted", "in-the-clear"):
        assert (await api.ok("GET", f"/events/{name}/explain"))["erased"]
    replay = await api.ok("POST", "/endpoints/ok/replay", {"since_ms": 0}, 202)

    def replayed() -> dict[str, str]:
        mine = [one for one in plain.results(api.tenant) if one.get("replay_id") == replay["replay_id"]]
        return {one["event_id"]: one["verdict"] for one in mine}

    await until(lambda: len(replayed()) == 4, 20, "a result of each that is replayed")
    assert replayed() == {"old": "skipped", "unrouted": "skipped", "in-the-clear": "skipped", "new": "delivered"}
    assert len(receiver.posts) == posts + 1
    tried = sealing.command("what-if", "--tenant", api.tenant, "ok", "--event-type", "nothing")
    # The failing receiver was an event, too.
    assert any(f"; {count} were erased, and passed over\n" in tried.stderr for count in (3, 4)), tried.stderr


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
        await until(lambda: ends(client, tenant) == {("sealed", "ep"): ("delivered", None, 2),
                                                     ("clear", "ep"): ("delivered", None, 1)}, 30, "both")  # fmt: skip
        written = {dict(one.headers)["event-id"]: one.value for one in client.records["deliveries"]}
        assert b'"n"' not in written[b"sealed"]
        assert written[b"clear"] == b'{"n": 2}'
    assert [json.loads(post.body)["data"] for post in receiver.at("/down")] == [{"n": 1}, {"n": 1}, {"n": 2}]


def test_sealing_without_a_key_is_one_clear_line(sealing: Stack) -> None:
    for name in ("router", "gateway"):
        done = sealing.command(name, HOOKFOLD_SEAL_KEYS="")
        assert done.returncode == 2
        assert done.stderr.startswith("hookfold: ")
        assert "HOOKFOLD_SEAL_PAYLOADS needs HOOKFOLD_SEAL_KEYS" in done.stderr
        assert done.stderr.count("\n") == 1


def test_nothing_is_erased_that_nobody_has_said_yes_to(sealing: Stack) -> None:
    for words in (("tenant", "acme"), ("event", "--tenant", "acme", "e-1")):
        done = sealing.command("erase", *words)
        assert (done.returncode, done.stderr) == (2, "hookfold: --yes: needed where nobody can be asked\n")


async def test_a_token_erases_only_what_its_scope_allows(sealing: Stack, apis: Callable[[], Any]) -> None:
    api = await apis()

    def allowed(*scopes: str) -> str:
        claims = {"tenant": api.tenant, "scope": " ".join(scopes), "exp": int(time.time()) + 600}
        return f"Bearer {jwt.encode(claims, API_SECRET, 'HS256')}"

    assert (await api.call("DELETE", "/events/x", authorization=allowed("read"))).status == 403
    assert (await api.call("DELETE", "/events/x", authorization=allowed("write"))).status == 200
    assert (await api.call("DELETE", "/data", authorization=allowed("write", "publish"))).status == 403
    assert await api.ok("DELETE", "/data") == {"tenant": api.tenant, "keys": 1}
    assert await api.ok("DELETE", "/data") == {"tenant": api.tenant, "keys": 0}
