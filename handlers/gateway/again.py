"""The calls that have something delivered again: one delivery, or what an endpoint got between two times."""

from __future__ import annotations

import orjson
from aiohttp import web

from handlers.gateway import endpoints
from handlers.gateway.calls import TENANT_PATH, Call, answer, body_of, no_content
from handlers.gateway.context import Context
from handlers.gateway.explaining import find
from handlers.gateway.problems import Kind, Refusal
from handlers.gateway.views import Views
from schemas import topics
from schemas.api import Accepted, Replay, ReplayBegun, RetryBegun
from schemas.deliveries import TEST, VERIFICATION
from schemas.endpoints import State
from schemas.results import Verdict
from streams.core import judging, ordering
from streams.core.filtering import Filterable


async def retry(context: Context, request: web.Request) -> web.StreamResponse:
    """Deliver once more what has come to an end, as the next attempt of the same delivery."""
    tenant, delivery_id = request.match_info["tenant"], request.match_info["delivery_id"]
    found = await context.views(Views.delivery, tenant, delivery_id)
    if found is None:
        raise Refusal(Kind.NOT_FOUND, "there is no such delivery, or no result of it yet")
    row, results = found
    if row["event_type"] in (VERIFICATION, TEST):
        raise Refusal(Kind.CONFLICT, "only deliveries of events can be retried")
    if row["verdict"] == Verdict.RETRYING:
        raise Refusal(Kind.CONFLICT, "the delivery is still being retried by its schedule")
    record = await context.get(tenant, row["endpoint_id"])
    if record.current.state is not State.ACTIVE:
        raise Refusal(Kind.CONFLICT, f"the endpoint is {record.current.state.value}")
    event = await find(context, tenant, row["event_id"], row["event_time_ms"])
    if event is None:
        raise Refusal(Kind.CONFLICT, "the event is no longer in the log; its dead letter may be")
    if event.event.erased:
        raise Refusal(Kind.CONFLICT, "the event was erased; there is nothing to be delivered")
    (written,) = await context.sealed(tenant, [event.event])
    replay_id = context.retries.begin(tenant, delivery_id, [orjson.loads(result) for _, result in results])
    filterable = Filterable(event.event)
    pattern = judging.matching_pattern(record.current, event.event, filterable) or row["event_type"]
    key = ordering.key_of(record.current.settings, filterable)
    attempt = row["attempt"] + 1
    owed = judging.deliver(
        written, event.source, record, record.settings_version, pattern, attempt, replay_id, order_key=key
    )
    if not owed.fits:
        raise Refusal(Kind.CONFLICT, "the delivery would be larger than its topic takes")
    endpoint = f"{tenant}/{record.endpoint_id}"
    try:
        await context.send(topics.DELIVERIES, endpoint, owed.value or b"", owed.headers)
    except Refusal:
        context.retries.forget(tenant, delivery_id)
        raise
    return answer(RetryBegun(delivery_id=delivery_id, replay_id=replay_id, attempt=attempt), 202)


async def replay(context: Context, request: web.Request) -> web.StreamResponse:
    """Deliver again what the endpoint got between two times; what is still on its way is let be."""
    given = await body_of(request, Replay)
    tenant, endpoint_id = request.match_info["tenant"], request.match_info["endpoint_id"]
    fields = {**given.model_dump(exclude_none=True), "type": "endpoint.replay_requested"}
    _, place = await context.change(tenant, endpoint_id, fields)
    return answer(ReplayBegun(endpoint_id=endpoint_id, replay_id=place), 202)


async def cancel(context: Context, request: web.Request) -> web.StreamResponse:
    """End a replay where it is; what it has delivered already goes on."""
    tenant, endpoint_id = request.match_info["tenant"], request.match_info["endpoint_id"]
    fields = {"type": "endpoint.replay_cancelled", "replay_id": request.match_info["replay_id"]}
    record, _ = await context.change(tenant, endpoint_id, fields)
    return no_content() if record is not None else answer(Accepted(endpoint_id=endpoint_id), 202)


_PROBLEMS = (Kind.NOT_FOUND, Kind.CONFLICT, Kind.UNAVAILABLE)
CALLS = (
    Call(
        "POST",
        TENANT_PATH + "/deliveries/{delivery_id}/retry",
        "write",
        "retry a delivery",
        retry,
        {202: RetryBegun},
        problems=_PROBLEMS,
    ),
    Call(
        "POST",
        endpoints.ONE + "/replay",
        "write",
        "replay what an endpoint got",
        replay,
        {202: ReplayBegun},
        Replay,
        problems=_PROBLEMS,
    ),
    Call(
        "DELETE",
        endpoints.ONE + "/replays/{replay_id}",
        "write",
        "cancel a replay",
        cancel,
        {204: None, 202: Accepted},
        problems=(*_PROBLEMS, Kind.INVALID),
    ),
)
