"""Who is next: fair turns between the endpoints of a process, and bounds on what waits and what is under way."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable

from handlers.egress.queues import FIRST_GUESS_MS, EndpointQueue, Item, Owner
from schemas.endpoints import EndpointVersion
from schemas.settings import EgressSettings
from streams import metrics
from streams.core import admission
from streams.core.breaking import Report

SWEEP_S = 1.0


class Dispatcher:
    """Starts attempts for all lanes of a process. `attempt` is called for each and says how it ended.

    What an endpoint cannot take soon is put off: see `streams.core.admission`.
    """

    def __init__(
        self, settings: EgressSettings, attempt: Callable[[list[Item], EndpointQueue], Awaitable[Report | None]]
    ) -> None:
        self._settings = settings
        self._tiers_ms = tuple(settings.tiers_ms.values())
        self._attempt = attempt
        self._queues: dict[bytes, EndpointQueue] = {}
        #: Those of them that have had batches.
        self._batched: dict[bytes, EndpointQueue] = {}
        self._ready: deque[tuple[bytes, EndpointQueue]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._bytes = 0

    @property
    def full(self) -> bool:
        """True while no more data should be fed."""
        return self._bytes >= self._settings.queue_bytes

    def crowded(self, key: bytes) -> bool:
        """True while an endpoint's queue is at its bound, and a quick receiver will have emptied it in a moment.

        For one that turns out to be slow its partition does not wait: what comes to it is put off.
        """
        queue = self._queues.get(key)
        if queue is None or len(queue) < self._settings.endpoint_queue:
            return False
        return admission.is_quick(queue.load(time.monotonic()))

    def attempt_ms(self, key: bytes) -> float:
        """How long an attempt of the endpoint takes."""
        queue = self._queues.get(key)
        return queue.load(time.monotonic()).service_ms if queue is not None else FIRST_GUESS_MS

    def offer(self, key: bytes, item: Item, version: EndpointVersion | None) -> None:
        """Queue a delivery, or put it off where it would wait too long. `version`: the endpoint as it is known."""
        now = time.monotonic()
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = EndpointQueue(self._settings.endpoint_in_flight)
        queue.know(version, self._settings.endpoint_in_flight, self._settings.in_flight)
        if queue.breaker.wait_s(now) > 0:
            item.owner.put_off(item, queue.deferral_ms(now, self._tiers_ms), "breaker")
            return
        if queue.batch is not None:
            self._batched[key] = queue
        load = queue.load(now)
        full = len(queue) >= self._settings.endpoint_queue and not admission.is_quick(load)
        if full or not admission.may_wait(load):
            item.owner.put_off(item, queue.deferral_ms(now, self._tiers_ms), "queue")
            return
        item.queued_at = now
        queue.put(item)
        self._count(item, 1)
        if queue.timer is not None and queue.closes_in_s(now) == 0.0:
            self._wake(key, queue)
        self._mark_ready(key, queue)
        self.pump()

    def resting(self, owner: Owner) -> int:
        """How many deliveries of a lane wait for their batch to be closed."""
        return sum(
            item.owner is owner
            for queue in self._batched.values()
            if queue.batch is not None and queue.timer is not None
            for line in (queue.first, queue.again)
            for item in line
        )

    def hurry(self, owner: Owner) -> None:
        """Close the batches that a lane's deliveries are in: it waits for them."""
        now = time.monotonic()
        for key, queue in list(self._batched.items()):
            heads = [line[0] for line in (queue.first, queue.again) if line]
            if queue.batch is not None and any(head.owner is owner for head in heads):
                queue.hurry = True
                if queue.timer is not None and queue.token_in_s(now) == 0.0:
                    self._wake(key, queue)

    def pump(self) -> None:
        """Start what may start."""
        now = time.monotonic()
        parked = []
        while self._ready and len(self._tasks) < self._settings.in_flight:
            key, queue = self._ready.popleft()
            queue.ready = False
            if not len(queue) or queue.in_flight >= queue.allowed:
                continue
            if (pause_s := max(queue.token_in_s(now), queue.closes_in_s(now))) > 0:
                queue.ready = True  # it rests, and the timer brings it back
                queue.timer = asyncio.get_running_loop().call_later(pause_s, self._wake, key, queue)
                continue
            head = (queue.first or queue.again)[0]
            if not head.owner.may_start():
                parked.append((key, queue))
                continue
            task = asyncio.get_running_loop().create_task(self._run(key, queue, queue.start(now)))
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
            for key, queue in list(self._queues.items()):
                batch_ms = queue.batch.max_wait_ms if queue.batch is not None else 0
                latest = now - (admission.MAX_WAIT_MS + batch_ms) / 1_000
                self._put_off(queue, now, "wait", before=latest)
                if not len(queue) and not queue.in_flight and queue.may_be_forgotten(now):
                    del self._queues[key]
                    self._batched.pop(key, None)
            self.pump()

    def _put_off(self, queue: EndpointQueue, now: float, cause: str, before: float = math.inf) -> None:
        """Put off what has been queued since before that time."""
        for item in queue.take_if(lambda item: item.queued_at < before):
            self._count(item, -1)
            item.owner.put_off(item, queue.deferral_ms(now, self._tiers_ms), cause)

    async def _run(self, key: bytes, queue: EndpointQueue, items: list[Item]) -> None:
        report: Report | None = None
        try:
            report = await self._attempt(items, queue)
        finally:
            now = time.monotonic()
            closed = queue.breaker.is_closed
            queue.end(items[0], now, report)
            if closed and not queue.breaker.is_closed:
                metrics.BREAKERS.inc()
            for item in items:
                self._count(item, -1)
            if queue.breaker.wait_s(now) > 0:
                self._put_off(queue, now, "breaker")
            self._mark_ready(key, queue)
            asyncio.get_running_loop().call_soon(self.pump)

    def _wake(self, key: bytes, queue: EndpointQueue) -> None:
        if queue.timer is not None:
            queue.timer.cancel()
        queue.timer = None
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
