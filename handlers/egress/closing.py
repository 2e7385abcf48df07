"""The end of an attempt: what it leads to is handed to the lane, counted and logged."""

from __future__ import annotations

import functools
import logging
import random

from handlers.egress.queues import EndpointQueue, Item
from handlers.egress.view import Unknown
from handlers.egress.work import EgressWork
from handlers.wire import settling
from handlers.wire.outcome import Outcome
from handlers.wire.settling import Policy
from schemas.deliveries import Delivery
from schemas.endpoints import EndpointSettings, EndpointVersion
from schemas.results import ErrorKind, Result, Verdict
from schemas.settings import EgressSettings
from streams import metrics
from streams.core import admission
from streams.core.outputs import Output
from streams.core.sealing import CannotOpen
from streams.counting import Count

logger = logging.getLogger(__name__)


class Closing:
    """Closes the attempts of a process."""

    def __init__(self, settings: EgressSettings) -> None:
        self.policy = Policy(settings.schedule_ms, settings.retry_jitter, settings.tiers_ms, settings.order_wait_ms)
        self._give_up_ms = settings.disable_after_ms

    def settle(
        self,
        item: Item,
        work: EgressWork,
        queue: EndpointQueue,
        version: EndpointVersion,
        settings: EndpointSettings,
        outcome: Outcome,
        attempted_at_ms: int,
    ) -> None:
        """An attempt of one delivery has ended; it is the endpoint's in `version`, `settings` are with its secrets."""
        delivery = item.delivery
        told = self.tell(queue, version, delivery, attempted_at_ms, outcome)
        accepted = settling.accepted(item.key, delivery, outcome, attempted_at_ms)
        if accepted is not None:
            _note(delivery, delivery.attempt, Verdict.DELIVERED, outcome.status_code, None, outcome.latency_ms, None)
            work.finish(item, [accepted, *told], posted=True)
            return
        result, made = settling.settle(
            delivery, settings, outcome, self.policy, attempted_at_ms=attempted_at_ms, draw=random.random()
        )
        self.close(item, work, result, [*made, *told])

    def tell(
        self, queue: EndpointQueue, version: EndpointVersion, delivery: Delivery, began_ms: int, outcome: Outcome
    ) -> list[Output]:
        """What is to be said of the endpoint's health after an attempt."""
        ended_ms, accepted = began_ms + outcome.latency_ms, outcome.error_kind is None
        said = queue.health.note(began_ms, ended_ms, version.failing_since_ms, self._give_up_ms, accepted=accepted)
        return [settling.tell(delivery, *said)] if said is not None else []

    def close(self, item: Item, work: EgressWork, result: Result, made: list[Output]) -> None:
        """The item is dealt with; `made` is to be written for it."""
        kind, next_ms = result.error_kind, result.next_attempt_at_ms
        _note(item.delivery, result.attempt, result.verdict, result.status_code, kind, result.latency_ms, next_ms)
        work.finish(item, made, next_ms, posted=result.attempt > 0)


def fault(items: list[Item], work: EgressWork, problem: Exception) -> None:
    """Something of our own was in the way: these cost the receiver nothing, and are put off."""
    named = items[0].delivery.delivery_id if items else ""
    if isinstance(problem, Unknown | CannotOpen):
        logger.warning("delivery.waits delivery_id=%s reason=%s", named, problem)
        cause = "unknown" if isinstance(problem, Unknown) else "sealed"
    else:
        logger.error("delivery.faulted delivery_id=%s", named, exc_info=problem)
        cause = "fault"
    for item in items:
        work.put_off(item, admission.MIN_DEFERRAL_MS, cause)


def _note(
    delivery: Delivery,
    attempt: int,
    verdict: Verdict,
    status: int | None,
    kind: ErrorKind | None,
    latency_ms: int | None,
    next_attempt_at_ms: int | None,
) -> None:
    (_DELIVERED if verdict is Verdict.DELIVERED else _counter(verdict, kind)).inc()
    if latency_ms is not None:
        metrics.LATENCY_S.observe(latency_ms / 1_000)
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug(
            "delivery.attempted tenant=%s endpoint_id=%s delivery_id=%s attempt=%d verdict=%s status=%s error_kind=%s "
            "latency_ms=%s next_attempt_at_ms=%s",
            delivery.tenant,
            delivery.endpoint_id,
            delivery.delivery_id,
            attempt,
            verdict.value,
            status,
            kind,
            latency_ms,
            next_attempt_at_ms,
        )


_DELIVERED = metrics.ATTEMPTS.labels(Verdict.DELIVERED.value, "")


@functools.cache
def _counter(verdict: Verdict, kind: ErrorKind | None) -> Count:
    return metrics.ATTEMPTS.labels(verdict.value, kind.value if kind is not None else "")
