"""Who is next: fair turns between the endpoints of a process, and bounds on what waits and what is under way."""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections import deque
from collections.abc import Callable

from handlers.egress.queues import FIRST_GUESS_MS, EndpointQueue, Item, Owner
from schemas.endpoints import EndpointVersion
from schemas.settings import EgressSettings
from streams import metrics
from streams.core import admission
from streams.core.breaking import Report

SWEEP_S = 1.0
#: Deliveries that could start if the process had a place for them: what it does within a second or so. Of those that
#: wait for longer the log takes better care.
MAX_READY = 4_000
#: They are asked for partition by partition: so long one count of them serves.
READY_AGE_S = 0.01
#: How old what is shown of the queues may be.
SHOW_S = 0.1

#: Begins an attempt, and says later how it ended; None: none was made.
Attempt = Callable[[list[Item], EndpointQueue, Callable[[Report | None], None]], None]


class Dispatcher:
    """Starts attempts for all lanes of a process.

    What an endpoint cannot take soon is put off: see `streams.core.admission`.
    """

    def __init__(self, settings: EgressSettings, attempt: Attempt, started: Callable[[], None] = lambda: None) -> None:
        """`started` is told when some have begun, so that what they have in common is done once."""
        self._settings = settings
        self._tiers_ms = tuple(settings.tiers_ms.values())
        self._attempt = attempt
        self._started = started
        self._queues: dict[bytes, EndpointQueue] = {}
        #: Those of them that have had batches.
        self._batched: dict[bytes, EndpointQueue] = {}
        self._ready: deque[tuple[bytes, EndpointQueue]] = deque()
        #: Those of a lane that may start nothing just now.
        self._parked: list[tuple[bytes, EndpointQueue]] = []
        self._starting = False
        self._in_flight = 0
        self._queued = 0
        self._bytes = 0
        self._behind = False
        self._counted_at = 0.0
        self._showing = False
        self._soon = False

    @property
    def full(self) -> bool:
        """True while no more data should be fed: too much is held, or more than can be started soon."""
        if self._bytes >= self._settings.queue_bytes:
            return True
        if not self._ready or self._in_flight < self._settings.in_flight or self._queued < MAX_READY:
            return False
        now = time.monotonic()
        if now - self._counted_at > READY_AGE_S:
            self._counted_at = now
            self._behind = sum(len(queue) for _, queue in self._ready) >= MAX_READY
        return self._behind

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
        if not queue.breaker.is_closed and queue.breaker.wait_s(now) > 0:
            item.owner.put_off(item, queue.deferral_ms(now, self._tiers_ms), "breaker")
            return
        if queue.batch is not None:
            self._batched[key] = queue
        if queue.first or queue.again:  # else there is nobody to wait for
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
        self._start_ready()

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
        """Start what may start, now that a lane may start more."""
        parked, self._parked = self._parked, []
        for key, queue in parked:
            queue.ready = False
            self._mark_ready(key, queue)
        self._start_ready()

    def _start_ready(self) -> None:
        if self._starting:
            return
        self._starting = True
        try:
            self._start_all(time.monotonic())
        finally:
            self._starting = False
            self._started()

    def _start_all(self, now: float) -> None:
        while self._ready and self._in_flight < self._settings.in_flight:
            key, queue = self._ready.popleft()
            queue.ready = False
            if not queue.has_turn:
                continue
            if (pause_s := queue.rest_s(now)) > 0:
                queue.ready = True  # it rests, and the timer brings it back
                queue.timer = asyncio.get_running_loop().call_later(pause_s, self._wake, key, queue)
                continue
            head = (queue.first or queue.again)[0]
            if not head.owner.may_start():
                queue.ready = True
                self._parked.append((key, queue))
                continue
            items = queue.start(now)
            self._in_flight += 1
            self._attempt(items, queue, functools.partial(self._ended, key, queue, items))
            self._mark_ready(key, queue)

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
                if any(line[0].queued_at < latest for line in (queue.first, queue.again) if line):
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

    def _ended(self, key: bytes, queue: EndpointQueue, items: list[Item], report: Report | None) -> None:
        now = time.monotonic()
        self._in_flight -= 1
        was_closed = queue.breaker.is_closed
        queue.end(items[0], now, report)
        for item in items:
            self._count(item, -1)
        if not queue.breaker.is_closed:
            metrics.BREAKERS.inc(was_closed)
            if queue.breaker.wait_s(now) > 0:
                self._put_off(queue, now, "breaker")
        self._mark_ready(key, queue)
        if not self._soon:
            self._soon = True
            asyncio.get_running_loop().call_soon(self._start_soon)

    def _start_soon(self) -> None:
        self._soon = False
        self._start_ready()

    def _wake(self, key: bytes, queue: EndpointQueue) -> None:
        if queue.timer is not None:
            queue.timer.cancel()
        queue.timer = None
        queue.ready = False
        self._mark_ready(key, queue)
        self._start_ready()

    def _mark_ready(self, key: bytes, queue: EndpointQueue) -> None:
        if not queue.ready and queue.has_turn:
            queue.ready = True
            self._ready.append((key, queue))

    def _count(self, item: Item, sign: int) -> None:
        self._bytes += sign * item.size
        self._queued += sign
        if not self._showing:
            self._showing = True
            asyncio.get_running_loop().call_later(SHOW_S, self._show)

    def _show(self) -> None:
        self._showing = False
        metrics.IN_FLIGHT.set(self._in_flight)
        metrics.QUEUED.set(self._queued)
        metrics.QUEUED_BYTES.set(self._bytes)
