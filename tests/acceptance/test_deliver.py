"""Events in, signed POSTs out, one result for each attempt."""

import asyncio
from collections import Counter
from collections.abc import Callable

from plain import Client, Receiver, tenant_name, until
from stack import SERVICES, Stack


async def test_a_thousand_events_give_a_thousand_delivered_results(client: Client, receiver: Receiver) -> None:
    tenant = tenant_name()
    await client.follow("results")
    await client.register(tenant, "ep-1", receiver.url + "/in")
    await asyncio.gather(*(client.event(tenant, {"n": n}, id=f"e-{n}") for n in range(1_000)))
    await until(lambda: len(client.results(tenant)) >= 1_000, 60, "1,000 results")
    await asyncio.sleep(1)  # one result too many would come now
    results = client.results(tenant)
    assert Counter(result["verdict"] for result in results) == {"delivered": 1_000}
    assert {result["event_id"] for result in results} == {f"e-{n}" for n in range(1_000)}
    assert {result["attempt"] for result in results} == {1}
    assert len(receiver.at("/in")) == 1_000
    bodies = [post.verify() for post in receiver.at("/in")]
    assert {body["data"]["n"] for body in bodies} == set(range(1_000))
    assert {post.headers["webhook-id"] for post in receiver.at("/in")} == {r["delivery_id"] for r in results}


async def test_kill_9_of_each_process_loses_and_doubles_no_result(
    make_stack: Callable[..., Stack], receiver: Receiver
) -> None:
    stack = make_stack()
    stack.start(*SERVICES)
    stack.wait_ready(*SERVICES)
    tenant, events = tenant_name(), 1_000
    # Every third delivery fails once, so that all three processes have something to lose.
    failed: set[str] = set()

    def answer(post: object) -> int:
        webhook_id = post.headers["webhook-id"]  # type: ignore[attr-defined]
        if int(webhook_id[:4], 16) % 3 == 0 and webhook_id not in failed:
            failed.add(webhook_id)
            return 500
        return 204

    receiver.answers["/in"] = answer
    async with Client(stack.kafka, stack.prefix) as client:
        await client.follow("results")
        await client.register(tenant, "ep-1", receiver.url + "/in", retry={"schedule": ["1s", "2s", "5s"]})
        for n in range(events):
            await client.event(tenant, {"n": n}, id=f"e-{n}")
            if n in (250, 500, 750):
                name = {250: "router", 500: "egress", 750: "delayer"}[n]
                await asyncio.to_thread(stack.kill, name)
                stack.start(name)

        def final() -> Counter[str]:
            return Counter(r["event_id"] for r in client.results(tenant) if r["verdict"] != "retrying")

        await until(lambda: len(final()) >= events, 120, "a final verdict for each event")
        await asyncio.sleep(3)
        results = client.results(tenant)
        assert set(final().values()) == {1}
        assert {r["verdict"] for r in results} <= {"delivered", "retrying"}
        attempts = Counter((r["delivery_id"], r["attempt"]) for r in results)
        assert [key for key, count in attempts.items() if count > 1] == []
        for delivery_id in {r["delivery_id"] for r in results}:
            numbers = sorted(r["attempt"] for r in results if r["delivery_id"] == delivery_id)
            assert numbers == list(range(1, len(numbers) + 1))
        assert sum(1 for r in results if r["verdict"] == "retrying") > 0
