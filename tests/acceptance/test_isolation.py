"""A receiver that hangs, or asks for little, hurts nobody else and loses nothing."""

import asyncio
import time

from plain import Client, Receiver, tenant_name, until

EVENTS = 300


async def test_a_receiver_that_hangs_delays_nobody_else_and_is_charged_nothing(
    client: Client, receiver: Receiver
) -> None:
    tenant = tenant_name()
    release = receiver.hold["/hangs"] = asyncio.Event()
    healthy = [f"ok-{number}" for number in range(8)]
    await client.follow("results")
    await client.register(tenant, "hangs", receiver.url + "/hangs", timeout_ms=60_000)
    for endpoint_id in healthy:
        await client.register(
            tenant, endpoint_id, f"{receiver.url}/{endpoint_id}", subscriptions=[{"event_types": ["ok"]}]
        )
    for number in range(EVENTS):
        await client.event(tenant, number, "for.the.dead")
    await until(lambda: len(receiver.begun("/hangs")) > 0, 20, "an attempt that hangs")
    for number in range(20):
        await client.event(tenant, number, "ok")
    began = time.monotonic()
    await until(lambda: all(len(receiver.at(f"/{name}")) == 20 for name in healthy), 10, "all healthy deliveries")
    assert time.monotonic() - began < 5
    release.set()
    del receiver.hold["/hangs"]

    def delivered() -> int:
        return sum(1 for r in client.results(tenant) if r["endpoint_id"] == "hangs" and r["verdict"] == "delivered")

    # `*` leads to the endpoint that hangs as well: the healthy ones' events are owed to it, too.
    await until(lambda: delivered() == EVENTS + 20, 90, "everything that was put off")
    assert {r["attempt"] for r in client.results(tenant)} == {1}
    assert {r["verdict"] for r in client.results(tenant)} == {"delivered"}


async def test_an_endpoint_gets_no_more_at_a_time_than_it_asked_for(client: Client, receiver: Receiver) -> None:
    tenant = tenant_name()
    release = receiver.hold["/narrow"] = asyncio.Event()
    await client.register(tenant, "narrow", receiver.url + "/narrow", max_in_flight=2)
    for number in range(10):
        await client.event(tenant, number)
    await until(lambda: len(receiver.begun("/narrow")) == 2, 20, "two attempts")
    await asyncio.sleep(0.5)
    assert len(receiver.begun("/narrow")) == 2
    release.set()
    del receiver.hold["/narrow"]
    await until(lambda: len(receiver.at("/narrow")) == 10, 20, "all of them")


async def test_an_endpoint_gets_what_it_asked_for_in_any_ten_seconds_and_not_more(
    client: Client, receiver: Receiver
) -> None:
    tenant, rate = tenant_name(), 20
    await client.follow("results")
    await client.register(tenant, "slow", receiver.url + "/slow", rate_per_s=rate)
    # Those that would wait for more than eight seconds are put off, and must not lose their turn by that.
    for number in range(14 * rate):
        await client.event(tenant, number)
    await until(lambda: len(client.results(tenant)) == 14 * rate, 40, "all of them")
    assert {r["attempt"] for r in client.results(tenant)} == {1}
    times = [post.at_s for post in receiver.at("/slow")]
    # A bucket of one second's worth: in any stretch of time at most its length and one second, times the rate.
    for first in range(len(times)):
        for last in range(first, len(times)):
            assert last - first + 1 <= (times[last] - times[first] + 1.0) * rate + 1.5
    for first in range(len(times)):
        # Later than that only the last are under way, and those that were put off come a little late.
        if times[first] + 10 <= times[0] + 12:
            in_ten_s = sum(times[first] <= at < times[first] + 10 for at in times)
            assert in_ten_s >= 0.9 * 10 * rate, f"{in_ten_s} from {times[first] - times[0]:.1f} s on"


async def test_many_receivers_that_hang_leave_places_for_those_that_answer(client: Client, receiver: Receiver) -> None:
    tenant, dead = tenant_name(), 30
    releases = [receiver.hold.setdefault(f"/dead-{number}", asyncio.Event()) for number in range(dead)]
    await client.follow("results")
    for number in range(dead):
        await client.register(tenant, f"dead-{number}", f"{receiver.url}/dead-{number}", timeout_ms=60_000)
    # Thirty times ten would be more than the process has places for.
    for number in range(20):
        await client.event(tenant, number)
    await until(lambda: all(receiver.begun(f"/dead-{number}") for number in range(dead)), 20, "attempts that hang")
    other = tenant_name()
    await client.register(other, "ok", receiver.url + "/ok")
    began = time.monotonic()
    for number in range(50):
        await client.event(other, number)
    await until(lambda: len(receiver.at("/ok")) == 50, 10, "the healthy receiver's deliveries")
    assert time.monotonic() - began < 5
    for release in releases:
        release.set()
    receiver.hold.clear()
    await until(lambda: len(client.results(tenant)) == dead * 20, 60, "what was put off")
    assert {(r["verdict"], r["attempt"]) for r in client.results(tenant)} == {("delivered", 1)}
