"""One attempt: read the endpoint as it is now, decide, send, and say what is to be written."""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Callable

from aiokafka.errors import KafkaError

from handlers.egress.client import Client
from handlers.egress.exchange import Request
from handlers.egress.queues import EndpointQueue, Item
from handlers.egress.sending import Sender
from handlers.egress.view import EndpointView, Unknown
from handlers.egress.work import EgressWork
from handlers.wire import batching, deciding, payload, request, settling, verifying
from handlers.wire.deciding import Step
from handlers.wire.outcome import Outcome
from handlers.wire.request import Envelope
from handlers.wire.settling import Policy
from schemas import topics
from schemas.deliveries import Delivery
from schemas.endpoints import EndpointSettings, EndpointVersion, State
from schemas.events import Sealed
from schemas.results import Result
from schemas.settings import EgressSettings
from schemas.version import VERSION
from streams import metrics
from streams.core import admission, judging, sealing
from streams.core.breaking import Report
from streams.core.data_keys import Changed
from streams.core.outputs import Output
from streams.core.sealing import CannotOpen, Keyring
from streams.erasure.view import DataKeys
from streams.lane import clock

logger = logging.getLogger(__name__)

USER_AGENT = f"Hookfold/{VERSION}"
#: Twice what nobody guesses.
CHALLENGE_BYTES = 32
#: How soon a delivery that waits for its endpoint's verification is looked at again, at the least.
MIN_PENDING_MS = 1_000
#: Room for an answer that names every item.
MAX_BATCH_ANSWER_BYTES = 524_288


#: Makes what is to be said of an endpoint: a delivery to it, when an attempt of that began (ms), and how it ended.
Teller = Callable[[Delivery, int, Outcome], list[Output]]


class Attempts:
    """Makes the attempts of a process."""

    def __init__(self, settings: EgressSettings, client: Client, view: EndpointView, keys: DataKeys) -> None:
        self._timeout_ms = settings.timeout_ms
        self._policy = Policy(settings.schedule_ms, settings.retry_jitter, settings.tiers_ms, settings.order_wait_ms)
        self._give_up_ms = settings.disable_after_ms
        self._ring = Keyring(settings.keys)
        self._origin = settings.origin
        self._sender = Sender(client, USER_AGENT)
        self._view = view
        self._keys = keys

    async def make(self, items: list[Item], queue: EndpointQueue) -> Report | None:
        """Deal with one item, or the items of a batch. Returns how the receiver took it; None: no attempt was made.

        A fault of our own costs the receiver nothing: the deliveries are put off.
        """
        work = items[0].owner
        assert isinstance(work, EgressWork)
        work.begin(len(items))
        left = list(items)
        try:
            return await self._make(left, work, queue)
        except (Unknown, CannotOpen) as problem:
            logger.warning("delivery.waits delivery_id=%s reason=%s", left[0].delivery.delivery_id, problem)
            self._put_off(
                left, work, admission.MIN_DEFERRAL_MS, "unknown" if isinstance(problem, Unknown) else "sealed"
            )
            return None
        except Exception:
            logger.exception("delivery.faulted delivery_id=%s", left[0].delivery.delivery_id if left else "")
            self._put_off(left, work, admission.MIN_DEFERRAL_MS, "fault")
            return None
        finally:
            work.end(len(items))

    async def _make(self, items: list[Item], work: EgressWork, queue: EndpointQueue) -> Report | None:
        """As `make`; what has been dealt with is taken out of `items`."""
        version: EndpointVersion | None = None
        for item in list(items):
            record = await self._view.current(item.delivery.key, item.delivery.endpoint_version)
            step = deciding.decide(item.delivery, record)
            if isinstance(step, State):
                self._close(item, work, *settling.skip(item.delivery, step))
            elif step is Step.SUPERSEDED:
                self._close(item, work, *settling.supersede(item.delivery))
            elif step is Step.WAIT:
                assert record is not None
                waited_ms = clock.now_ms() - record.current.since_ms
                wait_ms = min(max(waited_ms, MIN_PENDING_MS), admission.MAX_DEFERRAL_MS)
                work.put_off(item, wait_ms, "pending")
            else:
                assert record is not None
                version = record.current
                if step is Step.VERIFY:
                    return await self._verify(item, work, version)
                if item.delivery.sealed_with is None:
                    continue
                if (reason := await self._unseal(item, item.delivery.sealed_with)) is None:
                    continue
                self._close(item, work, *settling.erase(item.delivery, reason))
            items.remove(item)
        if version is None or not items:
            return None
        assert version.settings is not None
        queue.rate_per_s, queue.batch = version.rate_per_s, version.settings.batch
        settings = self._open(version, items[0].delivery)
        if settings.batch is not None:
            return await self._send_batch(items, work, settings, self._teller(queue, version))
        report: Report | None = None
        while items:  # several only where the endpoint had batches until just now
            report = await self._send(items[0], work, settings, self._teller(queue, version))
            items.pop(0)
        return report

    def _teller(self, queue: EndpointQueue, version: EndpointVersion) -> Teller:
        """What is to be said of the endpoint's health after an attempt."""

        def tell(delivery: Delivery, began_ms: int, outcome: Outcome) -> list[Output]:
            said = queue.health.note(
                began_ms, clock.now_ms(), version.failing_since_ms, self._give_up_ms, accepted=outcome.accepted
            )
            return [settling.tell(delivery, *said)] if said is not None else []

        return tell

    async def _send(self, item: Item, work: EgressWork, settings: EndpointSettings, tell: Teller) -> Report:
        delivery = item.delivery
        attempted_at_ms = clock.now_ms()
        body = payload.render(settings.payload.format, item.shown, payload.time_of(delivery), settings.payload.fields)
        envelope = Envelope.of(delivery)
        headers = request.headers(envelope, settings, body, now_ms=attempted_at_ms, user_agent=USER_AGENT)
        sending = Request(settings.url, headers, body.body, self._timeout_of(settings))
        answer = await self._sender.send(sending, settings)
        result, made = settling.settle(
            delivery, settings, answer.outcome, self._policy, attempted_at_ms=attempted_at_ms, draw=random.random()
        )
        self._close(item, work, result, [*made, *tell(delivery, attempted_at_ms, answer.outcome)])
        return answer.outcome.report

    async def _send_batch(
        self, items: list[Item], work: EgressWork, settings: EndpointSettings, tell: Teller
    ) -> Report:
        """One request for all; for each half where it is larger than the receiver takes."""
        deliveries = [item.delivery for item in items]
        attempted_at_ms = clock.now_ms()
        timed = [(item.shown, payload.time_of(item.delivery)) for item in items]
        body = payload.render_batch(settings.payload.format, timed, settings.payload.fields)
        envelope = batching.envelope(deliveries)
        headers = request.headers(envelope, settings, body, now_ms=attempted_at_ms, user_agent=USER_AGENT)
        sending = Request(
            settings.url, headers, body.body, self._timeout_of(settings), max_answer_bytes=MAX_BATCH_ANSWER_BYTES
        )
        answer = await self._sender.send(sending, settings)
        if answer.outcome.status_code == batching.TOO_LARGE and len(items) > 1:
            half, rest = items[: len(items) // 2], items[len(items) // 2 :]
            reports = [await self._send_batch(part, work, settings, tell) for part in (half, rest)]
            items.clear()
            return max(reports, key=lambda report: report.ending.value)
        ended = batching.outcomes(deliveries, answer.outcome, answer.body)
        for place, (item, outcome) in enumerate(zip(list(items), ended, strict=True)):
            result, made = settling.settle(
                item.delivery,
                settings,
                outcome,
                self._policy,
                attempted_at_ms=attempted_at_ms,
                draw=random.random(),
                batch_id=envelope.webhook_id,
            )
            if place:  # one change says it for all
                made = [output for output in made if output.topic != topics.SUBSCRIPTIONS]
            else:
                made = [*made, *tell(item.delivery, attempted_at_ms, answer.outcome)]
            self._close(item, work, result, made)
            items.remove(item)
        return answer.outcome.report

    def _put_off(self, items: list[Item], work: EgressWork, for_ms: int, cause: str) -> None:
        for item in items:
            work.put_off(item, for_ms, cause)

    async def _verify(self, item: Item, work: EgressWork, version: EndpointVersion) -> Report:
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
        return answer.outcome.report

    def _timeout_of(self, settings: EndpointSettings) -> int:
        return settings.timeout_ms or self._timeout_ms

    def _open(self, version: EndpointVersion, delivery: Delivery) -> EndpointSettings:
        assert version.settings is not None
        return sealing.open_secrets(version.settings, self._ring, delivery.tenant, delivery.endpoint_id)

    async def _unseal(self, item: Item, key_id: str) -> str | None:
        """Open the item's data for this attempt alone, and return None, or why nobody ever will in one line.

        Raises `CannotOpen` where a key of the ring is missing, `Unknown` where Kafka does not say what there is.
        """
        delivery = item.delivery
        try:
            data = await self._keys.data_of(delivery.tenant, delivery.event_id, Sealed(key_id, delivery.data))
        except Changed as problem:
            return str(problem)
        except (TimeoutError, KafkaError) as problem:
            raise Unknown(repr(problem)) from problem
        if data is None:
            return judging.ERASED
        item.opened = delivery.model_copy(update={"data": data})
        return None

    def _close(self, item: Item, work: EgressWork, result: Result, made: list[Output]) -> None:
        self._note(result)
        work.finish(item, made, result.next_attempt_at_ms, posted=result.attempt > 0)

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
