"""Many deliveries that wait for their next attempt: what the delayer and the egress take.

The retries are written to the longest tier as the egress would write them. Settings: SCALE_RETRIES (`1000,1000000`:
how many wait in the end, one after the other).
"""

import asyncio
import os
import time
from collections import Counter

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas.deliveries import Delivery
from schemas.settings import Settings
from tests.bench import system
from tests.bench.receiving import receiving
from tests.bench.system import BODY, PREFIX, System
from tests.bench.tallying import Final, tallying

SIZES = [int(part) for part in os.environ.get("SCALE_RETRIES", "1000,1000000").split(",")]
GOAL_MB = 50
WAIT_MS = 12 * 3_600_000
SETTLE_S = 20.0
PROBES = 50
PROBE_WAIT_MS = 7_000
TIMEOUT_S = 120.0
TIER = "retries.4h"
ENDPOINTS = 200
PARTS = ("delayer", "egress")


def waiting(number: int, wait_ms: int) -> Delivery:
    """A delivery whose first attempt has failed."""
    now_ms = int(time.time() * 1_000)
    return Delivery(
        delivery_id=f"d{number}", event_id=str(number), event_type="order.made", tenant="t",
        endpoint_id=f"e{number % ENDPOINTS}", endpoint_version="0-0", event_time_ms=now_ms, attempt=2,
        due_at_ms=now_ms + wait_ms, matched="order.*",
        data=f'{{"number":{number},"sent_us":{now_ms * 1_000},"body":"{BODY}"}}'.encode(),
    )  # fmt: skip


async def write(producer: AIOKafkaProducer, topic: str, first: int, end: int, wait_ms: int) -> None:
    """Write the retries with these numbers."""
    for number in range(first, end):
        delivery = waiting(number, wait_ms)
        await producer.send(PREFIX + topic, delivery.data, key=delivery.key, headers=delivery.headers())
    await producer.flush()


async def run() -> bool:
    """Print the figures; True where they are verified, and within the goal."""
    with receiving(1) as receiver:
        async with (
            system.running() as stack,
            tallying(stack) as tally,
            AIOKafkaProducer(
                bootstrap_servers=stack.kafka, acks="all", linger_ms=5, max_batch_size=262_144
            ) as producer,
        ):
            for number in range(ENDPOINTS):
                url = f"http://127.0.0.1:{receiver.ports[0]}/t/e{number}"
                await system.register(producer, "t", f"e{number}", url, "order.*")
            found: list[Counter[str]] = []
            written = probes = 0
            verified = True
            for size in SIZES:
                await write(producer, TIER, written, size, WAIT_MS)
                written = size
                # A restart has them all before it, and none behind.
                for name in PARTS:
                    await stack.stop(name)
                    await stack.start(name)
                await stack.ready()
                first = 10_000_000 + probes
                await write(producer, "retries.5s", first, first + PROBES, PROBE_WAIT_MS)
                probes += PROBES
                until = time.monotonic() + TIMEOUT_S
                while len(tally.ended) < probes and time.monotonic() < until:
                    await asyncio.sleep(0.2)
                await asyncio.sleep(SETTLE_S)
                before, began = stack.cpu_s(), time.monotonic()
                await asyncio.sleep(SETTLE_S)
                spent, minutes = stack.cpu_s() - before, (time.monotonic() - began) / 60
                found.append(stack.rss())
                memory = ", ".join(f"{name} {found[-1][name]:.1f} MB" for name in (*PARTS, "router", "broker"))
                print(f"retries: {size} wait; RSS {memory}; CPU-s a minute: {system.costs(spent, minutes)}")
                numbers = range(first, first + PROBES)
                once = sum(
                    tally.finals[Final(number, f"e{number % ENDPOINTS}", "delivered", False)] == 1 for number in numbers
                )
                stay = await waits(stack)
                print(
                    f"  verified: {stay} of {size} still wait; {once} of {PROBES} beside them, due after "
                    f"{PROBE_WAIT_MS / 1_000:.0f} s, have been delivered once",
                    flush=True,
                )
                verified = verified and stay == size and once == PROBES
            arrivals = await receiver.arrivals()
    verified = verified and len(arrivals) == tally.finals.total() == probes
    grown = {name: found[-1][name] - found[0][name] for name in PARTS}
    print(f"  {SIZES[-1]} against {SIZES[0]}: {', '.join(f'{name} {by:+.1f} MB' for name, by in grown.items())}")
    return verified and all(by < GOAL_MB for by in grown.values())


async def waits(stack: System) -> int:
    """How many records of the tier have not been moved on: all there are, less those that the group has committed."""
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.kafka, group_id=PREFIX + "delayer", enable_auto_commit=False)
    await consumer.start()
    places = [TopicPartition(PREFIX + TIER, number) for number in range(Settings().partitions)]
    ends = await consumer.end_offsets(places)
    moved = [await consumer.committed(place) or 0 for place in places]
    await consumer.stop()
    return sum(ends.values()) - sum(moved)
