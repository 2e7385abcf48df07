"""A subscription's filter lets pass what it says, and a bad one is refused with the place of its error."""

import asyncio

from plain import Client, Receiver, tenant_name, until


async def test_only_events_that_pass_the_filter_arrive(client: Client, receiver: Receiver) -> None:
    tenant = tenant_name()
    await client.follow("results")
    subscription = {"event_types": ["order.*"], "filter": "region IN ('eu', 'uk') AND amount >= 100"}
    await client.register(tenant, "ep-1", receiver.url + "/in", subscriptions=[subscription])
    for number, (region, amount) in enumerate((("eu", "100"), ("eu", "99"), ("us", "500"), ("uk", "101"), ("eu", "x"))):
        headers = {"ce_specversion": "1.0", "ce_id": f"e-{number}", "ce_source": "/shop", "ce_type": "order.paid",
                   "ce_region": region, "ce_amount": amount, "content-type": "application/json"}  # fmt: skip
        await client.producer.send_and_wait(
            client.prefix + "events", b"{}", key=tenant.encode(), headers=[(k, v.encode()) for k, v in headers.items()]
        )
    await client.event(tenant, {}, "order.paid", id="without attributes")
    await asyncio.sleep(0.01)  # within one millisecond there is no order
    await client.register(tenant, "ep-2", receiver.url + "/all")
    await client.event(tenant, {}, "order.paid", id="last")
    await until(lambda: len(client.results(tenant)) >= 3, 30, "two that pass, and what came after all of them")
    await asyncio.sleep(1)
    passed = sorted((r["endpoint_id"], r["event_id"]) for r in client.results(tenant))
    assert passed == [("ep-1", "e-0"), ("ep-1", "e-3"), ("ep-2", "last")]
    assert len(receiver.at("/in")) == 2


async def test_a_bad_filter_is_refused_with_the_place_of_its_error(client: Client, receiver: Receiver) -> None:
    tenant = tenant_name()
    await client.follow("rejected")
    bad = [{"event_types": ["*"], "filter": "type = 'a' AND"}]
    await client.register(tenant, "ep-1", receiver.url + "/in", subscriptions=bad)

    def reasons() -> list[bytes]:
        return [dict(r.headers)["rejected-reason"] for r in client.records["rejected"] if r.key == tenant.encode()]

    await until(lambda: len(reasons()) == 1, 20, "the refusal")
    assert reasons() == [b"filter: the end is not expected at character 15"]
