"""What came of the events, as `results` tells it."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from aiokafka import AIOKafkaConsumer

from tests.bench.system import PREFIX, System


class Final(NamedTuple):
    """How a delivery, or a replay of it, has ended."""

    number: int
    endpoint_id: str
    verdict: str
    replayed: bool


@dataclass
class Tally:
    """Results by event number. `waits`: when the next attempt is due (ms) of those that have failed so far.

    `ended`: of each final result its event's number and Kafka's time, s since 1970.
    """

    delivered: Counter[int] = field(default_factory=Counter)
    other: Counter[str] = field(default_factory=Counter)
    waits: dict[int, int] = field(default_factory=dict)
    failed: int = 0
    finals: Counter[Final] = field(default_factory=Counter)
    ended: list[tuple[int, float]] = field(default_factory=list)

    def note(self, result: dict[str, Any], at_ms: int) -> None:
        """Count a result."""
        number, verdict = int(result["event_id"]), result["verdict"]
        match verdict:
            case "delivered":
                self.delivered[number] += 1
                self.waits.pop(number, None)
            case "retrying":
                self.failed += 1
                self.waits[number] = result["next_attempt_at_ms"]
                return
            case _:
                self.other[verdict] += 1
        self.finals[Final(number, result["endpoint_id"], verdict, result.get("replay_id") is not None)] += 1
        self.ended.append((number, at_ms / 1_000))


@contextlib.asynccontextmanager
async def tallying(system: System) -> AsyncIterator[Tally]:
    """Follow `results` from the beginning."""
    tally = Tally()
    consumer = AIOKafkaConsumer(
        PREFIX + "results", bootstrap_servers=system.kafka, isolation_level="read_committed",
        auto_offset_reset="earliest", group_id=None,
    )  # fmt: skip
    await consumer.start()

    async def follow() -> None:
        async for record in consumer:
            tally.note(orjson.loads(record.value), record.timestamp)

    task = asyncio.create_task(follow())
    try:
        yield tally
    finally:
        task.cancel()
        await asyncio.wait([task])
        await consumer.stop()
