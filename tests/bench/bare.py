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
#: Of a backlog, the first tenth is for starting.
WARM_SHARE = 10


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


async def until_come(receiver: Receiver, count: int, come: Counter[int]) -> None:
    """Wait until so many have come; count how often each."""
    until = time.monotonic() + offering.TIMEOUT_S
    while come.total() < count and time.monotonic() < until:
        await asyncio.sleep(0.05)
        come.update(one.number for one in await receiver.arrivals(come.total()))


async def through(stack: System, receiver: Receiver, count: int, backlog: bool) -> tuple[Figures, Counter[int]]:
    """The figures, and how often each record's POST has come."""
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC, Settings().partitions, 1)])
    await admin.close()
    await asyncio.sleep(1.0)  # brokers say for a moment that there is no such topic
    come = Counter[int]()
    async with system.producing(stack) as producer:
        if backlog:
            await offer(producer, receiver, count)
        with looping(stack.kafka) as loop:

            def cpu_s() -> Counter[str]:
                return Counter({"loop": sum(loop.cpu_times()[:2]), **stack.cpu_s()})

            offering_ = asyncio.create_task(offer(producer, receiver, 0 if backlog else count))
            await until_come(receiver, count // WARM_SHARE if backlog else 0, come)
            first, before, began = come.total(), cpu_s(), time.monotonic()
            await until_come(receiver, count, come)
            took_s, spent, done = time.monotonic() - began, cpu_s() - before, come.total() - first
            rss = Counter({"loop": loop.memory_info().rss / 1_048_576})
            await offering_
            await asyncio.sleep(offering.LATE_S)
            come.update(one.number for one in await receiver.arrivals(come.total()))
    return Figures(spent, rss, took_s, done, system.load_average()), come


async def measure(count: int, *, backlog: bool = False) -> tuple[Figures, bool]:
    """Print the figures; they, and whether they are verified. `backlog`: of records that were there before the loop."""
    with receiving(1) as receiver:
        async with system.running(counts={}) as stack:
            figures, come = await through(stack, receiver, count, backlog)
    once = sum(come[number] == 1 for number in range(count))
    told = " that were there before, measured from the first tenth on" if backlog else ""
    print(f"bare loop; {count} records{told}, unsigned, no results, offsets committed by themselves")
    figures.show("POSTs")
    print(f"  verified: {once} of {count} have come once")
    return figures, once == count


async def run() -> bool:
    """Print the figures; True where they are verified."""
    _, verified = await measure(EVENTS)
    return verified
