"""What it costs that many deliveries wait for one endpoint that is away, and whether others notice.

Settings: BENCH_WAITING (how many wait, 100,000), BENCH_MANNERS (`refused,hang`: a run each), BENCH_IDLE_S (how long
their cost is measured), BENCH_DRAIN_S (how long all of them may take to be delivered at the end).
"""

import asyncio
import json
import os
import random
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition

from schemas.settings import Settings
from streams.core.partitioning import partition_of
from tests.bench import system
from tests.bench.receiving import Receiver, receiving
from tests.bench.system import PREFIX, System
from tests.bench.tallying import Tally, tallying

FEW = 1_000
MANY = int(os.environ.get("BENCH_WAITING", "100000"))
MANNERS = os.environ.get("BENCH_MANNERS", "refused,hang").split(",")
IDLE_S = float(os.environ.get("BENCH_IDLE_S", "120"))
DRAIN_S = float(os.environ.get("BENCH_DRAIN_S", "900"))
WARM_EVENTS = 5_000
PROBES = 50
PROBE_S = 20.0
#: An event that comes right after another waits for the next transaction; these do not.
PAUSE_S = 0.3
SETTLE_S = 10.0
READ_S = 180.0
TENANT = "t"
AWAY = "away"
PARTITIONS = Settings().partitions
#: In the same partition as the endpoint that is away.
NEAR = next(
    name
    for name in (f"near{number}" for number in range(1_000))
    if partition_of(f"{TENANT}/{name}".encode(), PARTITIONS) == partition_of(f"{TENANT}/{AWAY}".encode(), PARTITIONS)
)
GOAL_MB = 30
DEFERRED, HOPS = "hookfold_deliveries_deferred_total", "hookfold_retries_moved_total"


@dataclass
class Sender:
    """Events of one tenant, numbered."""

    producer: AIOKafkaProducer
    count: int = 0

    async def send(self, endpoint_id: str) -> int:
        """Publish an event for the endpoint; its number."""
        number, self.count = self.count, self.count + 1
        value = system.event(f"{endpoint_id}.made", number, time.time())
        await self.producer.send(PREFIX + "events", value, key=TENANT.encode())
        return number


def spread(values: Sequence[float]) -> str:
    """p50 and the largest."""
    return f"p50 {system.percentile(list(values), 0.5):.1f}  max {max(values):.0f} ms"


async def probe(sender: Sender, receiver: Receiver, pause_s: float = PAUSE_S) -> list[float]:
    """From publish to POST at the endpoint nearby, one event after the other, about `pause_s` between them; ms."""
    taken: list[float] = []
    seen = len(await receiver.arrivals())
    for _ in range(PROBES):
        await asyncio.sleep(random.uniform(0.7, 1.3) * pause_s)
        number, until = await sender.send(NEAR), time.monotonic() + PROBE_S
        found: list[float] = []
        while not found and time.monotonic() < until:
            await asyncio.sleep(0.02)
            new = await receiver.arrivals(seen)
            seen += len(new)
            found = [(one.came_s - one.sent_s) * 1_000 for one in new if one.number == number]
        taken += found or [PROBE_S * 1_000]
    return taken


async def until_waiting(stack: System, sender: Sender) -> float:
    """Wait until the router has judged all events and none is in the egress's memory; how long that took, s."""
    began = time.monotonic()
    while time.monotonic() < began + READ_S + sender.count / 200:
        await asyncio.sleep(0.5)
        router, egress = await stack.metrics("router"), await stack.metrics("egress")
        judged = sum(value for key, value in router.items() if key.startswith("hookfold_events_total{"))
        if judged >= sender.count and not egress["hookfold_deliveries_queued"]:
            break
    await asyncio.sleep(SETTLE_S)
    return time.monotonic() - began - SETTLE_S


async def in_retries(stack: System, of: range) -> int:
    """How many of these events stand in the retry topics."""
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.kafka, isolation_level="read_committed", group_id=None)
    await consumer.start()
    found: set[int] = set()
    try:
        tiers = [PREFIX + "retries." + name for name in Settings().tiers_ms]
        here = partition_of(f"{TENANT}/{AWAY}".encode(), PARTITIONS)
        places = [TopicPartition(name, here) for name in tiers]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        until = time.monotonic() + READ_S
        while time.monotonic() < until:
            for records in (await consumer.getmany(timeout_ms=200, max_records=2_000)).values():
                found.update(int(dict(record.headers)["event-id"]) for record in records)
            if all([await consumer.position(place) >= ends[place] for place in places]):
                break
    finally:
        await consumer.stop()
    return len(found & set(of))


async def idle(stack: System, sender: Sender, receiver: Receiver) -> tuple[str, list[float]]:
    """What it costs that they wait, and how the endpoint nearby fares in all of that time."""
    before, began = stack.cpu_s(), time.monotonic()
    egress, delayer = await stack.metrics("egress"), await stack.metrics("delayer")
    taken = await probe(sender, receiver, IDLE_S / PROBES)
    minutes = (time.monotonic() - began) / 60
    spent = stack.cpu_s() - before
    put_off = system.total(await stack.metrics("egress"), DEFERRED) - system.total(egress, DEFERRED)
    hops = system.total(await stack.metrics("delayer"), HOPS) - system.total(delayer, HOPS)
    return (
        f"CPU-s a minute {spent.total() / minutes:.1f} = {system.costs(spent, minutes)}; "
        f"{put_off / minutes:.0f} put off again and {hops / minutes:.0f} moved by the delayer a minute"
    ), taken


async def one(manner: str) -> bool:
    """Print the figures of one manner to be away."""
    with receiving(3) as receiver, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        hanging, well, mended = receiver.ports
        await receiver.order({"hang": [0]})
        port = hanging if manner == "hang" else nobody.getsockname()[1]
        async with system.running() as stack, system.producing(stack) as producer, tallying(stack) as tally:
            await system.register(producer, TENANT, AWAY, f"http://127.0.0.1:{port}/", f"{AWAY}.*")
            await system.register(producer, TENANT, NEAR, f"http://127.0.0.1:{well}/", f"{NEAR}.*")
            await producer.flush()
            await asyncio.sleep(1.0)
            sender = Sender(producer)
            print(f"waiting, {MANY} for an endpoint that is away ({manner}); load {system.load_average()}", flush=True)
            for _ in range(WARM_EVENTS):
                await sender.send(NEAR)
            await until_waiting(stack, sender)
            before = await probe(sender, receiver)
            print(f"  none waits: RSS {rss(stack)}; first try nearby {spread(before)}", flush=True)
            first = sender.count
            for _ in range(FEW):
                await sender.send(AWAY)
            await until_waiting(stack, sender)
            few = stack.rss_mb("egress")
            print(
                f"  {FEW} wait: RSS {rss(stack)}; first try nearby {spread(await probe(sender, receiver))}", flush=True
            )
            middle = sender.count
            for _ in range(MANY - FEW):
                await sender.send(AWAY)
            last = sender.count
            took_s = await until_waiting(stack, sender)
            cost, while_waiting = await idle(stack, sender, receiver)
            print(f"  {MANY} wait after {took_s:.0f} s; {cost}; load {system.load_average()}", flush=True)
            many = stack.rss_mb("egress")
            print(f"  {MANY} wait: RSS {rss(stack)}; first try nearby {spread(while_waiting)}", flush=True)
            owed = [*range(first, first + FEW), *range(middle, last)]
            held = await in_retries(stack, range(first, last))
            print(f"  {held} of {len(owed)} stand in the retry topics; egress grew by {many - few:.0f} MB", flush=True)
            change = {"type": "endpoint.changed", "endpoint_id": AWAY, "url": f"http://127.0.0.1:{mended}/"}
            await producer.send(PREFIX + "subscriptions", json.dumps(change).encode(), key=TENANT.encode())
            took_s = await delivered(tally, sender)
            posts = Counter(one.number for one in await receiver.arrivals())
    once = sum(tally.delivered[number] == 1 and posts[number] == 1 for number in range(sender.count))
    print(
        f"  verified: {once} of {sender.count} delivered exactly once, the last of them {took_s:.0f} s after the "
        f"endpoint was mended; {tally.failed} attempts failed, {tally.other.total()} other results"
    )
    return once == sender.count and not tally.other and many - few < GOAL_MB


def rss(stack: System) -> str:
    """Resident memory by service."""
    return ", ".join(f"{name} {stack.rss_mb(name):.0f} MB" for name in ("egress", "delayer", "router"))


async def delivered(tally: Tally, sender: Sender) -> float:
    """Wait until all have been delivered; how long that took, s."""
    began = time.monotonic()
    while len(tally.delivered) < sender.count and time.monotonic() < began + DRAIN_S:
        await asyncio.sleep(0.5)
    took_s = time.monotonic() - began
    await asyncio.sleep(2.0)  # what comes twice may come late
    return took_s


async def run() -> bool:
    """A run for each manner; True where all is verified and memory has stayed."""
    return all([await one(manner) for manner in MANNERS])
