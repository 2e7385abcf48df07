"""Attempts: a plain one is a request that is written at once and an answer that closes it; all others are elaborate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from handlers.egress import closing, plans
from handlers.egress.client import Client, outcome_of
from handlers.egress.closing import Closing
from handlers.egress.connection import Answered
from handlers.egress.elaborate import Elaborate
from handlers.egress.exchange import Request
from handlers.egress.plans import Plan
from handlers.egress.queues import EndpointQueue, Item
from handlers.egress.view import EndpointView
from handlers.egress.work import EgressWork
from handlers.wire import payload
from schemas.deliveries import Delivery
from schemas.settings import EgressSettings
from streams.core.breaking import Report
from streams.core.sealing import Keyring
from streams.erasure.view import DataKeys
from streams.lane import clock

#: Told how the receiver took an attempt; None: no attempt was made.
Over = Callable[[Report | None], None]


class Attempts:
    """Makes the attempts of a process."""

    def __init__(self, settings: EgressSettings, client: Client, view: EndpointView, keys: DataKeys) -> None:
        ring = Keyring(settings.keys)
        self._make_plan = plans.maker(ring, settings.timeout_ms)
        self._client = client
        self._view = view
        self._closing = Closing(settings)
        self._elaborate = Elaborate(settings, client, view, keys, ring, self._closing)
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, items: list[Item], queue: EndpointQueue, over: Over) -> None:
        """Deal with one item, or the items of a batch, from `begun` on at the latest.

        `over` is called later, never before this has returned.

        A fault of our own costs the receiver nothing: the deliveries are put off.
        """
        work = items[0].owner
        assert isinstance(work, EgressWork)
        work.begin(len(items))
        if len(items) == 1 and (plan := self._plan(items[0], queue)) is not None:
            now_ms = clock.now_ms()
            sending = _request(items[0].delivery, plan, now_ms)
            if sending is not None:
                self._client.begin(sending, Plain(items[0], work, queue, plan, now_ms, self._closing, over).came)
                return
        task = asyncio.get_running_loop().create_task(self._take_on(items, work, queue, over))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def begun(self) -> None:
        """Send what has begun."""
        self._client.flush()

    def _plan(self, item: Item, queue: EndpointQueue) -> Plan | None:
        """What is known of the item's endpoint, where that is enough to post it at once; else None."""
        try:
            record = self._view.peek(item.key)
            if record is None:
                return None
            plan = queue.plan
            if plan is None or plan.record is not record:
                plan = queue.plan = self._make_plan(record)
                queue.know_limits(record.current)
            delivery = item.delivery
            # What has to be opened first goes the long way.
            if plan.is_plain and not delivery.is_verification and delivery.sealed_with is None:
                return plan if plan.knows(delivery.endpoint_version) else None
        except Exception:  # a record of a newer version, a secret of another key: the long way says what follows
            return None
        return None

    async def _take_on(self, items: list[Item], work: EgressWork, queue: EndpointQueue, over: Over) -> None:
        left = list(items)
        report: Report | None = None
        try:
            report = await self._elaborate.make(left, work, queue)
        except Exception as problem:
            closing.fault(left, work, problem)
        finally:
            work.end(len(items))
            over(report)


class Plain:
    """An attempt that is one request, under way."""

    __slots__ = ("_began_ms", "_began_s", "_closing", "_item", "_over", "_plan", "_queue", "_work")

    def __init__(
        self,
        item: Item,
        work: EgressWork,
        queue: EndpointQueue,
        plan: Plan,
        began_ms: int,
        closing: Closing,
        over: Over,
    ) -> None:
        self._item = item
        self._work = work
        self._queue = queue
        self._plan = plan
        self._began_ms = began_ms
        self._began_s = time.monotonic()
        self._closing = closing
        self._over = over

    def came(self, came: Answered) -> None:
        """Close it with what came."""
        report: Report | None = None
        plan = self._plan
        try:
            outcome = outcome_of(came, self._began_s)
            self._closing.settle(
                self._item, self._work, self._queue, plan.version, plan.settings, outcome, self._began_ms
            )
            report = outcome.report
        except Exception as problem:
            closing.fault([self._item], self._work, problem)
        self._work.end(1)
        self._over(report)


def _request(delivery: Delivery, plan: Plan, now_ms: int) -> Request | None:
    """The request of an attempt that begins at `now_ms`; None where the long way has to say why there is none."""
    form = plan.settings.payload
    try:
        body = payload.render(form.format, delivery, payload.time_of(delivery), form.fields)
        lines = plan.template.fill(delivery, body, now_ms)
    except Exception:
        return None
    return Request(plan.settings.url, (), body.body, plan.timeout_ms, lines=lines)
