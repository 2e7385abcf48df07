"""Saturated, one event to one endpoint: offer, measure CPU-seconds by process, then verify each id.

BENCH_EVENTS says how many events (20,000).
"""

import asyncio
import json
import os
import time

from aiokafka import AIOKafkaProducer

from tests.bench import system
from tests.bench.system import PREFIX

EVENTS = int(os.environ.get("BENCH_EVENTS", "20000"))
TENANTS = 200
TIMEOUT_S = 300.0


async def produce(kafka: str, url: str) -> None:
    """Register, and offer all events as fast as Kafka takes them."""
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all", linger_ms=5) as producer:
        for tenant in range(TENANTS):
            await system.register(producer, f"t{tenant}", "e", url, "*")
        await producer.flush()
        await asyncio.sleep(0.05)
        for number in range(EVENTS):
            event = {"type": "order.made", "id": str(number), "data": {"number": number, "body": system.BODY}}
            await producer.send(PREFIX + "events", json.dumps(event).encode(), key=f"t{number % TENANTS}".encode())


async def run() -> bool:
    """Print the figures; True where they are verified."""
    with system.receiving(1) as receiver:
        async with system.running() as stack, system.tallying(stack) as tally:
            before, began = stack.cpu_s(), time.monotonic()
            offering = asyncio.create_task(produce(stack.kafka, f"http://127.0.0.1:{receiver.ports[0]}/"))
            until = began + TIMEOUT_S
            while len(tally.delivered) < EVENTS and time.monotonic() < until:
                await asyncio.sleep(0.01)
            ended, spent = time.monotonic(), stack.cpu_s() - before
            await asyncio.sleep(2.0)
            await offering
    wrong = sum(count != 1 for count in tally.delivered.values()) + tally.other.total() + tally.failed
    print(f"saturated 1:1, {EVENTS} events of {len(system.BODY) + 80} bytes, {TENANTS} endpoints")
    print(f"  CPU-s per 1,000: {spent.total() / EVENTS * 1000:.3f} = {system.costs(spent, EVENTS / 1000)}")
    print(f"  wall time {ended - began:.1f} s, {EVENTS / (ended - began):.0f} deliveries/s")
    print(f"  verified: {len(tally.delivered)} of {EVENTS} ids delivered, {wrong} results besides exactly one each")
    return len(tally.delivered) == EVENTS and not wrong
