"""One attempt: read the endpoint as it is now, decide, send, and say what is to be written."""

from __future__ import annotations

import logging
import random
import secrets
from datetime import UTC, datetime

from handlers.egress.client import Client, Request
from handlers.egress.queues import EndpointQueue, Item
from handlers.egress.sending import Sender
from handlers.egress.view import EndpointView, Unknown
from handlers.egress.work import EgressWork
from handlers.wire import deciding, payload, request, settling, verifying
from handlers.wire.deciding import Step
from handlers.wire.settling import Policy
from schemas.deliveries import Delivery
from schemas.endpoints import EndpointSettings, EndpointVersion, State
from schemas.results import Result
from schemas.settings import EgressSettings
from schemas.version import VERSION
from streams import metrics
from streams.core import admission, sealing
from streams.core.outputs import Output
from streams.core.sealing import CannotOpen, Keyring
from streams.lane import clock

logger = logging.getLogger(__name__)

USER_AGENT = f"Hookfold/{VERSION}"
#: Twice what nobody guesses.
CHALLENGE_BYTES = 32
#: How soon a delivery that waits for its endpoint's verification is looked at again, at the least.
MIN_PENDING_MS = 1_000


class Attempts:
    """Makes the attempts of a process."""

    def __init__(self, settings: EgressSettings, client: Client, view: EndpointView) -> None:
        self._timeout_ms = settings.timeout_ms
        self._policy = Policy(settings.schedule_ms, settings.retry_jitter, settings.tiers_ms)
        self._ring = Keyring(settings.keys)
        self._origin = settings.origin
        self._sender = Sender(client, USER_AGENT)
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
        except (Unknown, CannotOpen) as problem:
            logger.warning("delivery.waits delivery_id=%s reason=%s", item.delivery.delivery_id, problem)
            work.put_off(item, admission.MIN_DEFERRAL_MS, "unknown" if isinstance(problem, Unknown) else "sealed")
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
        step = deciding.decide(delivery, record)
        if isinstance(step, State):
            self._close(item, work, *settling.skip(delivery, step))
            return None
        assert record is not None
        match step:
            case Step.SUPERSEDED:
                self._close(item, work, *settling.supersede(delivery))
                return None
            case Step.WAIT:
                waited_ms = clock.now_ms() - record.current.since_ms
                work.put_off(item, min(max(waited_ms, MIN_PENDING_MS), admission.MAX_DEFERRAL_MS), "pending")
                return None
            case Step.VERIFY:
                return await self._verify(item, work, record.current)
            case Step.SEND:
                queue.rate_per_s = record.current.rate_per_s
                return await self._send(item, work, record.current)

    async def _send(self, item: Item, work: EgressWork, version: EndpointVersion) -> bool:
        delivery = item.delivery
        settings = self._open(version, delivery)
        attempted_at_ms = clock.now_ms()
        event_time = delivery.event_time or _rfc3339(delivery.event_time_ms)
        body = payload.render(settings.payload.format, delivery, event_time, settings.payload.fields)
        headers = request.headers(delivery, settings, body, now_ms=attempted_at_ms, user_agent=USER_AGENT)
        sending = Request(settings.url, headers, body.body, self._timeout_of(settings))
        answer = await self._sender.send(sending, settings)
        result, made = settling.settle(
            delivery, settings, answer.outcome, self._policy, attempted_at_ms=attempted_at_ms, draw=random.random()
        )
        self._close(item, work, result, made)
        return not answer.outcome.accepted

    async def _verify(self, item: Item, work: EgressWork, version: EndpointVersion) -> bool:
        delivery = item.delivery
        settings = self._open(version, delivery)
        attempted_at_ms = clock.now_ms()
        question = verifying.ask(
            delivery,
            settings,
            challenge=secrets.token_urlsafe(CHALLENGE_BYTES),
            origin=self._origin,
            now_ms=attempted_at_ms,
            user_agent=USER_AGENT,
        )
        url = version.new_url or settings.url
        sending = Request(url, question.headers, question.body, self._timeout_of(settings), question.verb)
        answer = await self._sender.send(sending, settings)
        judged = verifying.judge(question, answer.outcome, answer.headers, answer.body)
        result, made = settling.settle_verification(
            delivery,
            settings,
            judged,
            self._policy,
            attempted_at_ms=attempted_at_ms,
            draw=random.random(),
        )
        self._close(item, work, result, made)
        return not judged.outcome.accepted

    def _timeout_of(self, settings: EndpointSettings) -> int:
        return settings.timeout_ms or self._timeout_ms

    def _open(self, version: EndpointVersion, delivery: Delivery) -> EndpointSettings:
        assert version.settings is not None
        return sealing.open_secrets(version.settings, self._ring, delivery.tenant, delivery.endpoint_id)

    def _close(self, item: Item, work: EgressWork, result: Result, made: list[Output]) -> None:
        self._note(result)
        work.finish(item, made)

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
