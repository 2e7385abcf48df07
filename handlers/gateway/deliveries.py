"""The calls about deliveries: what became of them, from the log."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web
from pydantic import Field

from handlers.gateway import cursors
from handlers.gateway.calls import TENANT_PATH, Call, answer, query_of
from handlers.gateway.context import Context
from handlers.gateway.problems import Kind, Refusal
from handlers.gateway.views import Views
from schemas.api import Attempt, DeliveryPage, DeliveryShown, DeliveryWithAttempts
from schemas.changes import TimeMs
from schemas.model import Record
from schemas.results import Verdict

PATH = TENANT_PATH + "/deliveries"


class DeliveryQuery(Record):
    """A page of deliveries: `since_ms` belongs to it, `until_ms` does not."""

    endpoint_id: str | None = Field(default=None, max_length=256)
    event_id: str | None = Field(default=None, max_length=256)
    verdict: Verdict | None = None
    since_ms: TimeMs | None = None
    until_ms: TimeMs | None = None
    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = Field(default=None, max_length=1024)


async def list_deliveries(context: Context, request: web.Request) -> web.StreamResponse:
    """Deliveries by their last result, newest first by the event's time in the log."""
    query = query_of(request, DeliveryQuery)
    before = cursors.read(query.cursor, (int, str)) if query.cursor is not None else None
    where = query.model_dump(mode="json", exclude={"limit", "cursor"})
    rows = await context.views(Views.deliveries, request.match_info["tenant"], where, before, query.limit + 1)
    items = tuple(_shown(row) for row in rows[: query.limit])
    more = len(rows) > query.limit
    cursor = cursors.make(items[-1].event_time_ms, items[-1].delivery_id) if more else None
    return answer(DeliveryPage(items=items, next_cursor=cursor))


async def show(context: Context, request: web.Request) -> web.StreamResponse:
    """One delivery with the result of every attempt, oldest first."""
    found = await context.views(Views.delivery, request.match_info["tenant"], request.match_info["delivery_id"])
    if found is None:
        raise Refusal(Kind.NOT_FOUND, "there is no such delivery, or no result of it yet")
    row, results = found
    attempts = tuple(
        Attempt.model_validate({**orjson.loads(result), "logged_at_ms": at_ms}, strict=False)
        for at_ms, result in results
    )
    return answer(DeliveryWithAttempts(**_shown(row).model_dump(), attempts=attempts))


def _shown(row: dict[str, Any]) -> DeliveryShown:
    return DeliveryShown.model_validate({**row, "verdict": Verdict(row["verdict"])})


CALLS = (
    Call("GET", PATH, "read", "list deliveries", list_deliveries, {200: DeliveryPage}, query=DeliveryQuery),
    Call(
        "GET",
        PATH + "/{delivery_id}",
        "read",
        "show a delivery",
        show,
        {200: DeliveryWithAttempts},
        problems=(Kind.NOT_FOUND,),
    ),
)
