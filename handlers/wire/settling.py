"""What the end of an attempt leads to: always one result, and a retry, a dead letter or a change where there is one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from handlers.wire.outcome import Outcome, Wish
from handlers.wire.verifying import Judged
from schemas import topics
from schemas.deliveries import Delivery
from schemas.endpoints import EndpointSettings, State
from schemas.events import SEALED_HEADER
from schemas.model import trusted
from schemas.results import ErrorKind, Result, Verdict
from schemas.settings import parse_duration_ms
from streams.core import delays, judging, outputs, retrying
from streams.core.health import Said
from streams.core.outputs import Output


@dataclass(frozen=True, slots=True)
class Policy:
    """This installation's waits between attempts, their jitter, the tiers they are waited in, and the limit of order.

    `order_wait_ms`: an ordered delivery that is older is not tried again, since others wait for it.
    """

    schedule_ms: Sequence[int]
    jitter: float
    tiers_ms: Mapping[str, int]
    order_wait_ms: int


def settle(
    delivery: Delivery,
    settings: EndpointSettings,
    outcome: Outcome,
    policy: Policy,
    *,
    attempted_at_ms: int,
    draw: float,
    batch_id: str | None = None,
) -> tuple[Result, list[Output]]:
    """The result of an attempt and everything to be written with it, the result's record first.

    `attempted_at_ms` is when it began, ms since 1970; the wait for the next begins where this one ended. `batch_id`:
    of the request that the delivery was an item of.
    """
    disabled = []
    if outcome.wish is Wish.DISABLE or outcome.error_kind is ErrorKind.GONE:
        disabled.append(change(delivery, type="endpoint.disabled", reason="gone"))
    if outcome.error_kind is None:
        made = _result(delivery, outcome, attempted_at_ms, Verdict.DELIVERED, batch_id=batch_id)
        return made, [outputs.result(made), *disabled]
    plan = _plan(delivery, settings, outcome, policy, attempted_at_ms, draw)
    if isinstance(plan, retrying.Retry):
        return _again(delivery, outcome, policy, attempted_at_ms, plan, batch_id)
    made = _result(delivery, outcome, attempted_at_ms, Verdict.DEAD, batch_id=batch_id)
    return made, [outputs.result(made), dead_letter(delivery, made), *disabled]


def accepted(key: bytes, delivery: Delivery, outcome: Outcome, attempted_at_ms: int) -> Output | None:
    """The result of an attempt that was simply accepted, which is all that `settle` would make of it; else None.

    `key`: the delivery's.
    """
    if outcome.error_kind is not None or outcome.wish is not None or delivery.sealed_with is not None:
        return None
    told = {
        "delivery_id": delivery.delivery_id,
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "tenant": delivery.tenant,
        "endpoint_id": delivery.endpoint_id,
        "attempt": delivery.attempt,
        "verdict": "delivered",
        "status_code": outcome.status_code,
        "event_time_ms": delivery.event_time_ms,
        "latency_ms": outcome.latency_ms,
        "attempted_at_ms": attempted_at_ms,
    }
    if outcome.response_excerpt is not None:
        told["response_excerpt"] = outcome.response_excerpt
    if delivery.replay_id is not None:
        told["replay_id"] = delivery.replay_id
    try:
        return Output(topics.RESULTS, key, orjson.dumps(told))
    except orjson.JSONEncodeError:  # a number of more than 64 bits, that somebody else has written
        return None


def settle_verification(
    delivery: Delivery,
    settings: EndpointSettings,
    judged: Judged,
    policy: Policy,
    *,
    attempted_at_ms: int,
    draw: float,
) -> tuple[Result, list[Output]]:
    """As `settle`, for a handshake: its end is a change of the endpoint that names it, and it has no dead letter."""
    version, outcome, rate = delivery.endpoint_version, judged.outcome, judged.allowed_rate_per_min
    if outcome.error_kind is None:
        made = _result(delivery, outcome, attempted_at_ms, Verdict.DELIVERED)
        told = {} if rate is None else {"allowed_rate_per_min": rate}
        verified = change(delivery, type="endpoint.verified", method=settings.verification, version=version, **told)
        return made, [outputs.result(made), verified]
    plan = _plan(delivery, settings, outcome, policy, attempted_at_ms, draw)
    if isinstance(plan, retrying.Retry):
        return _again(delivery, outcome, policy, attempted_at_ms, plan)
    made = _result(delivery, outcome, attempted_at_ms, Verdict.DEAD)
    given_up = change(delivery, type="endpoint.disabled", reason="unverified", version=version)
    return made, [outputs.result(made), given_up]


def _plan(
    delivery: Delivery,
    settings: EndpointSettings,
    outcome: Outcome,
    policy: Policy,
    attempted_at_ms: int,
    draw: float,
) -> retrying.Retry | retrying.GiveUp:
    own = settings.retry
    refused = outcome.is_permanent and own is not None and own.client_errors == "dead"
    if outcome.error_kind is ErrorKind.GONE or outcome.wish is not None or refused:
        return retrying.GiveUp(delivery.attempt)
    schedule_ms = policy.schedule_ms
    if own is not None and own.schedule is not None:
        schedule_ms = [parse_duration_ms(wait) for wait in own.schedule]
    plan = retrying.plan_retry(
        attempt=delivery.attempt,
        schedule_ms=schedule_ms,
        jitter=own.jitter if own is not None and own.jitter is not None else policy.jitter,
        draw=draw,
        now_ms=attempted_at_ms + outcome.latency_ms,
        retry_after_ms=outcome.retry_after_ms,
    )
    since_ms = delivery.order_since_ms
    if isinstance(plan, retrying.Retry) and since_ms is not None and plan.due_at_ms - since_ms > policy.order_wait_ms:
        return retrying.GiveUp(delivery.attempt)
    return plan


def _again(
    delivery: Delivery,
    outcome: Outcome,
    policy: Policy,
    attempted_at_ms: int,
    plan: retrying.Retry,
    batch_id: str | None = None,
) -> tuple[Result, list[Output]]:
    made = _result(delivery, outcome, attempted_at_ms, Verdict.RETRYING, plan.due_at_ms, batch_id)
    following = delivery.model_copy(update={"attempt": delivery.attempt + 1})
    ended_at_ms = attempted_at_ms + outcome.latency_ms
    return made, [outputs.result(made), wait(following, plan.due_at_ms, ended_at_ms, policy.tiers_ms)]


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
        0,
        Verdict.SKIPPED,
        error_kind=judging.KIND_OF_STATE[state],
        error=f"the endpoint is {state.value}",
    )
    return made, [outputs.result(made)]


def erase(delivery: Delivery, reason: str) -> tuple[Result, list[Output]]:
    """The result of a delivery whose data cannot be opened any more."""
    made = _about(delivery, attempt=0, verdict=Verdict.SKIPPED, error_kind=ErrorKind.ERASED, error=reason)
    return made, [outputs.result(made)]


def supersede(delivery: Delivery) -> tuple[Result, list[Output]]:
    """The result of a handshake that nobody waits for any more."""
    made = _about(
        delivery,
        0,
        Verdict.SKIPPED,
        error_kind=ErrorKind.EXPIRED,
        error="another verification has begun since, or the endpoint has been verified",
    )
    return made, [outputs.result(made)]


def dead_letter(delivery: Delivery, made: Result) -> Output:
    """The data as the delivery has it, and in headers what became of it."""
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
    if delivery.sealed_with is not None:
        headers.append((SEALED_HEADER, delivery.sealed_with.encode()))
    if delivery.data_content_type:
        headers.append(("content-type", delivery.data_content_type.encode()))
    return Output(topics.DEAD_LETTERS, delivery.key, delivery.data, headers)


def tell(delivery: Delivery, said: Said, since_ms: int) -> Output:
    """The change that says how the delivery's endpoint does, since when."""
    if said is Said.DISABLED:
        return change(delivery, type=said, reason="failing")
    return change(delivery, type=said, since_ms=since_ms)


def change(delivery: Delivery, **told: Any) -> Output:
    """A change of the delivery's endpoint."""
    value = orjson.dumps({**told, "endpoint_id": delivery.endpoint_id})
    return Output(topics.SUBSCRIPTIONS, delivery.tenant.encode(), value)


def _result(
    delivery: Delivery,
    outcome: Outcome,
    attempted_at_ms: int,
    verdict: Verdict,
    next_attempt_at_ms: int | None = None,
    batch_id: str | None = None,
) -> Result:
    return _about(
        delivery,
        delivery.attempt,
        verdict,
        status_code=outcome.status_code,
        error_kind=outcome.error_kind,
        error=outcome.error,
        latency_ms=outcome.latency_ms,
        attempted_at_ms=attempted_at_ms,
        next_attempt_at_ms=next_attempt_at_ms,
        # A receiver may say again what it was told, and that is not to stand in the log.
        response_excerpt=outcome.response_excerpt if delivery.sealed_with is None else None,
        batch_id=batch_id,
    )


def _about(
    delivery: Delivery,
    attempt: int,
    verdict: Verdict,
    *,
    status_code: int | None = None,
    error_kind: ErrorKind | None = None,
    error: str | None = None,
    latency_ms: int | None = None,
    attempted_at_ms: int | None = None,
    next_attempt_at_ms: int | None = None,
    response_excerpt: str | None = None,
    batch_id: str | None = None,
) -> Result:
    told = {
        "delivery_id": delivery.delivery_id,
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "tenant": delivery.tenant,
        "endpoint_id": delivery.endpoint_id,
        "attempt": attempt,
        "verdict": verdict,
        "status_code": status_code,
        "error_kind": error_kind,
        "error": error,
        "event_time_ms": delivery.event_time_ms,
        "latency_ms": latency_ms,
        "attempted_at_ms": attempted_at_ms,
        "next_attempt_at_ms": next_attempt_at_ms,
        "response_excerpt": response_excerpt,
        "batch_id": batch_id,
        "replay_id": delivery.replay_id,
    }
    return trusted(Result, told)
