"""The bare loop on the same records and receivers: what is left of an egress that promises nothing.

BENCH_EVENTS says how many records (20,000).
"""

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from compose import children
from schemas.settings import Settings
from tests.bench import offering, system
from tests.bench.offering import Figures
from tests.bench.receiving import Receiver, receiving
from tests.bench.system import System

EVENTS = int(os.environ.get("BENCH_EVENTS", "20000"))
ENDPOINTS = 200
TOPIC = "bare"


@contextmanager
def looping(kafka: str) -> Iterator[psutil.Process]:
    """The loop in its process, when it is assigned what it reads."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.bare_loop", kafka, TOPIC], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        yield psutil.Process(child.pid)
    finally:
        children.stop(child, 5)  # type: ignore[arg-type]


async def offer(producer: AIOKafkaProducer, receiver: Receiver, count: int) -> None:
    """Records such as `deliveries` has: a key of tenant and endpoint, seven headers, and a body such as is sent."""
    for number in range(count):
        at = number % ENDPOINTS
        value = system.event("order.made", number, time.time())
        headers = [
            ("url", f"http://127.0.0.1:{receiver.ports[0]}/t{at}/e0".encode()), ("delivery-id", b"d" * 27),
            ("event-id", str(number).encode()), ("event-type", b"order.made"), ("attempt", b"1"),
            ("event-time-ms", b"1700000000000"), ("content-type", b"application/json"),
        ]  # fmt: skip
        await producer.send(TOPIC, value, key=f"t{at}/e0".encode(), headers=headers)
    await producer.flush()


async def until_come(receiver: Receiver, count: int) -> Counter[int]:
    """Wait until so many have come; how often each."""
    until, come = time.monotonic() + offering.TIMEOUT_S, Counter[int]()
    while come.total() < count and time.monotonic() < until:
        await asyncio.sleep(0.1)
        come.update(one.number for one in await receiver.arrivals(come.total()))
    return come


async def through(stack: System, receiver: Receiver, count: int) -> tuple[Figures, Counter[int]]:
    """The figures, and how often each record's POST has come."""
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC, Settings().partitions, 1)])
    await admin.close()
    async with system.producing(stack) as producer:
        with looping(stack.kafka) as loop:

            def cpu_s() -> Counter[str]:
                return Counter({"loop": sum(loop.cpu_times()[:2]), **stack.cpu_s()})

            before, began = cpu_s(), time.monotonic()
            offering_ = asyncio.create_task(offer(producer, receiver, count))
            come = await until_come(receiver, count)
            took_s, spent = time.monotonic() - began, cpu_s() - before
            rss = Counter({"loop": loop.memory_info().rss / 1_048_576})
            await offering_
            await asyncio.sleep(offering.LATE_S)
            come.update(one.number for one in await receiver.arrivals(come.total()))
    return Figures(spent, rss, took_s, count, system.load_average()), come


async def measure(count: int) -> tuple[Figures, bool]:
    """Print the figures; they, and whether they are verified."""
    with receiving(1) as receiver:
        async with system.running(counts={}) as stack:
            figures, come = await through(stack, receiver, count)
    once = sum(come[number] == 1 for number in range(count))
    print(f"bare loop; {count} records, unsigned, no results, offsets committed by themselves")
    figures.show("POSTs")
    print(f"  verified: {once} of {count} have come once")
    return figures, once == count


async def run() -> bool:
    """Print the figures; True where they are verified."""
    _, verified = await measure(EVENTS)
    return verified
