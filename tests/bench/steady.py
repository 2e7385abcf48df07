"""A steady load: events at a rate, at uneven distances, to some endpoints in turn."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer

from tests.bench import system
from tests.bench.receiver import Arrival
from tests.bench.receiving import Receiver
from tests.bench.system import PREFIX
from tests.bench.tallying import Final, Tally


@dataclass
class Steady:
    """`endpoints`: (tenant, endpoint), each id once. The first event's number is `first`. `sent_s`: since 1970."""

    producer: AIOKafkaProducer
    endpoints: Sequence[tuple[str, str]]
    rate_per_s: float
    first: int = 0
    sent_s: list[float] = field(default_factory=list)

    async def register(self, receiver: Receiver) -> None:
        """Each endpoint is subscribed to events of its own."""
        for at, (tenant, endpoint_id) in enumerate(self.endpoints):
            url = f"http://127.0.0.1:{receiver.ports[at % len(receiver.ports)]}/{tenant}/{endpoint_id}"
            await system.register(self.producer, tenant, endpoint_id, url, f"{endpoint_id}.*")
        await self.producer.flush()

    def to(self, number: int) -> tuple[str, str]:
        """Whom an event is for."""
        return self.endpoints[(number - self.first) % len(self.endpoints)]

    async def send(self) -> None:
        """Send until cancelled. A fixed distance would keep step with the intervals of what is measured."""
        due = time.monotonic()
        while True:
            number, now_s = self.first + len(self.sent_s), time.time()
            tenant, endpoint_id = self.to(number)
            self.sent_s.append(now_s)
            value = system.event(f"{endpoint_id}.made", number, now_s)
            await self.producer.send(PREFIX + "events", value, key=tenant.encode())
            due += random.uniform(0.5, 1.5) / self.rate_per_s
            await asyncio.sleep(due - time.monotonic())

    @contextlib.asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Send meanwhile."""
        task = asyncio.create_task(self.send())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            await self.producer.flush()

    def waits(self, arrivals: Sequence[Arrival], since_s: float, until_s: float) -> list[float]:
        """From publish to POST, s, of the events that were sent between two times."""
        return [
            one.came_s - one.sent_s
            for one in arrivals
            if one.number >= self.first and since_s <= self.sent_s[one.number - self.first] < until_s
        ]

    def verify(self, tally: Tally, arrivals: Sequence[Arrival]) -> bool:
        """Whether each event has come once and has one final result."""
        posts = Counter((one.number, one.path) for one in arrivals)
        numbers = range(self.first, self.first + len(self.sent_s))
        once = sum(
            posts[number, "/" + "/".join(self.to(number))] == 1
            and tally.finals[Final(number, self.to(number)[1], "delivered", False)] == 1
            for number in numbers
        )
        of_these = [one for one in tally.finals.elements() if one.number in numbers]
        seen = sum(one.number in numbers for one in arrivals)
        print(
            f"  verified: {once} of {len(numbers)} live events have come once and have one final result; "
            f"{len(of_these) - once} other results, {seen - once} other POSTs"
        )
        return once == len(numbers) == len(of_these) == seen
