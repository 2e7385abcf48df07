"""Who is next: a queue for each endpoint, fair turns between them, and bounds on what waits and what is under way."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from aiokafka.structs import TopicPartition

from schemas.deliveries import Delivery
from schemas.settings import EgressSettings
from streams import metrics
from streams.core import admission
from streams.core.admission import Load

#: Of so many turns of an endpoint, one goes to a retry even though first tries wait.
RETRY_SHARE = 5
#: Before an endpoint has answered once, an attempt counts as taking this long.
FIRST_GUESS_MS = 20.0
SWEEP_S = 1.0


class Owner(Protocol):
    """The lane's work that an item belongs to."""

    def may_start(self) -> bool:
        """False while the lane stops, or holds too much that is not committed."""

    def put_off(self, item: Item, for_ms: int, cause: str) -> None:
        """Write the delivery to a retry topic without an attempt."""


@dataclass(slots=True, eq=False)
class Item:
    """A delivery in memory, and where it came from. `queued_at` is monotonic time in seconds."""

    delivery: Delivery
    place: TopicPartition
    offset: int
    owner: Owner
    queued_at: float = 0.0

    @property
    def size(self) -> int:
        """Bytes that it holds, roughly."""
        return len(self.delivery.data) + 1_000


class EndpointQueue:
    """One endpoint's deliveries in this process."""

    def __init__(self, limit: int) -> None:
        self.first: deque[Item] = deque()
        self.again: deque[Item] = deque()
        self.limit = limit
        self.rate_per_s: float | None = None
        self.failures = 0
        self._window = admission.FIRST_WINDOW
        self.ready = False
        self._turns = 0
        self._service_ms = FIRST_GUESS_MS
        self._started: dict[Item, float] = {}
        self._tokens = 1.0
        self._filled_at = 0.0

    def __len__(self) -> int:
        return len(self.first) + len(self.again)

    @property
    def in_flight(self) -> int:
        """Attempts under way."""
        return len(self._started)

    @property
    def allowed(self) -> int:
        """Attempts at a time that it gets just now."""
        return min(self.limit, int(self._window))

    def load(self, now: float) -> Load:
        """What admission is decided on."""
        oldest_ms = (now - min(self._started.values())) * 1_000 if self._started else 0.0
        return Load(len(self), max(self._service_ms, oldest_ms), self.limit, self.rate_per_s, self.failures)

    def put(self, item: Item) -> None:
        """To the end of the line."""
        (self.first if item.delivery.attempt == 1 else self.again).append(item)

    def start(self, now: float) -> Item:
        """Take the next: first tries before retries, but every fifth turn is a retry's."""
        self._turns += 1
        retry = self.again and (not self.first or self._turns % RETRY_SHARE == 0)
        item = (self.again if retry else self.first).popleft()
        self._started[item] = now
        if self.rate_per_s is not None:
            self._tokens -= 1.0
        return item

    def end(self, item: Item, now: float, *, failed: bool | None) -> None:
        """The attempt is over; `failed` None: none was made."""
        started = self._started.pop(item)
        if failed is not None:
            self._service_ms += ((now - started) * 1_000 - self._service_ms) * 0.2
            self.failures = self.failures + 1 if failed else 0
            self._window = admission.next_window(self._window, self.limit, failed=failed)

    def token_in_s(self, now: float) -> float:
        """How long until the endpoint's own rate lets another attempt start; 0.0 where it may now."""
        if self.rate_per_s is None:
            return 0.0
        if not self._filled_at:
            self._tokens, self._filled_at = max(1.0, self.rate_per_s), now
        self._tokens = min(max(1.0, self.rate_per_s), self._tokens + (now - self._filled_at) * self.rate_per_s)
        self._filled_at = now
        return 0.0 if self._tokens >= 1.0 else (1.0 - self._tokens) / self.rate_per_s

    def take_if(self, unwanted: Callable[[Item], bool]) -> list[Item]:
        """Remove and return those that are."""
        taken = [item for line in (self.first, self.again) for item in line if unwanted(item)]
        if taken:
            self.first = deque(item for item in self.first if not unwanted(item))
            self.again = deque(item for item in self.again if not unwanted(item))
        return taken


class Dispatcher:
    """Starts attempts for all lanes of a process. `attempt` is called for each and says whether it failed.

    What an endpoint cannot take soon is put off: see `streams.core.admission`.
    """

    def __init__(
        self, settings: EgressSettings, attempt: Callable[[Item, EndpointQueue], Awaitable[bool | None]]
    ) -> None:
        self._settings = settings
        self._attempt = attempt
        self._queues: dict[bytes, EndpointQueue] = {}
        self._ready: deque[tuple[bytes, EndpointQueue]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._bytes = 0

    @property
    def full(self) -> bool:
        """True while no more data should be fed."""
        return self._bytes >= self._settings.queue_bytes

    def crowded(self, key: bytes) -> bool:
        """True while an endpoint's queue is at its bound: a quick receiver will have emptied it in a moment."""
        queue = self._queues.get(key)
        return queue is not None and len(queue) >= self._settings.endpoint_queue

    def offer(self, key: bytes, item: Item, limit: int | None, rate_per_s: float | None) -> None:
        """Queue a delivery, or put it off where it would wait too long. `limit`, `rate_per_s`: the endpoint's own."""
        now = time.monotonic()
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = EndpointQueue(self._settings.endpoint_in_flight)
        queue.limit = min(limit or self._settings.endpoint_in_flight, self._settings.in_flight)
        queue.rate_per_s = rate_per_s
        load = queue.load(now)
        if not admission.may_wait(load):
            item.owner.put_off(item, admission.deferral_ms(load), "queue")
            return
        item.queued_at = now
        queue.put(item)
        self._count(item, 1)
        self._mark_ready(key, queue)
        self.pump()

    def pump(self) -> None:
        """Start what may start."""
        now = time.monotonic()
        parked = []
        while self._ready and len(self._tasks) < self._settings.in_flight:
            key, queue = self._ready.popleft()
            queue.ready = False
            if not len(queue) or queue.in_flight >= queue.allowed:
                continue
            if (pause_s := queue.token_in_s(now)) > 0:
                queue.ready = True  # it rests, and the timer brings it back
                asyncio.get_running_loop().call_later(pause_s, self._wake, key, queue)
                continue
            head = (queue.first or queue.again)[0]
            if not head.owner.may_start():
                parked.append((key, queue))
                continue
            item = queue.start(now)
            task = asyncio.get_running_loop().create_task(self._run(key, queue, item))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self._mark_ready(key, queue)
        for key, queue in parked:
            self._mark_ready(key, queue)
        metrics.IN_FLIGHT.set(len(self._tasks))

    def forget(self, owner: Owner) -> None:
        """Drop what waits for a lane that is closing; what is under way goes on."""
        for queue in self._queues.values():
            for item in queue.take_if(lambda item: item.owner is owner):
                self._count(item, -1)

    async def sweep(self) -> None:
        """Once a second, put off what has waited too long, and forget endpoints that have nothing."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now = time.monotonic()
            latest = now - admission.MAX_WAIT_MS / 1_000
            for key, queue in list(self._queues.items()):
                load = queue.load(now)
                for item in queue.take_if(lambda item, latest=latest: item.queued_at < latest):  # type: ignore[misc]
                    self._count(item, -1)
                    item.owner.put_off(item, admission.deferral_ms(load), "wait")
                if not len(queue) and not queue.in_flight and not queue.failures:
                    del self._queues[key]
            self.pump()

    async def _run(self, key: bytes, queue: EndpointQueue, item: Item) -> None:
        failed: bool | None = None
        try:
            failed = await self._attempt(item, queue)
        finally:
            queue.end(item, time.monotonic(), failed=failed)
            self._count(item, -1)
            self._mark_ready(key, queue)
            asyncio.get_running_loop().call_soon(self.pump)

    def _wake(self, key: bytes, queue: EndpointQueue) -> None:
        queue.ready = False
        self._mark_ready(key, queue)
        self.pump()

    def _mark_ready(self, key: bytes, queue: EndpointQueue) -> None:
        if not queue.ready and len(queue) and queue.in_flight < queue.allowed:
            queue.ready = True
            self._ready.append((key, queue))

    def _count(self, item: Item, sign: int) -> None:
        self._bytes += sign * item.size
        metrics.QUEUED.inc(sign)
        metrics.QUEUED_BYTES.inc(sign * item.size)
