"""The calls about sources: the third parties that may send events in. Each write is one change in `subscriptions`."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

from aiohttp import web
from pydantic import Field

from handlers.gateway import cursors, endpoints
from handlers.gateway.calls import TENANT_PATH, Call, answer, body_of, no_content, query_of
from handlers.gateway.context import Context
from handlers.gateway.folding import SourceRow
from handlers.gateway.problems import Kind, Refusal
from handlers.gateway.views import Views
from schemas import topics
from schemas.model import Record
from schemas.sources import (
    Scheme,
    SourceAccepted,
    SourceFields,
    SourcePage,
    SourceRegistered,
    SourceShown,
    SourceUnregistered,
    SourceWithSecret,
)
from streams.core import sealing, sources

PATH = TENANT_PATH + "/sources"
ONE = PATH + "/{source_id}"


@dataclass(frozen=True, slots=True)
class Written:
    """A change about a source, in the log at `at_ms`. `seen`: this gateway goes by it; `existed`: there was one."""

    existed: bool
    seen: bool
    at_ms: int


class SourceQuery(Record):
    """A page of sources."""

    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = Field(default=None, max_length=1024)


async def register(context: Context, request: web.Request) -> web.StreamResponse:
    """Register a source, or replace it whole. A secret that is ours to make is made where none is given."""
    given = await body_of(request, SourceFields)
    tenant, source_id = _place(request)
    made = None
    if given.secrets is None:
        if given.scheme not in sources.MADE_BY_US:
            raise Refusal(Kind.INVALID, f"secrets: one of {given.scheme} is made by the third party, and needed here")
        made = _new_secret(given.scheme)
    fields = {**given.model_dump(exclude_none=True), **({"secrets": (made,)} if made is not None else {})}
    change = SourceRegistered.model_validate(
        {**fields, "type": "source.registered", "source_id": source_id}, strict=False
    )
    written = await _write(context, tenant, change)
    if not written.seen:
        return answer(SourceAccepted(source_id=source_id, secret=made), 202)
    shown = SourceWithSecret(**_shown(tenant, change, written.at_ms).model_dump(), secret=made)
    return answer(shown, 200 if written.existed else 201)


async def find(context: Context, tenant: str, source_id: str) -> SourceRow:
    """The source. Raises `Refusal` where there is none."""
    row: SourceRow | None = await context.views(Views.source, tenant, source_id)
    if row is None:
        raise Refusal(Kind.NOT_FOUND, f"there is no source {source_id}")
    return row


async def list_sources(context: Context, request: web.Request) -> web.StreamResponse:
    """The tenant's sources by id, without their secrets."""
    query = query_of(request, SourceQuery)
    (after,) = cursors.read(query.cursor, (str,)) if query.cursor is not None else ("",)
    rows = await context.views(Views.sources, request.match_info["tenant"], after, query.limit + 1)
    items = await asyncio.to_thread(lambda: tuple(map(_row_shown, rows[: query.limit])))
    more = len(rows) > query.limit
    return answer(SourcePage(items=items, next_cursor=cursors.make(items[-1].source_id) if more else None))


async def show(context: Context, request: web.Request) -> web.StreamResponse:
    """One source, without its secrets."""
    return answer(_row_shown(await find(context, *_place(request))))


async def unregister(context: Context, request: web.Request) -> web.StreamResponse:
    """Unregister: nothing comes in by it any more."""
    tenant, source_id = _place(request)
    change = SourceUnregistered(type="source.unregistered", source_id=source_id)
    written = await _write(context, tenant, change)
    return no_content() if written.seen else answer(SourceAccepted(source_id=source_id), 202)


async def _write(context: Context, tenant: str, change: SourceRegistered | SourceUnregistered) -> Written:
    """Judge a change as the router will, and have it made. A source is unregistered only where there is one."""
    name = sealing.name_of_source(change.source_id)
    async with context.writing(tenant, name):
        existed = await context.views(Views.source, tenant, change.source_id) is not None
        if not existed and isinstance(change, SourceUnregistered):
            raise Refusal(Kind.NOT_FOUND, f"there is no source {change.source_id}")
        if (refused := sources.refuse(change, tenant, context.ring)) is not None:
            raise Refusal(Kind.INVALID, refused)
        sealed = sealing.seal_secrets(change, context.ring, tenant, name)
        sent = await context.send(topics.SUBSCRIPTIONS, tenant, sealed.model_dump_json(exclude_none=True).encode())
        assert context.follower is not None
        try:
            await context.follower.reach((sent.partition, sent.offset), context.settings.write_wait_ms / 1000)
        except TimeoutError:
            return Written(existed, seen=False, at_ms=sent.timestamp or 0)
        return Written(existed, seen=True, at_ms=sent.timestamp or 0)


def _place(request: web.Request) -> tuple[str, str]:
    return request.match_info["tenant"], request.match_info["source_id"]


def _row_shown(row: SourceRow) -> SourceShown:
    return _shown(row.tenant, SourceRegistered.model_validate_json(row.record), row.at_ms)


def _shown(tenant: str, source: SourceRegistered, at_ms: int) -> SourceShown:
    return SourceShown(
        **source.model_dump(exclude={"secrets", "type"}),
        tenant=tenant,
        path=f"/in/{tenant}/{source.source_id}",
        registered_at_ms=at_ms,
        secret_count=len(source.secrets),
    )


def _new_secret(scheme: Scheme) -> str:
    return endpoints.new_secret() if scheme == "standard" else secrets.token_urlsafe(endpoints.SECRET_BYTES)


CALLS = (
    Call(
        "PUT",
        ONE,
        "write",
        "register a source",
        register,
        {201: SourceWithSecret, 200: SourceWithSecret, 202: SourceAccepted},
        SourceFields,
        problems=(Kind.UNAVAILABLE,),
    ),
    Call("GET", PATH, "read", "list sources", list_sources, {200: SourcePage}, query=SourceQuery),
    Call("GET", ONE, "read", "show a source", show, {200: SourceShown}, problems=(Kind.NOT_FOUND,)),
    Call(
        "DELETE",
        ONE,
        "write",
        "unregister a source",
        unregister,
        {204: None, 202: SourceAccepted},
        problems=(Kind.NOT_FOUND, Kind.INVALID, Kind.UNAVAILABLE),
    ),
)
