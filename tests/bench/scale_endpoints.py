"""Many endpoints: how fast they are registered, what they take, how soon a restart delivers, what one match costs.

Settings: SCALE_ENDPOINTS (`10000,100000,1000000`: a run each), SCALE_EVENTS (events of each stretch that is measured,
4,000), SCALE_STAGES (`restart,empty,match,gateway,rebuild`: which of them, in this order), SCALE_PRELOAD (from so many
endpoints on, `endpoints` is written by a plain producer in place of a registration; 0: never, the default).
"""

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from schemas.changes import Subscription
from schemas.endpoints import EndpointRecord, EndpointSettings, EndpointVersion, State
from schemas.settings import Settings
from streams import provisioning
from streams.core.partitioning import partition_of
from tests.bench import system
from tests.bench.receiving import Receiver, receiving
from tests.bench.system import PREFIX, SECRET, System
from tests.bench.tallying import Final, Tally, tallying

SIZES = [int(part) for part in os.environ.get("SCALE_ENDPOINTS", "10000,100000,1000000").split(",")]
EVENTS = int(os.environ.get("SCALE_EVENTS", "4000"))
STAGES = os.environ.get("SCALE_STAGES", "restart,empty,match,gateway,rebuild").split(",")
PRELOAD = int(os.environ.get("SCALE_PRELOAD", "0"))
EACH = 50
BIG = "big"
MAX_BIG = 10_000
PROBES = 50
TIMEOUT_S = 1_800.0
LOOK_S = 0.5
LATE_S = 2.0
#: After a restart the router indexes its tenants while there is nothing else to do; that is no part of a match.
INDEXED_S = 15.0
COUNTS = {"router": 1, "egress": 1, "gateway": 1}
KNOWING = ("router", "egress")
API_SECRET = "a secret of the benchmark of at least thirty-two bytes"


@dataclass
class Plan:
    """`size` endpoints: `EACH` of a tenant, and up to 10,000 of one. Each gets the events of a type of its own."""

    size: int
    sent: dict[int, tuple[str, int]] = field(default_factory=dict)

    @property
    def big(self) -> int:
        """How many the one tenant has."""
        return min(MAX_BIG, self.size // 10)

    @property
    def tenants(self) -> int:
        """How many there are beside it."""
        return max(1, (self.size - self.big) // EACH)

    def endpoints(self) -> Iterator[tuple[str, int]]:
        """Tenant and number of each, the tenants in turn, as they would come."""
        yield from ((BIG, number) for number in range(self.big))
        others = self.size - self.big
        yield from ((f"t{at % self.tenants}", at // self.tenants) for at in range(others))

    async def register(self, producer: AIOKafkaProducer, port: int) -> None:
        """Produce the registration of each."""
        for tenant, number in self.endpoints():
            change = (
                f'{{"type":"endpoint.registered","endpoint_id":"e{number}","verification":"none",'
                f'"url":"http://127.0.0.1:{port}/{tenant}/e{number}","secrets":["{SECRET}"],'
                f'"subscriptions":[{{"event_types":["order{number}.*"]}}]}}'
            )
            await producer.send(PREFIX + "subscriptions", change.encode(), key=tenant.encode())
        await producer.flush()

    async def preload(self, producer: AIOKafkaProducer, port: int) -> None:
        """Produce the state of each, as the router would have."""
        partitions = Settings().partitions
        known = EndpointSettings(
            url="URL", subscriptions=(Subscription(event_types=("TYPES",)),), secrets=(SECRET,), verification="none"
        )
        now_ms = int(time.time() * 1_000)
        version = EndpointVersion(
            valid_from_ms=now_ms, offset=0, state=State.ACTIVE, since_ms=now_ms, verified=True, settings=known
        )
        made = EndpointRecord(tenant="TENANT", endpoint_id="ENDPOINT", partition=0, current=version).encode().decode()
        for tenant, number in self.endpoints():
            partition = partition_of(tenant.encode(), partitions)
            value = (
                made.replace("TENANT", tenant)
                .replace("ENDPOINT", f"e{number}")
                .replace("URL", f"http://127.0.0.1:{port}/{tenant}/e{number}")
                .replace("TYPES", f"order{number}.*")
                .replace('"version":"0-', f'"version":"{partition}-')
            )
            key = f"{tenant}/e{number}".encode()
            await producer.send(PREFIX + "endpoints", value.encode(), key=key, partition=partition)
        await producer.flush()

    async def send(self, producer: AIOKafkaProducer, count: int, *, big: bool = False) -> list[int]:
        """Publish so many events, each for one endpoint: of other tenants in turn, or of the big one. Their numbers."""
        first = len(self.sent)
        for at in range(count):
            of_big = at * 7 % self.big
            of_others = at * (self.tenants // count or 1) % self.tenants, at % EACH
            tenant, number = (BIG, of_big) if big else (f"t{of_others[0]}", of_others[1])
            self.sent[first + at] = (tenant, number)
            value = system.event(f"order{number}.made", first + at, time.time())
            await producer.send(PREFIX + "events", value, key=tenant.encode())
        await producer.flush()
        return list(range(first, first + count))


@dataclass
class Growth:
    """One size, on a running system."""

    plan: Plan
    stack: System
    producer: AIOKafkaProducer
    receiver: Receiver
    tally: Tally
    top: Counter[str] = field(default_factory=Counter)

    async def register(self) -> bool:
        """Register all, and wait until router and egress know them."""
        before, began = self.stack.cpu_s(), time.monotonic()
        port = self.receiver.ports[0]
        preloaded = 0 < PRELOAD <= self.plan.size
        await (self.plan.preload if preloaded else self.plan.register)(self.producer, port)
        produced_s = time.monotonic() - began
        if preloaded:
            before, began, produced_s = self.stack.cpu_s(), time.monotonic(), 0.0
            for name in KNOWING:
                await self.stack.start(name)
        known = await self.known()
        took_s, spent = time.monotonic() - began, self.stack.cpu_s() - before
        how = "read from `endpoints`" if preloaded else "registered"
        rate = f"{self.plan.size / took_s:.0f} changes/s"
        print(
            f"  {how}: {rate} ({took_s:.1f} s until router and egress know all, "
            f"{produced_s:.1f} s of it producing; load {system.load_average()}); "
            f"CPU-s per 1,000: {system.costs(spent, self.plan.size / 1_000)}"
        )
        self.show_rss()
        print(f"  verified: router and egress know {known} of {self.plan.size}", flush=True)
        return known == self.plan.size

    async def known(self) -> int:
        """Wait until router and egress know all; the least that one of them knows."""
        until, least = time.monotonic() + TIMEOUT_S, 0
        while least < self.plan.size and time.monotonic() < until:
            self.top |= self.stack.rss()
            await asyncio.sleep(LOOK_S)
            with contextlib.suppress(OSError):
                least = min([int(await self.stack.total(name, "hookfold_endpoints")) for name in KNOWING])
        return least

    async def match(self) -> None:
        """What an event costs: the first of each tenant, then again, then those of the big tenant."""
        for what, big in (("first", False), ("again", False), ("of the big tenant", True), ("again", True)):
            before = self.stack.cpu_s()
            await self.delivered(await self.plan.send(self.producer, EVENTS, big=big))
            spent = self.stack.cpu_s() - before
            print(
                f"  {EVENTS} events {what}: CPU-s per 1,000: {system.costs(spent, EVENTS / 1_000)}; "
                f"load {system.load_average()}",
                flush=True,
            )
        self.show_rss()

    async def restart(self, what: str, *, keep: bool = True, lose: bool = False) -> None:
        """Stop router and egress, publish, start both at once; how long until all has come."""
        for name in KNOWING:
            await self.stack.stop(name, keep)
        if lose:
            await self._lose_endpoints()
        probes = await self.plan.send(self.producer, PROBES // 2)
        probes += await self.plan.send(self.producer, PROBES // 2, big=True)
        self.top.clear()
        began, wall = time.monotonic(), time.time()
        for name in KNOWING:
            await self.stack.start(name)
        watching = [asyncio.create_task(self._ready(name)) for name in KNOWING]
        await self.delivered(probes)
        ready = {name: at - began for name, at in zip(KNOWING, await asyncio.gather(*watching), strict=True)}
        spent = self.stack.cpu_s()
        came = [one.came_s - wall for one in await self.receiver.arrivals() if one.number in set(probes)]
        print(
            f"  {what}: ready after {', '.join(f'{name} {at_s:.1f} s' for name, at_s in ready.items())}; "
            f"first delivery after {min(came, default=float('nan')):.1f} s, all {PROBES} after {max(came):.1f} s; "
            f"CPU-s router {spent['router']:.1f}, egress {spent['egress']:.1f}; load {system.load_average()}"
        )
        self.show_rss()

    async def gateway(self) -> None:
        """Start the gateway without its file, and end it."""
        began = time.monotonic()
        await self.stack.start("gateway")
        took_s = await self._ready("gateway") - began
        print(
            f"  gateway without its file: ready after {took_s:.1f} s, {self.stack.rss_mb('gateway'):.0f} MB; "
            f"CPU-s {self.stack.cpu_s()['gateway']:.1f}",
            flush=True,
        )
        await self.stack.stop("gateway")

    async def delivered(self, numbers: list[int]) -> None:
        """Wait until each of these has a final result."""
        until = time.monotonic() + TIMEOUT_S
        wanted = set(numbers)
        while wanted - {number for number, _ in self.tally.ended} and time.monotonic() < until:
            self.top |= self.stack.rss()
            await asyncio.sleep(0.1)

    def show_rss(self) -> None:
        """Print resident memory, now and at most."""
        now = self.stack.rss()
        print("  RSS " + ", ".join(f"{name} {now[name]:.0f} MB (at most {self.top[name]:.0f})" for name in now))

    async def verify(self) -> bool:
        """Whether each event has come once, and has one final result."""
        await asyncio.sleep(LATE_S)
        arrivals = await self.receiver.arrivals()
        posts = Counter((one.number, one.path) for one in arrivals)
        once = sum(
            posts[number, f"/{tenant}/e{endpoint}"] == 1
            and self.tally.finals[Final(number, f"e{endpoint}", "delivered", False)] == 1
            for number, (tenant, endpoint) in self.plan.sent.items()
        )
        sent = len(self.plan.sent)
        others = self.tally.finals.total() - once, len(arrivals) - once
        print(
            f"  verified: {once} of {sent} events have come once and have one final result, delivered; "
            f"{others[0]} other results, {others[1]} other POSTs",
            flush=True,
        )
        return once == sent and others == (0, 0)

    async def _ready(self, name: str) -> float:
        until = time.monotonic() + TIMEOUT_S
        while time.monotonic() < until and not await self.stack.is_ready(name):
            self.top |= self.stack.rss()
            await asyncio.sleep(0.1)
        return time.monotonic()

    async def _lose_endpoints(self) -> None:
        topic = PREFIX + "endpoints"
        admin = AIOKafkaAdminClient(bootstrap_servers=self.stack.kafka)
        await admin.start()
        await admin.delete_topics([topic])
        while topic in await admin.list_topics():
            await asyncio.sleep(0.1)
        await admin.close()
        await provisioning.provision(Settings(kafka=self.stack.kafka, prefix=PREFIX))


async def run() -> bool:
    """Print the figures; True where they are verified."""
    return all([await _run(size) for size in SIZES])


async def _run(size: int) -> bool:
    plan = Plan(size)
    print(
        f"endpoints: {size}, {plan.big} of one tenant, the others of {plan.tenants}; {os.cpu_count()} cores", flush=True
    )
    with receiving(1) as receiver:
        async with (
            system.running({"HOOKFOLD_API_SECRET": API_SECRET}, {} if 0 < PRELOAD <= size else COUNTS) as stack,
            tallying(stack) as tally,
            AIOKafkaProducer(
                bootstrap_servers=stack.kafka, acks="all", linger_ms=5, max_batch_size=262_144
            ) as producer,
        ):
            growth = Growth(plan, stack, producer, receiver, tally)
            if not await growth.register():
                return False
            await stack.stop("gateway", keep=False)
            if "restart" in STAGES:
                await growth.restart("restart, data directories kept")
            if "empty" in STAGES:
                await growth.restart("restart, data directories deleted", keep=False)
            if "match" in STAGES:
                await asyncio.sleep(INDEXED_S)
                await growth.match()
            if "gateway" in STAGES:
                await growth.gateway()
            if "rebuild" in STAGES:
                await growth.restart("restart, `endpoints` deleted as well: made anew from `subscriptions`", lose=True)
                known = await growth.known()
                print(f"  verified: router and egress know {known} of {size}")
                if known != size:
                    return False
            return await growth.verify()
