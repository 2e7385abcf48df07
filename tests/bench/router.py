"""What the router alone costs: it finds a backlog of events, and there is no egress.

BENCH_ROUTER says how many deliveries they lead to (20,000), one an event, and then BENCH_FAN (100) an event.
"""

import asyncio
import contextlib
import os
import time
from collections import Counter

from aiokafka import AIOKafkaConsumer

from tests.bench import system
from tests.bench.fanout import FAN
from tests.bench.offering import LATE_S, TIMEOUT_S, Figures, Offer
from tests.bench.receiving import receiving
from tests.bench.system import PREFIX, System

DELIVERIES = int(os.environ.get("BENCH_ROUTER", "20000"))
LOOK_S = 0.05


async def judged(stack: System, events: int) -> int:
    """Wait until the router has judged so many events since its start; how many it was in the end."""
    count, until = 0, time.monotonic() + TIMEOUT_S
    while count < events and time.monotonic() < until:
        with contextlib.suppress(OSError):  # before it shows its pages
            count = int(await stack.total("router", "hookfold_events_total"))
        await asyncio.sleep(LOOK_S)
    return count


async def written(stack: System) -> Counter[tuple[int, str]]:
    """The deliveries in the log: an event's number and an endpoint."""
    found = Counter[tuple[int, str]]()
    async with AIOKafkaConsumer(
        PREFIX + "deliveries", bootstrap_servers=stack.kafka, isolation_level="read_committed",
        auto_offset_reset="earliest", group_id=None,
    ) as consumer:  # fmt: skip
        while fetched := await consumer.getmany(timeout_ms=3_000):
            for record in (record for records in fetched.values() for record in records):
                headers = dict(record.headers)
                found[int(headers["event-id"]), headers["endpoint-id"].decode()] += 1
    return found


async def measure(offer: Offer) -> bool:
    """One backlog."""
    with receiving(1) as receiver:
        async with system.running(counts={"router": 1}) as stack, system.producing(stack) as producer:
            await offer.register(stack, producer, receiver, "http")
            await stack.stop("router")
            await offer.publish(producer)
            await stack.start("router")
            first = await judged(stack, 1)
            before, began = stack.cpu_s(), time.monotonic()
            last = await judged(stack, offer.events)
            # What has been judged is written when it has had time for one more transaction.
            await asyncio.sleep(LATE_S)
            spent, took_s = stack.cpu_s() - before, time.monotonic() - began - LATE_S
            rss, found = stack.rss(), await written(stack)
    print(f"router, fan-out 1:{offer.fan}; {offer.events} events that were there before it, without the first {first}")
    Figures(spent, rss, took_s, (last - first) * offer.fan, system.load_average()).show()
    once = sum(found[owed] == 1 for owed in offer.owed())
    print(f"  verified: {once} of {offer.deliveries} deliveries are in the log once; {found.total() - once} others")
    return once == offer.deliveries == found.total()


async def run() -> bool:
    """Print the figures; True where they are verified."""
    single = await measure(Offer(DELIVERIES))
    return await measure(Offer(DELIVERIES // FAN, 10, FAN)) and single
