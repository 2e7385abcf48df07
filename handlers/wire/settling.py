"""What the end of an attempt leads to: always one result, and a retry, a dead letter or a change where there is one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from handlers.wire.outcome import Outcome
from schemas import topics
from schemas.deliveries import Delivery
from schemas.endpoints import EndpointSettings, State
from schemas.results import ErrorKind, Result, Verdict
from schemas.settings import parse_duration_ms
from streams.core import delays, judging, outputs, retrying
from streams.core.outputs import Output


@dataclass(frozen=True, slots=True)
class Policy:
    """This installation's waits between attempts, their jitter, and the tiers they are waited in."""

    schedule_ms: Sequence[int]
    jitter: float
    tiers_ms: Mapping[str, int]


def settle(
    delivery: Delivery,
    settings: EndpointSettings,
    outcome: Outcome,
    policy: Policy,
    *,
    attempted_at_ms: int,
    draw: float,
) -> tuple[Result, list[Output]]:
    """The result of an attempt and everything to be written with it, the result's record first.

    `attempted_at_ms` is when it began, ms since 1970; the wait for the next begins where this one outcome.
    """
    ended_at_ms = attempted_at_ms + outcome.latency_ms
    if outcome.error_kind is None:
        made = _result(delivery, outcome, attempted_at_ms, Verdict.DELIVERED)
        return made, [outputs.result(made)]
    if outcome.error_kind is ErrorKind.GONE:
        made = _result(delivery, outcome, attempted_at_ms, Verdict.DEAD)
        return made, [outputs.result(made), dead_letter(delivery, made), _disabled(delivery)]
    own = settings.retry
    schedule_ms = policy.schedule_ms
    if own is not None and own.schedule is not None:
        schedule_ms = [parse_duration_ms(wait) for wait in own.schedule]
    plan = retrying.plan_retry(
        attempt=delivery.attempt,
        schedule_ms=schedule_ms,
        jitter=own.jitter if own is not None and own.jitter is not None else policy.jitter,
        draw=draw,
        now_ms=ended_at_ms,
        retry_after_ms=outcome.retry_after_ms,
    )
    match plan:
        case retrying.Retry(due_at_ms=due_at_ms):
            made = _result(delivery, outcome, attempted_at_ms, Verdict.RETRYING, due_at_ms)
            following = delivery.model_copy(update={"attempt": delivery.attempt + 1})
            return made, [outputs.result(made), wait(following, due_at_ms, ended_at_ms, policy.tiers_ms)]
        case retrying.GiveUp():
            made = _result(delivery, outcome, attempted_at_ms, Verdict.DEAD)
            return made, [outputs.result(made), dead_letter(delivery, made)]


def wait(delivery: Delivery, due_at_ms: int, now_ms: int, tiers_ms: Mapping[str, int]) -> Output:
    """The delivery on its way to its next attempt, not before `due_at_ms`; nothing is charged for it."""
    waiting = delivery.model_copy(update={"due_at_ms": due_at_ms})
    tier = delays.choose_tier(now_ms, due_at_ms, tiers_ms)
    topic = topics.DELIVERIES_DUE if tier is None else topics.RETRIES + tier
    return Output(topic, waiting.key, waiting.data, waiting.headers())


def skip(delivery: Delivery, state: State) -> tuple[Result, list[Output]]:
    """The result of a delivery whose endpoint cannot take it now."""
    made = _about(
        delivery,
        attempt=0,
        verdict=Verdict.SKIPPED,
        error_kind=judging.KIND_OF_STATE[state],
        error=f"the endpoint is {state.value}",
    )
    return made, [outputs.result(made)]


def dead_letter(delivery: Delivery, made: Result) -> Output:
    """The data as it came, and in headers what became of it."""
    told = {
        "delivery-id": delivery.delivery_id,
        "event-id": delivery.event_id,
        "event-type": delivery.event_type,
        "attempt": made.attempt,
        "error-kind": made.error_kind,
        "error": made.error,
        "status-code": made.status_code,
        "event-time-ms": delivery.event_time_ms,
    }
    headers = [(name, str(value).encode()) for name, value in told.items() if value is not None]
    if delivery.data_content_type:
        headers.append(("content-type", delivery.data_content_type.encode()))
    return Output(topics.DEAD_LETTERS, delivery.key, delivery.data, headers)


def _disabled(delivery: Delivery) -> Output:
    change = {"type": "endpoint.disabled", "endpoint_id": delivery.endpoint_id, "reason": "gone"}
    return Output(topics.SUBSCRIPTIONS, delivery.tenant.encode(), orjson.dumps(change))


def _result(
    delivery: Delivery,
    outcome: Outcome,
    attempted_at_ms: int,
    verdict: Verdict,
    next_attempt_at_ms: int | None = None,
) -> Result:
    return _about(
        delivery,
        attempt=delivery.attempt,
        verdict=verdict,
        status_code=outcome.status_code,
        error_kind=outcome.error_kind,
        error=outcome.error,
        latency_ms=outcome.latency_ms,
        attempted_at_ms=attempted_at_ms,
        next_attempt_at_ms=next_attempt_at_ms,
        response_excerpt=outcome.response_excerpt,
    )


def _about(delivery: Delivery, **told: Any) -> Result:
    return Result(
        delivery_id=delivery.delivery_id,
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        tenant=delivery.tenant,
        endpoint_id=delivery.endpoint_id,
        replay_id=delivery.replay_id,
        **told,
    )
