"""One attempt: read the endpoint as it is now, decide, send, and say what is to be written."""

from __future__ import annotations

import logging
import random
from datetime import UTC, datetime

from handlers.egress.client import Client, Request
from handlers.egress.queues import EndpointQueue, Item
from handlers.egress.view import EndpointView, Unknown
from handlers.egress.work import EgressWork
from handlers.wire import payload, request, settling
from handlers.wire.settling import Policy
from schemas.deliveries import Delivery
from schemas.endpoints import EndpointSettings, State
from schemas.results import Result
from schemas.settings import EgressSettings
from schemas.version import VERSION
from streams import metrics
from streams.core import admission
from streams.lane import clock

logger = logging.getLogger(__name__)

USER_AGENT = f"Hookfold/{VERSION}"


class Attempts:
    """Makes the attempts of a process."""

    def __init__(self, settings: EgressSettings, client: Client, view: EndpointView) -> None:
        self._timeout_ms = settings.timeout_ms
        self._policy = Policy(settings.schedule_ms, settings.retry_jitter, settings.tiers_ms)
        self._client = client
        self._view = view

    async def make(self, item: Item, queue: EndpointQueue) -> bool | None:
        """Deal with one item. True: the receiver failed; None: no attempt was made.

        A fault of our own costs the receiver nothing: the delivery is put off.
        """
        work = item.owner
        assert isinstance(work, EgressWork)
        work.begin()
        try:
            return await self._make(item, work, queue)
        except Unknown as problem:
            logger.warning("delivery.waits delivery_id=%s reason=%s", item.delivery.delivery_id, problem)
            work.put_off(item, admission.MIN_DEFERRAL_MS, "unknown")
            return None
        except Exception:
            logger.exception("delivery.faulted delivery_id=%s", item.delivery.delivery_id)
            work.put_off(item, admission.MIN_DEFERRAL_MS, "fault")
            return None
        finally:
            work.end()

    async def _make(self, item: Item, work: EgressWork, queue: EndpointQueue) -> bool | None:
        delivery = item.delivery
        record = await self._view.current(delivery.key, delivery.endpoint_version)
        version = record.current if record is not None else None
        if version is None or version.settings is None or version.state is not State.ACTIVE:
            result, made = settling.skip(delivery, version.state if version is not None else State.GONE)
            self._note(result)
            work.finish(item, made)
            return None
        settings = version.settings
        queue.rate_per_s = settings.rate_per_s
        attempted_at_ms = clock.now_ms()
        outcome = await self._client.send(self._request(delivery, settings, attempted_at_ms))
        result, made = settling.settle(
            delivery, settings, outcome, self._policy, attempted_at_ms=attempted_at_ms, draw=random.random()
        )
        self._note(result)
        work.finish(item, made)
        return not outcome.accepted

    def _request(self, delivery: Delivery, settings: EndpointSettings, now_ms: int) -> Request:
        event_time = delivery.event_time or _rfc3339(delivery.event_time_ms)
        body = payload.render(settings.payload.format, delivery, event_time)
        headers = request.headers(delivery, settings, body, now_ms=now_ms, user_agent=USER_AGENT)
        return Request(settings.url, headers, body.body, settings.timeout_ms or self._timeout_ms)

    def _note(self, result: Result) -> None:
        metrics.ATTEMPTS.labels(result.verdict.value, result.error_kind.value if result.error_kind else "").inc()
        if result.latency_ms is not None:
            metrics.LATENCY_S.observe(result.latency_ms / 1000)
        logger.debug(
            "delivery.attempted tenant=%s endpoint_id=%s delivery_id=%s attempt=%d verdict=%s status=%s error_kind=%s "
            "latency_ms=%s next_attempt_at_ms=%s",
            result.tenant,
            result.endpoint_id,
            result.delivery_id,
            result.attempt,
            result.verdict.value,
            result.status_code,
            result.error_kind,
            result.latency_ms,
            result.next_attempt_at_ms,
        )


def _rfc3339(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
