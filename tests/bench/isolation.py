"""Whether endpoints that hang or drip slow down the others: a steady load, all well, some sick, all well again.

Everything is one run of the same processes, so that the stretches can be compared. Settings: BENCH_RATE (events/s),
BENCH_WARM_S before each stretch that is measured, BENCH_STEADY_S of each, BENCH_DRAIN_S at the end.
"""

import asyncio
import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import psutil
from aiokafka import AIOKafkaProducer

from tests.bench import system
from tests.bench.receiver import Arrival
from tests.bench.receiving import Receiver, receiving
from tests.bench.system import PREFIX, System
from tests.bench.tallying import Tally, tallying

ENDPOINTS = 200
SICK_SHARE = 10
RATE = float(os.environ.get("BENCH_RATE", "300"))
WARM_S = float(os.environ.get("BENCH_WARM_S", "30"))
STEADY_S = float(os.environ.get("BENCH_STEADY_S", "40"))
DRAIN_S = float(os.environ.get("BENCH_DRAIN_S", "400"))
TICK_S = 0.01
LOOK_S = 1.0
GOALS = (0.95, 1.5)


@dataclass(frozen=True)
class Endpoint:
    """Place 0 to 199: the first hundred have a tenant each, the others share twenty."""

    place: int

    @property
    def tenant(self) -> str:
        return f"t{self.place}" if self.place < 100 else f"s{self.place % 20}"

    @property
    def name(self) -> str:
        return f"e{self.place}"

    @property
    def is_sick(self) -> bool:
        return self.place % SICK_SHARE == 5


ALL = [Endpoint(place) for place in range(ENDPOINTS)]
SICK = [endpoint.place for endpoint in ALL if endpoint.is_sick]


@dataclass
class Load:
    """A steady load: every endpoint has its turn in each round, the order is another one each time."""

    producer: AIOKafkaProducer
    sent_to: list[int] = field(default_factory=list)

    async def run(self) -> None:
        """Send until cancelled."""
        draw = random.Random(1)
        began = time.monotonic()
        turns = itertools.chain.from_iterable(draw.sample(ALL, ENDPOINTS) for _ in itertools.count())
        while True:
            while len(self.sent_to) < (time.monotonic() - began) * RATE:
                endpoint = next(turns)
                value = system.event(f"{endpoint.name}.made", len(self.sent_to), time.time())
                self.sent_to.append(endpoint.place)
                await self.producer.send(PREFIX + "events", value, key=endpoint.tenant.encode())
            await asyncio.sleep(TICK_S)


@dataclass
class Stretch:
    """A time in which everything is measured. Times are s since 1970; `numbers`: the events published in it."""

    name: str
    began: float
    ended: float
    numbers: range
    spent: Counter[str]
    machine_percent: float
    in_flight: list[float]
    queued: list[float]
    counted: Counter[str]
    load_average: str
    deliveries_per_s: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)

    def read(self, load: Load, arrivals: Sequence[Arrival]) -> None:
        """Take what concerns the healthy endpoints from what the receiver has noted."""
        healthy = [one for one in arrivals if not ALL[load.sent_to[one.number]].is_sick]
        came = sum(self.began <= one.came_s < self.ended for one in healthy)
        self.deliveries_per_s = came / (self.ended - self.began)
        self.latencies_ms = [(one.came_s - one.sent_s) * 1_000 for one in healthy if one.number in self.numbers]

    def line(self) -> str:
        """Its figures."""
        p50, p99 = (system.percentile(self.latencies_ms, share) for share in (0.5, 0.99))
        length = self.ended - self.began
        return (
            f"  {self.name:14} {self.deliveries_per_s:6.1f} deliveries/s  p50 {p50:6.1f}  p99 {p99:6.1f}  "
            f"max {max(self.latencies_ms, default=0):6.0f} ms  CPU-s/s {self.spent.total() / length:.2f} = "
            f"{system.costs(self.spent, length)}  machine {self.machine_percent:.0f} %  load {self.load_average}"
        )

    def inside(self) -> str:
        """What the egress did besides."""
        length = self.ended - self.began
        deferred = ", ".join(f"{cause} {count / length:.1f}/s" for cause, count in sorted(self.counted.items()))
        return (
            f"  {'':14} in flight {sum(self.in_flight) / len(self.in_flight):.0f} (at most {max(self.in_flight):.0f}), "
            f"queued at most {max(self.queued):.0f}; {deferred or 'nothing put off'}"
        )


async def measure(name: str, stack: System, load: Load, length_s: float) -> Stretch:
    """Measure for so long."""
    began, first, cpu_s = time.time(), len(load.sent_to), stack.cpu_s()
    before = await stack.metrics("egress")
    psutil.cpu_percent()
    in_flight, queued = [], []
    while time.time() < began + length_s:
        now = await stack.metrics("egress")
        in_flight.append(now["hookfold_attempts_in_flight"])
        queued.append(now["hookfold_deliveries_queued"])
        await asyncio.sleep(LOOK_S)
    counted = Counter(
        {
            key.partition('cause="')[2].rstrip('"}'): value - before.get(key, 0.0)
            for key, value in now.items()
            if key.startswith("hookfold_deliveries_deferred_total{") and value > before.get(key, 0.0)
        }
    )
    spent, numbers = stack.cpu_s() - cpu_s, range(first, len(load.sent_to))
    return Stretch(
        name, began, time.time(), numbers, spent, psutil.cpu_percent(), in_flight, queued, counted,
        system.load_average(),
    )  # fmt: skip


async def register(producer: AIOKafkaProducer, receiver: Receiver) -> None:
    """An endpoint for each port."""
    for endpoint, port in zip(ALL, receiver.ports, strict=True):
        url = f"http://127.0.0.1:{port}/"
        await system.register(producer, endpoint.tenant, endpoint.name, url, f"{endpoint.name}.*")
    await producer.flush()
    await asyncio.sleep(1.0)


async def stretches(stack: System, receiver: Receiver, load: Load) -> list[Stretch]:
    """All are well, a tenth is sick, all are well; of the second and third the beginning is measured, too."""
    await asyncio.sleep(WARM_S)
    measured = [await measure("all well", stack, load, STEADY_S)]
    await receiver.order({"hang": SICK[::2], "drip": SICK[1::2]})
    measured.append(await measure("falling sick", stack, load, WARM_S))
    measured.append(await measure("a tenth sick", stack, load, STEADY_S))
    await receiver.order({})
    measured.append(await measure("recovering", stack, load, WARM_S))
    measured.append(await measure("well again", stack, load, STEADY_S))
    return measured


def judge(measured: Sequence[Stretch]) -> bool:
    """Compare the sick stretch with the two around it."""
    before, _, sick, _, after = measured
    well_per_s = (before.deliveries_per_s + after.deliveries_per_s) / 2
    throughput = sick.deliveries_per_s / well_per_s if well_per_s else 0.0
    well_p99 = system.percentile(before.latencies_ms + after.latencies_ms, 0.99)
    p99 = system.percentile(sick.latencies_ms, 0.99) / well_p99
    met = throughput >= GOALS[0] and p99 <= GOALS[1]
    print(
        f"  sick to well: throughput {throughput:.3f} (goal {GOALS[0]}), p99 {p99:.2f} (goal {GOALS[1]}): "
        + ("met" if met else "not met")
    )
    return met


def open_numbers(load: Load, tally: Tally) -> list[int]:
    """Events that have neither been delivered nor failed with another attempt still to come."""
    now_ms = time.time() * 1_000
    sent = range(len(load.sent_to))
    return [number for number in sent if not tally.delivered[number] and tally.waits.get(number, 0) < now_ms]


async def drain(load: Load, tally: Tally) -> float:
    """Wait until every event is accounted for; how long that took, s."""
    began = time.monotonic()
    while open_numbers(load, tally) and time.monotonic() < began + DRAIN_S:
        await asyncio.sleep(1.0)
    await asyncio.sleep(2.0)  # what comes twice may come late
    return time.monotonic() - began


def verify(load: Load, tally: Tally, arrivals: Sequence[Arrival], drained_s: float) -> bool:
    """By results and by what the receiver has seen."""
    sent = range(len(load.sent_to))
    posts = Counter(one.number for one in arrivals)
    healthy = [number for number in sent if not ALL[load.sent_to[number]].is_sick]
    sick = [number for number in sent if ALL[load.sent_to[number]].is_sick]
    once = sum(tally.delivered[number] == 1 and posts[number] == 1 for number in healthy)
    delivered = sum(tally.delivered[number] == 1 and posts[number] == 1 for number in sick)
    lost = open_numbers(load, tally)
    waiting = len(sick) - delivered - len(lost)
    print(
        f"  verified: {once} of {len(healthy)} events of healthy endpoints delivered exactly once; of {len(sick)} "
        f"of the others {delivered} exactly once, {waiting} wait for their next attempt, {len(lost)} unaccounted for "
        f"{drained_s:.0f} s after the last; {tally.failed} attempts failed, {tally.other.total()} other results"
    )
    return once == len(healthy) and not lost and not tally.other


async def run() -> bool:
    """Print the figures; True where the goals are met and they are verified."""
    with receiving(ENDPOINTS) as receiver:
        async with system.running() as stack, system.producing(stack) as producer, tallying(stack) as tally:
            await register(producer, receiver)
            print(
                f"isolation, {ENDPOINTS} endpoints, {RATE:.0f} events/s, {len(SICK)} of them sick for a while "
                f"(half hang, half drip); load {system.load_average()}",
                flush=True,
            )
            load = Load(producer)
            sending = asyncio.create_task(load.run())
            try:
                measured = await stretches(stack, receiver, load)
            finally:
                sending.cancel()
                await asyncio.wait([sending])
            await producer.flush()
            drained_s = await drain(load, tally)
            arrivals = await receiver.arrivals()
    for stretch in measured:
        stretch.read(load, arrivals)
        print(stretch.line())
        print(stretch.inside())
    met = judge(measured)
    return verify(load, tally, arrivals, drained_s) and met
