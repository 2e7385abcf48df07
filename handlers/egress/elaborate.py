"""The attempts that take more than one request, or a look at what there is: a task each."""

from __future__ import annotations

import random
import secrets

from aiokafka.errors import KafkaError

from handlers.egress import closing
from handlers.egress.client import Client
from handlers.egress.closing import Closing
from handlers.egress.exchange import Request
from handlers.egress.plans import USER_AGENT
from handlers.egress.queues import EndpointQueue, Item
from handlers.egress.sending import Sender
from handlers.egress.view import EndpointView, Unknown
from handlers.egress.work import EgressWork
from handlers.wire import batching, deciding, payload, request, settling, verifying
from handlers.wire.deciding import Step
from handlers.wire.request import Envelope
from schemas import topics
from schemas.deliveries import Delivery
from schemas.endpoints import EndpointSettings, EndpointVersion, State
from schemas.events import Sealed
from schemas.settings import EgressSettings
from streams.core import admission, judging, sealing
from streams.core.breaking import Report
from streams.core.data_keys import Changed
from streams.core.sealing import CannotOpen, Keyring
from streams.erasure.view import DataKeys
from streams.lane import clock

#: Twice what nobody guesses.
CHALLENGE_BYTES = 32
#: How soon a delivery that waits for its endpoint's verification is looked at again, at the least.
MIN_PENDING_MS = 1_000
#: Room for an answer that names every item.
MAX_BATCH_ANSWER_BYTES = 524_288


class Elaborate:
    """Reads the endpoint as it is now, decides, sends, and says what is to be written."""

    def __init__(
        self,
        settings: EgressSettings,
        client: Client,
        view: EndpointView,
        keys: DataKeys,
        ring: Keyring,
        closing: Closing,
    ) -> None:
        self._timeout_ms = settings.timeout_ms
        self._ring = ring
        self._origin = settings.origin
        self._sender = Sender(client, USER_AGENT)
        self._view = view
        self._keys = keys
        self._closing = closing

    async def make(self, items: list[Item], work: EgressWork, queue: EndpointQueue) -> Report | None:
        """Deal with the items, and take out of `items` what has been dealt with.

        Returns how the receiver took it; None: no attempt was made. Raises what is a fault of our own.
        """
        version: EndpointVersion | None = None
        for item in list(items):
            record = await self._view.current(item.delivery.key, item.delivery.endpoint_version)
            step = deciding.decide(item.delivery, record)
            if isinstance(step, State):
                self._closing.close(item, work, *settling.skip(item.delivery, step))
            elif step is Step.SUPERSEDED:
                self._closing.close(item, work, *settling.supersede(item.delivery))
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
                try:
                    reason = await self._unseal(item, item.delivery.sealed_with)
                except (CannotOpen, Unknown) as problem:  # the others of its batch go without it
                    closing.fault([item], work, problem)
                    items.remove(item)
                    continue
                if reason is None:
                    continue
                self._closing.close(item, work, *settling.erase(item.delivery, reason))
            items.remove(item)
        if version is None or not items:
            return None
        queue.know_limits(version)
        settings = self._open(version, items[0].delivery)
        if settings.batch is not None:
            return await self._send_batch(items, work, queue, version, settings)
        report: Report | None = None
        while items:  # several only where the endpoint had batches until just now
            report = await self._send(items[0], work, queue, version, settings)
            items.pop(0)
        return report

    async def _send(
        self, item: Item, work: EgressWork, queue: EndpointQueue, version: EndpointVersion, settings: EndpointSettings
    ) -> Report:
        delivery = item.delivery
        attempted_at_ms = clock.now_ms()
        body = payload.render(settings.payload.format, item.shown, payload.time_of(delivery), settings.payload.fields)
        headers = request.headers(Envelope.of(delivery), settings, body, now_ms=attempted_at_ms, user_agent=USER_AGENT)
        answer = await self._sender.send(
            Request(settings.url, headers, body.body, self._timeout_of(settings)), settings
        )
        self._closing.settle(item, work, queue, version, settings, answer.outcome, attempted_at_ms)
        return answer.outcome.report

    async def _send_batch(
        self,
        items: list[Item],
        work: EgressWork,
        queue: EndpointQueue,
        version: EndpointVersion,
        settings: EndpointSettings,
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
            reports = [await self._send_batch(part, work, queue, version, settings) for part in (half, rest)]
            items.clear()
            return max(reports, key=lambda report: report.ending.value)
        ended = batching.outcomes(deliveries, answer.outcome, answer.body)
        for place, (item, outcome) in enumerate(zip(list(items), ended, strict=True)):
            result, made = settling.settle(
                item.delivery,
                settings,
                outcome,
                self._closing.policy,
                attempted_at_ms=attempted_at_ms,
                draw=random.random(),
                batch_id=envelope.webhook_id,
            )
            if place:  # one change says it for all
                made = [output for output in made if output.topic != topics.SUBSCRIPTIONS]
            else:
                made += self._closing.tell(queue, version, item.delivery, attempted_at_ms, answer.outcome)
            self._closing.close(item, work, result, made)
            items.remove(item)
        return answer.outcome.report

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
            self._closing.policy,
            attempted_at_ms=attempted_at_ms,
            draw=random.random(),
        )
        self._closing.close(item, work, result, made)
        return answer.outcome.report

    def _timeout_of(self, settings: EndpointSettings) -> int:
        return settings.timeout_ms or self._timeout_ms

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

    def _open(self, version: EndpointVersion, delivery: Delivery) -> EndpointSettings:
        assert version.settings is not None
        return sealing.open_secrets(version.settings, self._ring, delivery.tenant, delivery.endpoint_id)
