"""The call that answers why an event did, or did not, arrive: judged again by what the router judges by."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import orjson
from aiohttp import web
from aiokafka.errors import KafkaError

from handlers.gateway.calls import TENANT_PATH, Call, answer
from handlers.gateway.context import RETRY_AFTER_S, Context
from handlers.gateway.problems import Kind, Refusal
from handlers.gateway.views import Views
from schemas.api import Attempt, ChangePlace, EndpointExplained, Explanation
from schemas.endpoints import EndpointRecord
from streams.core import explaining, judging
from streams.core.explaining import Decision
from streams.core.sealing import CannotOpen
from streams.lane import clock
from streams.past.events import Found, TooLong

#: A search for an event may take so long; what it costs is the log that lies after the event.
SEARCH_S = 20.0


async def explain(context: Context, request: web.Request) -> web.StreamResponse:
    """For each endpoint of the tenant: what became of the event, why, and the change that decided it."""
    tenant, event_id = request.match_info["tenant"], request.match_info["event_id"]
    results: dict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for at_ms, value in await context.views(Views.results_of_event, tenant, event_id):
        result = orjson.loads(value)
        results[result["endpoint_id"]].append((at_ms, result))
    times = [result.get("event_time_ms", at_ms) for several in results.values() for at_ms, result in several]
    found = await find(context, tenant, event_id, min(times, default=None))
    if found is None:
        more = "; what became of it is told by /deliveries" if results else ""
        raise Refusal(Kind.NOT_FOUND, f"there is no event {event_id[:256]} in the log{more}")
    records = await _records(context, tenant, found)
    asking = judging.asking(found.event, found.source, records)
    return answer(
        Explanation(
            event_id=event_id,
            event_type=found.event.event_type,
            event_time_ms=found.source.at_ms,
            partition=found.source.partition,
            offset=found.source.offset,
            erased=found.event.erased or None,
            endpoints=tuple(
                _explained(found, record, asking, results.get(record.endpoint_id, [])) for record in records
            ),
        )
    )


async def find(context: Context, tenant: str, event_id: str, near_ms: int | None) -> Found | None:
    """The event in the log. Raises `Refusal` where Kafka does not answer, or the search takes too long.

    One that was erased is found without its data.
    """
    try:
        return await context.past.events.find(tenant, event_id, near_ms, SEARCH_S)
    except (TooLong, KafkaError, TimeoutError, CannotOpen) as problem:
        raise Refusal(Kind.UNAVAILABLE, str(problem), retry_after_s=RETRY_AFTER_S) from problem


async def _records(context: Context, tenant: str, found: Found) -> list[EndpointRecord]:
    """The tenant's endpoints, each with the versions that the event may need.

    The views have the current ones only, and not for ever those that are gone: where that is not enough, they are
    folded from the changes.
    """
    values = await context.views(Views.all_endpoints, tenant)
    records = await asyncio.to_thread(lambda: [EndpointRecord.decode(value) for value in values])
    old = found.source.at_ms < clock.now_ms() - context.settings.history_ms
    if not old and all(record.current.valid_from_ms <= found.source.at_ms for record in records):
        return records
    try:
        return await context.past.endpoints.of(tenant)
    except (KafkaError, TimeoutError) as problem:
        raise Refusal(Kind.UNAVAILABLE, "Kafka does not answer", retry_after_s=RETRY_AFTER_S) from problem


def _explained(
    found: Found, record: EndpointRecord, asking: int, results: list[tuple[int, dict[str, Any]]]
) -> EndpointExplained:
    explained = explaining.explain(found.event, found.source, record, asking)
    decision = "waiting" if explained.decision is Decision.OWED else explained.decision.value
    reason = explained.reason
    if results:
        last = results[-1][1]
        decision = last["verdict"]
        if error := last.get("error"):
            reason = error
    place = ChangePlace(
        partition=record.partition, offset=explained.version.offset, at_ms=explained.version.valid_from_ms
    )
    attempts = tuple(
        Attempt.model_validate({**result, "logged_at_ms": at_ms}, strict=False) for at_ms, result in results
    )
    return EndpointExplained.model_validate(
        {
            "endpoint_id": record.endpoint_id,
            "decision": decision,
            "reason": reason,
            "change": place,
            "attempts": attempts,
        }
    )


CALLS = (
    Call(
        "GET",
        TENANT_PATH + "/events/{event_id}/explain",
        "read",
        "explain an event",
        explain,
        {200: Explanation},
        problems=(Kind.NOT_FOUND, Kind.UNAVAILABLE),
    ),
)
