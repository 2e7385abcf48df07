"""The calls that erase an event, or all data of a tenant; answered when nothing here opens it any more."""

from __future__ import annotations

from aiohttp import web

from handlers.gateway.calls import TENANT_PATH, Call, answer
from handlers.gateway.context import RETRY_AFTER_S, Context
from handlers.gateway.problems import Kind, Refusal
from schemas.erasure import Erased
from streams.core import event_fields
from streams.erasure.erasing import NotErased


async def erase_event(context: Context, request: web.Request) -> web.StreamResponse:
    """Make the data of an event unreadable wherever it is sealed; what waits of it is skipped.

    Its id is not used again. It need not be in the log: an id that is not there is given up all the same.
    """
    tenant, event_id = request.match_info["tenant"], request.match_info["event_id"]
    if (problem := event_fields.refuse_text(event_id)) is not None:
        raise Refusal(Kind.INVALID, f"the event's id {problem}")
    return await _erased(context, tenant, event_id)


async def erase_tenant(context: Context, request: web.Request) -> web.StreamResponse:
    """Make all data of a tenant unreadable wherever it is sealed; what waits of it is skipped. Its endpoints stay."""
    return await _erased(context, request.match_info["tenant"], None)


async def _erased(context: Context, tenant: str, event_id: str | None) -> web.StreamResponse:
    try:
        keys = await context.erase(tenant, event_id)
    except NotErased as problem:
        if problem.passing:
            raise Refusal(Kind.UNAVAILABLE, str(problem), retry_after_s=RETRY_AFTER_S) from problem
        raise Refusal(Kind.CONFLICT, str(problem)) from problem
    return answer(Erased(tenant=tenant, event_id=event_id, keys=keys))


CALLS = (
    Call(
        "DELETE",
        TENANT_PATH + "/events/{event_id}",
        "write",
        "erase an event",
        erase_event,
        {200: Erased},
        problems=(Kind.INVALID, Kind.CONFLICT, Kind.UNAVAILABLE),
    ),
    Call(
        "DELETE",
        TENANT_PATH + "/data",
        "admin",
        "erase the data of a tenant",
        erase_tenant,
        {200: Erased},
        problems=(Kind.CONFLICT, Kind.UNAVAILABLE),
    ),
)
