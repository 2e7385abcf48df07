"""Events offered as fast as Kafka takes them, what their deliveries cost, and whether each of them has come.

BENCH_WARM says how many deliveries come before those that are measured (10,000).
"""

import asyncio
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka import AIOKafkaProducer

from tests.bench import hops, system
from tests.bench.receiver import Arrival
from tests.bench.receiving import Receiver, receiving
from tests.bench.system import PREFIX, System
from tests.bench.tallying import Final, Tally, tallying

ONE_EACH = {"router": 1, "egress": 1, "delayer": 1}
TIMEOUT_S = 600.0
#: What comes twice may come late.
LATE_S = 2.0
LOOK_S = 1.0
#: Each endpoint has its connection then, and the broker's compiler has seen what it has to do.
WARM = int(os.environ.get("BENCH_WARM", "10000"))
WARM_S = 120.0


@dataclass
class Offer:
    """Events of some tenants in turn, numbered from `first`; each is owed to all `fan` endpoints of its tenant."""

    events: int
    tenants: int = 200
    fan: int = 1
    body: str = system.BODY
    first: int = 0
    sent_s: list[float] = field(default_factory=list)

    @property
    def deliveries(self) -> int:
        """How many there are in the end."""
        return self.events * self.fan

    @property
    def endpoints(self) -> int:
        """How many there are of all tenants."""
        return self.tenants * self.fan

    def owed(self) -> Iterator[tuple[int, str]]:
        """Each delivery: its event's number and its endpoint."""
        return (
            (number, f"e{place}") for number in range(self.first, self.first + self.events) for place in range(self.fan)
        )

    async def register(self, stack: System, producer: AIOKafkaProducer, receiver: Receiver, scheme: str) -> None:
        """Register all endpoints, and wait until the router knows them."""
        before = await stack.total("router", "hookfold_changes_total")
        for at in range(self.endpoints):
            tenant, endpoint_id = f"t{at // self.fan}", f"e{at % self.fan}"
            url = f"{scheme}://127.0.0.1:{receiver.ports[at % len(receiver.ports)]}/{tenant}/{endpoint_id}"
            await system.register(producer, tenant, endpoint_id, url, "order.*")
        await producer.flush()
        until = time.monotonic() + TIMEOUT_S
        while await stack.total("router", "hookfold_changes_total") < before + self.endpoints:
            if time.monotonic() > until:
                raise RuntimeError("the router has not read all registrations")
            await asyncio.sleep(0.2)
        await asyncio.sleep(1.0)

    async def publish(self, producer: AIOKafkaProducer) -> None:
        """Offer all events."""
        for number in range(self.first, self.first + self.events):
            self.sent_s.append(time.time())
            value = system.event("order.made", number, self.sent_s[-1], self.body)
            await producer.send(PREFIX + "events", value, key=f"t{number % self.tenants}".encode())
        await producer.flush()


@dataclass(frozen=True)
class Figures:
    """What a stretch has cost: CPU time and resident memory (at most, MiB) by service, and how much was done in it."""

    spent: Counter[str]
    rss: Counter[str]
    took_s: float
    count: int
    load: str

    def per_1000(self, service: str | None = None) -> float:
        """CPU-seconds for a thousand, of one service or of all."""
        spent = self.spent.total() if service is None else self.spent[service]
        return spent / max(1, self.count) * 1_000

    def show(self, what: str = "deliveries", each: int = 1) -> None:
        """Print; `each`: how many of `what` are done with each that was counted."""
        count = max(1, self.count) * each
        print(
            f"  CPU-s per 1,000 {what}: {self.spent.total() / count * 1_000:.3f} = "
            f"{system.costs(self.spent, count / 1_000)}"
        )
        memory = ", ".join(f"{name} {value:.0f} MB" for name, value in self.rss.items())
        print(f"  wall time {self.took_s:.1f} s, {count / self.took_s:.0f} {what}/s; RSS {memory}; load {self.load}")


async def measured(stack: System, tally: Tally, count: int, timeout_s: float = TIMEOUT_S) -> Figures:
    """Measure from now until so many more deliveries have ended."""
    before, began, first = stack.cpu_s(), time.monotonic(), len(tally.ended)
    rss, looked = stack.rss(), began
    while len(tally.ended) < first + count and (now := time.monotonic()) < began + timeout_s:
        if now > looked + LOOK_S:
            rss, looked = rss | stack.rss(), now
        await asyncio.sleep(0.01)
    took_s, spent = time.monotonic() - began, stack.cpu_s() - before
    return Figures(spent, rss | stack.rss(), took_s, len(tally.ended) - first, system.load_average())


def spread(values: Sequence[float]) -> str:
    """p50 and p99, ms, of seconds."""
    taken = [value * 1_000 for value in values]
    return f"p50 {system.percentile(taken, 0.5):.1f} p99 {system.percentile(taken, 0.99):.1f} ms"


def show_times(sent_s: Sequence[float], tally: Tally, arrivals: Sequence[Arrival]) -> None:
    """Print how long it took from an event's publishing to its POSTs and its final results."""
    posts = spread([one.came_s - one.sent_s for one in arrivals])
    first = min((one.number for one in arrivals), default=0)
    results = spread([at_s - sent_s[number] for number, at_s in tally.ended if number >= first])
    print(f"  publish to POST {posts}; publish to result {results}")


def verify(
    offer: Offer, tally: Tally, arrivals: Sequence[Arrival], verdict: str = "delivered", attempts: int = 1
) -> bool:
    """Whether each delivery has ended once, as `verdict`, and its receiver has seen each of its attempts once."""
    posts: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
    for one in arrivals:
        posts[one.number, one.path.rpartition("/")[2]].append(one.attempt)
    expected = list(range(1, attempts + 1))
    whole = sum(
        tally.finals[Final(number, endpoint_id, verdict, False)] == 1 and sorted(posts[number, endpoint_id]) == expected
        for number, endpoint_id in offer.owed()
    )
    results = tally.finals.total() - whole
    surplus = len(arrivals) - whole * attempts
    times = "once" if attempts == 1 else f"{attempts} times, each attempt once,"
    print(
        f"  verified: {whole} of {offer.deliveries} deliveries have come {times} and have one final result, {verdict}; "
        f"{results} other results, {surplus} other POSTs"
    )
    return whole == offer.deliveries and not results and not surplus


@dataclass(frozen=True)
class Way:
    """How an offer is delivered: processes, settings, what the receivers do, and how every delivery ends."""

    counts: Mapping[str, int] = field(default_factory=lambda: ONE_EACH)
    more: Mapping[str, str] = field(default_factory=dict)
    ports: int = 1
    certificate: Path | None = None
    manner: str | None = None
    verdict: str = "delivered"
    attempts: int = 1
    warm: int = WARM


async def warmed(stack: System, tally: Tally, producer: AIOKafkaProducer, offer: Offer, deliveries: int) -> int:
    """Deliver so many before the offer, which is numbered on from there. Returns how many events that were."""
    before = Offer(deliveries // offer.fan, offer.tenants, offer.fan, offer.body)
    publishing = asyncio.create_task(before.publish(producer))
    await measured(stack, tally, before.deliveries, WARM_S)
    await publishing
    offer.first, offer.sent_s = before.events, [*before.sent_s]
    return before.events


async def run(title: str, offer: Offer, way: Way | None = None) -> tuple[Figures, bool]:
    """Offer, measure until all has ended, verify; the figures, and whether they are verified."""
    way = way or Way()
    with receiving(way.ports, way.certificate) as receiver:
        if way.manner:
            await receiver.order({way.manner: list(range(way.ports))})
        async with (
            system.running(way.more, way.counts) as stack,
            tallying(stack) as tally,
            system.producing(stack) as producer,
        ):
            await offer.register(stack, producer, receiver, "https" if way.certificate else "http")
            warm = await warmed(stack, tally, producer, offer, way.warm)
            lanes = hops.Lanes(stack)
            await lanes.begin()
            offering = asyncio.create_task(offer.publish(producer))
            figures = await measured(stack, tally, offer.deliveries)
            await lanes.show(offer.deliveries)
            await offering
            await asyncio.sleep(LATE_S)
            opened = await stack.total("egress", "hookfold_connections_opened_total")
            arrivals = await receiver.arrivals()
    print(f"{title}; {offer.events} events of {len(offer.body) + 80} bytes to {offer.endpoints} endpoints", flush=True)
    what, each = ("deliveries", 1) if way.attempts == 1 else ("attempts", way.attempts)
    figures.show(what, each)
    show_times(offer.sent_s, tally, [one for one in arrivals if one.number >= warm])
    offer.first, offer.events = 0, warm + offer.events
    print(f"  {opened:.0f} connections opened; {tally.failed} attempts failed")
    return figures, verify(offer, tally, arrivals, way.verdict, way.attempts)
