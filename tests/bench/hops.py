"""Where the time from publish to POST goes, hop by hop, as the log tells it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer

from schemas import deliveries
from tests.bench import system
from tests.bench.receiver import Arrival
from tests.bench.system import PREFIX, System


@dataclass
class Hops:
    """By event number, s since 1970: when its delivery was appended, and when a reader had it, committed."""

    written_s: dict[int, float] = field(default_factory=dict)
    readable_s: dict[int, float] = field(default_factory=dict)

    def show(self, sent_s: Sequence[float], arrivals: Sequence[Arrival]) -> None:
        """Print each hop's p50 and p99."""
        posted_s = {one.number: one.came_s for one in arrivals}
        sent = {number: sent_s[number] for number in posted_s}
        hops = (
            ("publish to written", sent, self.written_s),
            ("written to committed", self.written_s, self.readable_s),
            ("committed to POST", self.readable_s, posted_s),
        )
        print("  " + "; ".join(f"{name} {_spread(_distances(*ends))}" for name, *ends in hops))


def _spread(values: Sequence[float]) -> str:
    taken = [value * 1_000 for value in values]
    return f"p50 {system.percentile(taken, 0.5):.1f} p99 {system.percentile(taken, 0.99):.1f} ms"


def _distances(starts: Mapping[int, float], ends: Mapping[int, float]) -> list[float]:
    return [ended - starts[number] for number, ended in ends.items() if number in starts]


class Lanes:
    """What lanes have done since `begin`, by service."""

    SERVICES = ("router", "egress")

    def __init__(self, stack: System) -> None:
        self._stack = stack
        self._before: dict[str, dict[str, float]] = {}

    async def begin(self) -> None:
        """Count from now on."""
        self._before = {name: await self._stack.metrics(name) for name in self.SERVICES}

    async def show(self, per: int) -> None:
        """Print how many transactions there were, how long they took, and how long lanes waited to begin them."""
        for name in self.SERVICES:
            after = await self._stack.metrics(name)
            gone = {key: value - self._before[name].get(key, 0.0) for key, value in after.items()}
            count = gone["hookfold_transaction_seconds_count"]
            took, waited, barred = (
                gone.get(f"hookfold_{what}_seconds_sum", 0.0)
                / max(1, gone.get(f"hookfold_{what}_seconds_count", 0))
                * 1_000
                for what in ("transaction", "turn", "barrier")
            )
            print(
                f"  {name}: {count / per * 1_000:.0f} transactions for 1,000 deliveries; mean of a wait for a turn "
                f"{waited:.1f} ms, of the barrier {barred:.1f} ms, of a transaction {took:.1f} ms"
            )


@contextlib.asynccontextmanager
async def following(system: System) -> AsyncIterator[Hops]:
    """Follow `deliveries`."""
    hops = Hops()
    consumer = AIOKafkaConsumer(
        PREFIX + "deliveries", bootstrap_servers=system.kafka, isolation_level="read_committed",
        auto_offset_reset="earliest", group_id=None,
    )  # fmt: skip
    await consumer.start()

    async def follow() -> None:
        async for record in consumer:
            delivery = deliveries.decode(record.value, record.headers)
            assert not isinstance(delivery, str), delivery
            hops.written_s[int(delivery.event_id)] = record.timestamp / 1_000
            hops.readable_s[int(delivery.event_id)] = time.time()

    task = asyncio.create_task(follow())
    try:
        yield hops
    finally:
        task.cancel()
        await asyncio.wait([task])
        await consumer.stop()
