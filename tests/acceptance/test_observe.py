"""The pages tell the truth, and every process stops when it is told to."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from plain import SECRET, Client, Receiver, tenant_name, until
from stack import SERVICES, Stack


async def test_the_stats_pages_answer_while_events_flow(stack: Stack, client: Client, receiver: Receiver) -> None:
    tenant = tenant_name()
    await client.register(tenant, "ep-1", receiver.url + "/in")
    for n in range(20):
        await client.event(tenant, n)
        for path in ("/", "/stats/", "/assignment/", "/lag/", "/healthz", "/readyz", "/metrics"):
            status, body = await asyncio.to_thread(stack.page, "router", path)
            assert status == 200, (path, body)
    await until(lambda: len(receiver.at("/in")) == 20, 20, "20 posts")
    for name in ("egress", "delayer"):
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await asyncio.to_thread(stack.page, name, path))[0] == 200


@pytest.mark.parametrize("feed", ["bulk", "agent"])
async def test_fausts_own_counts_tell_what_has_come(
    feed: str, started: Callable[..., Awaitable[Stack]], receiver: Receiver
) -> None:
    stack = await started(HOOKFOLD_ROUTER_FEED=feed)
    tenant, count = tenant_name(), 300
    events, changes = stack.prefix + "events", stack.prefix + "subscriptions"
    async with Client(stack.kafka, stack.prefix) as client:
        await client.register(tenant, "ep-1", receiver.url + "/in")
        for n in range(count):
            await client.event(tenant, n)
        await until(lambda: len({post.body for post in receiver.at("/in")}) == count, 30, "every POST")
    async with asyncio.timeout(20):
        while True:
            status, page = await asyncio.to_thread(stack.page, "router", "/stats/")
            assert status == 200
            told = json.loads(page)["Sensor0"]
            if feed == "agent" or told["events_runtime_avg"] > 0:  # Faust works out averages once a second
                break
            await asyncio.sleep(0.1)
    assert told["events_total"] == sum(told["events_by_task"].values()) == count + 1
    assert sorted(told["events_by_stream"].values()) == [1, count]
    assert list(told["topic_end_offsets"][events].values()).count(count) == 1
    if feed == "bulk":  # of topics that it never commits, Faust's own way counts no messages, and no end of an event
        assert told["events_active"] == 0
        assert told["messages_received_by_topic"] == {events: count, changes: 1}
        assert told["messages_received_total"] == count + 1
        assert list(told["topic_read_offsets"][events].values()) == [count - 1]


async def test_the_table_shows_the_state_of_an_endpoint_and_nothing_secret(
    stack: Stack, client: Client, receiver: Receiver
) -> None:
    tenant = tenant_name()
    await client.register(tenant, "ep-1", receiver.url + "/in", headers={"x-key": "hidden"})
    await client.change(tenant, "endpoint.paused", "ep-1", reason="holiday")
    shown: dict[str, object] = {}

    def there() -> bool:
        status, body = stack.page("router", f"/endpoints/{tenant}/ep-1/")
        shown.update(json.loads(body) if status == 200 else {})
        return shown.get("state") == "paused"

    await until(there, 20, "the endpoint's page")
    assert shown["reason"] == "holiday"
    assert shown["url"] == receiver.url + "/in"
    assert SECRET not in json.dumps(shown)
    assert "hidden" not in json.dumps(shown)
    assert (await asyncio.to_thread(stack.page, "router", f"/endpoints/{tenant}/nobody/"))[0] == 404


async def test_no_topic_is_made_but_those_of_the_map(stack: Stack) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka)
    await admin.start()
    try:
        names = {name.removeprefix(stack.prefix) for name in await admin.list_topics() if name.startswith(stack.prefix)}
    finally:
        await admin.close()
    tiers = {f"retries.{tier}" for tier in ("1s", "5s", "30s", "2m", "10m", "1h", "4h")}
    fixed = {
        "events",
        "subscriptions",
        "endpoints",
        "deliveries",
        "deliveries.due",
        "results",
        "dead-letters",
        "rejected",
        "ordering",
        "keys",
    }
    assert names == tiers | fixed


async def test_sigterm_ends_an_egress_whose_receiver_hangs(
    make_stack: Callable[..., Stack], receiver: Receiver
) -> None:
    stack = make_stack()
    stack.start(*SERVICES)
    stack.wait_ready(*SERVICES)
    release = asyncio.Event()
    receiver.hold["/in"] = release
    tenant = tenant_name()
    async with Client(stack.kafka, stack.prefix) as client:
        await client.follow("results")
        await client.register(tenant, "ep-1", receiver.url + "/in")
        await client.event(tenant, 1)
        await until(lambda: len(receiver.posts) == 1, 20, "a POST that hangs")
        assert await asyncio.to_thread(stack.stop, "egress") == 0
        release.set()
        receiver.hold.clear()
        # It was in flight: it is sent again, under the same id, and has one result.
        stack.start("egress")
        await until(lambda: len(client.results(tenant)) == 1, 30, "its result")
        assert {post.headers["webhook-id"] for post in receiver.posts} == {client.results(tenant)[0]["delivery_id"]}


async def test_what_is_under_way_at_sigterm_is_committed_and_not_sent_again(
    make_stack: Callable[..., Stack], receiver: Receiver
) -> None:
    stack = make_stack()
    stack.start(*SERVICES)
    stack.wait_ready(*SERVICES)
    tenant, events = tenant_name(), 8
    # They end one after another, so that the first is committed while the others are still under way.
    releases = [receiver.hold.setdefault(f"/in-{number}", asyncio.Event()) for number in range(events)]
    async with Client(stack.kafka, stack.prefix) as client:
        await client.follow("results")
        for number in range(events):
            await client.register(tenant, f"ep-{number}", f"{receiver.url}/in-{number}")
        await client.event(tenant, 1)
        await until(lambda: all(receiver.begun(f"/in-{n}") for n in range(events)), 20, "POSTs under way")
        stopping = asyncio.create_task(asyncio.to_thread(stack.stop, "egress"))
        for release in releases:
            await asyncio.sleep(0.4)
            release.set()
        assert await stopping == 0
        stack.start("egress")
        await until(lambda: len(client.results(tenant)) == events, 20, "every result")
        stack.wait_ready("egress")
        await asyncio.sleep(1)
        assert {r["verdict"] for r in client.results(tenant)} == {"delivered"}
        assert len(receiver.posts) == events


async def test_a_process_is_not_ready_before_it_can_work_and_sigterm_ends_it_with_0(
    make_stack: Callable[..., Stack],
) -> None:
    stack = make_stack()
    for name in SERVICES:
        stack.start(name)
        seen: set[int] = set()
        await until(lambda name=name, seen=seen: seen.add(stack.page(name, "/readyz")[0]) or 200 in seen, 60, name)
        if 503 in seen:
            continue
        # The page may come up a moment before the first look; then the process must say it was not ready in its log.
        assert "ready" in stack.log(name)
    for name in SERVICES:
        assert await asyncio.to_thread(stack.stop, name) == 0, stack.log(name)[-2000:]


async def test_a_process_without_kafka_waits_and_says_so(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack()
    stack.env["HOOKFOLD_KAFKA"] = "127.0.0.1:1"
    for name in SERVICES:
        stack.start(name)
    await until(lambda: all("does not answer" in stack.log(name) for name in SERVICES), 30, "a clear line")
    for name in SERVICES:
        status, body = await asyncio.to_thread(stack.page, name, "/readyz")
        assert status == 503, (name, status)
        assert json.loads(body)
        assert await asyncio.to_thread(stack.stop, name) == 0


def test_a_bad_setting_is_one_clear_line_and_exit_2(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack()
    for name in SERVICES:
        ended = stack.command(name, HOOKFOLD_PARTITIONS="many")
        assert ended.returncode == 2
        assert len(ended.stderr.strip().splitlines()) == 1
        assert "HOOKFOLD_PARTITIONS" in ended.stderr
